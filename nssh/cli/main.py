"""Parses the command line, runs the command, prints errors, and chooses the exit code.

Nothing beyond the standard library is imported on the way to ssh; every command imports what it needs.
"""

from __future__ import annotations

import os
import sys

from nssh import __version__
from nssh.base.errors import ArgumentError, NsshError, UsageError
from nssh.base.printable import LONGEST, printable
from nssh.config import settings
from nssh.ssh import argv


def main() -> None:
    """Run `nssh` and exit. An error that a user can cause ends in one line, without a traceback."""
    _open_standard_streams()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except NsshError as error:
        # The text may contain what a remote or a local program said.
        see = f"; see {_help_of(sys.argv[1:])}" if isinstance(error, ArgumentError) else ""
        print(f"nssh: {printable(str(error), LONGEST)}{see}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt as interrupt:
        code = getattr(interrupt, "exit_code", 130)
    except BrokenPipeError:  # the reader of standard output has gone
        code = 141
    except OSError as error:
        what = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        print(f"nssh: {printable(what, LONGEST)}", file=sys.stderr)
        code = 1
    _finish_output()
    raise SystemExit(code)


def _finish_output() -> None:
    """Flush standard output. If that fails, redirect it to /dev/null, or Python would report the failure at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _open_standard_streams() -> None:
    """Open closed standard streams (`nssh host <&-`) on /dev/null, as ssh does, so that no pipe gets their number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)  # noqa: FBT003 - it takes no keyword
    os.close(fd)
    # Python has set the closed ones to None.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    # Print characters that the locale's encoding lacks as escapes, as on standard error, instead of raising an error.
    if sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # what Python makes can do that


def _run(arguments: list[str]) -> int:
    command = arguments[0] if arguments else ""
    if command in {"help", "-h", "--help"} or (_is_own(command) and _asks_for_help(arguments[1:])):
        from nssh.cli import usage

        print(usage.text("".join(arguments[1:2]) if command == "help" else command))
        return 0
    if command in {"--version", "-V"}:
        print(f"nssh {__version__}")
        return 0
    if not arguments:
        raise ArgumentError("no host given")
    if command in _COMMANDS:
        return _COMMANDS[command](arguments[1:])
    return _connect(argv.parse_connect(arguments))


def _is_own(command: str) -> bool:
    return command in _COMMANDS and command != "relay"  # which goes to the remote, too, and has a help of its own


def _asks_for_help(arguments: list[str]) -> bool:
    # -h behind the first word may be an option of ssh's.
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--help" in own or own[:1] == ["-h"]


def _help_of(arguments: list[str]) -> str:
    return f"nssh {arguments[0]} --help" if arguments and _is_own(arguments[0]) else "nssh --help"


def _connect(request: argv.Connect) -> int:
    config = settings.load()
    if request.mode == "mosh" and not os.isatty(0):
        raise UsageError("mosh needs a terminal, and standard input is none; use --ssh")
    if request.ssh.wants_no_session or not request.ssh.destination:
        # -W, -N, -O, -V and their like are for ssh alone.
        ssh = config.ssh.command
        tail = ["--", request.ssh.destination, *request.ssh.command] if request.ssh.destination else []
        os.execvp(ssh[0], [*ssh, *request.ssh.options, *tail])  # noqa: S606 - an argv list, no shell
    from nssh.ssh import identity

    # ssh reads its configuration while Python reads the launcher.
    pending = identity.ask(config.ssh.command, request.ssh.destination, request.ssh.options)
    from nssh.launch.launcher import Launcher

    return Launcher(request, config, pending).run()


def _infect(arguments: list[str]) -> int:
    from nssh.cli import command_options

    options = command_options.parse_infect(arguments)
    from nssh.install import infect_command

    return infect_command.run(
        options.host, options.ssh_options, settings.load(), force=options.force, remove=options.remove
    )


def _status(arguments: list[str]) -> int:
    from nssh.cli import command_options

    options = command_options.parse_status(arguments)
    if options.tail:
        from nssh.log import tail

        return tail.run(options.since, raw=options.json)
    from nssh.cli import status

    return status.run(options)


def _sweep(arguments: list[str]) -> int:
    from nssh.sweep import sweep_command, sweep_options

    return sweep_command.run(sweep_options.parse(arguments), settings.load())


def _doctor(arguments: list[str]) -> int:
    from nssh.doctor import doctor_command, doctor_options

    # doctor reads the configuration itself: that is its first step.
    return doctor_command.run(doctor_options.parse(arguments))


def _relay(arguments: list[str]) -> int:
    from nssh.relay.main import main as relay

    return relay(arguments)


def _copy(arguments: list[str]) -> int:
    from nssh.cli import copy_paste

    return copy_paste.run(["copy", *arguments])


def _paste(arguments: list[str]) -> int:
    from nssh.cli import copy_paste

    return copy_paste.run(["paste", *arguments])


_COMMANDS = {
    "copy": _copy,
    "doctor": _doctor,
    "infect": _infect,
    "paste": _paste,
    "relay": _relay,
    "status": _status,
    "sweep": _sweep,
}


if __name__ == "__main__":
    main()
