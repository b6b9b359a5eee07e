"""Every part measures, with sizes that say nothing: what is seen is that it runs, and that its rows have values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench import parts
from tests.bench.place import Lab, round_trip
from tests.bench.rows import Section
from tests.bench.scale import TINY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.mark.parametrize("part", parts.PARTS, ids=lambda part: part.name)
def test_a_part_measures(lab: Lab, part: parts.Part) -> None:
    found = part.measure(lab, TINY)
    rows = [row for section in ([found] if isinstance(found, Section) else found) for row in section.rows]
    if part.name == "sweep" and not rows:
        pytest.skip("a sweep is only measured as root and with mosh")
    assert rows
    for row in rows:
        assert row.samples
        assert all(sample >= 0 for sample in row.samples), row
        assert len(row.cells()) == 8
    lost = [row for row in rows if "lost" in row.what]
    assert all(row.value == 0 for row in lost), lost
    assert part.name != "ntfy" or lost


def test_names_are_unique() -> None:
    names = [part.name for part in parts.PARTS]
    assert len(names) == len(set(names))


def test_a_round_trip_over_the_link_takes_forty_milliseconds_at_least() -> None:
    assert all(seconds >= 0.040 for seconds in round_trip(3))
