"""The shims and the tools they stand for, side by side: the same arguments and input, the same clipboard before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.remote.differential.cases import ALL, DIFFERENCES, WAYLAND, XCLIP, XDG, XSEL
from tests.remote.differential.sides import Outcome, Real, Shims

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.remote.differential.cases import Case

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def shims() -> Iterator[Shims]:
    with Shims() as shims:
        yield shims


@pytest.fixture(scope="module")
def x() -> Iterator[Real]:
    with Real("x11") as real:
        yield real


@pytest.fixture(scope="module")
def sway() -> Iterator[Real]:
    with Real("wayland") as real:
        yield real


def name(case: Case) -> str:
    before = (
        "" if case.before == ("text/plain", b"before") else f" | {'nothing' if case.before is None else case.before[0]}"
    )
    return f"{' '.join(case.argv)[:60]} < {case.stdin[:10]!r}{before}"


def compare(case: Case, tool: Real, shims: Shims) -> None:
    real, shim = tool.run(case), shims.run(case)
    for _ in range(3):
        if case.differs or real.clipboard == shim.clipboard or real.blocks:
            break
        # What a real tool leaves behind may need another moment until it serves what was copied.
        real = real._replace(clipboard=tool.becomes(shim.clipboard))
        if real.clipboard is None:
            # The real xsel dies, and what it served with it, if a reader goes away while it hands over a large text.
            real = tool.run(case)
    differing = {aspect for aspect in Outcome._fields if getattr(real, aspect) != getattr(shim, aspect)}
    if not case.differs:
        assert shim == real
        return
    assert differing, f"the shim does the same as the real tool: strike {case.differs} from this case"
    allowed = DIFFERENCES[case.differs].aspects
    assert differing <= allowed, f"{differing - allowed}: the shim {shim}, the real tool {real}"


@pytest.mark.parametrize("case", [*XCLIP, *XSEL], ids=name)
def test_on_x(case: Case, x: Real, shims: Shims) -> None:
    compare(case, x, shims)


@pytest.mark.parametrize("case", WAYLAND, ids=name)
def test_on_wayland(case: Case, sway: Real, shims: Shims) -> None:
    compare(case, sway, shims)


@pytest.mark.parametrize("case", XDG, ids=name)
def test_opening_what_is_no_url(case: Case, x: Real, shims: Shims) -> None:
    compare(case, x, shims)


def test_there_are_enough_and_every_difference_is_one_of_some_case() -> None:
    assert len(ALL) >= 150
    assert {case.differs for case in ALL} - {""} == set(DIFFERENCES)


def test_the_docs_tell_every_difference_and_no_other() -> None:
    text = Path(__file__).parents[3].joinpath("docs/shims.md").read_text()
    section = text.partition("## What differs")[2].partition("\n## ")[0]
    told = [re.sub(r"\s+", " ", item).strip() for item in section.split("\n- ")[1:]]
    assert told == [difference.reason for difference in DIFFERENCES.values()]
