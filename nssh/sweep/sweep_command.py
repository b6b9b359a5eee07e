"""Runs `nssh sweep` in the foreground: lists the servers, asks the user, orders the end of the chosen ones.

A child process (`nssh.sweep.child`) connects to the hosts, so that this process is free for the terminal.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

from nssh import tui
from nssh.base.errors import ConnectError, UsageError
from nssh.base.printable import LONGEST, printable
from nssh.mosh import end_servers, sweep_output
from nssh.mosh.end_servers import Fate
from nssh.mosh.mosh_servers import ClientState
from nssh.mosh.own_mosh import OwnMosh
from nssh.ssh import identity
from nssh.sweep import own_sessions
from nssh.sweep.child import SweepChild
from nssh.sweep.child_messages import Failed, Job, Listed
from nssh.sweep.sweep_state import SweepState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nssh.config.settings import Config
    from nssh.mosh.swept_host import ServerEntry, SweptHost
    from nssh.ssh.identity import Target
    from nssh.sweep.child_messages import News
    from nssh.sweep.sweep_options import SweepOptions

# Seconds to wait for the child beyond its own time limits.
_SLACK = 5.0


def run(options: SweepOptions, config: Config) -> int:
    """Run `nssh sweep` and return its exit code.

    Raises:
        UsageError: Nothing says which servers to end, and there is no terminal to ask on.
        OSError: The child can't be started.
    """
    lists_only = options.dry_run or (options.json and not options.chooses)
    interactive = os.isatty(0) and os.isatty(2)
    if not (lists_only or options.chooses or interactive):
        raise UsageError(
            "no terminal to choose on: --all, --older DUR or --detached say which mosh-servers to end, --dry-run lists"
        )
    with SweepChild() as child:
        resolved = [(host, _resolve(host, options, config)) for host in options.hosts]
        sweep = _Sweep(options, SweepState(options, resolved), child, lists_only=lists_only, interactive=interactive)
        child.tell(Job(sweep.round.targets, options.timeout, child.log, config.log.keep))
        return sweep.run()


def _resolve(host: str, options: SweepOptions, config: Config) -> Target | str:
    try:
        return identity.resolve(config.ssh.command, host, options.ssh_options)
    except ConnectError as error:
        return str(error)


class _Sweep:
    """One sweep, as the user sees it. For one thread."""

    def __init__(
        self, options: SweepOptions, sweep: SweepState, child: SweepChild, *, lists_only: bool, interactive: bool
    ) -> None:
        self.round = sweep
        self._options = options
        self._child = child
        self._lists_only = lists_only
        # True: end the servers that the options choose as soon as their host has answered. False: wait until all hosts
        # have answered, and ask the user first.
        self._at_once = options.chooses and not lists_only and (options.yes or not interactive)
        self._columns = sweep_output.widths(sweep.hosts)
        self._mine = OwnMosh()
        self._progress: tui.Progress | None = None

    def run(self) -> int:
        """Run the sweep to its end and return the exit code."""
        for host in self.round.hosts:
            if host.error:
                self._say(host.error)
        self._mine = own_sessions.look()  # while the child connects
        self._listen("waiting for", lambda host: not host.answered, self._options.timeout + _SLACK)
        if not self._at_once:
            self._columns = sweep_output.fitted(self.round.entries)
            self._end(self._decide())
        try:
            self._listen(
                "ending those on", lambda host: host.busy, 2 * self._options.timeout + end_servers.LONGEST + _SLACK
            )
        except KeyboardInterrupt:
            for host in self.round.hosts:
                self._show(host.unjudged, str(Fate.LOST))
            raise
        if self._options.json:
            print(sweep_output.as_json(self.round.hosts))
        elif not self.round.entries and any(not host.error for host in self.round.hosts):
            print("no mosh-servers")
        elif self._options.chooses and self.round.entries and not any(entry.wanted for entry in self.round.entries):
            print("nothing to end")
        return 0 if self.round.succeeded else 1

    def _listen(self, title: str, owes: Callable[[SweptHost], bool], seconds: float) -> None:
        """Take the child's news until no host owes an answer, or time is up; show meanwhile who is waited for.

        Args:
            title: What the progress line says before the names.
            owes: Whether an answer of this host is still to come.
            seconds: The time limit. Hosts that still owe an answer have failed then.
        """
        deadline = time.monotonic() + seconds
        try:
            with tui.Progress(title, [host.name for host in self.round.hosts if owes(host)]) as self._progress:
                while any(map(owes, self.round.hosts)):
                    left = deadline - time.monotonic()
                    news = self._child.news(left)
                    if news is None:
                        news = [*self.round.give_up(f"the sweep's own process ended; see {self._child.log}.err")]
                    elif left <= 0:
                        news = [*self.round.give_up("no answer in time")]
                    for one in news:
                        host = self._hear(one)
                        if not owes(host):
                            self._progress.done(host.name)
        finally:
            self._progress = None

    def _hear(self, news: News) -> SweptHost:
        host, judged = self.round.hear(news, self._mine)
        if isinstance(news, Failed):
            self._say(news.reason)
        elif isinstance(news, Listed):
            self._note_unknown(host)
            if not self._lists_only:
                self._show([entry for entry in host.entries if entry.wanted and entry.spared])
            if self._at_once:
                self._end(host.by_flags())
        for entry in judged:
            self._show([entry], str(entry.fate))
        return host

    def _note_unknown(self, host: SweptHost) -> None:
        """Say that `--detached` chose none of the servers whose state the host's utmp does not tell."""
        unknown = sum(entry.server.state is ClientState.UNKNOWN and not entry.spared for entry in host.entries)
        if self._options.detached and unknown:
            them = "one mosh-server is" if unknown == 1 else f"{unknown} mosh-servers are"
            self._say(f"{host.name}: utmp does not tell whether {them} detached; not chosen")

    def _show(self, entries: Iterable[ServerEntry], note: str = "") -> None:
        if not self._options.json:
            for entry in entries:
                self._print(sweep_output.line(sweep_output.cells(entry, note), self._columns))

    def _say(self, text: str) -> None:
        """Write a line on standard error, beside the results."""
        self._print(f"nssh: {printable(text, LONGEST)}", sys.stderr)

    def _print(self, line: str, file: TextIO | None = None) -> None:
        if self._progress is not None:
            self._progress.note(line, file)
        else:
            print(line, file=file or sys.stdout, flush=True)

    def _end(self, entries: Sequence[ServerEntry]) -> None:
        for order in self.round.choose(entries):
            self._child.tell(order)

    def _decide(self) -> Sequence[ServerEntry]:
        """Return the servers to end, once all hosts have answered: by the options, or by the user's selection."""
        entries = self.round.entries
        chosen = [entry for entry in entries if entry.wanted and not entry.spared]
        if self._lists_only:
            self._show_table(entries, chosen)
        elif self._options.chooses:
            if chosen:
                from nssh.sweep import sweep_questions

                sweep_questions.confirm(chosen, self._columns)
        elif any(not entry.spared for entry in entries):
            from nssh.sweep import sweep_questions

            return sweep_questions.select(entries)
        else:
            self._show_table(entries, ())
        return chosen

    def _show_table(self, entries: Sequence[ServerEntry], chosen: Sequence[ServerEntry]) -> None:
        if entries and not self._options.json:
            self._print(sweep_output.line(sweep_output.HEAD, self._columns))
            for entry in entries:
                self._show([entry], "to be ended" if entry in chosen else "")
