"""Start the relay on demand: one for each user, detached from the process that started it."""

from __future__ import annotations

import os
import sys
from time import monotonic, sleep

from nssh.relay.relay_paths import BusyError, RelayError, RelayPaths, take_lock
from nssh.wire.http import Client, HttpError, Timeout, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

START_TIMEOUT = 10.0
MAX_LOG = 256 * 1024
_KEPT_VARIABLES = ("HOME", "XDG_STATE_HOME", "PATH", "LANG", "LC_ALL", "TMPDIR")


def ensure_running(places: RelayPaths, options: Sequence[str] = (), timeout: float = START_TIMEOUT) -> bool:
    """Start the daemon unless one answers, and wait until it answers; return whether it was started.

    Any number of processes may call this at once: a lock lets one of them start the daemon, and the others wait.

    Args:
        places: The relay's paths.
        options: Further arguments for `serve`.
        timeout: Seconds.

    Raises:
        RelayError: The daemon can't be started, or does not answer.
    """
    deadline = monotonic() + timeout
    if _answers(places, deadline):
        return False
    places.make()
    try:
        lock = take_lock(places.start_lock, timeout)
    except BusyError:
        raise RelayError("the nssh relay is being started by another process, without success") from None
    try:
        pause = 0.005
        while not _answers(places, deadline):
            if _spawn(places, options, deadline):
                return True
            # Another daemon holds the lock: it is about to end (idle, or killed), or to make its socket again.
            if monotonic() + pause > deadline:
                raise RelayError("the nssh relay%s does not answer; end it and try again" % _holder(places))
            sleep(pause)
            pause = min(2 * pause, 0.2)
    finally:
        os.close(lock)
    return False


def _answers(places: RelayPaths, deadline: float) -> bool:
    """Return whether a daemon answers a request for its health."""
    try:
        with Client("unix:" + places.socket, timeout=max(0.1, deadline - monotonic())) as client:
            return client.request("GET", "/v1/health").status == 200
    except Timeout:
        raise RelayError("the nssh relay%s does not answer; end it and try again" % _holder(places)) from None
    except Unreachable:
        return False
    except HttpError:
        return False  # it closed the connection, because it is ending


def _holder(places: RelayPaths) -> str:
    """Return ` (PID n)` for an error text if the lock file has the daemon's PID; otherwise empty."""
    try:
        with open(places.lock, "rb") as file:
            number = file.read(16).strip()
    except OSError:
        return ""
    return " (PID %s)" % number.decode("ascii") if number.isdigit() else ""


def _spawn(places: RelayPaths, options: Sequence[str], deadline: float) -> bool:
    """Start the daemon's process and wait until it reports; return False if another daemon holds the lock."""
    # Not a fork, which would keep our argv (with a URL, for example) and our memory for hours.
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    argv = [sys.executable, "-I", "-S", program, "serve", "--detached", "--state", places.state]
    argv += ["--socket", places.socket, *options]
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    if not sys.executable:
        raise RelayError("cannot start the nssh relay: this python does not know its own path")
    read, write = os.pipe()
    try:
        log = _open_log(places)
        said = os.fstat(log).st_size
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, write, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ]
        try:
            pid = os.posix_spawn(sys.executable, argv, environ, file_actions=actions)
        except OSError as error:
            raise RelayError("cannot start the nssh relay: %s" % error.strerror) from error
        finally:
            os.close(log)
            os.close(write)
        word = _read_word(read, deadline)
    finally:
        os.close(read)
    if word == "ready":
        return True
    if word:
        os.waitpid(pid, 0)  # it has reported and ends: leave no zombie
    if word == "busy":
        return False
    raise RelayError(word or "the nssh relay did not start%s: see %s" % (_last_words(places.log, said), places.log))


def _last_words(path: str, start: int) -> str:
    """Return the last line that a log has behind `start`, in brackets for a message: why the daemon died."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            lines = file.read(MAX_LOG).decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return " (%s)" % "".join(letter if letter.isprintable() else "?" for letter in last[:200]) if last else ""


def _open_log(places: RelayPaths) -> int:
    try:
        if os.lstat(places.log).st_size > MAX_LOG:
            os.replace(places.log, places.log + ".1")
    except FileNotFoundError:
        pass  # the first start
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(places.log, flags, 0o600)
    except OSError as error:
        raise RelayError("cannot write %s: %s" % (places.log, error.strerror)) from error


def _read_word(read: int, deadline: float) -> str:
    """Return the line that the daemon writes when it is ready or has failed; empty if it ends or hangs without one."""
    from select import POLLIN, poll

    poller = poll()
    poller.register(read, POLLIN)
    data = b""
    while not data.endswith(b"\n") and len(data) < 4096:
        if not poller.poll(max(0.0, deadline - monotonic()) * 1000):
            return ""
        piece = os.read(read, 4096)
        if not piece:
            return ""
        data += piece
    return data.decode("utf-8", "replace").strip()
