"""The two steps of a sweep over a connection, list and end: one framed script each."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError, RemoteError
from nssh.ssh import framing
from nssh.sweep import end_servers, list_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.ssh.connection import ByteStream, Connection
    from nssh.ssh.framing import Answer, Script
    from nssh.sweep.end_servers import EndMethod, Verdict
    from nssh.sweep.mosh_servers import Listing, MoshServer


class ScriptRunner:
    """A host that is swept; one step at a time, on any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._stream: ByteStream | None = None
        self._closed = False

    def close(self) -> None:
        """End the step that another thread is at, and allow no more; the connection is left as it is."""
        with self._lock:
            self._closed = True
            stream = self._stream
        if stream is not None:
            stream.close()

    def servers(self, timeout: float) -> Listing:
        """List the login's mosh-servers; `timeout` is in seconds, for all of it.

        Raises:
            ConnectError: The connection is gone, or the time is up.
            RemoteError: The remote did not run the script, or answered nonsense.
        """
        return list_servers.read(self._run(list_servers.script(), timeout, lambda _: None))

    def end(
        self, chosen: Sequence[tuple[MoshServer, EndMethod]], timeout: float, on_verdict: Callable[[Verdict], object]
    ) -> None:
        """End servers, telling of each as soon as its fate is known; raises as `servers`.

        Args:
            chosen: Whom, and how.
            timeout: Seconds to reach the remote and to start; the ending itself has limits of its own.
            on_verdict: Called on this thread.
        """

        def on_line(line: str) -> None:
            verdict = end_servers.read(line)
            if verdict is not None:
                on_verdict(verdict)

        self._run(end_servers.pack(chosen), timeout + end_servers.LONGEST, on_line)

    def _run(self, script: Script, timeout: float, on_line: Callable[[str], object]) -> Answer:
        deadline = time.monotonic() + timeout
        stream = self._connection.open_stream(framing.BOOTSTRAP, timeout=timeout)
        with self._lock:
            self._stream = stream
            closed = self._closed
        try:
            if closed:
                raise ConnectError("the sweep was stopped", "closed")
            stream.settimeout(max(deadline - time.monotonic(), 0.1))
            stream.sendall(script.stdin)
            return _converse(stream, framing.AnswerReader(script.marker), deadline, on_line)
        except TimeoutError:
            raise ConnectError("no answer in time", "timeout") from None
        except OSError as error:
            raise ConnectError(f"the connection was lost ({error.strerror or error})", "closed") from None
        finally:
            self._stream = None
            stream.close()


def _converse(
    stream: ByteStream, reader: framing.AnswerReader, deadline: float, on_line: Callable[[str], object]
) -> Answer:
    seen = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError  # whatever goes on arriving
        stream.settimeout(left)
        data = stream.recv(1 << 16)
        if not data:
            noise = reader.noise.decode("utf-8", "replace").strip().splitlines()
            raise RemoteError(f"its shell did not run our script ({noise[-1][:200] if noise else 'no output'})")
        answer = reader.feed(data)
        lines = reader.lines if answer is None else answer.lines
        for line in lines[seen:]:
            on_line(line)
        seen = len(lines)
        if answer is not None:
            if answer.status:
                raise RemoteError(f"the script for its mosh-servers failed with status {answer.status}")
            return answer
