"""Formats an event for `nssh status --tail`: all its fields on one line, in columns, made printable."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from nssh.base.printable import printable
from nssh.log.log_reader import when

LONGEST: Final = 4000
"""Characters of one value, or of a line that is no event."""

_HIDDEN: Final = "(topic)"
_NAME_MAX: Final = 24
_EVENT_WIDTH: Final = 16
_WHEN_WIDTH: Final = 18
_LAST: Final = ("side", "pid")
_BAD: Final = ("-failed", "-error", "-down", "-lost", "-escalate", "-abandoned", "-dropped", "-timeout")
_RESET: Final = "\x1b[0m"
_DIM, _BOLD, _CYAN, _RED = ("\x1b[2m", "\x1b[1m", "\x1b[36m", "\x1b[1;31m")


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the fields of an event; None if the line is not a JSON object."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def hide_topic(line: bytes, topic: str) -> bytes:
    """Return a line of the Go program's log without its topic, which is a field and part of what errors tell.

    Only the values of other fields than the time are changed: a pinned topic may be any word.
    """
    fields = parse(line)
    if fields is None:
        return line.replace(topic.encode(), _HIDDEN.encode()) if topic else line
    fields.pop("topic", None)
    return json.dumps({key: value if key == "ts" else _without(topic, value) for key, value in fields.items()}).encode()


def _without(topic: str, value: object) -> object:
    if isinstance(value, str):
        return value.replace(topic, _HIDDEN) if topic else value
    if isinstance(value, list):
        return [_without(topic, one) for one in value]
    if isinstance(value, dict):
        return {key: _without(topic, one) for key, one in value.items()}
    return value


class Renderer:
    """Formats events. The column of session names is as wide as the longest name so far."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._width = 8

    def render(self, name: str, line: bytes, fields: dict[str, Any] | None) -> str:
        """Return the line for an event, with its time in the local time zone.

        Args:
            name: The session's name.
            line: The event as it stands in the log.
            fields: The result of `parse` for this line.
        """
        name = printable(name, _NAME_MAX)
        self._width = max(self._width, len(name))
        moment = when(line)
        shown = "" if moment is None else datetime.fromtimestamp(moment).astimezone().strftime("%m-%d %H:%M:%S.%f")[:-3]
        head = f"{self._paint(_DIM, f'{shown:<{_WHEN_WIDTH}}')} {self._paint(_CYAN, f'{name:<{self._width}}')}"
        if fields is None:
            return f"{head} {printable(line[: 4 * LONGEST].decode('utf-8', 'replace'), LONGEST)}"
        rest = dict(fields)
        if moment is not None:
            rest.pop("ts", None)
        event = _text(rest.pop("event", "?"))
        bad = event.endswith(_BAD) or event in {"lost", "actor-restart", "bridge-restart"}
        parts = [f"{head} {self._paint(_RED if bad else _BOLD, f'{event:<{_EVENT_WIDTH}}')}"]
        last = {key: rest.pop(key) for key in _LAST if key in rest}
        parts += [self._paint(_DIM, f"{printable(key, LONGEST)}=") + _text(value) for key, value in rest.items()]
        parts += [self._paint(_DIM, f"{key}={_text(value)}") for key, value in last.items()]
        return " ".join(parts)

    def _paint(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._colour else text


def _text(value: object) -> str:
    """Return a value as a printable word, in quotes if it has spaces or the like."""
    if not isinstance(value, str):
        return printable(json.dumps(value, ensure_ascii=False), LONGEST)
    plain = value and value.isprintable() and not any(character in ' "=' for character in value)
    return printable(value if plain else json.dumps(value, ensure_ascii=False), LONGEST)
