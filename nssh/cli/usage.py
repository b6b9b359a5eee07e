"""What `nssh --help` and `nssh <command> --help` print; nobody else needs it."""

MAIN = """\
usage: nssh [options] <host> [ssh arguments] [command]
       nssh <command> ...

ssh, or mosh, with the clipboard and the browser of the machine that you sit at.
Host and arguments are as for ssh. Without an option: mosh if both sides have it
and no command is given, else ssh.

  --ssh, --mosh   that one, or an error
  --join          if the host is connected already: share clipboard and browser
  --replace         ... end the other sessions, and go on where they were
  --new             ... leave them alone, and take over what the remote sends
                  (none of these three: you are asked; a script joins)

  infect          install the remote side, which the clipboard needs; remove it
  status          the sessions there are, and whether they work
  doctor          try the whole path to a host; say what is wrong and what to do
  sweep           list and end mosh-servers that were left behind
  copy, paste     the clipboard from a command line, here or on the remote
  <command> --help, --version

Exit status: that of ssh or mosh; 1 an error, 2 wrong usage, 130 cancelled.
Configuration: ~/.config/nssh/config.toml. Logs: ~/.local/state/nssh/logs."""

_COMMANDS = {
    "infect": """\
usage: nssh infect [--force] <host> [ssh options]
       nssh infect --remove <host> [ssh options]

Installs the remote side, or a newer one: xclip, wl-copy, xdg-open and the like
in ~/.local/bin there, which talk to the machine that you sit at. It takes
python3 (3.8 or newer) and no root. `self` in place of <host>: this machine.

  --force         also over files of yours (they are kept, and come back with
                  --remove), and on a machine with a desktop of its own
  --remove        take everything away again""",
    "status": """\
usage: nssh status [--json | --held | --open-held]
       nssh status --tail [--since DUR] [--json]

Shows the live sessions of this machine: transport, bus, restarts, and whether
each answers.

  --json          the same for scripts
  --held          list the URLs that came too late, or too many at once, to open
  --open-held     open them
  --tail          show events as they happen, until Ctrl-C (--json: JSON lines)
  --since DUR     begin so long ago: 90s, 10m, 2h, 1d""",
    "doctor": """\
usage: nssh doctor [--json] [--timeout DUR] <host> [ssh options]

Tries every step from here to the programs on the remote and back, and says of
each whether it works, or what to do. It changes nothing, and asks for no
password: where one is needed, connect with nssh <host> first.

  --json          the same for scripts
  --timeout DUR   for connecting, and for each step (default 20s)

Exit status: 0 nothing is wrong, 1 something is.""",
    "sweep": """\
usage: nssh sweep [options] <host>... [ssh options]

Lists mosh-servers that were left on the hosts, and ends those you choose: from
a list, or by

  --all           all of them
  --older DUR     those started so long ago or earlier: 90m, 24h, 7d
  --detached      those that nobody is attached to; with --older both must hold

  --dry-run       end nothing, show what would be
  --yes           don't ask whether to end what these options chose
  --json          print JSON; lists only, unless an option chooses
  --include-mine  do not spare the servers of your own live sessions
  --min-age DUR   spare younger ones, maybe logins under way (default 60s)
  --timeout DUR   for a host to answer (default 20s)

Exit status: 0 all that were chosen are gone, 1 not all or a host failed.""",
    "copy": """\
usage: nssh copy [-t TYPE] [FILE...]

Puts the files, or standard input, on the clipboard: on a remote, that of the
machine you sit at.

  -t TYPE         what it is (text/html, image/png); else its beginning tells""",
    "paste": """\
usage: nssh paste [-t TYPE] [--file | --list]

Prints the clipboard: on a remote, that of the machine you sit at.

  -t TYPE         as that type: text/html, image/png, or image for any image
  --file          put its image into a private file, and print the path
  --list          print which types there are""",
}


def text(command: str) -> str:
    """Return the help of a command, or of nssh itself."""
    return _COMMANDS.get(command, MAIN)
