"""A pykka ref and a proxy to a child, which stay valid when the child is restarted."""

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
"""Seconds that a proxy waits for a child that is down, in order to learn its attributes."""


class ChildRef(pykka.ActorRef[Any]):
    """A ref to a child, not to one incarnation of it. It is used as pykka's, also while the child is down.

    Messages that are told or asked meanwhile are kept for the next incarnation. `stop()` ends the present incarnation;
    whether another follows is up to the specification: a permanent child is started again. The attributes that belong
    to one incarnation (`actor_class`, `actor_inbox`, `actor_stopped`) are missing.
    """

    def __init__(self, directory: Directory, child_id: str) -> None:
        # pykka's constructor is not called: it needs an actor.
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
        """Return whether the child takes messages: whether it is up, or will be started again."""
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
            AskTimeoutError: If no answer came within `timeout` seconds; a message that was not begun by then is void.
            ActorGoneError: If there will be no answer.
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
        """Return a proxy to the child, which survives restarts, too. Blocks while the child is down."""
        return ChildProxy(actor_ref=self)

    def _actor_weakref(self) -> Any:  # type: ignore[override] # a method, which pykka calls as it calls a weakref
        # pykka's proxy reads the names of attributes from this: the present incarnation, or the next one if it is down.
        return self.ask(ProxyGetAttr(attr_path=("actor_ref",)), timeout=INTROSPECTION)._actor_weakref()  # noqa: SLF001


class ChildProxy(pykka.ActorProxy[Any]):
    """A proxy to a child, not to one incarnation of it. Methods, attributes and futures are as pykka's."""

    def __init__(self, *, actor_ref: ChildRef, attr_path: AttrPath | None = None) -> None:
        super().__init__(actor_ref=actor_ref, attr_path=attr_path)
        self._actor = None  # a reference would keep the actor from being collected after its end

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # private to the actor, as in pykka
            raise AttributeError(name)
        if (*self._attr_path, name) in self._known_attrs:
            return super().__getattr__(name)
        self._actor = self.actor_ref._actor_weakref()  # noqa: SLF001 - a new incarnation may have new attributes
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
