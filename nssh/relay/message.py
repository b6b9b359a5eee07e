"""Make and parse what ntfy defines: ids, messages as JSON lines, content types, and the `since` parameter."""

from __future__ import annotations

import os

from nssh.wire.quickjson import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ID_LENGTH = 12

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ID_CHARACTERS = frozenset(_ALPHABET)
RESERVED = frozenset(("docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login", "v1"))
"""Names that are no topics, because ntfy uses them as paths."""

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"),
    (b"GIF87a", "image/gif", ".gif"),
    (b"GIF89a", "image/gif", ".gif"),
    (b"%PDF-", "application/pdf", ".pdf"),
)


def new_id() -> str:
    """Return 12 random letters and digits."""
    number = int.from_bytes(os.urandom(12), "big")
    characters = []
    for _ in range(ID_LENGTH):
        number, digit = divmod(number, 62)
        characters.append(_ALPHABET[digit])
    return "".join(characters)


def is_id(text: str) -> bool:
    """Return whether `text` has the form of a message id."""
    return len(text) == ID_LENGTH and _ID_CHARACTERS.issuperset(text)


def sniff(head: bytes) -> tuple[str, str]:
    """Return content type and file name extension (`.png`) for content that begins with `head`."""
    for signature, content_type, extension in _SIGNATURES:
        if head.startswith(signature):
            return content_type, extension
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp", ".webp"
    # A multi-byte character may be cut at the end of `head`.
    text = head.decode("utf-8", "ignore")
    if len(head) - len(text.encode("utf-8")) < 4 and not any(
        character < " " and character not in "\t\n\r\f\x1b" for character in text
    ):
        return "text/plain; charset=utf-8", ".txt"
    return "application/octet-stream", ".bin"


def extension_of(name: str) -> str:
    """Return the extension of a file name (`.png`) if it is letters and digits, at most 8; otherwise empty."""
    extension = name.rpartition(".")[2] if "." in name else ""
    return "." + extension if 0 < len(extension) <= 8 and _ID_CHARACTERS.issuperset(extension) else ""


def render(fields: Mapping[str, str | int | Mapping[str, str | int]]) -> str:
    """Return one JSON object of strings, integers and objects, in the order given."""
    parts = []
    for key, value in fields.items():
        if isinstance(value, str):
            parts.append("%s:%s" % (quote(key), quote(value)))
        elif isinstance(value, int):
            parts.append("%s:%d" % (quote(key), value))
        else:
            parts.append("%s:%s" % (quote(key), render(value)))
    return "{%s}" % ",".join(parts)


class Since:
    """Where a replay starts: `kind` is all, none, latest, id or time; for these two, `id` or `time` (Unix seconds)."""

    __slots__ = ("id", "kind", "time")

    def __init__(self, kind: str, id: str = "", time: float = 0.0) -> None:  # noqa: A002  (the wire's name)
        self.kind = kind
        self.id = id
        self.time = time


def parse_since(text: str, now: float) -> Since | None:
    """Parse a `since` parameter as ntfy does (docs/ntfy.md, "Subscribe"); return None if it is malformed."""
    if text in {"all", "0"}:
        return Since("all")
    if text in {"none", "1"}:
        return Since("none")
    if text == "latest":
        return Since("latest")
    if is_id(text):
        return Since("id", id=text)
    if text.isascii() and text.isdigit() and len(text) < ID_LENGTH:
        return Since("time", time=float(text))
    seconds = _parse_duration(text)
    return None if seconds is None else Since("time", time=now - seconds)


def _parse_duration(text: str) -> float | None:
    """Return the seconds of `10m`, `24h` or `1h30m`; None if malformed. Days are no unit in Go, and so not in ntfy."""
    if not 1 < len(text) < ID_LENGTH:
        return None
    total = 0.0
    rest = text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("hms"))]
        rest = rest[len(unit) :]
        if unit not in _UNITS or not number.replace(".", "", 1).isdigit():
            return None
        total += float(number) * _UNITS[unit]
    return total
