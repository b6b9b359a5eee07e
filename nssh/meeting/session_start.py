"""Finds live sessions of the same target before ssh starts, joins or replaces them, and writes this session's record.

Runs in the launcher. If there is another session and a user who can be asked, the session is asked whether it lives.
A command or a script joins at once; it is told at its end if the joined session can't act (`JoinedSessionCheck`).
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from nssh.base import process
from nssh.base.errors import NsshError
from nssh.ssh import identity
from nssh.state import session_records, topics
from nssh.wire import files, session_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.config.settings import Config
    from nssh.meeting.join_or_replace import Action
    from nssh.meeting.liveness import Liveness
    from nssh.ssh.identity import Target
    from nssh.state.session_records import Record

_SHOWN = 6
"""Sessions that the question lists."""

# Seconds between checks whether an answer is there.
_LOOK = 0.02


class SessionStart(NamedTuple):
    """How this session starts."""

    record: Record
    """This session's record, as it was written."""
    topic: topics.Topic
    joined: Record | None = None
    """The session whose topic this one shares."""
    replaced: tuple[int, ...] = ()
    """PIDs of the sessions that were ended for this one."""
    takeover: str = ""
    """Names the moment since which the topic is ours, if another program has used it: see `SessionInfo.takeover`."""
    unasked: tuple[Record, ...] = ()
    """The sessions that share the topic, if they were not asked whether they live."""


class JoinedSessionCheck:
    """Asks on a thread of its own whether the joined session can act, while this session's ssh runs."""

    def __init__(self, others: Sequence[Record], config: Config, destination: str) -> None:
        """Start asking the sessions that share the topic; `destination` is the target's name for the user."""
        import threading

        self._text = ""
        self._thread = threading.Thread(target=self._run, args=(others, config, destination), daemon=True)
        self._thread.start()

    def _run(self, others: Sequence[Record], config: Config, destination: str) -> None:
        self._text = joined_session_problem(others, config, destination)

    def text(self, pause: Callable[[float], object]) -> str:
        """Return a warning for the user, empty if the joined session acts. Waits by calling `pause`, 1.5 s at most."""
        while self._thread.is_alive():
            pause(_LOOK)
        return self._text


def joined_session_problem(others: Sequence[Record], config: Config, destination: str) -> str:
    """Ask the sessions of a topic whether they live; return a warning for the user, empty if one can act. Blocks."""
    from nssh.meeting import join_or_replace, liveness

    answers = liveness.probe_all(others, config)
    first = join_or_replace.foremost(answers)
    if not join_or_replace.decide("join", answers[first].state, interactive=False, pinned=False).warn:
        return ""
    return _warning(others[first], answers[first], destination)


def _warning(other: Record, answer: Liveness, destination: str) -> str:
    remedy = "" if answer.state == "bus-down" else "; --replace ends it"
    return f"the session of pid {other.pid}, which acts for {destination}, {answer.text}{remedy}"


def _acting(group: Sequence[Record]) -> Record:
    """Return the session that acts for a topic, by the records. The Go program knows no lease, so it always acts."""
    return min(group, key=lambda one: (not one.foreign, one.role != "leader"))


class SessionStarter:
    """Starts one session among those of the same target. For the launcher's only thread, before it catches signals."""

    def __init__(self, target: Target, config: Config, *, interactive: bool, say: Callable[[str], object]) -> None:
        """Keep the arguments.

        Args:
            target: The host.
            config: The user's configuration.
            interactive: Whether there is a user who can be asked.
            say: Writes a line for the user.
        """
        self._target = target
        self._config = config
        self._interactive = interactive
        self._say = say

    def settle(self, choice: str) -> SessionStart:
        """Join, replace or leave alone the other sessions, and write this session's record. May ask the user.

        Args:
            choice: The user's `join`, `replace` or `new`; empty if no option was given.

        Raises:
            UsageError: The choice is `new`, and the topic is pinned.
            Cancelled: The user was asked, and cancelled.
            NsshError: A session that was to be replaced can't be ended.
            OSError: The state directory can't be written.
        """
        if choice == "new":
            from nssh.meeting import join_or_replace

            join_or_replace.check_new(pinned=bool(self._config.topic))
        for name in ("topics", "sessions", "logs", "hosts"):
            path = files.make_private_dir(os.path.join(files.state_dir(), name))
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable", path)
        with session_records.StartLock():
            others = self._others()
            if choice == "replace":
                return self._replace(others)
            if choice == "new" or not others:
                return self._begin(fresh=choice == "new")
            if not self._interactive:
                group = self._topic_group(others)
                return self._join(group, _acting(group))._replace(unasked=tuple(group))
        action, other, shown = self._decide(choice, others)
        with session_records.StartLock():
            # Sessions may have started and ended during the question.
            others = self._others()
            if action == "new":
                return self._begin(fresh=True)
            if action == "replace":
                return self._replace(
                    [one for one in others if one.pid in shown], [one for one in others if one.pid not in shown]
                )
            return self._join(others, other)

    def _others(self) -> list[Record]:
        """Return the live sessions of the same target on the same server, oldest first."""
        return [record for record in session_records.live() if record.pid != os.getpid() and self._is_same(record)]

    def _is_same(self, record: Record) -> bool:
        if record.server != self._config.server:
            return False
        if not record.foreign:
            return record.key == self._target.key
        # The Go program can't reach a relay: one that has joined a session there never acts. Its record has the host's
        # name up to its first dot, and the target that the user typed.
        if record.server == session_file.RELAY or record.host.lower() != self._target.short_name:
            return False
        try:
            return identity.resolve(self._target.ssh, record.target).key == self._target.key
        except NsshError:
            return False  # the record does not tell the ssh options, so the key could be another host's

    def _decide(self, choice: str, others: Sequence[Record]) -> tuple[Action, Record, set[int]]:
        """Ask the sessions, and the user if that is needed.

        Returns:
            What to do, the session to join, and the PIDs of the sessions that the user was shown.
        """
        from nssh.meeting import join_or_replace, liveness

        answers = liveness.probe_all(others, self._config)
        group = self._topic_group(others)
        ours = [number for number, other in enumerate(others) if other in group]
        first = ours[join_or_replace.foremost([answers[number] for number in ours])]
        pinned = bool(self._config.topic)
        decision = join_or_replace.decide(choice, answers[first].state, interactive=self._interactive, pinned=pinned)
        action = decision.action
        if action == "ask":
            action = self._ask(decision.default, others, answers, pinned=pinned)
        elif decision.warn:
            self._say(_warning(others[first], answers[first], self._target.destination))
        return action, others[first], {one.pid for one in others}

    def _topic_group(self, others: Sequence[Record]) -> list[Record]:
        """Return the sessions that share the topic to join: the target's own topic, or else the newest session's."""
        current = topics.current(self._target.key, self._config.server)
        if all(other.topic != current for other in others):
            current = others[-1].topic
        return [other for other in others if other.topic == current]

    def _ask(self, default: str, others: Sequence[Record], answers: Sequence[Liveness], *, pinned: bool) -> Action:
        from nssh.meeting import join_or_replace
        from nssh.tui import Cancelled, Option, choose

        now = time.time()
        lines = [f"{self._target.destination} is connected already ({self._target.key}):"]
        for other, answer in list(zip(others, answers, strict=True))[-_SHOWN:]:
            age = max(0.0, now - session_records.timestamp(other.started, now))
            lines.append(f"  {join_or_replace.describe(other, answer, age)}")
        if len(others) > _SHOWN:
            lines.insert(1, f"  and {len(others) - _SHOWN} older ones")
        many = f"all {len(others)} of them" if len(others) > 1 else "it"
        options = [
            Option("j", "Join", "share clipboard and browser with it"),
            Option("r", "Replace", f"end {many} and go on here"),
        ]
        if not pinned:
            options.append(Option("n", "New topic", "leave it alone, and take over what the remote sends from now on"))
        options.append(Option("c", "Cancel", "connect to nothing"))
        key = choose(lines, options, 0 if default == "join" else 1)
        if key == "c":
            raise Cancelled
        return {"j": join_or_replace.Action.JOIN, "r": join_or_replace.Action.REPLACE, "n": join_or_replace.Action.NEW}[
            key
        ]

    def _join(self, others: Sequence[Record], other: Record) -> SessionStart:
        present = [one for one in others if one.topic == other.topic] or list(others[-1:])
        if not present:
            return self._begin()  # the session to join has just ended
        joined = next((one for one in present if one.pid == other.pid), present[0])
        return self._begin(joined=joined)

    def _replace(self, others: Sequence[Record], spared: Sequence[Record] = ()) -> SessionStart:
        """End sessions, and go on with a fresh topic; or join one that came during the question, which is spared."""
        if others:
            from nssh.meeting import end_session

            end_session.end(others)
        if spared:
            group = self._topic_group(spared)
            start = self._join(group, _acting(group))
        elif self._config.topic:
            # A pinned topic stays. A session of the Go program acted on all that it brought until now.
            start = self._begin()
            foreign = [f"{one.pid} {one.started}" for one in others if one.foreign and one.topic == start.topic.name]
            start = start._replace(takeover=" ".join(foreign) or start.takeover)
        else:
            key, server = self._target.key, self._config.server
            start = self._record(topics.succeed(key, server, others))
        return start._replace(replaced=tuple(other.pid for other in others))

    def _begin(self, *, fresh: bool = False, joined: Record | None = None) -> SessionStart:
        target, config = self._target, self._config
        shared = (joined.topic, joined.serial) if joined is not None else None
        pinned = config.topic or ""
        start = self._record(topics.obtain(target.key, config.server, fixed=pinned, fresh=fresh, joined=shared), joined)
        if joined is not None and joined.foreign:
            return start._replace(takeover=f"{joined.pid} {joined.started}")
        # What a pinned topic holds that we have never used was for another program.
        return start._replace(takeover="first") if pinned and not os.path.exists(start.topic.ledger) else start

    def _record(self, topic: topics.Topic, joined: Record | None = None) -> SessionStart:
        """Write this session's record."""
        target = self._target
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        record = session_records.Record(
            pid=os.getpid(),
            target=target.destination,
            host=target.short_name,
            topic=topic.name,
            server=self._config.server,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            log=os.path.join(files.state_dir(), "logs", f"{stamp}-{os.getpid()}.jsonl"),
            birth=process.birth(os.getpid()),
            key=target.key,
            serial=topic.serial,
        )
        session_records.write(record)
        return SessionStart(record, topic, joined)
