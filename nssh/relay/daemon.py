"""Starting the relay on demand: one a user, detached from whoever asked for it, ready when `ensure_running` returns."""

from __future__ import annotations

import os
import sys
from time import monotonic, sleep

from nssh.relay.places import BusyError, Places, RelayError, take_lock
from nssh.wire.http import Client, HttpError, Timeout, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

START_TIMEOUT = 10.0
MAX_LOG = 256 * 1024
_KEPT_VARIABLES = ("HOME", "XDG_STATE_HOME", "PATH", "LANG", "LC_ALL", "TMPDIR")


def ensure_running(places: Places, options: Sequence[str] = (), timeout: float = START_TIMEOUT) -> bool:
    """Start the daemon unless it answers already, and return when it does; return whether it was started.

    Any number of processes may call this at once: a lock lets one of them start it while the others wait.

    Args:
        places: Where.
        options: More arguments for `serve`.
        timeout: Seconds.

    Raises:
        RelayError: It can't be started, or does not answer.
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
            # The one that held the lock a moment ago is ending (idle, or killed), or has yet to put its socket back.
            if monotonic() + pause > deadline:
                raise RelayError("the nssh relay%s does not answer; end it and try again" % _holder(places))
            sleep(pause)
            pause = min(2 * pause, 0.2)
    finally:
        os.close(lock)
    return False


def _answers(places: Places, deadline: float) -> bool:
    """Ask for its health; False if there is nobody."""
    try:
        with Client("unix:" + places.socket, timeout=max(0.1, deadline - monotonic())) as client:
            return client.request("GET", "/v1/health").status == 200
    except Timeout:
        raise RelayError("the nssh relay%s does not answer; end it and try again" % _holder(places)) from None
    except Unreachable:
        return False
    except HttpError:
        return False  # closed in the middle: it is ending


def _holder(places: Places) -> str:
    """Return ` (PID n)` for a message, if the daemon left its number."""
    try:
        with open(places.lock, "rb") as file:
            number = file.read(16).strip()
    except OSError:
        return ""
    return " (PID %s)" % number.decode("ascii") if number.isdigit() else ""


def _spawn(places: Places, options: Sequence[str], deadline: float) -> bool:
    """Start the daemon's process and wait for its word; False if another one holds the lock."""
    # A process of its own rather than a fork: a fork would carry our argv (a URL, say) and memory for hours.
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    argv = [sys.executable, "-I", "-S", program, "serve", "--detached", "--state", places.state]
    argv += ["--socket", places.socket, *options]
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    if not sys.executable:
        raise RelayError("cannot start the nssh relay: this python does not know its own path")
    read, write = os.pipe()
    try:
        log = _open_log(places)
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
        os.waitpid(pid, 0)  # it said why and ends; this process may live on
    if word == "busy":
        return False
    raise RelayError(word or "the nssh relay did not start: see %s" % places.log)


def _open_log(places: Places) -> int:
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
    """Return the line that the daemon writes when it is ready or gives up; "" if it ends or hangs without one."""
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
