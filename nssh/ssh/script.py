"""Run framed scripts over any connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.base.errors import RemoteError
from nssh.ssh import framing

if TYPE_CHECKING:
    from nssh.ssh.connection import Connection


def last_line(text: bytes | str) -> str:
    """Return the last line that is not blank: at most 300 characters, without control characters; empty if none."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1][:300] if c.isprintable()) if lines else ""


def exchange(connection: Connection, script: framing.Script, timeout: float) -> tuple[framing.Answer, bytes]:
    """Run a framed script; return its answer, whatever its status, and its stderr.

    Raises:
        ConnectError: The connection is gone, or `timeout` seconds are over.
        RemoteError: The shell did not run the script to its end.
    """
    done = connection.run(framing.BOOTSTRAP, stdin=script.stdin, timeout=timeout)
    return framing.unpack(script, done.stdout), done.stderr


def run_script(connection: Connection, script: str, *, timeout: float, what: str) -> framing.Answer:
    """Frame a POSIX sh script, run it, and return its answer; a status other than 0 is an error.

    Args:
        connection: Any connection.
        script: Calls `say` and `finish` of `nssh.ssh.framing`.
        timeout: Seconds.
        what: Names in the error's text what failed.

    Raises:
        ConnectError: The connection is gone, or the time is over.
        RemoteError: The script's status is not 0; the text has its `error` field, or else the last line of stderr.
    """
    answer, stderr = exchange(connection, framing.pack(script), timeout)
    if answer.status:
        reason = answer.fields.get("error") or last_line(stderr) or f"status {answer.status}"
        raise RemoteError(f"{what} failed: {reason}")
    return answer
