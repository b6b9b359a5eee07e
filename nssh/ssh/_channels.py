"""Sending on paramiko's channels and closing them, without two defects: a race that ends the connection, and waiting.

The race: paramiko decides under the channel's lock that data may be sent, and sends it after letting go of the lock.
In between its own thread may answer the remote's CLOSE (a command that ended without reading its input), and OpenSSH
ends the whole connection when data for a closed channel arrives. Here both happen under the lock.

The waiting: paramiko sends without a deadline, and a full link to a peer that went away takes nothing until the kernel
gives up. What must not wait runs in a thread that is left behind.
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

_FAREWELL = 1.0  # seconds
_OVERHEAD = 64  # bytes of a packet that are not data, as paramiko reckons
_LOOK = 0.1  # seconds between looks at a transport that exchanges keys, which tells its end to nobody


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
    """Tell the end of the input, unless the channel is closed.

    Raises:
        OSError: The connection is closed.
    """

    def eof() -> paramiko.Message | None:
        return None if channel.closed else channel._send_eof()  # type: ignore[attr-defined]  # noqa: SLF001

    while not _send_locked(channel, eof):
        _wait_for_keys(channel, None)


def send_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Send a request on a channel that nobody else uses yet; raises what paramiko does."""
    _transport(channel)._send_user_message(message)  # type: ignore[attr-defined]  # noqa: SLF001


def send_input(channel: paramiko.Channel, data: bytes) -> None:
    """Feed a command its input, then the end of it, in a thread that ends with the channel: the remote may be slow."""

    def send() -> None:
        with contextlib.suppress(OSError):  # it ended without reading all
            send_all(channel, data, None)
            send_eof(channel)

    threading.Thread(target=send, name="nssh-paramiko-input", daemon=True).start()


def bounded(work: Callable[[], _T], deadline: float, undo: Callable[[_T], None]) -> _T:
    """Do what may be stuck in sending, in a thread that is left behind at the deadline.

    Raises:
        TimeoutError: The deadline passed; a late result is undone.
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
    """Close a channel and its pipe, without waiting for more than a second."""
    _patiently(channel.close)


def hang_up(channel: paramiko.Channel) -> None:
    """Do what `close` does but for closing the pipe of its fileno, which a thread may be waiting on."""

    def work() -> None:
        with channel.lock:
            messages = channel._close_internal()  # type: ignore[attr-defined]  # noqa: SLF001
        for message in messages:
            if message is not None:
                send_request(channel, message)

    _patiently(work)


def _patiently(work: Callable[[], object]) -> None:
    def do() -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the link is gone, and all on it
            work()

    thread = threading.Thread(target=do, name="nssh-paramiko-close", daemon=True)
    thread.start()
    thread.join(_FAREWELL)


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
    """Send what `make` makes of the channel as it is, under its lock; False while keys are being exchanged.

    Never waits for the exchange with the lock held: paramiko's thread needs it to get there.
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
    while transport.is_active() and not transport.clear_to_send.wait(_LOOK):
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError("timed out")
