"""The two steps of a sweep over a connection: list, and end. One framed script each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nssh import framing
from nssh.errors import ConnectError, RemoteError
from nssh.sweep import ending, listing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.framing import Answer, Script
    from nssh.ssh.connection import Connection
    from nssh.sweep.ending import How, Verdict
    from nssh.sweep.servers import Listing, Server


def list_servers(connection: Connection, timeout: float) -> Listing:
    """List the login's mosh-servers. Any thread; blocks for `timeout` seconds at most.

    Raises:
        ConnectError: The connection is gone, or the time is up.
        RemoteError: The remote did not run the script, or answered nonsense.
    """
    return listing.read(_run(connection, framing.pack(listing.SCRIPT), timeout, lambda _: None))


def end_servers(
    connection: Connection,
    chosen: Sequence[tuple[Server, How]],
    timeout: float,
    on_verdict: Callable[[Verdict], object],
) -> None:
    """End servers, telling of each as soon as its fate is known. Any thread; raises as `list_servers`."""

    def on_line(line: str) -> None:
        verdict = ending.read(line)
        if verdict is not None:
            on_verdict(verdict)

    _run(connection, ending.pack(chosen), timeout, on_line)


def _run(connection: Connection, script: Script, timeout: float, on_line: Callable[[str], object]) -> Answer:
    deadline = time.monotonic() + timeout
    stream = connection.open_stream(framing.BOOTSTRAP, timeout=timeout)
    try:
        reader = framing.Reader(script.marker)
        stream.settimeout(max(deadline - time.monotonic(), 0.1))
        stream.sendall(script.stdin)
        seen = 0
        while True:
            stream.settimeout(max(deadline - time.monotonic(), 0.1))
            data = stream.recv(1 << 16)
            if not data:
                raise RemoteError(_nothing(reader))
            answer = reader.feed(data)
            lines = reader.lines if answer is None else answer.lines
            for line in lines[seen:]:
                on_line(line)
            seen = len(lines)
            if answer is not None:
                if answer.status:
                    raise RemoteError(f"the script for mosh-servers failed with status {answer.status}")
                return answer
    except TimeoutError:
        raise ConnectError("no answer in time", "timeout") from None
    except OSError as error:
        raise ConnectError(f"the connection was lost ({error.strerror or error})", "closed") from None
    finally:
        stream.close()


def _nothing(reader: framing.Reader) -> str:
    noise = reader.noise.decode("utf-8", "replace").strip().splitlines()
    return f"its shell did not run our script ({noise[-1][:200] if noise else 'no output'})"
