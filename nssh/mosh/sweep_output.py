"""Formats mosh-servers as a table for a terminal, and as JSON for scripts. Makes a remote's text printable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nssh.base.printable import printable
from nssh.mosh.mosh_servers import ClientState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nssh.mosh.swept_host import ServerEntry, SweptHost

_LONGEST = 40
HEAD = ("HOST", "PID", "AGE", "STATE", "CLIENT", "IDLE", "RUNS", "")


def span(seconds: float | None) -> str:
    """Return a duration in its two largest units: `5d3h`, `12m4s`; `-` for None."""
    if seconds is None:
        return "-"
    rest = int(seconds)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"


def cells(entry: ServerEntry, note: str = "") -> tuple[str, ...]:
    """Return the table cells of a server. The last is `note` (its fate, if it was chosen), or else why it is spared."""
    server = entry.server
    state = str(server.state)
    if server.state is ClientState.DETACHED and server.since is not None:
        state = f"detached for {span(server.since)}"
    return (
        printable(entry.host.name, _LONGEST),
        str(server.pid),
        span(server.age),
        state,
        printable(server.client, _LONGEST) or "-",
        span(server.idle),
        printable(server.runs, _LONGEST) or "-",
        note or (f"spared: {entry.spared}" if entry.spared else ""),
    )


def widths(hosts: Iterable[SweptHost]) -> tuple[int, ...]:
    """Return usual widths of the columns, for lines that are printed before all servers are known."""
    longest = max((len(printable(host.name, _LONGEST)) for host in hosts), default=4)
    return (max(longest, 4), 7, 7, len("detached for 23h59m"), 15, 7, 12, 0)


def fitted(entries: Iterable[ServerEntry]) -> tuple[int, ...]:
    """Return the widths of the columns that fit these servers."""
    columns = [*zip(HEAD, *map(cells, entries))]
    return (*(max(map(len, texts)) for texts in columns[:-1]), 0)


def line(texts: tuple[str, ...], columns: tuple[int, ...]) -> str:
    """Return one line of the table."""
    return "  ".join(text.ljust(width) for text, width in zip(texts, columns)).rstrip()


def as_json(hosts: Iterable[SweptHost]) -> str:
    """Return the hosts and their servers as JSON, in the form that docs/sweep.md describes."""
    return json.dumps([_host(host) for host in hosts], indent=2)


def _host(host: SweptHost) -> dict[str, Any]:
    return {
        "host": host.name,
        "error": host.error or None,
        "servers": [_entry(entry) for entry in host.entries],
    }


def _entry(entry: ServerEntry) -> dict[str, Any]:
    server = entry.server
    return {
        "pid": server.pid,
        "age": round(server.age),
        "state": str(server.state),
        "detached_for": None if server.since is None else round(server.since),
        "client": server.client or None,
        "idle": None if server.idle is None else round(server.idle),
        "runs": server.runs or None,
        "spared": entry.spared or None,
        "chosen": entry.chosen,
        "fate": str(entry.fate) if entry.fate else None,
    }
