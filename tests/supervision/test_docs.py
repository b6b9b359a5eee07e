"""docs/supervision.md names every option with its default, and what it shows runs."""

from __future__ import annotations

import enum
import inspect
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from actors.supervision import Backoff, BaseActor, ChildSpec, Supervisor
from actors.supervision._actor import READ_AHEAD
from actors.supervision._health import CONFIRM
from actors.supervision._ref import INTROSPECTION
from actors.supervision._spec import Default
from actors.supervision._supervisor import LIVENESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.supervision import Context

PAGE = Path(__file__).parents[2] / "docs" / "supervision.md"


def rows() -> dict[str, str]:
    """Each option of the tables, and what the column of defaults says."""
    found: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`[^|]+`) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`([\w.]+)`", names), default)
    return found


def options() -> list[tuple[str, object]]:
    def of(made: type, prefix: str = "") -> list[tuple[str, object]]:
        parameters = inspect.signature(made).parameters.values()
        return [(prefix + parameter.name, parameter.default) for parameter in parameters]

    return [*of(ChildSpec), *of(Backoff, "backoff."), *of(Supervisor)[1:]]


@pytest.mark.parametrize(("name", "default"), options(), ids=[name for name, _ in options()])
def test_every_option_is_documented_with_its_default(name: str, default: object) -> None:
    text = rows()[name]
    if isinstance(default, Default):
        default = default.value
    if isinstance(default, bool):
        assert text.strip() == str(default).lower()
    elif isinstance(default, int | float):
        assert f"{default:g}" in re.findall(r"[\d.]+", text)
    elif isinstance(default, enum.Enum):
        assert f"`{default.name}`" == text.strip()


def test_every_call_of_the_tables_is_there() -> None:
    calls = dict(re.findall(r"^\| `(\w+)\(([\w, ]*)\)` \|", PAGE.read_text(), re.MULTILINE))
    assert {"send", "ask", "after", "watch", "post", "spawn_reader", "busy", "start_child", "delete_child"} <= set(
        calls
    )
    for name, words in calls.items():
        owner = Supervisor if name.endswith("_child") else BaseActor
        parameters = [one for one in inspect.signature(getattr(owner, name)).parameters if one != "self"]
        found = ["id" if one == "child_id" else one for one in parameters if one != "timeout" or name == "ask"]
        assert found == [word for word in words.split(", ") if word], name


def test_the_numbers_of_the_text_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text().split())
    assert f"waits when {READ_AHEAD} are unhandled" in page
    assert f"waits up to {INTROSPECTION:g} s for one that is down" in page
    assert f"thread at least every {LIVENESS:g} s" in page
    assert "up to a second later" in page
    assert CONFIRM == 1.0


class Line(NamedTuple):
    text: str


class Record(NamedTuple):
    text: str


class Stream:
    """What the example reads from: two lines, and then nothing until it is shut down."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def __iter__(self) -> Iterator[str]:
        yield from ("first", "last")
        self._over.wait(30)

    def shutdown(self) -> None:
        self._over.set()


class RemoteHost(BaseActor):
    def __init__(self, context: Context, target: str) -> None:
        super().__init__(context)
        assert target == "devbox"

    def handle(self, message: object) -> None:
        pass


def test_the_examples_run() -> None:
    tree, actor = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    logged: list[str] = []

    class LogWriter(BaseActor):
        def handle(self, message: Record) -> None:
            logged.append(message.text)
            if message.text == "last":
                names["tree"].request_stop()

    names: dict[str, Any] = {
        "BusError": OSError, "Line": Line, "Record": Record, "connect": Stream, "LogWriter": LogWriter,
        "RemoteHost": RemoteHost, "target": "devbox", "sys": sys,
    }  # fmt: skip
    exec(actor, names)  # noqa: S102 - the page's own
    with pytest.raises(SystemExit) as end:
        exec(tree, names)  # noqa: S102
    assert end.value.code is False
    assert logged == ["first", "last"]
