"""The MIME types that the clipboard carries, with the one name that each has on the bus."""

from __future__ import annotations

TEXT = "text/plain"
PNG = "image/png"
URI_LIST = "text/uri-list"
HTML = "text/html"

ANYTHING = "*/*"
"""Asks for whatever there is, text before images; the Go program does not know it and answers with text."""

ANY_IMAGE = "image/*"
"""Asks for an image of any type."""

# Names of text in X11 and Wayland, and those that users type.
TEXT_NAMES = frozenset({"", "text", "string", "utf8_string", "compound_text", TEXT})

_MORE_TEXT = frozenset({HTML, "text/rtf", URI_LIST})
_SUBTYPE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.+-")


def canonical(mime: str) -> str:
    """Return the name of a type on the bus: lower case, no parameters, `text/plain` for plain text and for empty.

    It is empty for types that are not carried. One of them is `x-special/gnome-copied-files`: a hostile remote could
    use it to move files of the laptop when the user pastes.
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
    """Return whether content of this type is text for people."""
    name = base(mime)
    return name.startswith("text/") or name in TEXT_NAMES


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
)


def image_type(head: bytes) -> str:
    """Return the type of an image by its first bytes, for the types common on clipboards; empty if it is none."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    # A text may begin with BM, too, but the reserved bytes of a bitmap's header are zero.
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return next((mime for magic, mime in _MAGIC if head.startswith(magic)), "")


# Text has no other control characters than white space and ESC. Every other image has some at its beginning.
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")
_SIGNED = frozenset(mime for _, mime in _MAGIC) | {"image/webp", "image/bmp"}
_TEXT_IMAGES = frozenset({"image/svg+xml", "image/x-xpixmap", "image/x-xbitmap"})


def may_be_image(mime: str, head: bytes, *, text_images: bool) -> bool:
    """Return whether content may be an image of this type by its first bytes: no text, and no image of another type.

    Args:
        mime: The type of the image.
        head: The first bytes of the content; half a kilobyte will do.
        text_images: Whether it may also be one of those images that are text.
    """
    found = image_type(head)
    if found:
        return found == mime or mime not in _SIGNED
    return (text_images and mime in _TEXT_IMAGES) or not _CONTROL.isdisjoint(head)
