"""The session file: the laptop writes it at connect, and shims find their bus in it (docs/protocol.md, "Files")."""

from __future__ import annotations

import os

from nssh.wire.files import config_dir, state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RELAY = "relay"
"""The server name that stands for the embedded relay."""

MAX_SIZE = 64 * 1024
"""Bytes of a session or configuration file that are read."""

_TOPIC_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_KEY_CHARACTERS = _TOPIC_CHARACTERS | frozenset('."')
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_NO_SESSION = "no nssh session on this host: connect with `nssh <host>` from your laptop"


class SessionError(ValueError):
    """There is no usable session; the text is one line that says what to do, and quotes no value.

    Attributes:
        line: The line number in the file; 0 if the error is not about a line.
    """

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__("line %d: %s" % (line, text) if line else text)
        self.line = line


class Session:
    """The content of a session file: server, topic, the features of the laptop, and the server's token or empty."""

    __slots__ = ("features", "server", "token", "topic")

    def __init__(self, server: str, topic: str, features: tuple[str, ...] = (), token: str = "") -> None:
        self.server = server
        self.topic = topic
        self.features = features
        self.token = token

    def _key(self) -> tuple[str, str, tuple[str, ...], str]:
        return (self.server, self.topic, self.features, self.token)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Session) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return "Session(server=%r, features=%r)" % (self.server, self.features)  # topic and token are secrets


def is_topic(text: str) -> bool:
    """Return whether `text` is the name of a topic: `^[-_A-Za-z0-9]{1,64}$` (docs/ntfy.md, "Publish")."""
    return 0 < len(text) <= 64 and _TOPIC_CHARACTERS.issuperset(text)


def render(session: Session) -> str:
    """Return the text of a session file.

    Raises:
        SessionError: The topic's name is not valid, or a value is not Unicode text.
    """
    if not is_topic(session.topic):
        raise SessionError("the topic is not valid")
    lines = ["server = %s" % _string(session.server), "topic = %s" % _string(session.topic)]
    if session.features:
        lines.append("features = [%s]" % ", ".join(_string(feature) for feature in session.features))
    if session.token:
        lines.append("token = %s" % _string(session.token))
    return "\n".join(lines) + "\n"


def _string(value: str) -> str:
    out = []
    for character in value:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            raise SessionError("a value is not Unicode text")
        if character in '"\\':
            out.append("\\" + character)
        elif code < 0x20 or code == 0x7F or code in {0x85, 0x2028, 0x2029}:
            # TOML wants control characters escaped. The last three end a line for some readers.
            out.append("\\u%04X" % code)
        else:
            out.append(character)
    return '"%s"' % "".join(out)


def parse(text: str) -> Session:
    """Parse a session file: `key = "string"` and `key = ["a", "b"]` lines, comments; unknown keys are ignored.

    Raises:
        SessionError: A line can't be parsed (its number is in the text), or server or topic is missing or invalid.
    """
    values = _scan(text, ("server", "topic", "features", "token"))
    for key in ("server", "topic"):
        if key not in values:
            raise SessionError("the session file names no %s: connect again with `nssh <host>`" % key)
    return _session(values)


def _session(values: Mapping[str, str | tuple[str, ...]]) -> Session:
    server, topic, features, token = (values.get(key, "") for key in ("server", "topic", "features", "token"))
    if not isinstance(server, str) or not isinstance(topic, str) or not isinstance(token, str):
        raise SessionError("server, topic and token must be strings")
    if isinstance(features, str) and features:
        raise SessionError("features must be an array of strings")
    if not is_topic(topic):
        raise SessionError("the topic is not valid (letters, digits, - and _, at most 64)")
    if not is_server(server):
        raise SessionError("the server is not valid (relay, unix:/path, http://host or https://host)")
    return Session(server, topic, tuple(features), token)


def is_server(text: str) -> bool:
    """Return whether `text` names a server: `relay`, `unix:/path`, `http://…` or `https://…`, without spaces."""
    if any(character <= " " or character == "\x7f" for character in text):
        return text.startswith("unix:/") and "\0" not in text  # a home directory may have a space in its name
    return text == RELAY or text.startswith(("unix:/", "http://", "https://"))


def _scan(text: str, wanted: tuple[str, ...]) -> dict[str, str | tuple[str, ...]]:
    """Return the values of `wanted` keys before the first table; of other keys only the form `key = …` is checked."""
    values: dict[str, str | tuple[str, ...]] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            break
        key, separator, rest = line.partition("=")
        key = key.strip(" \t")
        if not separator or not key or not _KEY_CHARACTERS.issuperset(key):
            raise SessionError('expected key = "value"', number)
        if key[:1] == key[-1:] == '"' and len(key) > 2:
            key = key[1:-1]
        if key not in wanted:
            continue
        if key in values:
            raise SessionError("%s is given twice" % key, number)
        values[key] = _value(rest.strip(" \t"), number)
    return values


def _value(text: str, number: int) -> str | tuple[str, ...]:
    value: str | tuple[str, ...]
    if text.startswith("["):
        value, rest = _array(text[1:], number)
    else:
        value, rest = _basic_string(text, number)
    rest = rest.lstrip(" \t")
    if rest and not rest.startswith("#"):
        raise SessionError("something follows the value", number)
    return value


def _array(text: str, number: int) -> tuple[tuple[str, ...], str]:
    items = []
    rest = text.lstrip(" \t")
    while not rest.startswith("]"):
        item, rest = _basic_string(rest, number)
        items.append(item)
        rest = rest.lstrip(" \t")
        if rest.startswith(","):
            rest = rest[1:].lstrip(" \t")
        elif not rest.startswith("]"):
            raise SessionError("an array must end on its line with ]", number)
    return tuple(items), rest[1:]


def _basic_string(text: str, number: int) -> tuple[str, str]:
    """Read one TOML string at the start of `text`; return it and what follows."""
    if text.startswith("'"):
        literal, quote, rest = text[1:].partition("'")
        if not quote:
            raise SessionError("the string does not end on its line", number)
        return literal, rest
    if not text.startswith('"'):
        raise SessionError("expected a string in double quotes", number)
    out: list[str] = []
    at = 1
    while at < len(text):
        character = text[at]
        at += 1
        if character == '"':
            return "".join(out), text[at:]
        if character != "\\":
            if character < " " and character != "\t":
                raise SessionError("a control character in a string", number)
            out.append(character)
            continue
        escape = text[at : at + 1]
        at += 1
        if escape in _ESCAPES:
            out.append(_ESCAPES[escape])
        elif escape and escape in "uU":
            digits = text[at : at + (4 if escape == "u" else 8)]
            at += len(digits)
            out.append(_character(digits, 4 if escape == "u" else 8, number))
        else:
            raise SessionError("unknown escape in a string", number)
    raise SessionError("the string does not end on its line", number)


def _character(digits: str, width: int, number: int) -> str:
    if len(digits) != width or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise SessionError("a \\u escape needs %d hexadecimal digits" % width, number)
    code = int(digits, 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise SessionError("a \\u escape that is no character", number)
    return chr(code)


def _read(path: str) -> str | None:
    """Return a small text file, or None if it does not exist."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_SIZE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SessionError("cannot read %s: %s" % (path, error.strerror)) from error
    if len(data) > MAX_SIZE:
        raise SessionError("%s is larger than %d bytes" % (path, MAX_SIZE))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SessionError("%s is not UTF-8" % path) from None


def _read_values(path: str, wanted: tuple[str, ...]) -> dict[str, str | tuple[str, ...]]:
    text = _read(path)
    if text is None:
        return {}
    try:
        return _scan(text, wanted)
    except SessionError as error:
        raise SessionError("%s: %s" % (path, error)) from None


def load(environ: Mapping[str, str] = os.environ) -> Session:
    """Return the session of this (remote) host.

    The server is the first of `NSSH_NTFY_BASE`, `config.toml`, the session file, and the relay; the topic is that of
    `config.toml` or else of the session file. The token is kept only for the server that the session file names. The
    server `relay` is returned as `unix:<path>`.

    Raises:
        SessionError: There is no session, or a file can't be read or parsed; the text says what to do.
    """
    state = state_dir(environ)
    session = _read_values(os.path.join(state, "session"), ("server", "topic", "features", "token"))
    config = _read_values(os.path.join(config_dir(environ), "config.toml"), ("server", "topic"))
    values = dict(session)
    values.update(config)
    if environ.get("NSSH_NTFY_BASE"):
        values["server"] = environ["NSSH_NTFY_BASE"]
    values.setdefault("server", RELAY)
    if "topic" not in values:
        raise SessionError(_NO_SESSION)
    if values["server"] != session.get("server", RELAY):
        values.pop("token", None)
    result = _session(values)
    if result.server == RELAY:
        result.server = "unix:" + os.path.join(state, "relay.sock")
    elif not result.server.startswith("unix:"):
        result.server = result.server.rstrip("/")
    return result
