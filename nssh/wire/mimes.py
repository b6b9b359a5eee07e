"""The types of a clipboard that travel, under the one name that each has on the bus."""

from __future__ import annotations

TEXT = "text/plain"
PNG = "image/png"
URI_LIST = "text/uri-list"
HTML = "text/html"

ANYTHING = "*/*"
"""Asks for whatever there is, text before images; a laptop that does not know it (the Go program) answers with text."""

ANY_IMAGE = "image/*"
"""Asks for the image there is, whatever its type."""

# What X11 and Wayland call text, and what people type for it.
TEXT_NAMES = frozenset({"", "text", "string", "utf8_string", "compound_text", TEXT})

_MORE_TEXT = frozenset({HTML, "text/rtf", URI_LIST})
_SUBTYPE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.+-")


def canonical(mime: str) -> str:
    """Return the one name for a type: lower case, no parameters, `text/plain` for any plain text or no type at all.

    An empty string means that it does not travel. `x-special/gnome-copied-files` must not: pasted by a hostile remote
    it moves files of the laptop.
    """
    name = base(mime)
    if name in TEXT_NAMES:
        return TEXT
    kind, _, subtype = name.partition("/")
    if name in _MORE_TEXT or (kind == "image" and 0 < len(subtype) <= 64 and _SUBTYPE.issuperset(subtype)):
        return name
    return ""


def base(mime: str) -> str:
    """Return a type in lower case and without its parameters."""
    return mime.partition(";")[0].strip().lower()


def is_text(mime: str) -> bool:
    """Tell whether people read it as it is."""
    name = base(mime)
    return name.startswith("text/") or name in TEXT_NAMES


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)


def image_type(head: bytes) -> str:
    """Return the type of an image by how it begins, or an empty string: a handful that programs put on clipboards."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    # BM alone begins many a text; the reserved bytes of a bitmap's header are zero.
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return next((mime for magic, mime in _MAGIC if head.startswith(magic)), "")
