"""Speak OpenSSH's connection sharing protocol as a client: run commands over a master's control socket.

It is version 4 of the protocol, unchanged since OpenSSH 5 and described in PROTOCOL.mux of its sources: length-prefixed
packets on a unix socket, with the descriptors for stdin, stdout and stderr passed along. `ssh -S` for each command
would cost a process, would not tell why the master refused, and would log in anew if the master is gone. Standard
library only.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Self

from nssh.base.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION = 4
_HELLO = 0x00000001
_C_NEW_SESSION = 0x10000002
_C_ALIVE_CHECK = 0x10000004
_C_TERMINATE = 0x10000005
_C_NEW_STDIO_FWD = 0x10000008
_S_OK = 0x80000001
_S_PERMISSION_DENIED = 0x80000002
_S_FAILURE = 0x80000003
_S_EXIT_MESSAGE = 0x80000004
_S_ALIVE = 0x80000005
_S_SESSION_OPENED = 0x80000006

_NO_ESCAPE = 0xFFFFFFFF
_REQUEST = 1  # one request a connection, so any constant will do
_LIMIT = 1 << 18  # no packet to a client comes near this


def _string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">I", len(data)) + data


CHECK_SECONDS = 1.0
"""Seconds within which a live master answers."""


class MuxClient:
    """One connection to a master, for one request; a context manager that closes it.

    A session lasts as long as its connection: closing it ends the remote command.
    """

    def __init__(self, path: str, timeout: float) -> None:
        """Connect to the master, and exchange versions.

        Args:
            path: The control socket.
            timeout: Seconds for connecting and all later answers together.

        Raises:
            ConnectError: No process listens (kind `closed`), none answers in time (`timeout`), or it is no master.
        """
        self._path = path
        self._deadline = time.monotonic() + timeout
        self._sock = socket.socket(socket.AF_UNIX)
        try:
            self._sock.settimeout(timeout)
            self._sock.connect(path)
            self._greet()
        except BaseException as error:
            self._sock.close()
            if isinstance(error, TimeoutError):
                raise self._late() from None
            if isinstance(error, OSError):
                raise self._gone() from error
            raise

    def _greet(self) -> None:
        self._send(struct.pack(">II", _HELLO, _VERSION))
        kind, rest = self._receive()
        if kind != _HELLO or struct.unpack_from(">I", rest)[0] != _VERSION:
            raise ConnectError(f"{self._path} speaks another version of ssh's connection sharing")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a session opened through it ends."""
        self._sock.close()

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self._sock.fileno()

    def cut(self) -> None:
        """Shut the connection down, from any thread: a thread that waits for an answer gets ConnectError."""
        with contextlib.suppress(OSError):  # closed already
            self._sock.shutdown(socket.SHUT_RDWR)

    def check(self) -> int:
        """Return the master's PID.

        Raises:
            ConnectError: The master did not answer in time, or is gone.
        """
        self._send(struct.pack(">II", _C_ALIVE_CHECK, _REQUEST))
        return int(struct.unpack_from(">II", self._expect(_S_ALIVE))[1])

    def terminate(self) -> None:
        """Ask the master to end, and with it every session that it carries.

        Raises:
            ConnectError: The master refused, or is gone.
        """
        self._send(struct.pack(">II", _C_TERMINATE, _REQUEST))
        self._expect(_S_OK)

    def open_session(self, command: str, files: Sequence[int]) -> None:
        """Start a command whose stdin, stdout and stderr are `files`; the caller closes its copies afterwards.

        Raises:
            ConnectError: The remote or the master refused (kind `refused`), or did not answer in time.
        """
        flags = struct.pack(">5I", 0, 0, 0, 0, _NO_ESCAPE)  # no tty, X11, agent, subsystem
        packet = struct.pack(">II", _C_NEW_SESSION, _REQUEST) + _string("") + flags + _string("") + _string(command)
        self._send(packet)
        self._pass_files(files)
        self._expect(_S_SESSION_OPENED)

    def open_port(self, host: str, port: int, files: Sequence[int]) -> None:
        """Connect `files` (input, output) to a TCP port, with `host` as the remote resolves it.

        Raises:
            ConnectError: As `open_session`.
        """
        packet = struct.pack(">II", _C_NEW_STDIO_FWD, _REQUEST) + _string("") + _string(host)
        self._send(packet + struct.pack(">I", port))
        self._pass_files(files)
        self._expect(_S_SESSION_OPENED)

    def exit_status(self, deadline: float) -> int | None:
        """Wait for the session's end; return the command's exit status, or None if the master sent none.

        Args:
            deadline: By `time.monotonic`.

        Raises:
            ConnectError: The deadline passed (kind `timeout`).
        """
        self._deadline = deadline
        status = None
        while True:
            try:
                kind, rest = self._receive()
            except ConnectError as error:
                if error.kind == "closed":
                    return status
                raise
            if kind == _S_EXIT_MESSAGE:
                status = int(struct.unpack_from(">II", rest)[1])

    def _late(self) -> ConnectError:
        return ConnectError(f"the ssh connection behind {self._path} did not answer in time", "timeout")

    def _gone(self) -> ConnectError:
        return ConnectError(f"the ssh connection behind {self._path} is gone", "closed")

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise self._late()
        return remaining

    def _send(self, packet: bytes) -> None:
        self._sock.settimeout(self._remaining())
        try:
            self._sock.sendall(_string(packet))
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise self._gone() from error

    def _pass_files(self, files: Sequence[int]) -> None:
        # The master's mm_receive_fd expects one descriptor for each message of one byte.
        try:
            for file in files:
                socket.send_fds(self._sock, [b"\0"], [file])
        except OSError as error:
            raise self._gone() from error

    def _receive_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._sock.settimeout(self._remaining())
            try:
                part = self._sock.recv(size - len(data))
            except TimeoutError:
                raise self._late() from None
            except OSError as error:
                raise self._gone() from error
            if not part:
                raise self._gone()
            data += part
        return data

    def _receive(self) -> tuple[int, bytes]:
        (size,) = struct.unpack(">I", self._receive_exactly(4))
        if not 8 <= size <= _LIMIT:
            raise ConnectError(f"what listens at {self._path} is no ssh")
        packet = self._receive_exactly(size)
        return struct.unpack_from(">I", packet)[0], packet[4:]

    def _expect(self, wanted: int) -> bytes:
        kind, rest = self._receive()
        if kind == wanted and (kind == _S_OK or len(rest) >= 8):
            return rest
        if kind in {_S_FAILURE, _S_PERMISSION_DENIED} and len(rest) >= 8:
            reason = rest[8:][:200].decode("utf-8", "replace")
            raise ConnectError(f"refused over the shared ssh connection: {reason}", "refused")
        raise ConnectError(f"what listens at {self._path} gave an unexpected answer")


def master_pid(control_path: str, timeout: float = CHECK_SECONDS) -> int | None:
    """Return the PID of the master that answers at a control socket, or None."""
    try:
        with MuxClient(control_path, timeout) as client:
            return client.check()
    except ConnectError:
        return None
