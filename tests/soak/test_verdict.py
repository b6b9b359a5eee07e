"""The soak's own judgement: it passes what is right, and names each thing that is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from nssh.bus.messages import Message
from nssh.wire import envelope as wire
from tests.soak.breaker import Kill
from tests.soak.journal import Change, Opened, digest
from tests.soak.traffic import Deed
from tests.soak.verdict import Findings, Seen
from tests.soak.watch import Reign

URLS = [f"http://example.com/{number}" for number in range(3)]
OLD, NEW = b"old", b"new"


def event(name: str, at: float, pid: int, **fields: object) -> dict[str, Any]:
    return {"ts": datetime.fromtimestamp(at, UTC).isoformat(), "event": name, "pid": pid, **fields}


def message(number: int, kind: str, **fields: Any) -> Message:
    return Message(f"m{number}", 100 + number, wire.encode(wire.Envelope(kind, id=f"e{number}", **fields)))


def deed(kind: str, what: str, start: float, status: int | None = 0, said: str = "") -> Deed:
    return Deed(kind, what, start, start + 0.5, start, status, said)


def seen() -> Seen:
    """Three URLs, two writes and a read after each, all as it should be."""
    opens = [deed("open", url, 10.0 + number) for number, url in enumerate(URLS)]
    writes = [deed("write", digest(OLD), 20.0), deed("write", digest(NEW), 30.0)]
    reads = [deed("read", digest(OLD), 25.0), deed("read", digest(NEW), 35.0)]
    return Seen(
        deeds=[*opens, *writes, *reads],
        calms=[(0.0, 100.0)],
        backlog=[
            *(message(number, wire.KIND_OPEN, url=url) for number, url in enumerate(URLS)),
            message(3, wire.KIND_CLIP_WRITE, mime="text/plain", body=OLD),
            message(4, wire.KIND_CLIP_WRITE, mime="text/plain", body=NEW),
        ],
        strict=True,
        opened=[Opened(10.2 + number, url) for number, url in enumerate(URLS)],
        held=[],
        changes=[
            Change(0, 0, "text/plain", digest(b"first")),
            Change(20.2, 20.3, "text/plain", digest(OLD)),
            Change(30.2, 30.3, "text/plain", digest(NEW)),
        ],
        events=[
            event("leader", 1.0, 7),
            *(event("msg-recv", 10.1 + number, 7, id=f"m{number}") for number in range(3)),
            event("msg-recv", 20.1, 7, id="m3"),
            event("msg-recv", 30.1, 7, id="m4"),
        ],
        claimed=lambda _: True,
        kills=[],
        reigns=[],
    )


def test_what_is_right_passes() -> None:
    findings = Findings(seen())
    assert findings.wrong == []
    assert findings.excused == []
    assert findings.counts["opened"] == 3
    assert findings.counts["writes applied"] == 2
    assert findings.counts["reads right"] == 2


def without(opened: Seen, url: str) -> Seen:
    return opened._replace(opened=[one for one in opened.opened if one.url != url])


def swapped(strict: bool) -> Seen:  # noqa: FBT001 - a test's parameter
    """The second URL before the first, whose shims ran at once or one after the other."""
    right = seen()
    first, second, third = right.opened
    return right._replace(opened=[second._replace(time=10.1), first, third], strict=strict)


def changed(index: int, **fields: object) -> Seen:
    """One deed another."""
    right = seen()
    deeds = list(right.deeds)
    deeds[index] = deeds[index]._replace(**fields)  # type: ignore[arg-type]  # fields of Deed
    return right._replace(deeds=deeds)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (without(seen(), URLS[1]), "never opened"),
        (seen()._replace(opened=[*seen().opened, Opened(99.0, URLS[0])]), "was opened 2 times"),
        (swapped(strict=True), "before http://example.com/0"),
        (swapped(strict=False), "before http://example.com/0"),
        (seen()._replace(backlog=seen().backlog[1:], opened=seen().opened[1:]), "not on the bus"),
        (seen()._replace(changes=seen().changes[:2]), "is the newest, and was never applied"),
        (seen()._replace(changes=[*seen().changes, seen().changes[1]]), "after a newer one"),
        (seen()._replace(changes=[*seen().changes, seen().changes[2]]), "no bridge died over it"),
        (seen()._replace(changes=[*seen().changes, Change(40, 41, "text/plain", digest(b"ne"))]), "nobody sent"),
        (changed(6, what=digest(OLD)), "something else than what there was"),
        (changed(5, what=digest(b"")), "something else than what there was"),
        (changed(5, status=1, said="Error: target STRING not available"), "something else than what there was"),
        (changed(5, status=1, said="no answer"), "while nothing was broken"),
        (changed(5, status=1)._replace(calms=[]), "without a word"),
        (seen()._replace(events=[*seen().events, event("actor-restart", 50.0, 7)]), "the log has"),
        (seen()._replace(events=[*seen().events, event("clip-read-error", 50.0, 7, err="no display")]), "the log has"),
        (seen()._replace(events=[*seen().events, event("bridge-restart", 50.0, 8)]), "only 0 were killed"),
        (seen()._replace(events=[*seen().events, event("leader", 11.0, 8)]), "does not lead"),
    ],
)  # fmt: skip
def test_each_thing_that_is_not_right_is_named(wrong: Seen, named: str) -> None:
    found = Findings(wrong).wrong
    assert any(named in text for text in found), found


def test_writes_at_once_on_ntfy_may_be_in_either_order() -> None:
    right = swapped(strict=False)
    deeds = [one._replace(start=10.0, end=14.0) for one in right.deeds[:3]] + list(right.deeds[3:])
    findings = Findings(right._replace(deeds=deeds))
    assert findings.wrong == []
    assert findings.counts["opens at once, in another order"] == 1


@pytest.mark.parametrize(
    ("killed", "claimed", "excused"),
    [(11.2, True, True), (11.2, False, False), (12.5, True, False), (10.9, True, False)],
)
def test_a_url_is_missing_rightly_only_if_its_bridge_died_over_it(
    *, killed: float, claimed: bool, excused: bool
) -> None:
    missing = without(seen(), URLS[1])._replace(kills=[Kill(7, killed, "the bridge")], claimed=lambda _: claimed)
    findings = Findings(missing)
    assert bool(findings.excused) is excused
    assert bool(findings.wrong) is not excused


@pytest.mark.parametrize(("killed", "led", "right"), [(29.0, True, True), (29.0, False, False), (31.0, True, False)])
def test_a_write_that_no_log_says_was_replaced_needs_a_leader_that_died(
    *, killed: float, led: bool, right: bool
) -> None:
    whole = seen()
    left_out = whole._replace(changes=[whole.changes[0], whole.changes[2]], deeds=whole.deeds[:5] + whole.deeds[6:])  # type: ignore[operator]  # lists
    reigns = [Reign(7, 1.0, killed)] if led else []
    findings = Findings(left_out._replace(kills=[Kill(7, killed, "the bridge")], reigns=reigns))
    assert any("no log says why" in text for text in findings.wrong) is not right
    assert (findings.excused != []) is right


def test_a_bridge_that_died_was_at_one_url_only() -> None:
    missing = without(without(seen(), URLS[1]), URLS[2])
    events = [
        {**one, "ts": right["ts"]}
        for one, right in zip(missing.events, [*missing.events[:3], *missing.events[2:]], strict=False)
    ]
    findings = Findings(missing._replace(events=events, kills=[Kill(7, 11.2, "the bridge")]))
    assert len(findings.excused) == 1
    assert [URLS[2] in text and "never opened" in text for text in findings.wrong] == [True]


@pytest.mark.parametrize(
    ("pid", "killed", "why", "right"),
    [
        (7, 30.35, "the bridge", True),
        (7, 30.15, "the bridge", True),  # its tool lived on
        (7, 28.0, "replaced", True),  # told to end then
        (7, 30.0, "the bridge", False),  # before it had the message
        (7, 31.0, "the bridge", False),  # long after
        (8, 30.35, "the bridge", False),
    ],
)
def test_a_write_is_applied_twice_only_if_its_bridge_died_over_it(
    *, pid: int, killed: float, why: str, right: bool
) -> None:
    last = seen().changes[2]
    again = seen()._replace(changes=[*seen().changes, last._replace(begun=32.0, ended=32.1)])
    findings = Findings(again._replace(kills=[Kill(pid, killed, why)]))
    assert (findings.wrong == []) is right
    assert findings.counts["writes applied again after a crash"] == right


def test_a_write_that_a_newer_one_replaced_need_not_be_applied() -> None:
    right = seen()
    left_out = right._replace(changes=[right.changes[0], right.changes[2]], deeds=right.deeds[:5] + right.deeds[6:])  # type: ignore[operator]  # lists
    findings = Findings(left_out._replace(events=[*right.events, event("clip-superseded", 30.1, 7, id="m3")]))
    assert findings.wrong == []
    assert findings.counts["writes superseded"] == 1


def test_a_read_that_a_stopped_bridge_held_up_is_no_defect() -> None:
    held_up = event("clip-read-error", 50.0, 7, err="xclip did not end within 4 s and was killed")
    findings = Findings(seen()._replace(events=[*seen().events, held_up]))
    assert findings.wrong == []
    assert findings.counts["reads held up by a stopped bridge"] == 1
