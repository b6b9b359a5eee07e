"""Runs any pykka actor as an incarnation of a child, with a message loop of its own.

pykka's loop does not tell a supervisor enough (checked on 4.5): `on_failure` is not called for an exception in
`on_start`, in `on_stop` or behind an ask; `is_alive()` turns false before `on_stop` has ended; a BaseException stops
every actor of the process. So this module calls the actor's hooks, and pykka's loop never runs.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from typing import TYPE_CHECKING, Any

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.supervision._mail import ActorGoneError, Mail, settle

if TYPE_CHECKING:
    from actors.supervision._directory import Directory
    from actors.supervision._incarnation import Incarnation

# Python prints the records of a logger without a handler to stderr, which may be the user's terminal.
logging.getLogger("pykka").addHandler(logging.NullHandler())


class ActorBody:
    """Runs one actor, which pykka has made and not started."""

    def __init__(self, actor: pykka.Actor, life: Incarnation, directory: Directory) -> None:
        self._actor = actor
        self._life = life
        self._directory = directory
        self._inbox = _faster_inbox(actor)
        self._unhandled: Any = None  # the message that was taken out of the mailbox and not begun
        self._stops: list[pykka.Future[Any] | None] = []  # the futures of those who wait for the actor's end
        life.inbox = self._inbox

    def run(self, life: Incarnation) -> None:
        """Call the actor's hooks, from `on_start` to `on_stop` or `on_failure`."""
        error: BaseException | None = None
        pykka.ActorRegistry.register(self._actor.actor_ref)
        try:
            self._actor.on_start()
            if not life.stop_requested:
                self._directory.attach(life)
                life.up()
                self._receive_all()
        except BaseException as caught:  # noqa: BLE001 - a SystemExit, too, ends this actor alone
            error = caught
        self._leave(error)
        try:
            if error is None:
                self._actor.on_stop()
            else:
                self._actor.on_failure(type(error), error, error.__traceback__)
        finally:
            for waiting in self._stops:
                settle(waiting)

    def request_stop(self, patience: float) -> None:  # noqa: ARG002 - the supervisor calls `hurry` in time
        """Stop after the messages that are in the mailbox now."""
        self._inbox.put(Envelope(_ActorStop()))

    def abandon(self) -> None:
        """Mark the actor as dead for pykka and for holders of its ref; end its thread if that waits for a message."""
        _mark_dead(self._actor.actor_ref)
        self._inbox.put(Envelope(_ActorStop()))

    def _receive_all(self) -> None:
        """Handle one message after another, until a crash or a request to stop."""
        life, receive, take = self._life, self._actor._handle_receive, self._inbox.get  # noqa: SLF001 - it serves proxies, too
        while True:
            item = take()
            mail = _mail_of(item) if type(item) in _WRAPPED else None
            if mail is None:
                life.begin(item)
            else:
                life.begin(mail.message, mail.reply)
            # Behind `begin`: who abandons us either sees the reply to this message there, or we see that we are.
            if life.must_leave:
                self._unhandled = item
                return
            if mail is None:
                receive(item)
            elif type(mail.message) is _ActorStop:
                self._stops.append(mail.reply)
                return
            else:
                self._answer(mail)
            life.task = None

    def _answer(self, mail: Mail) -> None:
        """Handle a message whose sender may wait for the answer."""
        if mail.taken is not None:
            mail.taken()
        if mail.expired:
            return
        try:
            answer = self._actor._handle_receive(mail.message)  # noqa: SLF001
        except BaseException as error:
            if mail.reply is None:
                raise
            # The crash is reported before the asker hears of it. A SystemExit must not reach the asker: it would end
            # that actor, or the process.
            known = error if isinstance(error, Exception) else ActorGoneError(f"{self._life.id} ended: {error!r}")
            if isinstance(error, getattr(self._actor, "expected", ())):
                settle(mail.reply, error=known)
                return
            self._leave(error)
            settle(mail.reply, error=known)
            raise
        settle(mail.reply, answer)

    def _leave(self, error: BaseException | None) -> None:
        """Report the end of the actor, and take no more messages."""
        self._life.leave(error)
        _mark_dead(self._actor.actor_ref)
        self._life.task = None
        unhandled, self._unhandled = self._unhandled, None
        dead = pykka.ActorDeadError(f"{self._life.name} stopped before handling the message")
        for envelope in self._directory.detach(self._life, unhandled):
            if isinstance(envelope.message, _ActorStop):
                self._stops.append(envelope.reply_to)
            else:
                settle(envelope.reply_to, error=dead)


_WRAPPED = frozenset({Mail, Envelope})


def _mail_of(item: Mail | Envelope[Any]) -> Mail:
    return item if isinstance(item, Mail) else Mail(item.message, item.reply_to)


def _mark_dead(ref: pykka.ActorRef[Any]) -> None:
    """Mark an actor as dead for pykka and for holders of its ref."""
    pykka.ActorRegistry.unregister(ref)
    ref.actor_stopped.set()


def _faster_inbox(actor: pykka.Actor) -> queue.SimpleQueue[Any]:
    """Replace the mailbox of an actor that has not begun by a `SimpleQueue`, which is written in C; return it."""
    old = actor.actor_inbox
    if isinstance(old, queue.SimpleQueue):
        return old
    new: queue.SimpleQueue[Any] = queue.SimpleQueue()
    old.put = new.put  # type: ignore[method-assign] # the constructor may have handed the old one out
    actor.actor_inbox = actor.actor_ref.actor_inbox = new
    with contextlib.suppress(queue.Empty):
        while True:
            new.put(old.get_nowait())  # type: ignore[attr-defined]
    return new
