"""The script that ends chosen mosh-servers on a remote, each only if it still is the one that was listed."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, NamedTuple

from nssh.ssh import framing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nssh.sweep.servers import Server

GRACE = 11
"""Seconds from SIGTERM to SIGKILL: mosh-server takes up to 10 to tell its client."""
LONGEST = GRACE + 10.0
"""Seconds that the script takes at most, on a machine that is not overloaded."""


class How(enum.StrEnum):
    """The way in which a server is asked to end."""

    TERM = "TERM"
    """SIGTERM, and SIGKILL for one that is still there after `GRACE`."""
    DETACHED = "DETACHED"
    """As `TERM`, but not if utmp says that its client is back."""
    UNUSED = "USR1"
    """SIGUSR1, which one that was given MOSH_SERVER_SIGNAL_TMOUT heeds only if its client is silent at that moment."""


class Fate(enum.StrEnum):
    """What became of a chosen server."""

    ENDED = "ended"
    KILLED = "killed"
    GONE = "gone already"
    OTHER = "became another process"
    DENIED = "not permitted"
    IN_USE = "in use again"
    LEFT = "still there"
    LOST = "not known"

    @property
    def is_gone(self) -> bool:
        """Whether that server does not exist any more."""
        return self in {Fate.ENDED, Fate.KILLED, Fate.GONE, Fate.OTHER}


class Verdict(NamedTuple):
    """What became of one chosen server."""

    pid: int
    fate: Fate


# Between the last look at a process and its signal nothing is started: on Linux they are two steps of one shell, too
# close for a PID to come round; elsewhere the end of ps lies between.
SCRIPT = r"""
exec 2>/dev/null
export LC_ALL=C TZ=UTC0
me=$(id -u)
newline='
'
# see PID: leaves its start time in `is` (nothing if there is no such process), its name in `name`, and in `ours`
# whether it is the user's. file PID: leaves the file that it runs in `file`, where that can be told.
if [ -r /proc/self/stat ]; then
    see() {
        is= ours=no
        IFS= read -r stat < "/proc/$1/stat" || return
        [ ! -O "/proc/$1" ] || ours=yes
        name=${stat#*\(}
        name=${name%)*}
        set -f; set -- ${stat##*\)}; set +f
        case $1 in Z | X) return ;; esac
        is=${20}
    }
    file() { file=$(readlink "/proc/$1/exe") && file=${file% (deleted)} || file=; }
else
    see() {
        is= ours=no
        set -f; set -- $(ps -p "$1" -o uid= -o state= -o lstart= -o ucomm=); set +f
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
# Some can only sleep for whole seconds.
if sleep 0.01; then short=0.02 long=0.1; else short=1 long=1; fi

IFS= read -r grace
IFS= read -r count
set --
while [ "$#" -lt "$count" ]; do IFS= read -r one || finish 3; set -- "$@" "$one"; done
left=
for one do
    take "$one"
    if hit "$signal"; then left=$left$one$newline; else say fate "$pid $why"; fi
done
IFS=$newline; set -f; set -- $left; set +f; unset IFS
watch "$grace" ended "$@"
IFS=$newline; set -f; set -- $left; set +f; unset IFS
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
IFS=$newline; set -f; set -- $left; set +f; unset IFS
watch 5 killed "$@"
IFS=$newline; set -f; set -- $left; set +f; unset IFS
for one do take "$one"; say fate "$pid left"; done
finish 0
"""

_FATES = {
    "ended": Fate.ENDED,
    "killed": Fate.KILLED,
    "gone": Fate.GONE,
    "other": Fate.OTHER,
    "denied": Fate.DENIED,
    "used": Fate.IN_USE,
    "left": Fate.LEFT,
}


def pack(chosen: Iterable[tuple[Server, How]], grace: int = GRACE) -> framing.Script:
    """Make the script ready for these servers; `grace` is the seconds between SIGTERM and SIGKILL."""
    lines = [f"{server.pid} {how.value} {server.start}" for server, how in chosen]
    return framing.pack(SCRIPT, lines=(str(grace), str(len(lines)), *lines))


def read(line: str) -> Verdict | None:
    """Read one line of the script's answer; None if it tells of no server's fate."""
    found = re.fullmatch(r"fate ([0-9]{1,9}) ([a-z]+)", line)
    fate = _FATES.get(found[2]) if found else None
    return None if found is None or fate is None else Verdict(int(found[1]), fate)
