"""Every message of the tree: what its parts tell one another, frozen and typed, in one module.

Messages are `NamedTuple`s: immutable, cheap, and compared by value, so a test can say which message it expects. A
message never carries an actor's ref: peers are addressed by id. Each says who tells it whom;
one that is answered begins with "Ask of". What is in it and can change belongs to its receiver from then on (a
connection, a socket), or is changed by nobody any more (fields, an envelope).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from nssh.bus.deliveries import Moved
    from nssh.bus.feed import News as BusNews
    from nssh.bus.losses import Reach
    from nssh.bus.messages import Message
    from nssh.launch.session_info import SessionInfo
    from nssh.local.callback_finder import Callback
    from nssh.local.callback_flow import FlowEnded, FlowSucceeded
    from nssh.local.clipboard_content import Content
    from nssh.ssh.connection import Connection
    from nssh.sweep.child_messages import News
    from nssh.sweep.end_servers import EndMethod
    from nssh.sweep.mosh_servers import MoshServer
    from nssh.wire.envelope import Envelope


class Log(NamedTuple):
    """To the log writer: an event (docs/protocol.md, "Events") with its fields."""

    event: str
    fields: Mapping[str, object]


class Told(NamedTuple):
    """To the remote host and the registry: what the launcher tells of the session, anew with every news."""

    session: SessionInfo


class Update(NamedTuple):
    """To the registry: fields of the session's record that changed."""

    fields: Mapping[str, object]


class Problem(NamedTuple):
    """To the registry: what `source` has to complain of, for the user; `` when it is over."""

    source: str
    text: str


class LeaseChanged(NamedTuple):
    """From the registry to the subscriber: whether this session acts for the topic."""

    held: bool


class OpenStream(NamedTuple):
    """Ask of the remote host: a byte stream to a command on the remote (`nssh.ssh.connection.ByteStream`)."""

    command: str


class Lend(NamedTuple):
    """Ask of the remote host: the connection there is (`nssh.ssh.connection.Connection`), to be used meanwhile."""


class Suspect(NamedTuple):
    """To the remote host: this connection failed whoever borrowed it."""

    connection: Connection


class Expect(NamedTuple):
    """Ask of the OAuth proxy: listen for these, before the browser is sent on its way."""

    callbacks: tuple[Callback, ...]
    asker: socket.socket | None = None
    """Who asked over the control socket: told, and closed, when they are listened for."""


class FlowNews(NamedTuple):
    """The OAuth proxy's thread to it: a login has succeeded, or is over."""

    news: FlowSucceeded | FlowEnded


class NetworkChanged(NamedTuple):
    """To the remote host: the laptop woke or its network changed; a connection may only seem to live: drop it."""


class LinkUp(NamedTuple):
    """From the remote host to the subscriber: there is a connection."""


class BusUp(NamedTuple):
    """From the subscriber to the publisher: the bus can be reached again."""


class Report(NamedTuple):
    """From an actor that was just started: tell `to` again what it needs to know of you."""

    to: str


class Connected(NamedTuple):
    """The remote host's reader to it: there is a connection."""

    connection: Connection


class Prepared(NamedTuple):
    """The remote host's reader to it: the remote was made ready."""

    version: str
    problem: str


class ConnectFailed(NamedTuple):
    """The remote host's reader to it: no way led there."""

    reason: str


class Publish(NamedTuple):
    """In the outbox: an envelope to send; after `expires` (monotonic seconds) nobody waits for it any more."""

    envelope: Envelope
    expires: float
    payload: Content | None = None
    """What goes beside it."""


class Flush(NamedTuple):
    """To the publisher: something was put into the outbox."""


class FeedNews(NamedTuple):
    """The subscriber's feed to it: it is up or down, messages are lost, or how far it has come."""

    feed: int
    """Which of the feeds that this life had."""
    news: BusNews | Moved | Reach


class Arrived(NamedTuple):
    """The subscriber's feed to it: messages in the order of the bus; `replayed` if they waited on the server."""

    feed: int
    messages: tuple[Message, ...]
    replayed: bool


class Done(NamedTuple):
    """To the subscriber: the message `id` took effect, or never will."""

    id: str


class Postponed(NamedTuple):
    """To the subscriber: the message `id` has to wait for something; others can be taken meanwhile."""

    id: str


class Loss(NamedTuple):
    """To the subscriber: something can't be had any more, for the user to know."""

    text: str


class Redeliver(NamedTuple):
    """To the subscriber: the actor `to` was restarted, what it was given and did not finish is to be given again."""

    to: str


class Retry(NamedTuple):
    """From an actor's own timer: try again what failed."""


class ClockJumped(NamedTuple):
    """From the subscriber's look at the clock to it: the machine slept, or its clock was set."""


class LeaseFreed(NamedTuple):
    """From the registry's wait for the lease to it: it may be ours now."""


class CountHeld(NamedTuple):
    """From the URL opener's own timer: tell how many URLs are held."""


class ForgetComplaint(NamedTuple):
    """From the OAuth proxy's own timer: the login that could not be finished was given up by now."""


class LookForConnection(NamedTuple):
    """From the connect sweeper's own timer: see whether the remote is reached by now."""


class SweepExpired(NamedTuple):
    """From a remote sweeper's own timer: the host has had time enough."""


class Drain(NamedTuple):
    """Ask of the subscriber, before the end: is everything done that has arrived?"""


class Probe(NamedTuple):
    """The liveness responder's reader to it: somebody asks over the control socket whether the session is alive."""

    connection: socket.socket


class ProbeExpired(NamedTuple):
    """From the liveness responder's own timer: whoever asked is told now, whatever is known."""

    id: str


class BeginSweep(NamedTuple):
    """To a remote sweeper: all others are up, too."""


class EndServers(NamedTuple):
    """To a remote sweeper: end these mosh-servers of its host, each in this way."""

    chosen: tuple[tuple[MoshServer, EndMethod], ...]


class SweepNews(NamedTuple):
    """A remote sweeper's thread to it: what it found out."""

    news: News
