"""Makes text from a remote, a server or a program safe to print on a terminal. Standard library only."""

from __future__ import annotations

LONGEST = 400
"""Characters; about five rows of a terminal."""


def printable(text: str, limit: int | None = None) -> str:
    """Return text as one line without control characters: each character that is not printable becomes `?`.

    Args:
        text: Any text.
        limit: The number of characters to which it is cut, ellipsis included; None for no limit.
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(character if character.isprintable() else "?" for character in text)
