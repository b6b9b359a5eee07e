"""Framed scripts over any connection, and the one that writes a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.base.errors import RemoteError
from nssh.ssh import framing

if TYPE_CHECKING:
    from nssh.ssh.connection import Connection


def last_line(text: bytes | str) -> str:
    """Return the last line that is not blank, at most 300 characters without control characters, or ``."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1][:300] if c.isprintable()) if lines else ""


def exchange(connection: Connection, script: framing.Script, timeout: float) -> tuple[framing.Answer, bytes]:
    """Run a script that is framed already; return its answer, whatever its status, and its stderr.

    Raises:
        ConnectError: The connection is gone, or the deadline (seconds) passed.
        RemoteError: The shell did not run the script.
    """
    done = connection.run(framing.BOOTSTRAP, stdin=script.stdin, timeout=timeout)
    return framing.unpack(script, done.stdout), done.stderr


def run_script(
    connection: Connection,
    script: str,
    *,
    lines: tuple[str, ...] = (),
    data: bytes = b"",
    timeout: float = 30.0,
    what: str = "a command on the remote",
) -> framing.Answer:
    """Run a framed POSIX sh script and return its answer; a status other than 0 is an error.

    Args:
        connection: Any connection.
        script: Uses `say` and `finish` of `nssh.ssh.framing`.
        lines: Read by the script with `IFS= read -r name`.
        data: The rest of its stdin.
        timeout: Seconds.
        what: What failed, for the error's text.

    Raises:
        ConnectError: The connection is gone, or the deadline passed.
        RemoteError: The script finished with another status than 0; the text has its `error` field or the last line
            of stderr.
    """
    answer, stderr = exchange(connection, framing.pack(script, lines=lines, data=data), timeout)
    if answer.status:
        reason = answer.fields.get("error") or last_line(stderr) or f"status {answer.status}"
        raise RemoteError(f"{what} failed: {reason}")
    return answer


def put(connection: Connection, data: bytes, path: str, timeout: float) -> None:
    """Write a 0600 file on the remote; see `Connection.put`.

    Raises:
        ConnectError: The connection is gone, or the deadline passed; the old file is untouched.
        RemoteError: It could not be written (no such directory, disk full, …); the old file is untouched.
        ValueError: `path` holds a newline or NUL.
    """
    run_script(
        connection,
        framing.source(__file__, "put.sh"),
        lines=(path, str(len(data))),
        data=data,
        timeout=timeout,
        what=f"writing {path} on the remote",
    )
