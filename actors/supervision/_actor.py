"""The base class of supervised actors: messages to peers by id, timers, and threads that read for the actor."""

from __future__ import annotations

import abc
import queue
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from actors.supervision._mail import Mail
from actors.supervision._reader import Failure, Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._context import Context
    from actors.supervision._timers import Timer

READ_AHEAD = 256
"""How many messages of its own readers an actor may have unhandled; a reader with one more waits in `post`."""


class BaseActor(pykka.ThreadingActor):
    """An actor under a supervisor.

    One thread, named after the child and its generation, runs the constructor, `started()`, `handle()` for one message
    after another, and `stopped()`. An exception in any of them ends this incarnation and is reported to the supervisor,
    which decides whether there is a next one.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors that are answers, not crashes: raised by `handle` for an ask, they go to the asker alone."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.__thread = threading.current_thread()
        self.__lock = threading.Lock()  # guards the timers: any of the actor's threads may set one
        self.__timers: weakref.WeakSet[Timer] = weakref.WeakSet()
        self.__readers: list[Reader] = []
        self.__read_ahead = threading.Semaphore(READ_AHEAD)

    # --- To be implemented --------------------------------------------------------------------------------------------

    def started(self) -> None:
        """Acquire what the actor needs. When this returns, the actor is up, and the next child starts."""

    @abc.abstractmethod
    def handle(self, message: Any) -> object:
        """Handle one message; the result answers an ask. An exception is a crash, unless it is an `expected` one."""

    def stopped(self) -> None:
        """Release what the actor holds.

        Runs once if `started()` was called, also if that failed, and however this incarnation ends. Peers that started
        earlier still take messages. In an abandoned incarnation it runs late, or never: check `context.abandoned`
        before removing something that the next incarnation has made again under the same name, such as a socket.
        """

    # --- For use in the actor -----------------------------------------------------------------------------------------

    def send(self, to: str, message: Any) -> bool:
        """Send to the peer with the id `to`, without waiting; see `Directory.send`. Any of the actor's threads."""
        return self.context.directory.send(to, message, sender=self.context.incarnation)

    def ask(self, to: str, message: Any, timeout: float) -> Any:
        """Tell the peer `to` and wait for the answer; see `Directory.ask`.

        The health check allows the message in hand `timeout` seconds more. Ask only peers that started earlier and
        never ask back: two actors that wait for each other both time out.

        Raises:
            RuntimeError: If the actor asks itself on its own thread.
            AskTimeoutError, ActorGoneError, UnknownActorError: As `Directory.ask`.
        """
        if to == self.context.id and threading.current_thread() is self.__thread:
            raise RuntimeError(f"{to} would wait for itself")
        self.busy(timeout)
        return self.context.directory.ask(to, message, timeout, sender=self.context.incarnation)

    def after(self, seconds: float, message: Any) -> Timer:
        """Handle `message` in `seconds`, unless cancelled before, or this incarnation ends. Any thread of the actor."""
        mail = Mail(message, bound=True)
        return self.__schedule(seconds, lambda: self.context.directory.deliver(self.context.incarnation, mail))

    def watch(self, seconds: float, look: Callable[[], Any]) -> None:
        """Call `look` every `seconds`, on the timers' thread, until it returns a message; then handle that message.

        For a condition that is checked often and seldom holds: the actor and the supervisor sleep through the checks.
        The checks end with the first message, until `watch` is called again, and with this incarnation. `look` must not
        block; an exception in it crashes the actor.
        """
        incarnation = self.context.incarnation

        def turn() -> None:
            if incarnation.abandoned or incarnation.leaving_at is not None:
                return
            try:
                message = look()
            except BaseException as error:  # noqa: BLE001 - raised again in the actor
                message = Failure(error)
            if message is not None:
                self.context.directory.deliver(incarnation, Mail(message, bound=True))
            else:
                self.__schedule(seconds, turn)

        self.__schedule(seconds, turn)

    def __schedule(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = self.context.timers.schedule(seconds, callback)
        with self.__lock:
            self.__timers.add(timer)
        return timer

    def busy(self, seconds: float) -> None:
        """Allow the message in hand `seconds` from now, if that is longer than it has by `ChildSpec.health`."""
        if threading.current_thread() is self.__thread:
            self.context.incarnation.extend(seconds)

    def post(self, message: Any) -> bool:
        """Put `message` into this actor's own mailbox, for this incarnation only. Called by its readers.

        Blocks while `READ_AHEAD` messages of its readers are unhandled, so that the sender is slowed down, too.

        Returns:
            False if this incarnation is over: the reader must return.
        """
        mail = Mail(message, bound=True)
        if threading.current_thread() is not self.__thread:
            self.__read_ahead.acquire()
            mail = mail._replace(taken=self.__read_ahead.release)
        accepted = self.context.directory.deliver(self.context.incarnation, mail)
        if not accepted and mail.taken is not None:
            mail.taken()  # lets the next reader that waits here go on
        return accepted

    def spawn_reader(
        self, target: Callable[[], object], name: str = "reader", close: Callable[[], object] | None = None
    ) -> threading.Thread:
        """Run `target`, which may block in reads, on a thread that this actor owns.

        `target` passes on what it reads with `post`, and must return when that returns False. If `target` raises, the
        actor crashes with that error. If it returns, the actor is not told: `target` posts a last message if the actor
        must know, and closes what it has read from.

        When this incarnation ends while `target` runs, `close` is called on the actor's thread, before `stopped()`. One
        of the two must make a blocked read return: for a socket by `shutdown`, since `close` does not wake a reader. An
        exception that this causes in `target` is ignored. The incarnation is over once all its readers have returned.
        """

        def fail(error: BaseException) -> None:
            # Not delivered if the actor has begun to end: then the error is a consequence of `close`.
            self.context.directory.deliver(self.context.incarnation, Mail(Failure(error), bound=True))

        reader = Reader(target, close, fail, f"{self.context.incarnation.name}/{name}")
        self.__readers = [other for other in self.__readers if not other.returned]
        self.__readers.append(reader)
        reader.thread.start()
        return reader.thread

    # --- pykka's hooks, called by `ActorBody`; not for subclasses -----------------------------------------------------

    def on_start(self) -> None:
        """Run `started()`."""
        self.started()

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        if isinstance(message, Failure):
            message.reraise()
        return self.handle(message)

    def on_stop(self) -> None:
        """Cancel the timers, close the readers, call `stopped()`, wait for the readers; even if one of these fails."""
        with self.__lock:
            timers = list(self.__timers)
        for timer in timers:
            timer.cancel()
        for release in [*(reader.close for reader in reversed(self.__readers)), self.stopped]:
            try:
                release()
            except BaseException as error:  # noqa: BLE001 - the rest must still be released
                self.context.incarnation.leave(error)
        for reader in self.__readers:
            reader.thread.join()

    def on_failure(self, *_: object) -> None:
        """Release everything after a crash, as `on_stop` does."""
        self.on_stop()

    @staticmethod
    def _create_actor_inbox() -> Any:
        return queue.SimpleQueue()  # several times as fast as pykka's

    def _start_actor_loop(self) -> None:
        pykka.ActorRegistry.unregister(self.actor_ref)
        raise RuntimeError(f"{self.context.id}: its supervisor starts it; give the class as ChildSpec.start")
