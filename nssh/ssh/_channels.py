"""Send on paramiko's channels and close them, without two defects of paramiko's own methods.

1. A race that ends the whole connection. paramiko checks under the channel's lock that data may be sent, and sends it
   after releasing the lock. In between, paramiko's thread may answer the remote's CLOSE (the command ended without
   reading its input), and OpenSSH drops the connection when data for a closed channel arrives. Here the check and the
   sending both happen under the lock.
2. Sending without a deadline. If the peer went away and the link is full, the kernel waits for minutes. Here, calls
   that must not wait run on a daemon thread, which is abandoned at the deadline.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import paramiko
from paramiko.common import cMSG_CHANNEL_DATA

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_CLOSE_SECONDS = 1.0
_OVERHEAD = 64  # bytes of a packet that are not data, by paramiko's own calculation
_KEY_POLL_SECONDS = 0.1  # during a key exchange: a transport that ends meanwhile wakes nobody


def send_all(channel: paramiko.Channel, data: bytes, deadline: float | None) -> None:
    """Send all of `data`.

    Raises:
        TimeoutError: `deadline` (by `time.monotonic`) passed.
        OSError: The channel or the connection is closed.
    """
    view = memoryview(data)
    while view:
        view = view[_send_some(channel, view, deadline) :]


def send_eof(channel: paramiko.Channel) -> None:
    """Send EOF, unless the channel is closed.

    Raises:
        OSError: The connection is closed.
    """

    def eof() -> paramiko.Message | None:
        return None if channel.closed else channel._send_eof()  # type: ignore[attr-defined]  # noqa: SLF001

    while not _send_locked(channel, eof):
        _wait_for_keys(channel, None)


def send_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Send a request on a channel that no other thread uses yet; raises what paramiko does."""
    _transport(channel)._send_user_message(message)  # type: ignore[attr-defined]  # noqa: SLF001


def send_input(channel: paramiko.Channel, data: bytes) -> None:
    """Send a command its input and then EOF, on a thread of its own, because the remote may read slowly.

    The thread ends with the channel.
    """

    def send() -> None:
        with contextlib.suppress(OSError):  # the command ended without reading all of it
            send_all(channel, data, None)
            send_eof(channel)

    threading.Thread(target=send, name="nssh-paramiko-input", daemon=True).start()


def bounded(work: Callable[[], _T], deadline: float, undo: Callable[[_T], None]) -> _T:
    """Call `work`, which may hang, on a thread that is abandoned at the deadline; return its result or raise its error.

    Raises:
        TimeoutError: The deadline passed. If `work` returns later, its result is given to `undo`.
    """
    results: list[_T] = []
    errors: list[BaseException] = []
    lock = threading.Lock()
    late = False

    def do() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001, handed to the caller below
            errors.append(error)
            return
        with lock:
            if not late:
                results.append(result)
                return
        undo(result)

    thread = threading.Thread(target=do, name="nssh-paramiko-open", daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0))
    with lock:
        late = True
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


def close(channel: paramiko.Channel) -> None:
    """Close a channel and the pipe of its `fileno`, waiting for a second at most."""
    _for_a_second(channel.close)


def hang_up(channel: paramiko.Channel) -> None:
    """Close a channel, but not the pipe of its `fileno`, on which a thread may be waiting."""

    def work() -> None:
        with channel.lock:
            messages = channel._close_internal()  # type: ignore[attr-defined]  # noqa: SLF001
        for message in messages:
            if message is not None:
                send_request(channel, message)

    _for_a_second(work)


def _for_a_second(work: Callable[[], object]) -> None:
    def do() -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the connection is gone already
            work()

    thread = threading.Thread(target=do, name="nssh-paramiko-close", daemon=True)
    thread.start()
    thread.join(_CLOSE_SECONDS)


def _transport(channel: paramiko.Channel) -> paramiko.Transport:
    transport = channel.transport
    if transport is None or not transport.is_active():
        raise BrokenPipeError(errno.EPIPE, "the connection is gone")
    return transport


def _send_some(channel: paramiko.Channel, view: memoryview, deadline: float | None) -> int:
    with channel.lock:
        while channel.out_window_size == 0 and not channel.closed:
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                raise TimeoutError("timed out")
            channel.out_buffer_cv.wait(remaining)
    size = 0

    def some() -> paramiko.Message | None:
        nonlocal size
        if channel.closed:
            raise BrokenPipeError(errno.EPIPE, "the stream is closed")
        size = min(channel.out_window_size, channel.out_max_packet_size - _OVERHEAD, len(view))
        if size == 0:  # another sender was faster
            return None
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_DATA)
        message.add_int(channel.remote_chanid)
        message.add_string(bytes(view[:size]))
        channel.out_window_size -= size
        return message

    while not _send_locked(channel, some):
        _wait_for_keys(channel, deadline)
    return size


def _send_locked(channel: paramiko.Channel, make: Callable[[], paramiko.Message | None]) -> bool:
    """Send the message that `make` returns, both under the channel's lock; return False during a key exchange.

    It never waits for the key exchange while it holds the lock, because paramiko's thread needs the lock to finish.
    """
    transport = _transport(channel)
    with channel.lock, transport.clear_to_send_lock:
        if not transport.clear_to_send.is_set():
            return False
        message = make()
        if message is not None:
            try:
                transport._send_message(message)  # type: ignore[attr-defined]  # noqa: SLF001
            except EOFError as error:
                raise BrokenPipeError(errno.EPIPE, "the connection is gone") from error
    return True


def _wait_for_keys(channel: paramiko.Channel, deadline: float | None) -> None:
    transport = _transport(channel)
    while transport.is_active() and not transport.clear_to_send.wait(_KEY_POLL_SECONDS):
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError("timed out")
