"""Stream the events of one topic as they happen."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from nssh.base.errors import BusError
from nssh.bus import failures
from nssh.bus.messages import BadLineError, Event, Lines, ServerSaidError, parse_event
from nssh.bus.sockets import Cutter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    import requests

    from nssh.bus.transport import Transport


class LiveStream:
    """A live stream: `with client.stream(topic) as stream: for event in stream: …`.

    One thread opens and iterates it; any thread may call `close`. The iteration ends when the server ends the stream or
    `close` is called; it raises BusError when the connection breaks, or nothing arrives for too long.
    """

    def __init__(self, transport: Transport, path: str, dead_after: float) -> None:
        self._transport = transport
        self._path = path
        self._dead_after = dead_after
        self._cutter = Cutter(once=True)
        self._closed = threading.Event()
        self._session = transport.session(self._cutter)
        self._response: requests.Response | None = None

    def __enter__(self) -> Self:
        try:
            self._response = self._transport.send(self._session, "GET", self._path)
            expect_ndjson(self._response, self._transport.where)
            self._cutter.set_timeout(self._dead_after)
        except BaseException:
            self.close()
            self._session.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._response is not None:
            self._response.close()
        self._session.close()

    def __iter__(self) -> Iterator[Event]:
        if self._response is None:
            raise RuntimeError("the stream is not open")
        lines = Lines()
        try:
            for chunk in self._transport.chunks(self._response, 1 << 62):
                for event in read_events(lines.feed(chunk), self._transport.where):
                    if event.kind != "message":
                        self._transport.saw_time(event.time)
                    if self._closed.is_set():
                        return
                    yield event
        except BusError:
            if not self._closed.is_set():
                raise

    def close(self) -> None:
        """End the stream now, waking the thread that reads it, or keep it from being opened; any thread, any time."""
        self._closed.set()
        self._cutter.cut()


def expect_ndjson(response: requests.Response, where: str) -> None:
    """Raise BusError, and close the answer, unless it is a stream of JSON lines."""
    # ntfy answers unknown paths with its web page and status 200.
    if not response.headers.get("Content-Type", "").startswith("application/x-ndjson"):
        response.close()
        raise failures.nonsense(where)


def read_events(lines: Iterable[bytes], where: str) -> Iterator[Event]:
    """Parse lines into events.

    Raises:
        BusError: A line is not of the ntfy API, or is an error that the server sent.
    """
    failure = None
    try:
        for line in lines:
            event = parse_event(line)
            if event is not None:
                yield event
    except ServerSaidError as error:
        failure = failures.from_status(error.status or 500, error.code, None, where, credentials=True)
    except BadLineError:
        failure = failures.nonsense(where)
    if failure is not None:
        raise failure
