"""Runs any pykka actor as the life of a child, on a loop of our own.

pykka leaves gaps that a supervisor can't live with (checked on 4.5): `on_failure` is not called for an exception in
`on_start`, in `on_stop` or behind an ask; `is_alive()` turns false before `on_stop` has ended; a BaseException stops
every actor of the process. So the actor's hooks are called from here, and pykka's loop never runs.
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

# As libraries do: what pykka logs is for those who ask for it, and never on the terminal by Python's last resort.
logging.getLogger("pykka").addHandler(logging.NullHandler())


class ActorBody:
    """An actor, made but not started by pykka."""

    def __init__(self, actor: pykka.Actor, life: Incarnation, directory: Directory) -> None:
        self._actor = actor
        self._life = life
        self._directory = directory
        self._inbox = _faster_inbox(actor)
        self._unhandled: Any = None  # the message that it took and did not begin
        self._stops: list[pykka.Future[Any] | None] = []  # who waits for its end
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
        except BaseException as caught:  # noqa: BLE001 - pykka would stop every actor
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

    def request_stop(self, patience: float) -> None:  # noqa: ARG002 - an actor is hurried by its supervisor
        """Stop after the messages that are in the mailbox now."""
        self._inbox.put(Envelope(_ActorStop()))

    def abandon(self) -> None:
        """Have pykka and others know it as dead; should its thread wait for a message, it ends."""
        _bury(self._actor.actor_ref)
        self._inbox.put(Envelope(_ActorStop()))

    def _receive_all(self) -> None:
        """Handle one message after another, until one of them, or somebody, ends this life."""
        life, receive, take = self._life, self._actor._handle_receive, self._inbox.get  # noqa: SLF001 - proxies, too
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
            # An asker that hears of a crash finds it reported. SystemExit must not travel: there it would be a crash
            # of its own, or the end of the process.
            known = error if isinstance(error, Exception) else ActorGoneError(f"{self._life.id} ended: {error!r}")
            if isinstance(error, getattr(self._actor, "expected", ())):
                settle(mail.reply, error=known)
                return
            self._leave(error)
            settle(mail.reply, error=known)
            raise
        settle(mail.reply, answer)

    def _leave(self, error: BaseException | None) -> None:
        """Report the end, and take no more messages."""
        self._life.leave(error)
        _bury(self._actor.actor_ref)
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


def _bury(ref: pykka.ActorRef[Any]) -> None:
    """Have pykka, and whoever holds the ref, know the actor as dead."""
    pykka.ActorRegistry.unregister(ref)
    ref.actor_stopped.set()


def _faster_inbox(actor: pykka.Actor) -> queue.SimpleQueue[Any]:
    """Give an actor that has not begun a mailbox written in C, if it has not got one."""
    old = actor.actor_inbox
    if isinstance(old, queue.SimpleQueue):
        return old
    new: queue.SimpleQueue[Any] = queue.SimpleQueue()
    old.put = new.put  # type: ignore[method-assign] # for whoever the constructor has given it to
    actor.actor_inbox = actor.actor_ref.actor_inbox = new
    with contextlib.suppress(queue.Empty):
        while True:
            new.put(old.get_nowait())  # type: ignore[attr-defined]
    return new
