"""docs/supervision.md on processes: every option is there with its default, and the numbers are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from actors.supervision import ChildSpec, ProcessSupervisor, Program
from actors.supervision._heartbeat import DESCRIPTOR, INTERVAL
from actors.supervision._process_plan import CONFIRM

PAGE = Path(__file__).parents[2] / "docs" / "supervision.md"
SECTION = PAGE.read_text().partition("\n## Processes\n")[2].partition("\n## ")[0]


def table(*, of: str) -> dict[str, list[str]]:
    """Return the rows of the table whose head begins with some words, by their first cell."""
    lines = SECTION[SECTION.index(f"\n| {of}") + 1 :].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: lines.index("")]]
    return {row[0]: row[1:] for row in rows[2:]}


@pytest.mark.parametrize("name", Program._fields)
def test_every_option_is_documented_with_its_default(name: str) -> None:
    default = table(of="option")[f"`program.{name}`"][0]
    known = Program._field_defaults.get(name, "")
    assert default == (str(known) if known != "" else "empty" if name in Program._field_defaults else "")


def test_no_option_is_documented_that_is_not_there() -> None:
    assert list(table(of="option")) == [f"`program.{name}`" for name in Program._fields]


@pytest.mark.parametrize("option", ["startup", "shutdown"])
def test_the_limits_are_those_of_any_child(option: str) -> None:
    default = inspect.signature(ChildSpec).parameters[option].default
    assert f"for `{option}`, {default:g} s" in table(of="| an actor")


def test_the_example_runs_and_health_is_off_by_default() -> None:
    (code,) = re.findall(r"^```py\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    exec(code, {})  # noqa: S102 - the page's own
    assert ChildSpec("child", Program(["program"])).health is None


def test_the_numbers_are_those_of_the_code() -> None:
    supervisor = inspect.signature(ProcessSupervisor).parameters
    intensity, period = supervisor["intensity"].default, supervisor["period"].default
    assert f"ProcessSupervisor(spec, intensity={intensity}, period={period})" in SECTION
    assert f"as descriptor {DESCRIPTOR}:" in SECTION
    assert f"at most every {INTERVAL:g} s" in SECTION
    assert CONFIRM == 0.1
    assert "a tenth of `health` later" in SECTION
