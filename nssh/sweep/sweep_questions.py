"""The two questions of `nssh sweep` at the terminal: confirm what options chose, or select from a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh import tui
from nssh.mosh import sweep_output
from nssh.mosh.mosh_servers import ClientState
from nssh.tui import Cancelled, Option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.mosh.swept_host import ServerEntry


def confirm(chosen: Sequence[ServerEntry], columns: tuple[int, ...]) -> None:
    """Ask whether to end the servers that the command line's options chose.

    Raises:
        Cancelled: The user said no.
    """
    many = "this mosh-server" if len(chosen) == 1 else f"these {len(chosen)} mosh-servers"
    lines = [f"End {many}?", *(sweep_output.line(sweep_output.cells(entry), columns) for entry in chosen)]
    options = [Option("y", "yes, end", "what runs in them ends too, but for tmux and screen"), Option("n", "no, leave")]
    if tui.choose(lines, options, 1) != "y":
        raise Cancelled


def select(entries: Sequence[ServerEntry]) -> list[ServerEntry]:
    """Let the user select servers from a list. Spared servers are shown, but can't be selected.

    Raises:
        Cancelled: The user selected none.
    """
    chosen = tui.select("Mosh-servers to end", [_row(entry) for entry in entries])
    return [entries[number] for number in chosen]


def _row(entry: ServerEntry) -> tui.Row:
    host, _, age, state, client, idle, runs, _ = sweep_output.cells(entry)
    server = entry.server
    return tui.Row(
        host=host,
        pid=server.pid,
        age=age,
        state=state,
        client=client,
        idle=idle,
        runs=runs,
        spared=entry.spared,
        seconds=server.age,
        detached=server.state is ClientState.DETACHED,
    )
