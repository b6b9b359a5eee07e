"""What must hold when a soak is over, each thing that does not, and the evidence."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from nssh.wire import envelope as wire
from tests.soak.journal import digest, held_between

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nssh.bus.messages import Message
    from tests.soak.breaker import Kill
    from tests.soak.journal import Change, Opened
    from tests.soak.traffic import Deed
    from tests.soak.watch import Reign

# Seconds from a message's arrival in a bridge to its death within which it was at it when it died.
_VERY_MOMENT = 0.5

# Seconds from a bridge's death to what a tool does that it has just started.
_TOOL_STARTS = 2.0

# What a log may not have: nothing that is done here to processes and links is a reason for them.
FORBIDDEN = frozenset({
    "actor-restart", "actor-abandoned", "actor-dropped", "supervisor-escalate", "msg-failed", "msg-unknown",
    "open-failed", "clip-write-failed", "clip-read-error", "file-lost", "messages-lost", "record-ignored",
    "record-failed", "callback-failed",
})  # fmt: skip

# A bridge that was stopped while it read the clipboard finds its tool's time over when it goes on: that read fails,
# with a message. What became of a write is judged by itself.
_HELD_UP = ("clip-read-error", "did not end within")

_AT_THE_END = frozenset({"actor-abandoned", "actor-dropped"})


class Seen(NamedTuple):
    """All that was seen of a soak."""

    deeds: Sequence[Deed]
    calms: Sequence[tuple[float, float]]
    backlog: Sequence[Message]
    strict: bool
    """Whether the bus tells its order live as it does later; ntfy does not (docs/ntfy.md, trap 4)."""
    opened: Sequence[Opened]
    held: Sequence[str]
    """URLs that were held; those that the user opened at the end come last in `opened`."""
    changes: Sequence[Change]
    events: Sequence[dict[str, Any]]
    claimed: Callable[[str], bool]
    """Whether the topic's ledger has a key."""
    kills: Sequence[Kill]
    reigns: Sequence[Reign]
    topics: Mapping[str, int] = MappingProxyType({})
    """Which of the target's topics each message came on, by its id. A replaced session's is another one."""


class Findings:
    """What is wrong, and what is counted."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self.wrong: list[str] = []
        self.excused: list[str] = []
        self.counts: Counter[str] = Counter()
        # How far `time.time()` is ahead of `time.monotonic()`.
        self._clocks = next((deed.at - deed.start for deed in seen.deeds), 0.0)
        self._topic_of: dict[str, int] = {}
        self._messages: list[tuple[Message, wire.Envelope]] = []
        for message in seen.backlog:
            try:
                self._messages.append((message, wire.decode(message.text)))
            except wire.EnvelopeError:
                self.wrong.append(f"message {message.id} on the bus is no envelope")
        self._judge_deeds()
        self._judge_opens()
        self._judge_order()
        self._judge_writes()
        self._judge_reads()
        self._judge_log()

    # Each shim by itself.

    def _judge_deeds(self) -> None:
        for deed in self._seen.deeds:
            result = "accepted" if deed.accepted else "failed"
            self.counts[f"{deed.kind} {result}"] += 1
            if deed.accepted:
                continue
            if not deed.said:
                self.wrong.append(f"{deed} failed without a word")
            elif "Traceback" in deed.said:
                self.wrong.append(f"{deed} wrote a traceback")
            if self._was_calm(deed) and not self._is_not_available(deed):
                self.wrong.append(f"{deed} failed while nothing was broken")

    def _was_calm(self, deed: Deed) -> bool:
        return any(begun <= deed.start and deed.end <= ended for begun, ended in self._seen.calms)

    @staticmethod
    def _is_not_available(deed: Deed) -> bool:
        return deed.kind.startswith("read") and "not available" in deed.said

    # URLs.

    def _judge_opens(self) -> None:
        times = Counter(one.url for one in self._seen.opened)
        known = {envelope.url for _, envelope in self._messages}
        excused: set[int] = set()
        self.counts["opened"] = len(self._seen.opened)
        self.counts["held"] = len(self._seen.held)
        for url, count in times.items():
            if count > 1:
                when = [one.time for one in self._seen.opened if one.url == url]
                self.wrong.append(f"{url} was opened {count} times, at {when}")
        for deed in self._seen.deeds:
            if deed.kind == "open" and deed.accepted and not times[deed.what]:
                if deed.what not in known:
                    self.wrong.append(f"{deed} was accepted and is not on the bus")
                    continue
                evidence = self._killed_over(deed.what, excused)
                if evidence:
                    self.excused.append(f"{deed.what} was not opened: {evidence}")
                else:
                    self.wrong.append(f"{deed} was accepted and never opened; {self._story(deed.what)}")

    def _killed_over(self, url: str, excused: set[int]) -> str:
        """Return the evidence that a bridge was killed between claiming a URL and opening it, `` if there is none.

        It opens one after the other, so that it can be at one only when it dies: those that are `excused` already have
        had theirs.
        """
        found = [(message, envelope) for message, envelope in self._messages if envelope.url == url]
        if not any(self._seen.claimed(f"{envelope.kind}:{envelope.id}") for _, envelope in found):
            return ""
        ids = {message.id for message, _ in found}
        for event in self._seen.events:
            if event["event"] != "msg-recv" or event.get("id") not in ids:
                continue
            received = stamp(event)
            for kill in self._seen.kills:
                if kill.pid != event["pid"] or kill.pid in excused:
                    continue
                if received - 0.05 <= _latest(kill) and kill.time <= received + _VERY_MOMENT:
                    excused.add(kill.pid)
                    times = f"msg-recv at {received:.3f}, killed at {kill.time:.3f} ({kill.why})"
                    return f"bridge {kill.pid} claimed it in the ledger; {times}"
        return ""

    def _story(self, url: str) -> str:
        """Return what the logs have about a URL."""
        ids = {message.id for message, envelope in self._messages if envelope.url == url}
        found = [f"{event['ts']} {event['event']} by {event['pid']}" for event in self._events_of(ids)]
        return f"message {sorted(ids)}; log: {found or 'nothing'}"

    def _events_of(self, ids: set[str]) -> list[dict[str, Any]]:
        return [event for event in self._seen.events if event.get("id") in ids]

    def _judge_order(self) -> None:
        """Compare the order of URLs with the bus's: those that were held were opened at the end by the user."""
        rank: dict[str, int] = {}
        for number, (message, envelope) in enumerate(self._messages):
            rank.setdefault(envelope.url, number)
            self._topic_of.setdefault(envelope.url, self._seen.topics.get(message.id, 0))
        deeds = {deed.what: deed for deed in self._seen.deeds if deed.kind == "open"}
        held = set(self._seen.held)
        last: Opened | None = None
        for one in self._seen.opened:
            if one.url in held or one.url not in rank:
                continue
            if last is not None and rank[one.url] < rank[last.url]:
                first, second = deeds[one.url], deeds[last.url]
                if self._is_strict(one.url, last.url) or first.end < second.start:
                    self.wrong.append(
                        f"{last.url} was opened at {last.time:.3f}, before {one.url} at {one.time:.3f}, which is "
                        f"{rank[last.url] - rank[one.url]} places ahead of it on the bus; "
                        f"{self._story(one.url)}; {self._story(last.url)}"
                    )
                else:
                    self.counts["opens at once, in another order"] += 1
            else:
                last = one

    def _is_strict(self, one: str, other: str) -> bool:
        """Whether two URLs, or two contents by their digests, are in an order: on one topic, of a bus that has one."""
        return self._seen.strict and self._topic_of.get(one) == self._topic_of.get(other)

    # The clipboard.

    def _judge_writes(self) -> None:
        rank: dict[str, int] = {}  # by digest
        ids: dict[str, str] = {}
        sizes = {deed.size: deed.what for deed in self._seen.deeds if deed.kind in {"write-file", "write-image"}}
        deeds = {deed.what: deed for deed in self._seen.deeds if deed.kind.startswith("write")}
        for number, (message, envelope) in enumerate(self._messages):
            if envelope.kind == wire.KIND_CLIP_WRITE:
                size = message.attachment.size if message.attachment is not None else None
                sha = sizes.get(size or 0, "") if message.attachment is not None else digest(envelope.body)
                rank.setdefault(sha, number)
                self._topic_of.setdefault(sha, self._seen.topics.get(message.id, 0))
                ids.setdefault(sha, message.id)
        applied = [change.digest for change in self._seen.changes[1:]]
        self.counts["writes applied"] = len(set(applied) & set(rank))
        self._judge_repetitions(ids)
        self._judge_write_order([sha for sha in applied if sha in rank], rank, deeds)
        for change in self._seen.changes[1:]:
            if change.digest not in rank:
                self.wrong.append(f"the clipboard got what nobody sent, or a part of it: {change}")
        done = set(applied)
        newest = max((rank[sha] for sha in done if sha in rank), default=-1)
        logged = {event.get("id") for event in self._seen.events if event["event"] == "clip-superseded"}
        for sha, deed in deeds.items():
            if not deed.accepted or sha in done:
                continue
            if sha not in rank:
                self.wrong.append(f"{deed} was accepted and is not on the bus")
            elif rank[sha] > newest:
                self.wrong.append(f"{deed} was accepted, is the newest, and was never applied ({ids[sha]})")
            elif ids[sha] in logged:
                self.counts["writes superseded"] += 1
            elif not self._could_not_log(
                deed, [one for one in self._seen.changes[1:] if rank.get(one.digest, 0) > rank[sha]]
            ):
                self.wrong.append(f"{deed} was accepted, never applied, and no log says why: {self._about(ids[sha])}")
            else:
                self.counts["writes superseded, and the log lost"] += 1
                self.excused.append(f"write {ids[sha]} was superseded, but no log says so: {self._about(ids[sha])}")

    def _judge_repetitions(self, ids: dict[str, str]) -> None:
        """A write is applied again only if the bridge that did it was killed before it could put that on record."""
        before: dict[str, Change] = {}
        for change in self._seen.changes[1:]:
            first = before.get(change.digest)
            before[change.digest] = change
            if first is None:
                continue
            events = [event for event in self._events_of({ids.get(change.digest, "")}) if event["event"] == "msg-recv"]
            if any(self._died_at(event, first) for event in events):
                self.counts["writes applied again after a crash"] += 1
            else:
                self.wrong.append(f"a write was applied twice, and no bridge died over it: {first}, {change}; {events}")

    def _died_at(self, received: dict[str, Any], change: Change) -> bool:
        """Whether the bridge that got a message was killed when the clipboard changed, or its tool was about to."""
        since, until = change.begun + self._clocks - _TOOL_STARTS, change.ended + self._clocks + _VERY_MOMENT
        return any(
            kill.pid == received["pid"] and stamp(received) - 0.05 <= _latest(kill)
            and since <= _latest(kill) and kill.time <= until
            for kill in self._seen.kills
        )  # fmt: skip

    def _could_not_log(self, deed: Deed, newer: Sequence[Change]) -> bool:
        """Whether one that led was killed between a write and the next that was applied: it may have left it out."""
        until = min(change.ended for change in newer) + self._clocks
        led = {reign.pid for reign in self._seen.reigns}
        return any(kill.pid in led and deed.at <= _latest(kill) and kill.time <= until for kill in self._seen.kills)

    def _about(self, message_id: str) -> str:
        return str([f"{event['ts']} {event['event']} by {event['pid']}" for event in self._events_of({message_id})])

    def _judge_write_order(self, applied: list[str], rank: dict[str, int], deeds: dict[str, Deed]) -> None:
        last = ""
        for sha in applied:
            if last and rank[sha] < rank[last]:
                first, second = deeds.get(sha), deeds.get(last)
                if self._is_strict(sha, last) or (first and second and first.end < second.start):
                    self.wrong.append(f"a write was applied after a newer one: {first} after {second}")
                else:
                    self.counts["writes at once, in another order"] += 1
            last = sha

    def _judge_reads(self) -> None:
        changes = list(self._seen.changes)
        for deed in self._seen.deeds:
            if not deed.kind.startswith("read"):
                continue
            mime = "image/png" if deed.kind == "read-image" else "text/plain"
            there = held_between(changes, deed.start, deed.end)
            if deed.accepted:
                right = any(change.mime == mime and change.digest == deed.what for change in there)
            elif self._is_not_available(deed):
                right = any(change.mime != mime for change in there)
                self.counts["reads told that there is nothing of the type"] += 1
            else:
                self.counts["reads failed with a message"] += 1
                continue
            self.counts["reads right" if right else "reads wrong"] += 1
            if not right:
                self.wrong.append(f"{deed} was told something else than what there was: {there}")

    # What the sessions logged.

    def _judge_log(self) -> None:
        counts = Counter(event["event"] for event in self._seen.events)
        self.counts["takeovers"] = len(self._seen.reigns)
        self.counts["bridges started again"] = counts["bridge-restart"]
        killed = sum(kill.why == "the bridge" for kill in self._seen.kills)
        if counts["bridge-restart"] > killed:
            self.wrong.append(f"{counts['bridge-restart']} bridges were started again, and only {killed} were killed")
        self.counts["subscriptions"] = counts["subscribe-up"]
        self.counts["replayed"] = sum(event.get("replayed", 0) for event in self._seen.events)
        over = {event["pid"]: stamp(event) for event in self._seen.events if event["event"] == "session-end"}
        for event in self._seen.events:
            # What hangs at a server that hangs is left behind at the end of its session.
            is_late = event["event"] in _AT_THE_END and over.get(event["pid"], float("inf")) <= stamp(event)
            is_held_up = event["event"] == _HELD_UP[0] and _HELD_UP[1] in event.get("err", "")
            if is_held_up:
                self.counts["reads held up by a stopped bridge"] += 1
            elif event["event"] in FORBIDDEN and not is_late:
                self.wrong.append(f"the log has {event}")
        self._judge_leaders()

    def _judge_leaders(self) -> None:
        """Nobody acts any more once another one leads."""
        leaders = [(stamp(event), event["pid"]) for event in self._seen.events if event["event"] == "leader"]
        for event in self._seen.events:
            if event["event"] == "msg-recv":
                now = [pid for since, pid in leaders if since <= stamp(event)]
                if not now or now[-1] != event["pid"]:
                    self.wrong.append(f"{event} is of one that does not lead: {now[-1:] or 'nobody'} does")


def _latest(kill: Kill) -> float:
    """Return until when a bridge may have lived: one that was replaced is told to end, and killed a second later."""
    return kill.time + (2.5 if kill.why == "replaced" else 0.0)


def stamp(event: dict[str, Any]) -> float:
    """Return an event's time as `time.time()`."""
    return datetime.fromisoformat(event["ts"]).timestamp()
