"""Explain why an ssh failed: choose the line of its output to show, and the kind of the error."""

from __future__ import annotations

import re

from nssh.base.errors import ConnectError

# The most telling first: a jump host's refusal, for example, is followed by a mere "Connection closed".
_KINDS = (
    ("resolve", r"could not resolve hostname|name or service not known|nodename nor servname"),
    ("hostkey", r"has changed and you have requested strict checking|no \S+ host key is known for|is revoked"),
    ("refused", r"connection refused|forwarding (?:failed|request failed)|administratively prohibited"),
    ("hostkey", r"host key verification failed|remote host identification has changed"),
    ("timeout", r"timed out|timeout"),
    ("auth", r"permission denied|too many authentication failures|no more authentication methods|no supported auth"),
    ("unreachable", r"no route to host|network is unreachable|unable to negotiate|bad configuration option|not found"),
    ("closed", r"connection (?:to \S+ )?closed|connection reset|closed by remote host|broken pipe"),
)
_OFFENDING = re.compile(r"Offending \S+ key in (\S+?):(\d+)", re.IGNORECASE)


def _clean(line: str) -> str:
    line = "".join(c for c in line.strip()[:300] if c.isprintable())
    return line.removeprefix("ssh: ").rstrip(".")


def explain(destination: str, text: str, status: int | None) -> ConnectError:
    """Return the error for an ssh that failed.

    Args:
        destination: The host as the user typed it.
        text: What ssh wrote to its log and stderr.
        status: The exit status, shown if `text` has no line; None if it is not known.
    """
    lines = [line for line in map(_clean, text.splitlines()) if line]
    for kind, pattern in _KINDS:
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE):
                where = _OFFENDING.search(text) if kind == "hostkey" else None
                return ConnectError(
                    f"{destination}: {line}" + (f" (offending key in {where[1]}:{where[2]})" if where else ""), kind
                )
    reason = (
        lines[-1] if lines else "ssh ended without a reason" if status is None else f"ssh ended with status {status}"
    )
    return ConnectError(f"{destination}: {reason}")
