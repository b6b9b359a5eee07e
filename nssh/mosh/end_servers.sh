# Ends mosh-servers, each only if it still is the one that was listed. Reads the seconds from SIGTERM to SIGKILL, the
# number of servers, and a line for each: PID, how, start time.
#
# Between the last look at a process and its signal nothing is started: on Linux they are two steps of one shell, too
# close for a PID to come round; elsewhere the end of ps lies between.
exec 2>/dev/null
export LC_ALL=C TZ=UTC0
me=$(id -u)
newline='
'
# see PID: leaves its start time in `is` (nothing if there is no such process), its name in `name`, and in `ours`
# whether it is the user's. file PID: leaves the file that it runs in `file`, where that can be told.
if [ -r /proc/self/stat ]; then
    see() {
        is='' ours=no
        IFS= read -r stat < "/proc/$1/stat" || return
        # shellcheck disable=SC3067  # there is /proc, so this is Linux, where every sh knows -O
        [ ! -O "/proc/$1" ] || ours=yes
        name=${stat#*\(}
        name=${name%)*}
        set -f
        # shellcheck disable=SC2086  # the fields, as words
        set -- ${stat##*\)}
        set +f
        case $1 in Z | X) return ;; esac
        is=${20}
    }
    file() { file=$(readlink "/proc/$1/exe") && file=${file% (deleted)} || file=; }
else
    see() {
        is='' ours=no
        set -f
        # shellcheck disable=SC2046  # the columns, as words
        set -- $(ps -p "$1" -o uid= -o state= -o lstart= -o ucomm=)
        set +f
        [ "$#" -ge 8 ] || return
        case $2 in Z*) return ;; esac
        [ "$1" != "$me" ] || ours=yes
        is="$3 $4 $5 $6 $7" name=$8
    }
    file() { file=; }
fi
# check PID START: whether it is the one that was listed, and if not, in `why`, what it is.
check() {
    file "$1"
    see "$1"
    why=gone
    [ -n "$is" ] || return 1
    why=other
    : "${file:=$name}"
    [ "$is" = "$2" ] && [ "${file##*/}" = mosh-server ] || return 1
    why=denied
    [ "$ours" = yes ]
}
take() {
    pid=${1%% *}
    signal=${1#* }
    start=${signal#* }
    signal=${signal%% *}
}
# hit SIGNAL: signals the one that was taken; leaves in `why` what came in between.
hit() {
    if [ "$1" = DETACHED ]; then
        why=used
        case $(who) in *" via mosh [$pid]"*) return 1 ;; esac
        set -- TERM
    fi
    check "$pid" "$start" || return 1
    kill -s "$1" "$pid" && return
    see "$pid"
    [ "$is" = "$start" ] || why=gone
    return 1
}
# watch SECONDS FATE ONE…: until they are gone, and tells so; leaves the others in `left`.
watch() {
    by=$(( $(date +%s) + $1 )) fate=$2 rounds=0
    shift 2
    while [ "$#" -gt 0 ]; do
        for one do
            shift
            take "$one"
            see "$pid"
            if [ "$is" = "$start" ]; then set -- "$@" "$one"; else say fate "$pid $fate"; fi
        done
        # The clock may be set meanwhile.
        if [ "$#" -eq 0 ] || [ "$(date +%s)" -gt "$by" ] || [ "$rounds" -ge 150 ]; then break; fi
        if [ "$rounds" -lt 5 ]; then sleep "$short"; else sleep "$long"; fi
        rounds=$((rounds + 1))
    done
    left=
    for one do left=$left$one$newline; done
}
# begin ONE…: sends each its first signal; leaves those that got it in `left`.
begin() {
    left=
    for one do
        take "$one"
        if hit "$signal"; then left=$left$one$newline; else say fate "$pid $why"; fi
    done
}
# insist ONE…: kills those that did not heed SIGTERM; leaves those that it signalled in `left`.
insist() {
    left=
    for one do
        take "$one"
        if [ "$signal" = USR1 ]; then say fate "$pid used"
        # Where nobody listens any more (this ends us, or fails), the user has given up.
        elif ! say kill "$pid"; then exit 1
        elif hit KILL; then left=$left$one$newline
        elif [ "$why" = denied ]; then say fate "$pid left"
        else say fate "$pid ended"
        fi
    done
}
give_up() { for one do take "$one"; say fate "$pid left"; done; }
# with_left COMMAND…: runs it, with those that are left as further arguments.
with_left() {
    IFS=$newline
    set -f
    # shellcheck disable=SC2086  # a word for each line
    set -- "$@" $left
    set +f
    unset IFS
    "$@"
}
# Some can only sleep for whole seconds.
if sleep 0.01; then short=0.02 long=0.1; else short=1 long=1; fi

IFS= read -r grace
IFS= read -r count
set --
while [ "$#" -lt "$count" ]; do IFS= read -r one || finish 3; set -- "$@" "$one"; done
begin "$@"
with_left watch "$grace" ended
with_left insist
with_left watch 5 killed
with_left give_up
finish 0
