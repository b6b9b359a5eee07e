"""Reads a TOML file that a user wrote. Its errors tell the file, the line, the key, and the nearest known key."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from nssh.base.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_T = TypeVar("_T")
_TYPES = {str: "a string", bool: "true or false", int: "an integer", float: "a number", list: "a list", dict: "a table"}


class Document:
    """A TOML file with its values, and its text for the line numbers of errors.

    A key is named `key` if it stands above the first table, otherwise `table.key`.
    """

    def __init__(self, path: str, data: bytes, top: tuple[str, ...], tables: Mapping[str, tuple[str, ...]]) -> None:
        """Parse a file's content. The methods, too, raise ConfigError, for a value that can't be used.

        Args:
            path: The file's path, for errors.
            data: The file's content.
            top: The known keys above the first table.
            tables: The known keys of each table.

        Raises:
            ConfigError: The content is not TOML, or has an unknown key.
        """
        self.path = path
        self._top = top
        self._tables = tables
        try:
            self._text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{path}:{line}: is not UTF-8; save the file in that encoding") from None
        self._values = self._parse()
        self._refuse_unknown_keys()

    def _parse(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text)
        except RecursionError:
            raise ConfigError(f"{self.path}: nests its values too deeply") from None
        except ValueError as error:  # TOMLDecodeError, and a plain one for an integer of too many digits
            reason, _, place = str(error).partition(" (at ")
            number = place.removeprefix("line ").partition(",")[0]
            line = int(number) if number.isdecimal() else len(self._text.splitlines())
            hint = '; text stands in quotes, as in server = "relay"' if reason == "Invalid value" else ""
            raise ConfigError(f"{self.path}:{line}: is not TOML here: {reason[:1].lower()}{reason[1:]}{hint}") from None

    def _refuse_unknown_keys(self) -> None:
        for name, value in self._values.items():
            if name in self._tables:
                if not isinstance(value, dict):
                    raise self.error(name, f"must be a table ([{name}]), not {_type_name(value)}")
                for key in value:
                    if key not in self._tables[name]:
                        raise self.error(f"{name}.{key}", f"is unknown; {self._suggest(key, name)}")
            elif name not in self._top:
                raise self.error(name, f"is unknown; {self._suggest(name, '')}")

    def _suggest(self, key: str, table: str) -> str:
        import difflib

        if table and key in self._top:
            return f'"{key}" must stand above the first [table]'
        everywhere = {f"{owner}.{name}": name for owner, names in self._tables.items() for name in names}
        here = {_dotted(table, name): name for name in (self._tables[table] if table else (*self._top, *self._tables))}
        for known, closeness in (
            (everywhere, 1.0),
            (here, 0.6),
            (everywhere | {name: name for name in self._top}, 0.6),
        ):
            near = difflib.get_close_matches(key, known.values(), 1, closeness)
            if near:
                places = [place for place, name in known.items() if name == near[0]]
                return 'did you mean "{}"?'.format('" or "'.join(places))
        return f"known here: {', '.join(here.values())}"

    def text(self, name: str, check: Callable[[str], _T], like: str = "") -> _T | None:
        """Return the result of `check` for a string; None if the key is not there.

        Args:
            name: The key.
            check: Called with the string. A ValueError's text becomes the error's.
            like: An example, for the error if the value is not a string.
        """
        value = self._value(name)
        if value is None:
            return None
        if not isinstance(value, str):
            example = f' like "{like}"' if like else ""
            raise self.error(name, f"must be a string{example}, not {_type_name(value)}")
        return self._checked(name, lambda: check(value))

    def words(self, name: str, split: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
        """Return a command, written as a list of strings or as a string for `split`; empty if the key is not there."""
        value = self._value(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return self._checked(name, lambda: split(value))
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self.error(name, "must be a string or a list of strings")
        if not value or not value[0]:
            raise self.error(name, "names no program")
        if any("\0" in word for word in value):
            raise self.error(name, "holds a NUL character")
        return tuple(value)

    def _value(self, name: str) -> Any:
        table, _, key = name.rpartition(".")
        return (self._values.get(table, {}) if table else self._values).get(key)

    def _checked(self, name: str, check: Callable[[], _T]) -> _T:
        try:
            return check()
        except ValueError as error:
            raise self.error(name, str(error)) from None

    def error(self, name: str, what: str) -> ConfigError:
        """Return an error about a key. `what` follows the key's name in its text."""
        shown = "".join(char if char.isprintable() else "?" for char in name[:80])
        return ConfigError(f'{self.path}:{self._line(name)}: "{shown}" {what}')

    def _line(self, name: str) -> int:
        """Return the number of the line on which a key's statement begins.

        It parses the document cut after each line. That succeeds only between statements, and the key is there from
        its own statement on. So no second TOML parser is needed.
        """
        table, _, key = name.rpartition(".") if name.partition(".")[0] in self._tables else ("", "", name)
        lines = self._text.split("\n")
        start = 1
        for count in range(1, len(lines) + 1):
            try:
                values = tomllib.loads("\n".join(lines[:count]))
            except ValueError:
                continue
            found = values.get(table, {}) if table else values
            if isinstance(found, dict) and key in found:
                return start
            start = count + 1
        return min(start, len(lines))


def _dotted(table: str, key: str) -> str:
    return f"{table}.{key}" if table else key


def _type_name(value: object) -> str:
    return _TYPES.get(type(value), "a date or time")
