"""Errors by which a shim ends."""


class Failure(Exception):  # noqa: N818 (an outcome that the personas expect)
    """The shim failed: one line for stderr, without the shim's name, and a status (0: the persona's usual one)."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class ToolExit(Exception):  # noqa: N818 (an outcome that the personas expect)
    """The shim ends as the real tool does: with its exact text on stderr, its status, and its text on stdout."""

    def __init__(self, text: str, status: int = 1, out: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.out = out


class UseRealTool(ToolExit):
    """The call is for the real tool; without one, the shim ends as that tool does on a machine without a display."""


def printable(text: str, limit: int = 300) -> str:
    """Return text from the network as one line for a terminal: at most `limit` characters, no control characters."""
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()
