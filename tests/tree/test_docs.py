"""docs/supervision.md names every option with its default."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from actors.restarts import Backoff
from actors.spec import ChildSpec
from actors.supervisor import Supervisor

PAGE = Path(__file__).parents[2] / "docs" / "supervision.md"


def rows() -> dict[str, str]:
    """Each option of the tables, and what the column of defaults says."""
    found: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`[^|]+`) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`([\w.]+)`", names), default)
    return found


def options() -> list[tuple[str, object]]:
    parameters = inspect.signature(Supervisor).parameters.values()
    return [
        *((field.name, field.default) for field in dataclasses.fields(ChildSpec)),
        *((f"backoff.{field.name}", field.default) for field in dataclasses.fields(Backoff)),
        *((parameter.name, parameter.default) for parameter in parameters if parameter.name != "children"),
    ]


@pytest.mark.parametrize(("name", "default"), options(), ids=[name for name, _ in options()])
def test_every_option_is_documented_with_its_default(name: str, default: object) -> None:
    text = rows()[name]
    if isinstance(default, int | float):
        assert f"{default:g}" in re.findall(r"[\d.]+", text)
    elif hasattr(default, "name"):
        assert f"`{default.name}`" == text.strip()
