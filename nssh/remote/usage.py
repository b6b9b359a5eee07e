"""The help of `nssh` and its commands on a remote."""

from __future__ import annotations

ELSEWHERE = """\
nssh: sessions start on your own machine; here there are copy, paste, status, sweep, infect self; see nssh --help
"""

_MAIN = """\
usage: nssh <command> ...

On a remote: the clipboard of the machine that you sit at, and this account's
end of the connection. Sessions start on your own machine.

  copy, paste     the clipboard from a command line
  status          what this account is connected to, and whether a laptop answers
  sweep           list and end mosh-servers that were left behind here
  infect self     repair or remove what `nssh infect` has installed here
  <command> --help, --version

Exit status: 0 all is well, 1 it is not, 2 wrong usage."""

_COPY = """\
usage: nssh copy [-t TYPE] [FILE...]

Puts the files, or standard input, on the clipboard of the machine you sit at.

  -t TYPE         what it is (text/html, image/png); else its beginning tells"""

_PASTE = """\
usage: nssh paste [-t TYPE] [--file | --list]

Prints the clipboard of the machine you sit at.

  -t TYPE         as that type: text/html, image/png, or image for any image
  --file          put its image into a private file, and print the path
  --list          print which types there are"""

_STATUS = """\
usage: nssh status [--json]

Tells which bus this account's programs speak to, since when, and whether a
laptop answers there, by a ping around the bus.

  --json          the same for scripts

Exit status: 0 a laptop answers, 1 none does, or there is no usable session."""

_INFECT = """\
usage: nssh infect [--force] self
       nssh infect --remove self

Puts back whatever is missing or changed of this account's shims, from their own
library. A newer version comes from your own machine: nssh infect <host> there.

  --force         also over files of yours (they are kept, and come back with
                  --remove), and on a machine with a desktop of its own
  --remove        take everything away again"""

_SWEEP = """\
usage: nssh sweep [options]

Lists your mosh-servers on this machine, and ends those you choose: by a line
that is asked for, or by

  --all           all of them
  --older DUR     those started so long ago or earlier: 90m, 24h, 7d
  --detached      those that nobody is attached to; with --older both must hold

  --dry-run       end nothing, show what would be
  --yes           don't ask whether to end what these options chose
  --json          print JSON; lists only, unless an option chooses
  --include-mine  do not spare the servers of your own live sessions
  --min-age DUR   spare younger ones, maybe logins under way (default 60s)

Exit status: 0 all that were chosen are gone, 1 not all, 130 cancelled."""

_TEXTS = {"copy": _COPY, "infect": _INFECT, "paste": _PASTE, "status": _STATUS, "sweep": _SWEEP}


def text(command: str = "") -> str:
    """Return the help of a command, or of all."""
    return _TEXTS.get(command, _MAIN) + "\n"
