"""Tells which option typed keys mean: its key, or a word. No terminal, no clock, no prompt_toolkit.

A key of an option decides alone, and so does a word of it (`j`, `join`). Keys that go on with a word, and come soon,
are part of the answer, and so is the Enter behind it. What goes on with no word is for the session: `jls` is `j`, and
`ls` for the remote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

ENTER = ("c-m", "c-j")
"""Enter, by prompt_toolkit's names: CR and LF."""


class Answer(NamedTuple):
    """What was typed, once it is clear."""

    word: str
    """In lower case; empty for Enter alone."""
    rest: bytes = b""
    """What was read behind it, which is for the session."""
    entered: bool = False
    """Whether Enter ended it."""


class AnswerWords:
    """Collects keys until they are an answer."""

    def __init__(self, words: Iterable[str]) -> None:
        """Accept these words, in lower case, and Enter."""
        self._words = frozenset(words)
        self._keys: list[tuple[str, bytes]] = []

    @property
    def typed(self) -> str:
        """The beginning of a word that was typed so far, in lower case; empty if none was."""
        return _text(self._keys)

    def press(self, key: str, data: bytes) -> Answer | None:
        """Take the next key, and return the answer if it is clear now.

        Args:
            key: A character, or prompt_toolkit's name of the key.
            data: Its bytes.
        """
        self._keys.append((key, data))
        while self._keys:
            if key in ENTER and (len(self._keys) == 1 or _text(self._keys[:-1]) in self._words):
                return self._answer(len(self._keys) - 1, entered=True)
            if any(word.startswith(self.typed) for word in self._words):
                return None  # more of the word may come
            if (answer := self._longest()) is not None:
                return answer
            del self._keys[0]  # no word begins with it
        return None

    def pause(self) -> Answer | None:
        """Return the answer when no further key has come; None if there is none, and nothing is typed any more."""
        answer = self._longest()
        self._keys.clear()
        return answer

    def paste(self, data: bytes) -> Answer | None:
        """Take pasted text, and return the answer if it is clear now.

        Pasted text is an answer if its first line is a word. Otherwise nobody knows what it was meant for, and it is
        dropped: an `r` in it must not end a session.
        """
        if self._keys:
            answer = self._longest()
            self._keys.clear()
            return answer._replace(rest=answer.rest + data) if answer is not None else None
        head = data.lstrip(b" \t")
        line = head.splitlines()[0] if head else b""
        word = line.strip().decode("utf-8", "replace").lower()
        if word not in self._words:
            return None
        if line != head:
            end = len(line) + (2 if head[len(line) :].startswith(b"\r\n") else 1)
            return Answer(word, head[end:].lstrip(b"\r\n"), entered=True)
        self._keys = [(character, character.encode()) for character in word]
        return None  # Enter may follow

    def _longest(self) -> Answer | None:
        """Return the longest word that was typed, and leave what is behind it to the session."""
        for length in range(len(self._keys), 0, -1):
            if _text(self._keys[:length]) in self._words:
                return self._answer(length)
        return None

    def _answer(self, length: int, *, entered: bool = False) -> Answer:
        word = _text(self._keys[:length])
        rest = b"" if entered else b"".join(data for _, data in self._keys[length:])
        self._keys.clear()
        return Answer(word, rest, entered)


def _text(keys: list[tuple[str, bytes]]) -> str:
    """Return what keys spell, in lower case; the name of a key that is no character is in angle brackets."""
    return "".join(key.lower() if len(key) == 1 else f"<{key}>" for key, _ in keys)
