"""A base for actors that know of their tree: peers by id, timers, threads that read for them."""

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
"""Messages of its own readers that an actor has not handled yet; a reader that is further ahead waits."""


class BaseActor(pykka.ThreadingActor):
    """An actor under a supervisor.

    One thread, which bears the name and generation of the child, runs the constructor, `started()`, `handle()` for one
    message after another, and `stopped()`. Whatever is raised in any of them ends this life and is reported; the
    supervisor decides about the next one.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors that are an answer, not a crash: raised by `handle` behind an ask they go to the asker alone."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.__thread = threading.current_thread()
        self.__lock = threading.Lock()  # guards the timers, which any of its threads may set
        self.__timers: weakref.WeakSet[Timer] = weakref.WeakSet()
        self.__readers: list[Reader] = []
        self.__read_ahead = threading.Semaphore(READ_AHEAD)

    # --- To be implemented --------------------------------------------------------------------------------------------

    def started(self) -> None:
        """Acquire what the actor needs; it is up, and its siblings start, once this returns."""

    @abc.abstractmethod
    def handle(self, message: Any) -> object:
        """Handle one message; what is returned answers an ask. An exception is a crash, `expected` ones aside."""

    def stopped(self) -> None:
        """Release what the actor holds.

        Runs once whenever `started()` was entered, however this life ends, and also if `started()` failed half-way.
        Peers that started earlier can still be sent to. In an abandoned life it runs late, if ever: look at
        `context.abandoned` before removing what a successor has made anew under the same name (a socket's path).
        """

    # --- For use in the actor -----------------------------------------------------------------------------------------

    def send(self, to: str, message: Any) -> bool:
        """Tell the peer `to`, whoever bears this id now or next; see `Directory.send`. Any of the actor's threads."""
        return self.context.directory.send(to, message, sender=self.context.incarnation)

    def ask(self, to: str, message: Any, timeout: float) -> Any:
        """Tell the peer `to` and wait for the answer; see `Directory.ask`.

        The message in hand may take `timeout` seconds longer because of it. Ask only peers that started earlier and
        never ask back: two that wait for each other get nothing but two timeouts.
        """
        if to == self.context.id and threading.current_thread() is self.__thread:
            raise RuntimeError(f"{to} would wait for itself")
        self.busy(timeout)
        return self.context.directory.ask(to, message, timeout, sender=self.context.incarnation)

    def after(self, seconds: float, message: Any) -> Timer:
        """Handle `message` in `seconds`, unless cancelled or this life is over by then. Any of the actor's threads."""
        mail = Mail(message, bound=True)
        return self.__schedule(seconds, lambda: self.context.directory.deliver(self.context.incarnation, mail))

    def watch(self, seconds: float, look: Callable[[], Any]) -> None:
        """Call `look` every `seconds`, on the timers' thread, and handle what it returns once that is not None.

        For what has to be looked at often and is nearly always as before: neither this actor nor the supervisor wakes
        up for it. After a message it looks no more until told to again, nor once this life is over. `look` has to
        return at once, and an exception in it crashes the actor.
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
        """Declare that the message in hand may take `seconds` from now, if that is longer than `ChildSpec.health`."""
        if threading.current_thread() is self.__thread:
            self.context.incarnation.extend(seconds)

    def post(self, message: Any) -> bool:
        """Put `message` into this actor's own mailbox, bound to this life; for its readers.

        A reader that is `READ_AHEAD` messages ahead waits here, and so does the program that it reads from.

        Returns:
            False if this life is over: the reader returns.
        """
        mail = Mail(message, bound=True)
        if threading.current_thread() is not self.__thread:
            self.__read_ahead.acquire()
            mail = mail._replace(taken=self.__read_ahead.release)
        accepted = self.context.directory.deliver(self.context.incarnation, mail)
        if not accepted and mail.taken is not None:
            mail.taken()  # for the next reader that waits here
        return accepted

    def spawn_reader(
        self, target: Callable[[], object], name: str = "reader", close: Callable[[], object] | None = None
    ) -> threading.Thread:
        """Run `target`, which may block in reads, on a thread that this actor owns.

        `target` passes on what it reads with `post`, and should return when that returns False. If it raises, the
        actor crashes with its error; if it returns, nothing happens: its last message should say so, and what it read
        from is its own to close. Otherwise `close` is called when this life ends, on the actor's thread, before
        `stopped()`; one of the two must make the read return (shut down the socket: closing alone does not wake a
        reader). An exception that this causes in `target` is no error. The life is over once its readers are.
        """

        def fail(error: BaseException) -> None:
            # Not delivered any more if the actor has begun to leave.
            self.context.directory.deliver(self.context.incarnation, Mail(Failure(error), bound=True))

        reader = Reader(target, close, fail, f"{self.context.incarnation.name}/{name}")
        self.__readers = [other for other in self.__readers if not other.returned]
        self.__readers.append(reader)
        reader.thread.start()
        return reader.thread

    # --- pykka's hooks, for the body that runs this life; not for subclasses ------------------------------------------

    def on_start(self) -> None:
        """Run `started()`."""
        self.started()

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        if isinstance(message, Failure):
            message.strike()
        return self.handle(message)

    def on_stop(self) -> None:
        """Release all that this life holds, each whatever the others raise; returns when its threads are gone."""
        with self.__lock:
            timers = list(self.__timers)
        for timer in timers:
            timer.cancel()
        for release in [*(reader.close for reader in reversed(self.__readers)), self.stopped]:
            try:
                release()
            except BaseException as error:  # noqa: BLE001 - the rest must be released, too
                self.context.incarnation.leave(error)
        for reader in self.__readers:
            reader.thread.join()

    def on_failure(self, *_: object) -> None:
        """Release the same after a crash."""
        self.on_stop()

    @staticmethod
    def _create_actor_inbox() -> Any:
        return queue.SimpleQueue()  # several times as fast as pykka's

    def _start_actor_loop(self) -> None:
        pykka.ActorRegistry.unregister(self.actor_ref)
        raise RuntimeError(f"{self.context.id}: its supervisor starts it; give the class as ChildSpec.start")
