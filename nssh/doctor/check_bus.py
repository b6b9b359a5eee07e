"""Checks the bus on a topic of the doctor's own: connect, subscribe, publish, send a file, connect from the remote.

With the relay, the doctor starts one of its own in its private directory on the remote, so that no test message stays
in the user's spool. An ntfy server deletes the test messages by itself, as it does all messages.
"""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING

from nssh.base.errors import BusError, RemoteError
from nssh.bus.client import BusClient
from nssh.doctor.check_remote import compare
from nssh.doctor.remote_facts import number
from nssh.doctor.report import failed, ok, warning
from nssh.doctor.step_runner import NotTried
from nssh.doctor.topic_listener import TopicListener
from nssh.ssh.marked_stream import MarkedStream, new_mark
from nssh.state import topics
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.doctor.report import Result
    from nssh.doctor.step_runner import Examination
    from nssh.ssh.connection import ByteStream, Connection

_FILE = 100_000  # bytes: more than a message takes, little for a server's quota
_IDLE = 30  # seconds without a client after which the doctor's own relay ends


def _dialler(connection: Connection, name: str, timeout: float) -> Callable[[], ByteStream]:
    """Return a function that connects to the doctor's own relay. `name` needs no quoting for a shell."""

    def dial() -> ByteStream:
        mark = new_mark()
        words = f"relay dial --state {name} --socket {name}/relay.sock --idle {_IDLE} --mark {mark}"
        command = (
            'exec sh -c \'cd "${XDG_STATE_HOME:-$HOME/.local/state}/nssh" && '
            f'exec "${{XDG_DATA_HOME:-$HOME/.local/share}}/nssh/nssh-remote" {words}\''
        )
        return MarkedStream(connection.open_stream(command, timeout=timeout), mark)

    return dial


def reach(exam: Examination) -> Result:
    """Check that the server answers; with the relay, start the doctor's own first."""
    config, timeout = exam.config, exam.options.timeout
    topic = topics.new_name()
    if config.server == "relay":
        dial = _dialler(exam.connection, exam.name, timeout)
        exam.client = BusClient(f"the relay on {exam.host}", dial=dial, timeout=timeout)
        where = "the relay answers through ssh"
    else:
        exam.client = BusClient(
            config.server,
            token=config.token or "",
            user=config.user or "",
            password=config.password or "",
            timeout=timeout,
        )
        where = f"{config.server} answers"
    exam.undo.callback(exam.client.close)
    started = time.monotonic()
    healthy = exam.client.health()
    seconds = time.monotonic() - started
    if not healthy:
        try:
            exam.client.poll(topic, None)  # unlike `health`, it raises the reason
        except BusError as error:
            if error.kind == "auth":
                return ok(where, seconds)  # ntfy refuses /v1/health to wrong credentials; `subscribe` reports those
            return failed(str(error), _advice(exam, error))
        return warning(f"{where}, and does not say that it is healthy", "", seconds)
    return ok(where, seconds)


def _advice(exam: Examination, error: BusError) -> str:
    if error.kind == "limit":
        return "wait a little, or have its limits raised (visitor-request-limit-burst and others)"
    if exam.config.server == "relay":
        return f"on {exam.host}, run ~/.local/share/nssh/nssh-remote relay start: it says more"
    named = "$NSSH_NTFY_BASE" if os.environ.get("NSSH_NTFY_BASE") else "server in config.toml"
    return f"start it, or correct {named}"


def relay(exam: Examination) -> Result:
    """Check the user's own relay, without publishing on it."""
    if exam.facts.relay in {"healthy", "none"}:
        return ok("runs" if exam.facts.relay == "healthy" else "does not run at present; it is started when needed")
    directory = shlex.quote(f"{exam.facts.state.path}/relay")
    return failed(
        f"the relay of your sessions: {exam.facts.relay}",
        f"on {exam.host}, kill -9 $(cat {directory}/lock) ends it, and who needs one starts another; "
        f"{directory}/relay.log may tell why",
    )


def subscribe(exam: Examination) -> Result:
    """Subscribe to the doctor's own topic, which shows whether the credentials are accepted."""
    started = time.monotonic()
    topic = topics.new_name()
    listener = TopicListener(exam.client, topic)
    exam.undo.callback(listener.close)
    exam.topic = topic
    try:
        listener.wait_open(exam.options.timeout)
    except BusError as error:
        return _refused(exam, error)
    exam.listener = listener
    credentials = "the credentials are accepted: " if exam.config.token or exam.config.user else ""
    return ok(f"{credentials}subscribed to a topic of the doctor's own", time.monotonic() - started)


def _refused(exam: Examination, error: BusError) -> Result:
    if error.kind != "auth":
        return failed(str(error), _advice(exam, error))
    if exam.config.topic and "this topic" in str(error):
        raise NotTried("the server allows the configured topic only, which is not the doctor's to use")
    return failed(str(error), "token, or user and password, in config.toml must have access to topics nssh_*")


def publish(exam: Examination) -> Result:
    """Publish a message, and wait until the subscription delivers it."""
    own = wire.new_id()
    started = time.monotonic()
    exam.client.publish_envelope(exam.topic, wire.Envelope(wire.KIND_PING, id=own))
    heard = exam.listener.wait_for(lambda one: one.envelope.id == own, exam.options.timeout, "a message")
    return ok("a message went around", heard.at - started)


def attachment(exam: Examination) -> Result:
    """Publish a file, wait for its message, and download it."""
    own, data = wire.new_id(), os.urandom(_FILE)
    started = time.monotonic()
    # Receivers ignore an unknown kind.
    envelope = wire.Envelope("doctor", mime="application/octet-stream", body=data, id=own)
    exam.client.publish_envelope(exam.topic, envelope)
    heard = exam.listener.wait_for(lambda one: one.envelope.id == own, exam.options.timeout, "a file's message")
    got = exam.client.download(heard.message.id, limit=2 * _FILE)
    if got != data:
        return failed("a file came back changed", "is there a proxy before the server that changes what it carries?")
    return ok(f"a file of {_FILE // 1000} kB went there and came back the same", time.monotonic() - started)


def from_remote(exam: Examination) -> Result:
    """Check that the remote reaches an ntfy server, too."""
    server = exam.config.server
    advice = f'programs on {exam.host} must reach it, too: its firewall, its proxy, or server = "relay"'
    try:
        answer = exam.helper.ask({"do": "reach", "server": server}, exam.options.timeout)
    except RemoteError as error:
        return failed(f"asked by {exam.host}: {error}", advice)
    if answer.get("said") != "healthy":
        return warning(f"{server}, asked by {exam.host}: {answer.get('said')}", advice)
    return ok(f"{exam.host} reaches {server}", number(answer, "ms") / 1000)


def clock(exam: Examination) -> Result:
    """Compare this machine's clock with the server's."""
    asked = time.time()
    exam.client.health()
    theirs = exam.client.server_time
    if theirs is None:
        return warning("the server does not tell its time")
    return compare(int(theirs), asked, time.time(), exam.config.server)
