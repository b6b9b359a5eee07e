"""What may go through the clipboard: types, sizes, and how long a tool may take for it."""

from __future__ import annotations

from nssh.errors import ToolError

TEXT = "text/plain"
PNG = "image/png"

SIZE_LIMIT = 20 << 20
"""Bytes, both ways."""

READ_TIMEOUT = 4.0
WRITE_TIMEOUT = 10.0
"""Seconds for a whole read or write, however many programs it takes."""

# What X11 and Wayland programs call text; all of it is UTF-8 but STRING, which is Latin-1 (ICCCM section 2.7.1).
TEXT_NAMES = ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain;charset=UTF-8", TEXT, "STRING", "TEXT")

_MORE_TEXT = frozenset({"text/html", "text/rtf"})
_SUBTYPE_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.+-")


class ClipboardEmpty(ToolError):  # noqa: N818  a state that callers ask for, hardly an error
    """There is nothing on the clipboard, or nothing of the type asked for."""

    def __init__(self, mime: str) -> None:
        super().__init__(f"nothing of type {mime} is on the clipboard")


def canonical(mime: str) -> str:
    """Return the one name for a type: lower case, no parameters, `text/plain` for any plain text or no type at all.

    Only text/plain, text/html, text/rtf and images pass. Others are for a reason not bridged: `text/uri-list` tells the
    remote the laptop's paths, and a pasted `x-special/gnome-copied-files` from a hostile remote moves local files.

    Raises:
        ToolError: It is none of them.
    """
    name = mime.partition(";")[0].strip().lower()
    if name in {"", "text", "string", "utf8_string", TEXT}:
        return TEXT
    kind, _, subtype = name.partition("/")
    if name in _MORE_TEXT or (kind == "image" and 0 < len(subtype) <= 64 and _SUBTYPE_CHARS.issuperset(subtype)):
        return name
    raise ToolError(f"the clipboard bridge takes text and images, not {mime[:80]!r}")


def canonical_targets(offered: list[str]) -> list[str]:
    """Return the types that can be asked for, of all that the owner of a clipboard offers; plain text comes first."""
    found: dict[str, None] = {}
    for name in offered:
        if "/" in name or name in TEXT_NAMES:
            try:
                found[canonical(name)] = None
            except ToolError:
                continue  # a type that is not bridged: what is on the clipboard is no error
    return sorted(found, key=lambda name: (name != TEXT, name != PNG))


def offered_name(mime: str, offered: list[str]) -> str:
    """Return the name under which the owner offers a canonical type.

    Raises:
        ClipboardEmpty: It does not.
    """
    if mime == TEXT:
        names = [name for name in TEXT_NAMES if name in offered]
    else:
        names = [name for name in offered if name.partition(";")[0].strip().lower() == mime]
    if not names:
        raise ClipboardEmpty(mime)
    return names[0]


def check_size(data: bytes) -> None:
    """Refuse to write more than `SIZE_LIMIT`.

    Raises:
        ToolError: It is more.
    """
    if len(data) > SIZE_LIMIT:
        raise ToolError(f"{len(data)} bytes are too much for the clipboard; the limit is {SIZE_LIMIT >> 20} MiB")


def text_of(data: bytes, name: str) -> bytes:
    """Return text as UTF-8: only what came as STRING and is no UTF-8 needs a change."""
    if name != "STRING":
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1").encode()
    return data
