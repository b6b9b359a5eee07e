"""The bus, on a topic of the doctor's own: reached, subscribed to, published on, with a file, and from the remote.

The relay is one of the doctor's own, too, in its private directory on the remote, run by the nssh that is installed
there: so nothing of this stays in the user's spool. An ntfy server forgets it by itself, after its usual time.
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
from nssh.ssh.marked import MarkedStream, new_mark
from nssh.state import topics
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.doctor.report import Result
    from nssh.doctor.step_runner import Examination
    from nssh.ssh.connection import ByteStream, Connection

_FILE = 100_000  # bytes: more than a message takes, little for a server's quota
_IDLE = 30  # seconds after which our relay ends without us


def _dialler(connection: Connection, name: str, timeout: float) -> Callable[[], ByteStream]:
    """Return what connects to the relay in our private directory; `name` is of our own making, safe for any shell."""

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
    """Reach the server: start a relay there and dial it, or ask the ntfy server."""
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
            exam.client.poll(topic, None)  # only this has a reason to tell
        except BusError as error:
            if error.kind == "auth":
                return ok(
                    where, seconds
                )  # ntfy tells nobody of its health who gives wrong credentials: see `subscribe`
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
    """See how the user's own relay is, without publishing on it."""
    if exam.facts.relay in {"healthy", "none"}:
        return ok("runs" if exam.facts.relay == "healthy" else "does not run at present; it is started when needed")
    directory = shlex.quote(f"{exam.facts.state}/relay")
    return failed(
        f"the relay of your sessions: {exam.facts.relay}",
        f"on {exam.host}, kill -9 $(cat {directory}/lock) ends it, and who needs one starts another; "
        f"{directory}/relay.log may tell why",
    )


def subscribe(exam: Examination) -> Result:
    """Subscribe to a topic of our own, which shows whether the credentials are accepted."""
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
    """Publish a message, and wait until it is back."""
    own = wire.new_id()
    started = time.monotonic()
    exam.client.publish_envelope(exam.topic, wire.Envelope(wire.KIND_PING, id=own))
    heard = exam.listener.wait_for(lambda one: one.envelope.id == own, exam.options.timeout, "a message")
    return ok("a message went around", heard.at - started)


def attachment(exam: Examination) -> Result:
    """Publish a file, and fetch it by what the stream tells of it."""
    own, data = wire.new_id(), os.urandom(_FILE)
    started = time.monotonic()
    # A kind that nobody knows, and so nobody acts on.
    envelope = wire.Envelope("doctor", mime="application/octet-stream", body=data, id=own)
    exam.client.publish_envelope(exam.topic, envelope)
    heard = exam.listener.wait_for(lambda one: one.envelope.id == own, exam.options.timeout, "a file's message")
    got = exam.client.download(heard.message.id, limit=2 * _FILE)
    if got != data:
        return failed("a file came back changed", "is there a proxy before the server that changes what it carries?")
    return ok(f"a file of {_FILE // 1000} kB went there and came back the same", time.monotonic() - started)


def from_remote(exam: Examination) -> Result:
    """See whether the remote reaches the server, too; the relay is there."""
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
    """Compare our clock with the server's."""
    asked = time.time()
    exam.client.health()
    theirs = exam.client.server_time
    if theirs is None:
        return warning("the server does not tell its time")
    return compare(int(theirs), asked, time.time(), exam.config.server)
