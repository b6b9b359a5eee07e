"""The texts of `nssh --help` and `nssh <command> --help`. Imported only to print them."""

MAIN = """\
usage: nssh [options] <host> [ssh arguments] [command]
       nssh <command> ...

ssh, or mosh, with the clipboard and the browser of the machine that you sit at.
Host and arguments are as for ssh. Without an option: mosh if both sides have it
and no command is given, else ssh.

  --ssh, --mosh   that one, or an error
  --join          if the host is connected already: share clipboard and browser
  --replace         ... end the other sessions, and go on with a fresh topic
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


def text(command: str) -> str:
    """Return the help of a command, or of nssh itself."""
    from nssh.cli import command_options
    from nssh.doctor import doctor_options
    from nssh.sweep import sweep_options

    parsers = {
        "copy": command_options.copy_parser,
        "doctor": doctor_options.parser,
        "infect": command_options.infect_parser,
        "paste": command_options.paste_parser,
        "status": command_options.status_parser,
        "sweep": sweep_options.parser,
    }
    return parsers[command]().format_help().rstrip() if command in parsers else MAIN
