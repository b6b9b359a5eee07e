"""What every bus server must do, seen through the client; the same suite for the relay and for a real ntfy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import BusError
from nssh.bus.messages import Message, valid_id
from nssh.wire import envelope as wire
from tests.lab.waiting import until

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from nssh.bus.live_stream import LiveStream
    from nssh.bus.messages import Event
    from tests.bus.conftest import Door

    Threads = Callable[[Callable[[], object]], threading.Thread]


class Collector:
    """Reads a stream on a thread of its own and keeps what came."""

    def __init__(self, stream: LiveStream, threads: Threads) -> None:
        self.events: list[Event] = []
        self.stream = stream
        self.error: BusError | None = None
        self.thread = threads(self._run)

    def _run(self) -> None:
        try:
            with self.stream as stream:
                for event in stream:
                    self.events.append(event)
        except BusError as error:
            self.error = error

    @property
    def texts(self) -> list[str]:
        return [event.message.text for event in self.events if event.message is not None]

    @property
    def opened(self) -> bool:
        return bool(self.events) and self.events[0].kind == "open"


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def test_health(door: Door) -> None:
    assert door.client().health()


def test_a_published_text_comes_with_a_poll_once_with_id_and_server_time(door: Door, topic: str) -> None:
    client = door.client()
    published = client.publish(topic, '{"kind":"open","url":"https://example.org/\\u00fc"}')
    assert valid_id(published.id)
    assert abs(published.time - time.time()) < 60
    (message,) = client.poll(topic, None)
    assert message._replace(expires=None) == Message(
        published.id, published.time, '{"kind":"open","url":"https://example.org/\\u00fc"}'
    )
    assert message.expires == published.time + 12 * 3600
    assert client.server_time is not None
    assert abs(client.server_time - published.time) < 60


def test_text_keeps_unicode_tabs_line_breaks_and_escapes(door: Door, topic: str) -> None:
    client = door.client()
    text = "ü\t\U0001f600 \r\n\x1b[31m C:\\new \\u0041 end"
    client.publish(topic, text)
    assert texts(client.poll(topic, None)) == [text]


def test_polls_are_in_order_and_exclusive_of_the_cursor(door: Door, topic: str) -> None:
    client = door.client()
    ids = [client.publish(topic, f"m{number}").id for number in range(20)]
    assert [message.id for message in client.poll(topic, None)] == ids
    assert [message.id for message in client.poll(topic, ids[12])] == ids[13:]
    assert client.poll(topic, ids[-1]) == []


def test_an_unknown_cursor_brings_everything(door: Door, topic: str) -> None:
    client = door.client()
    client.publish(topic, "a")
    client.publish(topic, "b")
    assert texts(client.poll(topic, "AAAAAAAAAAAA")) == ["a", "b"]


def test_topics_are_apart_and_a_fresh_one_is_empty(door: Door, topic: str) -> None:
    client = door.client()
    client.publish(topic, "here")
    assert client.poll(f"{topic}x", None) == []


def test_a_stream_opens_first_and_brings_only_what_comes_then_in_order(
    door: Door, topic: str, threads: Threads
) -> None:
    client = door.client()
    client.publish(topic, "before")
    collector = Collector(client.stream(topic), threads)
    until(lambda: collector.opened)
    for number in range(20):
        client.publish(topic, f"m{number}")
    until(lambda: len(collector.texts) >= 20)
    # One publisher that waits for each answer: ntfy keeps the order but for rare neighbours (docs/ntfy.md, trap 4).
    expected = [f"m{number}" for number in range(20)]
    assert (collector.texts if door.is_relay else sorted(collector.texts, key=expected.index)) == expected
    collector.stream.close()


def test_each_of_two_streams_gets_every_message(door: Door, topic: str, threads: Threads) -> None:
    client = door.client()
    collectors = [Collector(client.stream(topic), threads) for _ in range(2)]
    until(lambda: all(collector.opened for collector in collectors))
    client.publish(topic, "both")
    for collector in collectors:
        until(lambda collector=collector: collector.texts == ["both"])  # type: ignore[misc]
        collector.stream.close()


def test_close_from_another_thread_ends_a_waiting_stream_at_once(door: Door, topic: str, threads: Threads) -> None:
    collector = Collector(door.client().stream(topic), threads)
    until(lambda: collector.opened)
    begun = time.monotonic()
    collector.stream.close()
    collector.thread.join(20)
    # The read itself would last 90 s, so a generous bound tells.
    assert time.monotonic() - begun < 10
    assert collector.error is None


def test_a_stream_closed_before_it_is_opened_does_not_open(door: Door, topic: str) -> None:
    stream = door.client().stream(topic)
    stream.close()
    with pytest.raises(BusError), stream:
        pass


@pytest.mark.parametrize("size", [1, 4096, 8 << 20])
def test_a_file_arrives_byte_for_byte(door: Door, topic: str, size: int) -> None:
    client = door.client()
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    head = '{"kind":"clip-write","mime":"image/png"}'
    published = client.publish_file(topic, data, "clip.png", head)
    (message,) = client.poll(topic, None)
    assert (message.id, message.text) == (published.id, head)
    assert message.attachment is not None
    assert message.attachment.name == "clip.png"
    assert message.attachment.size in ({size} if size > 1 else {size, None})
    assert client.download(message.id, size=message.attachment.size) == data


def test_an_empty_file(door: Door, topic: str) -> None:
    client = door.client()
    client.publish_file(topic, b"", "clip.dat", "{}")
    (message,) = client.poll(topic, None)
    assert message.attachment is not None
    if door.is_relay:
        assert client.download(message.id) == b""
    else:  # ntfy says that the bandwidth is used up, whatever it is
        with pytest.raises(BusError):
            client.download(message.id)


def test_a_file_can_be_had_the_moment_a_stream_tells_of_it(door: Door, topic: str, threads: Threads) -> None:
    client = door.client()
    downloads: list[bytes] = []
    with client.stream(topic) as stream:
        events = iter(stream)
        assert next(events).kind == "open"
        for number in range(20):
            data = bytes([number]) * 10_000
            publisher = threads(lambda data=data: client.publish_file(topic, data, "clip.png", "{}"))  # type: ignore[misc]
            message = next(events).message
            assert message is not None
            downloads.append(door.client().download(message.id, size=10_000))
            assert downloads[-1] == data
            publisher.join(30)


def test_a_download_beyond_the_limit_is_refused(door: Door, topic: str) -> None:
    client = door.client()
    published = client.publish_file(topic, b"x" * 100_000, "clip.dat", "{}")
    with pytest.raises(BusError) as caught:
        client.download(published.id, limit=99_999)
    assert caught.value.kind == "size"
    assert len(client.download(published.id, limit=100_000)) == 100_000


def test_a_download_of_another_size_than_told_is_an_error(door: Door, topic: str) -> None:
    client = door.client()
    published = client.publish_file(topic, b"x" * 1000, "clip.dat", "{}")
    with pytest.raises(BusError) as caught:
        client.download(published.id, size=1001)
    assert caught.value.retryable


def test_a_file_that_does_not_exist(door: Door) -> None:
    with pytest.raises(BusError) as caught:
        door.client().download("AAAAAAAAAAAA", patience=0.05)
    assert caught.value.kind == "gone"
    assert not caught.value.retryable
    assert "file" in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 3000, 3071, 3072, 3073, 200_000])
@pytest.mark.parametrize("mime", ["text/plain", "image/png"])
def test_an_envelope_arrives_whole_on_either_side_of_the_inline_limit(
    door: Door, topic: str, size: int, mime: str
) -> None:
    client = door.client()
    body = (b"\x00\xff\r\n" * (size // 4 + 1))[:size]
    sent = wire.Envelope("clip-read-response", "", mime, body, "a1b2c3")
    client.publish_envelope(topic, sent)
    (message,) = client.poll(topic, None)
    received = wire.decode(client.full_text(message))
    if message.attachment is not None and not received.body:
        received.body = client.download(message.id, size=message.attachment.size)
        assert message.attachment.name == wire.attachment_name(mime)
    assert received == sent


def test_an_envelope_beside_a_file_keeps_backslashes(door: Door, topic: str) -> None:
    client = door.client()
    sent = wire.Envelope("clip-write", "C:\\new\\\\n", 'image/png; "\n"', b"", "x")
    client.publish_envelope(topic, sent)
    (message,) = client.poll(topic, None)
    assert wire.decode(message.text) == sent


@pytest.mark.parametrize("size", [4094, 4095, 4096, 5000])
def test_a_long_text_arrives_even_where_the_server_makes_a_file_of_it(door: Door, topic: str, size: int) -> None:
    client = door.client()
    text = '{"kind":"open","url":"' + "u" * (size - 24) + '"}'
    assert len(text) == size
    client.publish(topic, text)
    (message,) = client.poll(topic, None)
    assert client.full_text(message) == text


@pytest.mark.parametrize("topic", ["", "a.b", "x" * 65, "ü", "a/b", "a?b", "../x"])
def test_a_bad_topic_is_refused_before_anything_is_sent(door: Door, topic: str) -> None:
    client = door.client()
    for call in (lambda: client.publish(topic, "x"), lambda: client.poll(topic, None), lambda: client.stream(topic)):
        with pytest.raises(BusError) as caught:
            call()
        assert caught.value.kind == "request"


def test_a_reserved_topic_is_refused_by_the_server(door: Door) -> None:
    with pytest.raises(BusError) as caught:
        door.client().publish("docs", "x")
    assert caught.value.kind == "request"


def test_a_file_that_is_too_large_says_so(door: Door, topic: str) -> None:
    client = door.client()
    with pytest.raises(BusError) as caught:
        client.publish_file(topic, b"\0" * (66 << 20), "clip.dat", "{}")
    assert caught.value.kind == "size"
    assert not caught.value.retryable
    client.publish(topic, "the next one works")
    assert texts(client.poll(topic, None)) == ["the next one works"]


def test_requests_share_one_connection_and_replace_it_when_it_broke_while_idle(door: Door, topic: str) -> None:
    with door.link() as link:
        for text in ("first", "second", "third"):
            link.client.publish(topic, text)
        assert texts(link.client.poll(topic, None)) == ["first", "second", "third"]
        link.client.publish_file(topic, b"x" * 5000, "clip.dat", "file")
        assert link.made() == 1
        link.cut()
        link.client.publish(topic, "fourth")
        assert link.made() == 2


def test_messages_survive_the_server_being_killed(door: Door, topic: str) -> None:
    client = door.client()
    ids = [client.publish(topic, f"m{number}").id for number in range(50)]
    file_id = client.publish_file(topic, b"\x01" * 50_000, "clip.png", "{}").id
    door.server.kill()
    if not door.revives:
        assert not client.health()
        with pytest.raises(BusError) as caught:
            client.publish(topic, "nobody is there")
        assert caught.value.kind == "unreachable"
        door.server.start()
    assert [message.id for message in client.poll(topic, None)] == [*ids, file_id]
    assert client.download(file_id) == b"\x01" * 50_000
    if door.revives:
        door.server.start()


def test_a_stream_over_a_link_that_hangs_is_found_dead(door: Door, topic: str, threads: Threads) -> None:
    collector = Collector(door.client(dead_after=0.3).stream(topic), threads)
    until(lambda: collector.opened)
    door.server.pause()
    try:
        collector.thread.join(20)
        assert collector.error is not None
        assert collector.error.kind == "unreachable"
    finally:
        door.server.resume()


def test_a_request_over_a_link_that_hangs_ends_by_its_timeout_or_at_once_when_cut(
    door: Door, topic: str, threads: Threads
) -> None:
    hasty, patient = door.client(timeout=0.3), door.client(timeout=60)
    assert patient.health()
    caught: list[BusError] = []

    def publish() -> None:
        with pytest.raises(BusError) as error:
            patient.publish(topic, "x")
        caught.append(error.value)

    door.server.pause()
    try:
        with pytest.raises(BusError) as error:
            hasty.poll(topic, None)
        assert error.value.kind == "unreachable"
        thread = threads(publish)

        def is_cut() -> bool:
            patient.close()  # again and again: the request may not have been sent yet when the first one comes
            return not thread.is_alive()

        until(is_cut)
    finally:
        door.server.resume()
    assert [error.kind for error in caught] == ["unreachable"]


def test_no_error_tells_topic_token_or_text(door: Door, topic: str) -> None:
    client = door.client(token="tk_secretsecretsecretsecretsecre", timeout=0.3)
    door.server.pause()
    try:
        calls: list[Callable[[], object]] = [
            lambda: client.publish(topic, "payload"),
            lambda: client.poll(topic, None),
            lambda: client.stream(topic).__enter__(),
            lambda: client.publish_file(topic, b"payload", "clip.dat", "payload"),
        ]
        for call in calls:
            with pytest.raises(BusError) as caught:
                call()
            error = caught.value
            told = "".join(map(str, (error, repr(error), error.args, error.__cause__, error.__context__)))
            assert not any(secret in told for secret in (topic, "tk_secret", "payload"))
            assert "\n" not in str(error)
    finally:
        door.server.resume()
