"""Threads that read for an actor. Their errors are raised in the actor."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


class Reader:
    """A thread that reads for an actor; it runs `target` once it is started. An error is passed to `fail`."""

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
        """Call the reader's `close`, unless the reader has returned."""
        if self._close is not None and not self.returned:
            self._close()

    def _run(self) -> None:
        try:
            self._target()
            self.returned = True
        except BaseException as error:  # noqa: BLE001 - re-raised in the actor
            self._fail(error)


class Failure:
    """A message to the actor: a reader of it, or a function given to `watch`, has raised this error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def reraise(self) -> NoReturn:
        """Raise the error, on the actor's thread."""
        raise self._error
