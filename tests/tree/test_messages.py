"""actors/messages.py has every message, frozen, and none that nobody sends."""

from __future__ import annotations

import ast
import enum
import inspect
from pathlib import Path

import pytest

from actors import messages

MESSAGES = {
    name: kind
    for name, kind in vars(messages).items()
    if inspect.isclass(kind) and kind.__module__ == messages.__name__ and not issubclass(kind, enum.Enum)
}
FILES = [path for path in sorted(Path(inspect.getfile(messages)).parent.glob("*.py")) if path.stem != "messages"]
CALLS = [node for path in FILES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
# Which argument the message is.
VERBS = {"send": 1, "ask": 1, "after": 1, "post": 0}


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


@pytest.mark.parametrize("kind", MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_frozen_and_says_who_tells_it_whom(kind: type) -> None:
    assert issubclass(kind, tuple)
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")  # what a NamedTuple without one has


def test_no_message_is_left_over() -> None:
    assert set(MESSAGES) <= {name_of(call) for call in CALLS}


def test_what_is_sent_is_a_message_of_that_module() -> None:
    sent = [
        said
        for call in CALLS
        if (at := VERBS.get(name_of(call))) is not None and at < len(call.args)
        if isinstance(said := call.args[at], ast.Call)
    ]
    assert len(sent) > 50
    assert {name_of(said) for said in sent} <= set(MESSAGES)


def test_every_ask_has_a_timeout() -> None:
    asks = [call for call in CALLS if isinstance(call.func, ast.Attribute) and call.func.attr == "ask"]
    assert len(asks) >= 5
    for ask in asks:
        assert len(ask.args) == 3, ast.unparse(ask)
        assert not (isinstance(ask.args[2], ast.Constant) and ask.args[2].value is None)
