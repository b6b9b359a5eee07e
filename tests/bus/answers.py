"""What scripted servers say, and what an error of the client must not tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Callable


TOPIC = "nssh_secrettopicsecretto"


TOKEN = "tk_secretsecretsecretsecretsecre"


def line(**fields: object) -> bytes:
    return json.dumps({"time": 1_800_000_000, "topic": TOPIC, **fields}).encode() + b"\n"


def message(id_: str, text: str = "x") -> bytes:
    return line(event="message", id=id_, message=text)


def refused(call: Callable[[], object]) -> BusError:
    with pytest.raises(BusError) as caught:
        call()
    error = caught.value
    told = "".join(map(str, (error, repr(error), error.__cause__, error.__context__)))
    assert not any(secret in told for secret in (TOPIC, TOKEN, "secret"))
    assert str(error).isprintable()
    return error
