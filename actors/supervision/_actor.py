"""The base of every actor of the tree: it catches everything itself and reports its own end exactly once.

pykka leaves gaps that a supervisor can't live with (checked on 4.5): `on_failure` is not called for an exception in
`on_start`, in `on_stop` or behind an ask; `is_alive()` turns false before `on_stop` has ended; a BaseException stops
every actor of the process. So an actor of ours implements the three hooks below, and leaves pykka's alone.
"""

from __future__ import annotations

import abc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import pykka

from actors.supervision._directory import ActorGoneError, Mail

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._incarnation import Context
    from actors.supervision._timers import Timer

# As libraries do: what pykka logs is for those who ask for it, and never on the terminal by Python's last resort.
logging.getLogger("pykka").addHandler(logging.NullHandler())

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
        self.__readers: list[_Reader] = []
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
                message = _Failure(error)
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
            self.context.directory.deliver(self.context.incarnation, Mail(_Failure(error), bound=True))

        reader = _Reader(target, close, fail, f"{self.context.incarnation.name}/{name}")
        self.__readers = [other for other in self.__readers if not other.returned]
        self.__readers.append(reader)
        reader.thread.start()
        return reader.thread

    # --- The life, told by pykka's hooks; not for subclasses ----------------------------------------------------------
    # Names with two underscores are the class's own: no subclass can take one of them by accident.

    def _start_actor_loop(self) -> None:
        # pykka's place to choose a thread: the one that runs the constructor, see Incarnation.adopt.
        try:
            self.context.incarnation.adopt(self.actor_ref, self.__live)
        except BaseException:
            pykka.ActorRegistry.unregister(self.actor_ref)
            raise

    def __live(self) -> None:
        try:
            self._actor_loop()
        finally:
            self.__tear_down()

    def on_start(self) -> None:
        """Run `started()`, then take messages."""
        incarnation = self.context.incarnation
        try:
            self.started()
            if incarnation.stop_requested:
                self.__leave()
            else:
                self.context.directory.attach(incarnation)
                incarnation.up()
        except BaseException as error:  # noqa: BLE001 - pykka would stop every actor
            self.__leave(error)

    def on_receive(self, message: Any) -> Any:
        """Handle one message, and whatever comes of it."""
        incarnation = self.context.incarnation
        mail = message if isinstance(message, Mail) else Mail(message)
        incarnation.begin(type(mail.message).__name__, mail.reply)
        try:
            # Behind `begin`: who abandons us either sees the reply to this message there, or we see that we are.
            if incarnation.abandoned or incarnation.hurried:
                self.__leave(unhandled=mail)
                return None
            if mail.taken is not None:
                mail.taken()
            if mail.expired:
                return None
            answer = self.__answer(mail)
        except BaseException as error:  # noqa: BLE001 - pykka would stop every actor
            # SystemExit must not travel: in the asker it would be a crash of its own, or the end of the process.
            known = error if isinstance(error, Exception) else ActorGoneError(f"{self.context.id} ended: {error!r}")
            if mail is message:
                self.__settle(mail, error=known)
                return None
            raise known from None  # sent through a bare ref: pykka gives it to the asker, if there is one
        else:
            self.__settle(mail, answer)
            return answer
        finally:
            incarnation.finish()

    def __answer(self, mail: Mail) -> object:
        """Handle a message; if that is a crash, the end is reported before the asker hears of it."""
        try:
            if isinstance(mail.message, _Failure):
                mail.message.strike()
            return self.handle(mail.message)
        except BaseException as error:
            if mail.reply is None or not isinstance(error, self.expected):
                self.__leave(error)
            raise

    @staticmethod
    def __settle(mail: Mail, value: object = None, error: Exception | None = None) -> None:
        if mail.reply is not None:
            mail.reply.settle(value, error)

    def on_stop(self) -> None:
        """Stop taking messages; what is to be released is released in `stopped()`, after pykka's loop."""
        self.__leave()

    def __leave(self, error: BaseException | None = None, unhandled: Mail | None = None) -> None:
        """Report the end, and take no more messages; pykka's loop ends after this one."""
        self.context.incarnation.leave(error)
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()  # before detaching: from here on nothing is delivered into this inbox
        self.context.directory.detach(self.context.incarnation, unhandled)

    def __tear_down(self) -> None:
        """Release all that this life holds, each whatever the others raise; returns when its threads are gone."""
        self.__leave()
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


class _Reader:
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


class _Failure:
    """A reader, or what the actor watches with, has ended with an error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def strike(self) -> NoReturn:
        """Raise it where it counts."""
        raise self._error
