"""A pykka ref, and a proxy, to whoever bears an id now or next."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import ProxyGetAttr

from actors.supervision._mail import ActorGoneError, Mail, Reply, UnknownActorError

if TYPE_CHECKING:
    from pykka._types import AttrPath

    from actors.supervision._directory import Directory

INTROSPECTION = 30.0
"""Seconds that a proxy waits for a child that is down, to see which attributes it has."""


class ChildRef(pykka.ActorRef[Any]):
    """A ref to a child, not to one life of it; used as pykka's, also while the child is down.

    What is told or asked meanwhile is kept for the next life. `stop()` ends the present life, and what follows is as
    the specification says: a permanent child is started again. The attributes that belong to one life (`actor_class`,
    `actor_inbox`, `actor_stopped`) are missing.
    """

    def __init__(self, directory: Directory, child_id: str) -> None:
        # Not pykka's constructor, which takes an actor.
        self.id = child_id
        self.actor_urn = f"child:{child_id}"
        self._directory = directory

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChildRef) and (self._directory, self.id) == (other._directory, other.id)

    def __hash__(self) -> int:
        return hash((self._directory, self.id))

    def is_alive(self) -> bool:
        """Whether the child takes messages: not whether it is up just now, but whether it is or will be."""
        return self._directory.takes(self.id)

    def tell(self, message: Any) -> None:
        """Send a message without waiting.

        Raises:
            ActorGoneError: If the child has ended for good, or its mailbox is full.
        """
        if not self._send(message):
            raise ActorGoneError(f"{self.id} takes no messages")

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and wait for the answer, or return a future if not `block`.

        Raises:
            AskTimeoutError: If none came within `timeout` seconds; a message that was not begun by then is void.
            ActorGoneError: If there will be none.
            Exception: What the actor raised.
        """
        reply = Reply()
        expires = time.monotonic() + timeout if block and timeout is not None else math.inf
        if not self._send(Mail(message, reply, expires)):
            reply.settle(error=ActorGoneError(f"{self.id} takes no messages"))
        return reply.get(timeout=timeout) if block else reply

    def _send(self, message: Any) -> bool:
        try:
            return self._directory.send(self.id, message)
        except UnknownActorError:  # it was deleted
            return False

    def proxy(self) -> ChildProxy:
        """Return a proxy to the child, as stable as this; waits if the child is down."""
        return ChildProxy(actor_ref=self)

    def _actor_weakref(self) -> Any:  # type: ignore[override] # a method, which pykka calls as it calls a weakref
        # What pykka's proxy looks at for the names of attributes: the present life, or the next one.
        return self.ask(ProxyGetAttr(attr_path=("actor_ref",)), timeout=INTROSPECTION)._actor_weakref()  # noqa: SLF001


class ChildProxy(pykka.ActorProxy[Any]):
    """A proxy to a child, not to one life of it: methods, attributes and futures as pykka's."""

    def __init__(self, *, actor_ref: ChildRef, attr_path: AttrPath | None = None) -> None:
        super().__init__(actor_ref=actor_ref, attr_path=attr_path)
        self._actor = None  # would keep a life that is over from being collected

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # private to the actor, also says pykka
            raise AttributeError(name)
        if (*self._attr_path, name) in self._known_attrs:
            return super().__getattr__(name)
        self._actor = self.actor_ref._actor_weakref()  # noqa: SLF001 - it may have attributes that the last one had not
        try:
            return super().__getattr__(name)
        finally:
            self._actor = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChildProxy) and (self.actor_ref, self._attr_path) == (
            other.actor_ref,
            other._attr_path,
        )

    def __hash__(self) -> int:
        return hash((self.actor_ref, self._attr_path))
