"""How a shim ends when it can't do what it was asked to."""


class Failure(Exception):  # noqa: N818 (an outcome that the personas expect)
    """One line for stderr (without the shim's name) and an exit status; 0 stands for the persona's usual failure."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Said(Exception):  # noqa: N818 (as the real tool ends)
    """The persona ends as the real tool does: what that writes to stderr, to the last newline, and its status."""

    def __init__(self, text: str, status: int = 1, out: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.out = out


class NotOurs(Said):
    """The call is not for the laptop but for the real tool; without one, for what that says on a machine like this."""


def printable(text: str, limit: int = 300) -> str:
    """Make text from elsewhere fit for a terminal: one line, no control characters, not endless."""
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()
