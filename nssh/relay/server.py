"""Run the daemon: accept connections, each on a thread, and end when it is told to or nobody needs it."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import stat
import sys
import threading
from time import monotonic, time

from nssh.relay.handler import Handler
from nssh.relay.hub import Hub
from nssh.relay.protocol import ServerConnection
from nssh.relay.relay_paths import RelayError, is_same_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.relay.relay_paths import RelayPaths
    from nssh.relay.store import Store

MAX_CONNECTIONS = 200
MAX_LOG = 1 << 20
_CHECK = 5.0
"""Seconds between checks of our socket and lock, which a cleaner of old files may have removed."""
_PURGE = 600.0
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server:
    """Serves until SIGTERM or SIGINT, or until there was no connection for `idle` seconds.

    Args:
        places: The relay's paths.
        lock: The descriptor of the lock, which the caller holds.
        store: The spool; `run` closes it at its end.
        idle: Seconds.
        keepalive: Seconds between keepalive events.

    Raises:
        RelayError: The socket can't be created.
    """

    def __init__(self, places: RelayPaths, lock: int, store: Store, *, idle: float, keepalive: float) -> None:
        self._places = places
        self._lock_fd = lock
        self._store = store
        self._idle = idle
        self._guard = threading.Lock()
        self._threads: dict[threading.Thread, socket.socket] = {}
        self._last_active = monotonic()
        self._signals, signals_in = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(signals_in, False)
        self._signals_in = signals_in
        self._listener = _listen(places.socket)
        self._socket_identity = _identity(places.socket)
        self._handler = Handler(store, Hub(), keepalive)

    def catch_signals(self) -> None:
        """Let SIGTERM and SIGINT end `run` from now on; main thread."""
        signal.set_wakeup_fd(self._signals_in, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def run(self) -> None:
        """Serve until the end; main thread."""
        try:
            self._loop()
        finally:
            self._stop()

    def _loop(self) -> None:
        poller = select.poll()
        poller.register(self._signals, select.POLLIN)
        poller.register(self._listener.fileno(), select.POLLIN)
        next_purge = 0.0
        while True:
            if monotonic() >= next_purge:
                next_purge = monotonic() + _PURGE
                while self._store.purge(time()) and not poller.poll(0):
                    pass
            ready = {fd for fd, _ in poller.poll(min(_CHECK, self._idle) * 1000)}
            if self._signals in ready:
                return
            if self._listener.fileno() in ready:
                self._accept()
            if not ready and not self._check(poller):
                return

    def _check(self, poller: select.poll) -> bool:
        """Check lock, log, idle time and socket in a quiet moment; return whether to go on."""
        if not is_same_file(self._lock_fd, self._places.lock):
            sys.stderr.write("nssh relay: the state directory was removed, ending\n")
            return False
        _bound_log()
        with self._guard:
            is_idle = not self._threads and monotonic() - self._last_active >= self._idle
        if is_idle:
            # No client can connect from now on, but one may just have connected.
            self._remove_socket()
            if not self._accept():
                return False
        if _identity(self._places.socket) != self._socket_identity:
            poller.unregister(self._listener.fileno())
            self._listener.close()
            self._listener = _listen(self._places.socket)
            self._socket_identity = _identity(self._places.socket)
            poller.register(self._listener.fileno(), select.POLLIN)
        return True

    def _accept(self) -> int:
        """Accept all waiting connections; return their number."""
        count = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return count
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    sys.stderr.write("nssh relay: cannot accept: %s\n" % error.strerror)
                    threading.Event().wait(0.2)  # the listener stays ready, and poll would return at once
                    return count
                if error.errno == errno.ECONNABORTED:
                    continue
                raise
            count += 1
            with self._guard:
                is_full = len(self._threads) >= MAX_CONNECTIONS
            if is_full:
                connection.settimeout(0)
                _send_and_close(connection, _FULL)
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._guard:
                self._threads[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._handler.serve(ServerConnection(connection))
        finally:
            with self._guard:
                self._threads.pop(threading.current_thread(), None)
                self._last_active = monotonic()
            connection.close()

    def _stop(self) -> None:
        self._remove_socket()
        self._listener.close()
        with self._guard:
            threads = dict(self._threads)
        for connection in threads.values():
            _hang_up(connection)
        deadline = monotonic() + 2.0
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        self._store.close()

    def _remove_socket(self) -> None:
        if self._socket_identity is not None and _identity(self._places.socket) == self._socket_identity:
            os.unlink(self._places.socket)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # By its bare name, because sun_path holds 108 bytes and some homes are deeper. The umask makes it 0600.
        os.chdir(os.path.dirname(path))
        try:
            listener.bind(os.path.basename(path))
        finally:
            os.chdir("/")
        listener.listen(1024)
        listener.settimeout(0)
    except OSError as error:
        listener.close()
        raise RelayError("cannot listen on %s: %s" % (path, error.strerror or error)) from error
    except RelayError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode) or info.st_uid != os.geteuid():
        raise RelayError("cannot listen on %s: something else is there; remove it" % path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        os.chdir(os.path.dirname(path))
        try:
            probe.settimeout(1.0)
            probe.connect(os.path.basename(path))
        except (ConnectionRefusedError, FileNotFoundError):
            os.unlink(path)
        else:
            raise RelayError("cannot listen on %s: another process does" % path)
        finally:
            os.chdir("/")


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed in the meantime


def _send_and_close(connection: socket.socket, data: bytes) -> None:
    try:
        connection.send(data)
    except OSError:
        pass  # the client is gone already
    finally:
        connection.close()


def _bound_log() -> None:
    """Empty our log (standard error, if it is a regular file) when it has grown too large."""
    info = os.fstat(2)
    if stat.S_ISREG(info.st_mode) and info.st_size > MAX_LOG:
        os.ftruncate(2, 0)
