"""How a shim ends when it can't do what it was asked to."""


class Failure(Exception):  # noqa: N818 (an outcome that the personas expect)
    """One line for stderr (without the shim's name) and an exit status; 0 stands for the persona's usual failure."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class NotOurs(Exception):  # noqa: N818 (no error: the real tool is asked instead)
    """The call is not for the laptop; the text says why, for the case that there is no real tool."""


def printable(text: str, limit: int = 300) -> str:
    """Make text from elsewhere fit for a terminal: one line, no control characters, not endless."""
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()
