"""The messages of the bridge's and the sweep's actors: frozen, typed, all in this module.

Messages are `NamedTuple`s: immutable, cheap, and compared by value, so that a test can say which message it expects. A
message never carries an actor's ref: actors address one another by id. Each docstring begins with the sender and the
receiver; "Ask of" marks a message whose sender waits for an answer. A mutable object in a message, such as a connection
or a socket, belongs to the receiver from then on; fields and envelopes are no longer changed by anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from nssh.bus.deliveries import CursorMoved
    from nssh.bus.drain import Drained
    from nssh.bus.feed import News as BusNews
    from nssh.bus.losses import Reach
    from nssh.bus.messages import Message
    from nssh.launch.session_info import SessionInfo
    from nssh.local.callback_finder import Callback
    from nssh.local.callback_flow import FlowEnded, FlowSucceeded
    from nssh.local.clipboard_content import Content
    from nssh.mosh.end_servers import EndMethod
    from nssh.mosh.mosh_servers import MoshServer
    from nssh.ssh.connection import Connection
    from nssh.sweep.child_messages import News
    from nssh.wire.envelope import Envelope


class Log(NamedTuple):
    """To the log writer: write this event (docs/protocol.md, "Events")."""

    event: str
    fields: Mapping[str, object]


class SessionChanged(NamedTuple):
    """To the remote host and the registry: the launcher has sent new facts about the session; here are all of them."""

    session: SessionInfo


class UpdateRecord(NamedTuple):
    """To the registry: set these fields of the session's record."""

    fields: Mapping[str, object]


class Problem(NamedTuple):
    """To the registry: show the user this problem. One problem per `source`; an empty `text` withdraws it."""

    source: str
    text: str


class LeaseChanged(NamedTuple):
    """From the registry to the subscriber and the OAuth proxy: whether this session holds the topic's lease."""

    held: bool


class OpenStream(NamedTuple):
    """Ask of the remote host: run a command on the remote; the answer is a `nssh.ssh.connection.ByteStream` to it."""

    command: str


class BorrowConnection(NamedTuple):
    """Ask of the remote host: the present `nssh.ssh.connection.Connection`, which still belongs to the remote host."""


class ConnectionBroken(NamedTuple):
    """To the remote host: this connection failed an actor that had borrowed it."""

    connection: Connection


class ExpectCallbacks(NamedTuple):
    """Ask of the OAuth proxy: listen for these callbacks. Sent before the browser opens the login's page."""

    callbacks: tuple[Callback, ...]
    asker: socket.socket | None = None
    """A client of the control socket that asked for this. It gets an answer, and is closed, once the ports listen."""


class FlowNews(NamedTuple):
    """From the OAuth proxy's thread to the OAuth proxy: a login has succeeded, or is over."""

    news: FlowSucceeded | FlowEnded


class NetworkChanged(NamedTuple):
    """To the remote host: the laptop woke up or its network changed. Drop the connection, which may be dead."""


class LinkUp(NamedTuple):
    """From the remote host to the subscriber: the connection to the remote is there."""


class BusUp(NamedTuple):
    """From the subscriber to the publisher: the bus can be reached again."""


class ReportState(NamedTuple):
    """From an actor that has just started: send `to` again what you had told the actor before it."""

    to: str


class Connected(NamedTuple):
    """From the remote host's thread to the remote host: this connection is up."""

    connection: Connection


class Prepared(NamedTuple):
    """From the remote host's thread to the remote host: the remote has the session's file."""

    version: str
    """Of the nssh on the remote; empty if there is none."""
    problem: str
    """What the user should know of the remote; empty if all is well."""


class ConnectFailed(NamedTuple):
    """From the remote host's thread to the remote host: no way of connecting worked."""

    reason: str


class Publish(NamedTuple):
    """In the outbox, for the publisher: send this envelope, unless it is later than `expires` (monotonic seconds)."""

    envelope: Envelope
    expires: float
    payload: Content | None = None
    """Content that is too large for the envelope, sent as its attachment."""
    topic: str = ""
    """The former topic to send it on; empty for the session's own."""


class Flush(NamedTuple):
    """To the publisher: send what is in the outbox."""


class FeedNews(NamedTuple):
    """From the subscriber's feed or drain to it: the bus is up or down, messages are lost, a cursor moved."""

    feed: int
    """The number of the feed, counted by the subscriber: news of a feed that was ended is ignored."""
    news: BusNews | CursorMoved | Reach | Drained


class Arrived(NamedTuple):
    """From the subscriber's feed to the subscriber: these messages came, in the order of the bus."""

    feed: int
    """See `FeedNews`."""
    messages: tuple[Message, ...]
    replayed: bool
    """Whether a poll returned them: they may have waited on the server for long."""
    topic: str = ""
    """The former topic that they came on; empty for the session's own."""


class Found(NamedTuple):
    """From the subscriber's feed or drain to the subscriber: another program's topic had these when it became ours."""

    messages: tuple[Message, ...]


class SessionFileWritten(NamedTuple):
    """From the remote host to the subscriber: the remote's session file names this session's topic."""


class Done(NamedTuple):
    """From a worker to the subscriber: the message `id` took effect, or never will."""

    id: str


class Postponed(NamedTuple):
    """From a worker to the subscriber: the message `id` has to wait; hand out the next one meanwhile."""

    id: str


class ReportLoss(NamedTuple):
    """From a worker to the subscriber: tell the user that this is lost."""

    text: str


class Redeliver(NamedTuple):
    """To the subscriber: the worker `to` was restarted; hand out again the message that it did not finish."""

    to: str


class Retry(NamedTuple):
    """From an actor's own timer: try again what failed."""


class ClockJumped(NamedTuple):
    """From the subscriber's watch on the clock to the subscriber: the machine slept, or its clock was set."""


class LeaseFreed(NamedTuple):
    """From the registry's waiter to the registry: the lease may be free, try to take it."""


class CountHeld(NamedTuple):
    """From the URL opener's own timer: report how many URLs are held."""


class ForgetProblem(NamedTuple):
    """From the OAuth proxy's own timer: withdraw the problem, the login that it was about has ended by now."""


class LookForConnection(NamedTuple):
    """From the connect sweeper's own timer: sweep if the remote is connected, otherwise wait again."""


class SweepExpired(NamedTuple):
    """From a remote sweeper's own timer: the time for connecting and listing is up."""


class IsDrained(NamedTuple):
    """Ask of the subscriber, at the session's end: did every message that has arrived take effect?"""


class Probe(NamedTuple):
    """From the liveness responder's thread to the liveness responder: a client of the control socket asks "alive?"."""

    connection: socket.socket


class ProbeExpired(NamedTuple):
    """From the liveness responder's own timer: answer the probe `id` now, with what is known."""

    id: str


class BeginSweep(NamedTuple):
    """To a remote sweeper: begin, all other actors are up."""


class EndServers(NamedTuple):
    """To a remote sweeper: end these mosh-servers of its host, each in the given way."""

    chosen: tuple[tuple[MoshServer, EndMethod], ...]


class SweepNews(NamedTuple):
    """From a sweeper's thread to the sweeper: what the thread found out."""

    news: News
