"""Ping the bus from a remote, and wait for the pong of a laptop."""

from __future__ import annotations

from time import monotonic

from nssh.remote.bus import RETRY, event, refusal, render
from nssh.remote.failure import Failure
from nssh.wire import envelope as wire
from nssh.wire.http import HttpError, StatusError, Timeout, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.bus import Bus
    from nssh.wire.line_stream import LineStream

ANSWER_WITHIN = 1.5
"""Seconds from the ping to the pong (guarantee G3, docs/architecture.md)."""


def ping(bus: Bus) -> float | None:
    """Return the seconds from a ping to its pong; None if no laptop answers. Blocks for some seconds at most.

    Raises:
        Failure: The bus is down, or refuses the ping.
    """
    try:
        # Both connections are there before the ping is sent, so that only the way to the laptop is measured.
        bus.publisher.connect()
        stream = bus.client().stream("/%s/json" % bus.session.topic)
        try:
            return _exchange(bus, stream)
        finally:
            stream.close()
    except Unreachable as error:
        if bus.is_relay:
            return None  # a laptop starts the relay as soon as it connects
        raise Failure(str(error)) from None
    except StatusError as error:
        raise Failure(refusal(error.response, bus.session.server, 0)[0]) from None
    except HttpError as error:
        raise Failure(str(error)) from None
    except ValueError:
        raise Failure("the session's token has characters that can't be sent") from None


def _exchange(bus: Bus, stream: LineStream) -> float | None:
    # What is published behind the stream's `open` event is sure to come along it (docs/ntfy.md, "The seam").
    end = monotonic() + RETRY
    while _next(stream, end).get("event") != "open":
        if monotonic() > end:
            raise Failure("the server does not open the subscription")
    own = wire.new_id()
    method, headers, body = render(wire.Envelope(wire.KIND_PING, id=own))
    sent = monotonic()
    answer = bus.publisher.request(method, "/" + bus.session.topic, headers, body)
    if answer.status != 200:
        raise Failure(refusal(answer, bus.session.server, 0)[0])
    subscribers = event(answer.body).get("subscribers")
    if isinstance(subscribers, int) and subscribers <= 1:  # this stream is one of them
        return None
    while monotonic() < sent + ANSWER_WITHIN:
        try:
            text = _next(stream, sent + ANSWER_WITHIN).get("message")
        except Timeout:
            break
        try:
            message = wire.decode(text) if isinstance(text, str) else None
        except wire.EnvelopeError:
            continue
        if message is not None and message.kind == wire.KIND_PONG and message.id == own:
            return monotonic() - sent
    return None


def _next(stream: LineStream, end: float) -> dict[str, object]:
    line = stream.line(end)
    if line is None:
        raise Failure("the server ended the subscription")
    return event(line)
