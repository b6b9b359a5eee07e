"""Runs the two scripts of a sweep over a connection: one lists the mosh-servers, one ends those that are chosen."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError, RemoteError
from nssh.mosh import end_servers, list_servers
from nssh.ssh import framing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nssh.mosh.end_servers import EndMethod, SweepVerdict
    from nssh.mosh.mosh_servers import Listing, MoshServer
    from nssh.ssh.connection import ByteStream, Connection
    from nssh.ssh.framing import Answer, Script


def list_script() -> Script:
    """Return the script that lists the servers."""
    return framing.pack(framing.source(list_servers.__file__, "list_servers.sh"))


def read_list(answer: Answer) -> Listing:
    """Read the answer of that script.

    Raises:
        RemoteError: The answer is malformed, or names more servers than a host can have.
    """
    try:
        return list_servers.read(answer.lines)
    except list_servers.ListingError as error:
        raise RemoteError(str(error)) from None


def end_script(chosen: Iterable[tuple[MoshServer, EndMethod]], grace: int = end_servers.GRACE) -> Script:
    """Return the script that ends servers; `grace` is the time from SIGTERM to SIGKILL in seconds."""
    script = framing.source(end_servers.__file__, "end_servers.sh")
    return framing.pack(script, lines=end_servers.orders(chosen, grace))


class ScriptRunner:
    """Runs a sweep's scripts on one host, one at a time. Methods may be called from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._stream: ByteStream | None = None
        self._closed = False

    def close(self) -> None:
        """Abort the script that another thread runs, and refuse further ones. Does not close the connection."""
        with self._lock:
            self._closed = True
            stream = self._stream
        if stream is not None:
            stream.close()

    def servers(self, timeout: float) -> Listing:
        """List the mosh-servers of the login's user; blocks for `timeout` seconds at most.

        Raises:
            ConnectError: The connection is lost, or time is up.
            RemoteError: The remote did not run the script, or its answer is malformed.
        """
        return read_list(self._run(list_script(), timeout, lambda _: None))

    def end(
        self,
        chosen: Sequence[tuple[MoshServer, EndMethod]],
        timeout: float,
        on_verdict: Callable[[SweepVerdict], object],
    ) -> None:
        """End servers. Blocks until the script has ended, and raises what `servers` raises.

        Args:
            chosen: The servers, and how to end each.
            timeout: Seconds to start the script; it may then run for `end_servers.LONGEST` seconds more.
            on_verdict: Called on this thread for each server as soon as its fate is known.
        """

        def on_line(line: str) -> None:
            verdict = end_servers.read(line)
            if verdict is not None:
                on_verdict(verdict)

        self._run(end_script(chosen), timeout + end_servers.LONGEST, on_line)

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
            raise TimeoutError  # even if the remote keeps sending
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
