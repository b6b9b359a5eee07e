"""Run `nssh relay serve|start|dial`: parse arguments, set up the server's process, choose exit codes."""

from __future__ import annotations

import os
import sys

from nssh.relay.relay_paths import BusyError, RelayError, RelayPaths, take_lock
from nssh.wire import RETENTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.relay.server import Server

IDLE = 600.0
"""Seconds without a connection after which the relay ends."""
KEEPALIVE = 45.0
"""Seconds between two signs of life on a stream."""

USAGE = """\
usage: nssh relay start|dial|serve [options]

  start   start the relay unless it runs, and return when it answers
  dial    connect standard input and output to the relay; starts it if need be
  serve   as start; with --foreground, be the relay

  --state DIR          nssh's state directory (default: $XDG_STATE_HOME/nssh)
  --socket PATH        the unix socket (default: relay.sock in the state directory)
  --idle SECONDS       end after this time without a connection (default: %d)
  --keepalive SECONDS  between keepalive events (default: %d)
  --retention SECONDS  how long messages are kept (default: %d)
  --foreground         don't detach; prints a line when it is ready
  --mark WORD          dial: print WORD on a line of its own first, so that noise before it can be told apart
""" % (IDLE, KEEPALIVE, RETENTION)

STARTUP = 60.0
"""Seconds within which a detached relay is ready, or ended by the kernel: nobody who waits for it would end it."""

_NUMBERS = {"--idle": IDLE, "--keepalive": KEEPALIVE, "--retention": float(RETENTION)}
_TEXTS = {"--state": "", "--socket": "", "--mark": ""}
_FLAGS = {"--foreground", "--detached"}  # `start` gives --detached to the daemon's process


class _UsageError(Exception):
    """Wrong arguments."""


class _Options:
    def __init__(self, command: str, argv: Sequence[str]) -> None:
        if command not in {"start", "dial", "serve"}:
            raise _UsageError("unknown command" if command else "a command is missing")
        self.numbers = dict(_NUMBERS)
        self.texts = dict(_TEXTS)
        self.flags: set[str] = set()
        self.given: list[str] = []
        rest = list(argv)
        while rest:
            name, equals, value = rest.pop(0).partition("=")
            if name in _FLAGS and not equals:
                self.flags.add(name)
                continue
            if name not in self.numbers and name not in self.texts:
                raise _UsageError("unknown option %s" % name)
            if not equals:
                if not rest:
                    raise _UsageError("%s needs a value" % name)
                value = rest.pop(0)
            if name in self.texts:
                self.texts[name] = value
            else:
                self.numbers[name] = _number(name, value)
            if name not in {"--state", "--socket", "--mark"}:
                self.given += [name, value]


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1e9:
        raise _UsageError("%s needs a number of seconds" % name)
    return number


def main(argv: Sequence[str]) -> int:
    """Run `nssh relay …` with the arguments after `relay`; return the exit code (2: usage, 1: any other failure)."""
    command = argv[0] if argv else ""
    if command in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return 0
    try:
        options = _Options(command, argv[1:])
    except _UsageError as error:
        sys.stderr.write("nssh relay: %s\n%s" % (error, USAGE))
        return 2
    try:
        places = RelayPaths(options.texts["--state"], options.texts["--socket"])
        if command == "dial":
            from nssh.relay.dial import dial

            dial(places, options.given, mark=options.texts["--mark"])
        elif command == "serve" and options.flags:
            _serve(places, options)
        else:
            from nssh.relay.daemon import ensure_running

            ensure_running(places, options.given)
    except RelayError as error:
        sys.stderr.write("nssh relay: %s\n" % error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _serve(places: RelayPaths, options: _Options) -> None:
    """Run the server; with `--detached`, detach from the starting process and report to it on standard output."""
    from signal import ITIMER_REAL, setitimer

    is_detached = "--detached" in options.flags
    os.umask(0o077)
    if is_detached:
        _detach()
        setitimer(ITIMER_REAL, STARTUP)
    try:
        relay = _make_server(places, options)
    except RelayError as error:
        if not is_detached:
            raise
        os.write(1, b"busy\n" if isinstance(error, BusyError) else ("%s\n" % error).encode("utf-8", "replace"))
        return
    relay.catch_signals()
    if is_detached:
        setitimer(ITIMER_REAL, 0.0)
        os.write(1, b"ready\n")
        os.dup2(2, 1)
    else:
        sys.stdout.write("ready unix:%s\n" % places.socket)
        sys.stdout.flush()
    relay.run()


def _detach() -> None:
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.chdir("/")
    try:
        inherited = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # not Linux
        inherited = list(range(256))
    for fd in inherited:
        if fd > 2:
            os.closerange(fd, fd + 1)  # ignores closed ones, such as listdir's own


def _make_server(places: RelayPaths, options: _Options) -> Server:
    places.make()
    # With --foreground, wait a second: the relay before this one may be about to end.
    try:
        lock = take_lock(places.lock, 0.0 if "--detached" in options.flags else 1.0)
    except BusyError:
        raise BusyError("another relay is running in %s" % places.directory) from None
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    try:
        from nssh.relay import server
        from nssh.relay.store import Store, StoreError
    except ImportError as error:
        raise RelayError("the nssh relay needs python3 with its whole standard library: %s" % error) from error
    try:
        store = Store(places.directory, options.numbers["--retention"])
    except StoreError as error:
        raise RelayError("cannot use %s: %s" % (places.directory, error)) from error
    return server.Server(
        places,
        lock,
        store,
        idle=options.numbers["--idle"],
        keepalive=options.numbers["--keepalive"],
    )
