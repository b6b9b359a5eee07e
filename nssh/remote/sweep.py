"""`nssh sweep` on a remote: list this machine's mosh-servers of this user, and end those that are chosen."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enum, 5 ms
import os
from typing import NamedTuple

from nssh.base.durations import parse_duration
from nssh.base.printable import printable
from nssh.mosh import own_mosh, run_here, sweep_output, swept_host
from nssh.mosh.list_servers import ListingError
from nssh.mosh.mosh_servers import ClientState
from nssh.mosh.server_choice import MIN_AGE
from nssh.mosh.swept_host import SweptHost
from nssh.remote import command_options, sweep_question
from nssh.remote.failure import ToolExit, UseRealTool
from nssh.remote.shim import complain, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.mosh.end_servers import SweepVerdict
    from nssh.mosh.swept_host import ServerEntry
    from nssh.remote.shim import Shim

OPTIONS = {
    "all": "", "older": ":", "detached": "", "dry-run": "", "yes": "", "json": "", "include-mine": "", "min-age": ":",
    "help": "h",
}  # fmt: skip
_TIMEOUT = 20.0


class SweepWish(NamedTuple):
    """What the command line says."""

    every: bool = False
    older: float | None = None
    detached: bool = False
    include_mine: bool = False
    min_age: float = MIN_AGE
    dry_run: bool = False
    json: bool = False
    yes: bool = False

    @property
    def chooses(self) -> bool:
        """Whether options say which servers are to be ended."""
        return self.every or self.detached or self.older is not None


def run(shim: Shim, arguments: list[str]) -> int:
    """Run `nssh sweep`, and return its exit status. Raises ToolExit; UseRealTool for other hosts."""
    del shim
    wish = read(arguments)
    lists_only = wish.dry_run or (wish.json and not wish.chooses)
    interactive = os.isatty(0) and os.isatty(2)
    if not (lists_only or wish.chooses or interactive):
        raise ToolExit(
            "nssh: no terminal to choose on: --all, --older DUR or --detached say which mosh-servers to end, "
            "--dry-run lists\n",
            2,
        )
    return _Sweep(wish, lists_only=lists_only, interactive=interactive).run()


def read(arguments: list[str]) -> SweepWish:
    """Read the command line. Raises UseRealTool if it is wrong, or names a host."""
    options = command_options.read("sweep", arguments, OPTIONS)
    if options.words:
        raise UseRealTool("nssh: other hosts are swept from your own machine; here it is: nssh sweep\n", 2)
    given = {"older": None, "min-age": MIN_AGE}
    for name in given:
        if name in options:
            try:
                given[name] = parse_duration(options.get(name))
            except ValueError as error:
                raise command_options.wrong("sweep", "--%s: %s" % (name, error)) from None
    if given["older"] == 0:
        raise command_options.wrong("sweep", "--older: 0 would choose all; --all does that")
    wish = SweepWish(
        every="all" in options,
        older=given["older"],
        detached="detached" in options,
        include_mine="include-mine" in options,
        min_age=given["min-age"] or 0.0,
        dry_run="dry-run" in options,
        json="json" in options,
        yes="yes" in options,
    )
    if wish.every and (wish.older is not None or wish.detached):
        other = "--detached" if wish.older is None else "--older"
        raise command_options.wrong("sweep", "--all and %s contradict each other: --all chooses all" % other)
    return wish


class _Sweep:
    """One sweep of this machine, as the user sees it."""

    def __init__(self, wish: SweepWish, *, lists_only: bool, interactive: bool) -> None:
        self._wish = wish
        self._lists_only = lists_only
        self._asks = interactive and not lists_only and not (wish.chooses and wish.yes)
        self._host = SweptHost(os.uname().nodename)
        self._columns = sweep_output.widths([self._host])

    def run(self) -> int:
        """Run it to its end, and return the exit status. Raises ToolExit if the user cancels."""
        host = self._host
        self._list()
        self._columns = sweep_output.fitted(host.entries)
        self._note_unknown()
        if self._wish.chooses and not self._lists_only:
            self._show([entry for entry in host.entries if entry.wanted and entry.spared])
        chosen = swept_host.choose(self._decide(), self._wish)
        status = 0
        if chosen and not self._wish.dry_run:
            try:
                # From here on an interruption has to be told. Before, Ctrl-C just ends this process.
                _signal.signal(_signal.SIGINT, _signal.default_int_handler)
                run_here.end(chosen, self._judge)
            except KeyboardInterrupt:
                status = 130
            except OSError as error:
                self._fail(str(error.strerror or error))
            self._show_fates(host.lose())
        if self._wish.json:
            write_all(sweep_output.as_json([host]).encode("utf-8", "replace") + b"\n")
        elif not host.entries and not host.error:
            write_all(b"no mosh-servers\n")
        elif self._wish.chooses and host.entries and not any(entry.wanted for entry in host.entries):
            write_all(b"nothing to end\n")
        return status or (0 if host.succeeded(dry_run=self._wish.dry_run) else 1)

    def _list(self) -> None:
        try:
            listing = run_here.servers(_TIMEOUT)
        except (ListingError, OSError) as error:
            self._fail(getattr(error, "strerror", None) or str(error))
        else:
            self._host.take(listing, own_mosh.look(), self._wish)

    def _fail(self, reason: str) -> None:
        self._host.error = "%s: %s" % (self._host.name, reason)
        complain("nssh: %s\n" % printable(self._host.error, 400))

    def _note_unknown(self) -> None:
        """Say that `--detached` chose none of the servers whose state utmp does not tell."""
        count = sum(entry.server.state is ClientState.UNKNOWN and not entry.spared for entry in self._host.entries)
        if self._wish.detached and count:
            them = "one mosh-server is" if count == 1 else "%d mosh-servers are" % count
            complain("nssh: %s: utmp does not tell whether %s detached; not chosen\n" % (self._host.name, them))

    def _decide(self) -> Sequence[ServerEntry]:
        """Return the servers to end: by the options, or by what the user answers."""
        entries, by_flags = self._host.entries, self._host.by_flags()
        if self._lists_only:
            if entries:
                self._show([], head=True)
            for entry in entries:
                self._show([entry], "to be ended" if entry in by_flags else "")
        elif self._wish.chooses:
            if by_flags and self._asks:
                self._show_question(by_flags)
                sweep_question.confirm(len(by_flags))
        elif any(not entry.spared for entry in entries):
            self._show_question(entries)
            return sweep_question.select(entries)
        elif entries:
            self._show(entries, head=True)
        return by_flags

    def _judge(self, verdict: SweepVerdict) -> None:
        self._show_fates(self._host.judge(verdict))

    def _show_fates(self, entries: Sequence[ServerEntry]) -> None:
        for entry in entries:
            self._show([entry], str(entry.fate))

    def _show(self, entries: Sequence[ServerEntry], note: str = "", *, head: bool = False) -> None:
        if not self._wish.json:
            write_all(self._table(entries, note, head=head).encode("utf-8", "replace"))

    def _show_question(self, entries: Sequence[ServerEntry]) -> None:
        complain(self._table(entries, head=True))

    def _table(self, entries: Sequence[ServerEntry], note: str = "", *, head: bool = False) -> str:
        rows: list[tuple[str, ...]] = [sweep_output.HEAD] if head else []
        rows += [sweep_output.cells(entry, note) for entry in entries]
        return "".join(sweep_output.line(row, self._columns) + "\n" for row in rows)
