"""Runs `nssh.remote.doctor` on the remote, gives it orders, and reads its answers."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from nssh.base.errors import ConnectError, RemoteError
from nssh.base.printable import LONGEST, printable
from nssh.install import deploy
from nssh.ssh import framing
from nssh.ssh.script import last_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nssh.ssh.connection import Connection


class RemoteHelper:
    """The doctor's helper process on the remote. For one thread; every method blocks.

    Every method but `finish` and `close` raises ConnectError when the connection is lost or time is up, and RemoteError
    when the helper reports an error.
    """

    def __init__(self, connection: Connection, name: str, timeout: float) -> None:
        """Start the helper and wait until it is ready.

        Args:
            connection: The way to the remote.
            name: The name of the helper's private directory below the remote's state directory.
            timeout: Seconds.

        Raises:
            RemoteError: The remote has no usable python3.
        """
        deadline = time.monotonic() + timeout
        # Only what the helper imports: these files are sent each time.
        files = {path: text for path, text in deploy.payload().files.items() if not path.startswith("nssh/relay/")}
        script = deploy.script("nssh.remote.doctor", {"name": name, "files": files})
        self._reader = framing.AnswerReader(script.marker)
        self._taken = 0
        self._stream = connection.open_stream(framing.BOOTSTRAP, timeout=timeout)
        try:
            self._send(script.stdin, deadline)
            self._next("ready", deadline)
        except BaseException:
            self.close()
            raise

    def ask(self, order: Mapping[str, object], timeout: float) -> dict[str, Any]:
        """Send an order and return the answer, both JSON objects; `timeout` is in seconds."""
        deadline = time.monotonic() + timeout
        self._send(json.dumps(order).encode() + b"\n", deadline)
        try:
            answer = json.loads(self._next("answer", deadline))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise RemoteError("the remote's answer makes no sense")
        if "error" in answer:
            raise RemoteError(printable(str(answer["error"]), LONGEST))
        return answer

    def finish(self, timeout: float) -> None:
        """Let the helper remove its files, and wait until it has, for `timeout` seconds at most. Never raises."""
        deadline = time.monotonic() + timeout
        try:
            self._stream.send_eof()
            while self._patient(deadline) and self._stream.recv(1 << 16):
                pass
        except (OSError, ConnectError):
            return
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection. The helper removes its files when it sees the end of its input."""
        self._stream.close()

    def _send(self, data: bytes, deadline: float) -> None:
        try:
            self._stream.settimeout(max(deadline - time.monotonic(), 0.05))
            self._stream.sendall(data)
        except TimeoutError:
            raise ConnectError("the remote takes nothing in", "timeout") from None
        except OSError as error:
            raise ConnectError(f"the connection was lost ({error.strerror or error})", "closed") from None

    def _next(self, word: str, deadline: float) -> str:
        """Return the rest of the next line that begins with `word`."""
        while True:
            data = self._receive(deadline)
            answer = self._reader.feed(data) if data else None
            lines = self._reader.lines if answer is None else answer.lines
            said = [line for line in lines if line.startswith(f"{word} ")]
            if word == "ready" and said:
                return said[0]
            if len(said) > self._taken:
                self._taken += 1
                return said[self._taken - 1].partition(" ")[2]
            if answer is not None or not data:
                raise self._ended(answer)

    def _receive(self, deadline: float) -> bytes:
        try:
            return self._stream.recv(1 << 16) if self._patient(deadline) else b""
        except TimeoutError:
            raise ConnectError("the remote does not answer in time", "timeout") from None
        except OSError as error:
            raise ConnectError(f"the connection was lost ({error.strerror or error})", "closed") from None

    def _patient(self, deadline: float) -> bool:
        """Set the stream's timeout to the time that is left.

        Raises:
            TimeoutError: None is left, although the remote may still be sending.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._stream.settimeout(left)
        return True

    def _ended(self, answer: framing.Answer | None) -> RemoteError:
        if answer is not None and "nopython" in answer.fields:
            found = answer.fields["nopython"]
            return RemoteError(f"there is no usable python3 ({found})" if found else "there is no python3")
        said = last_line(str(getattr(self._stream, "stderr", ""))) or last_line(self._reader.noise)
        return RemoteError(f"python3 there ended early ({said or 'no reason given'})")
