"""Text for a terminal that may hold what a remote, a server or a program made up. Standard library only."""

from __future__ import annotations

LONGEST = 400
"""Characters; about five rows of a terminal."""


def printable(text: str, limit: int | None = None) -> str:
    """Return text as one line that can't steer a terminal: what is not printable becomes `?`.

    Args:
        text: Whatever was received.
        limit: Characters after which it is cut, marked by an ellipsis; None for no limit.
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(character if character.isprintable() else "?" for character in text)
