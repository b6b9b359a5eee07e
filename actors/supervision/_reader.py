"""Threads that read for an actor, and how their errors become the actor's."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


class Reader:
    """A thread that reads for an actor, and what it reads from."""

    def __init__(
        self,
        target: Callable[[], object],
        close: Callable[[], object] | None,
        fail: Callable[[BaseException], object],
        name: str,
    ) -> None:
        self._target = target
        self._close = close
        self._fail = fail
        self.returned = False
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def close(self) -> None:
        """Make it return, unless it has."""
        if self._close is not None and not self.returned:
            self._close()

    def _run(self) -> None:
        try:
            self._target()
            self.returned = True
        except BaseException as error:  # noqa: BLE001 - re-raised in the actor
            self._fail(error)


class Failure:
    """A reader, or what the actor watches with, has ended with an error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def strike(self) -> NoReturn:
        """Raise it where it counts."""
        raise self._error
