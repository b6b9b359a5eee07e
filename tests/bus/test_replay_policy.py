"""The replay policy, by property."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nssh.bus.replay_policy import OPEN_MAX, OPEN_SECONDS, READ_SECONDS, Item, Verdict, judge

NOW = 1_800_000_000.0
KINDS = ["open", "clip-write", "clip-read-request", "ping", "pong", "future-kind"]
items = st.builds(Item, st.sampled_from(KINDS), st.floats(NOW - 7200, NOW + 60))
backlogs = st.lists(items, max_size=60)


def applied(batch: list[Item], kind: str, now: float | None = NOW) -> list[int]:
    verdicts = judge(batch, now)
    return [index for index, item in enumerate(batch) if item.kind == kind and verdicts[index] is Verdict.APPLY]


@given(backlogs)
def test_each_item_has_a_verdict_that_fits_its_kind(batch: list[Item]) -> None:
    fitting = {
        "open": {Verdict.APPLY, Verdict.HELD},
        "clip-write": {Verdict.APPLY, Verdict.SUPERSEDED},
        "clip-read-request": {Verdict.APPLY, Verdict.EXPIRED},
    }
    verdicts = judge(batch, NOW)
    assert len(verdicts) == len(batch)
    for item, verdict in zip(batch, verdicts, strict=True):
        assert verdict in fitting.get(item.kind, {Verdict.APPLY})


def test_the_oldest_that_takes_effect() -> None:
    reads = [Item("clip-read-request", NOW - READ_SECONDS - late) for late in (0, 1)]
    assert judge(reads, NOW) == [Verdict.APPLY, Verdict.EXPIRED]
    opens = [Item("open", NOW - OPEN_SECONDS - late) for late in (0, 1)]
    assert judge(opens, NOW) == [Verdict.APPLY, Verdict.HELD]
    assert judge([Item("open", NOW)] * (OPEN_MAX + 1), NOW) == [Verdict.APPLY] * OPEN_MAX + [Verdict.HELD]


@given(backlogs)
def test_exactly_the_last_write_is_applied_however_old(batch: list[Item]) -> None:
    writes = [index for index, item in enumerate(batch) if item.kind == "clip-write"]
    assert applied(batch, "clip-write") == writes[-1:]


@given(backlogs)
def test_a_read_is_answered_if_and_only_if_it_is_young(batch: list[Item]) -> None:
    young = [i for i, item in enumerate(batch) if item.kind == "clip-read-request" and NOW - item.time <= READ_SECONDS]
    assert applied(batch, "clip-read-request") == young


@given(backlogs)
def test_the_first_ten_young_urls_are_opened_and_the_rest_is_held_not_lost(batch: list[Item]) -> None:
    young = [index for index, item in enumerate(batch) if item.kind == "open" and NOW - item.time <= OPEN_SECONDS]
    assert applied(batch, "open") == young[:OPEN_MAX]
    opens = [verdict for item, verdict in zip(batch, judge(batch, NOW), strict=True) if item.kind == "open"]
    assert opens.count(Verdict.HELD) == len(opens) - min(len(young), OPEN_MAX)


@given(backlogs, st.floats(-1e9, 1e9))
def test_only_differences_of_server_times_matter(batch: list[Item], shift: float) -> None:
    whole = [Item(item.kind, float(round(item.time))) for item in batch]
    shifted = [Item(item.kind, item.time + round(shift)) for item in whole]
    assert judge(whole, NOW) == judge(shifted, NOW + round(shift))


@given(st.lists(items, min_size=1, max_size=30))
def test_without_a_server_time_the_newest_item_is_now(batch: list[Item]) -> None:
    assert judge(batch, None) == judge(batch, max(item.time for item in batch))


def test_an_empty_backlog() -> None:
    assert judge([], None) == []
    assert judge([], NOW) == []


def test_the_values_are_the_names_of_the_events() -> None:
    assert {verdict.value for verdict in Verdict} == {"apply", "read-expired", "clip-superseded", "open-held"}
