# Lists the mosh-servers of the login's user, what runs in them, and who is attached.
#
# Only processes of the user's own are looked at. What is told of one is never more than its program's name: its
# arguments may hold secrets.
export LC_ALL=C TZ=UTC0
PATH=$PATH:/usr/sbin:/sbin
me=$(id -u)
ttys=
on_tty() { case "$ttys " in *" $1 "*) ;; *) ttys="$ttys $1" ;; esac; }
say address "${SSH_CONNECTION:-}"
{ ip -o addr || ifconfig -a; } 2>/dev/null | sed -n 's/.*inet6* *\(addr:\)* *\([0-9a-f.:]*\).*/\2/p' |
    while read -r own; do say own "$own"; done
say now "$(date +%s)"
if [ -r /proc/self/stat ]; then
    form='-c %X_%n'
    read -r boot < /proc/sys/kernel/random/boot_id && say boot "$boot"
    # Now, on the clock of start times: /proc/uptime may be a container's own.
    stat=$(cat /proc/self/stat)
    set -f
    # shellcheck disable=SC2086  # the fields, as words
    set -- ${stat##*\)}
    set +f
    say tick "${20}"
    say hertz "$(getconf CLK_TCK 2>/dev/null || echo 100)"
    for directory in /proc/[0-9]*; do
        # shellcheck disable=SC3067  # there is /proc, so this is Linux, where every sh knows -O
        [ -O "$directory" ] || continue
        IFS= read -r stat < "$directory/stat" || continue
        pid=${directory#/proc/}
        name=${stat#*\(}
        name=${name%)*}
        set -f
        # proc(5): state, ppid, pgrp, session, tty_nr, tpgid, …, starttime
        # shellcheck disable=SC2086  # the fields, as words
        set -- ${stat##*\)}
        set +f
        [ "$#" -ge 20 ] || continue
        case $1 in Z | X) continue ;; esac
        tty=-
        # Only pseudo-terminals: majors 136 to 143.
        major=$(( ($5 >> 8) & 4095 ))
        if [ "$major" -ge 136 ] && [ "$major" -le 143 ]; then
            tty=pts/$(( (major - 136) * 256 + ($5 & 255) + (($5 >> 12) & 1048320) ))
            on_tty "/dev/$tty"
        fi
        if [ "$name" = mosh-server ]; then
            program=$(readlink "$directory/exe" 2>/dev/null)
            say program "$pid $program"
            limit=$(tr '\0' '\n' < "$directory/environ" 2>/dev/null | sed -n 's/^MOSH_SERVER_SIGNAL_TMOUT=//p')
            say limit "$pid $limit"
            # shellcheck disable=SC2012  # names in it are numbers, and one ls is faster than many readlinks
            for socket in $(ls -l "$directory/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p'); do
                say socket "$pid $socket"
            done
        elif [ "$tty" = - ]; then
            continue
        fi
        say process "$pid $2 $3 $6 $tty ${20} $name"
    done 2>/dev/null
    for table in /proc/net/udp /proc/net/udp6; do
        while read -r _ place _ _ _ _ _ uid _ inode _; do
            [ "$uid" != "$me" ] || say udp "$inode ${place##*:}"
        done < "$table"
    done 2>/dev/null
else
    form='-f %a_%N'
    ps -A -o uid= -o pid= -o ppid= -o pgid= -o tpgid= -o tty= -o lstart= -o ucomm= |
        while read -r uid pid parent group foreground tty rest; do
            [ "$uid" = "$me" ] || continue
            case $tty$rest in '?'*mosh-server | -*mosh-server | [!?-]*)
                say ps "$pid $parent $group $foreground $tty $rest" ;;
            esac
        done
    for tty in $(ps -A -o uid= -o tty= | while read -r uid name; do [ "$uid" != "$me" ] || echo "$name"; done); do
        [ ! -c "/dev/$tty" ] || on_tty "/dev/$tty"
    done
    if command -v sockstat >/dev/null; then
        sockstat -46 -P udp | while read -r _ name pid _ _ place _; do
            case $name in mosh-serve*) say port "$pid ${place##*:}" ;; esac
        done
    elif command -v lsof >/dev/null; then
        lsof -nP -a -u "$me" -i UDP -F pn | while IFS= read -r line; do
            case $line in p*) pid=${line#p} ;; n*) say port "$pid ${line##*:}" ;; esac
        done
    fi 2>/dev/null
fi
# shellcheck disable=SC2086  # lists of words, both made here
[ -z "$ttys" ] || stat $form $ttys 2>/dev/null | while IFS= read -r line; do say read "$line"; done
who 2>/dev/null | while IFS= read -r line; do case $line in *"mosh ["*) say who "$line" ;; esac; done
finish 0
