"""Decides which mosh-servers are spared, which the options choose, and how each chosen one is ended. No I/O."""

from __future__ import annotations

from nssh.mosh.end_servers import EndMethod
from nssh.mosh.mosh_servers import ClientState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from nssh.mosh.mosh_servers import Listing, MoshServer
    from nssh.mosh.own_mosh import MoshClient, OwnMosh

    class Choice(Protocol):
        """The options of `nssh sweep` that choose and spare servers."""

        @property
        def every(self) -> bool:
            """Whether all are chosen."""

        @property
        def older(self) -> float | None:
            """The age in seconds from which on they are chosen; None for any."""

        @property
        def detached(self) -> bool:
            """Whether those are chosen that nobody is attached to."""

        @property
        def chooses(self) -> bool:
            """Whether any of these three is given."""

        @property
        def include_mine(self) -> bool:
            """Whether the servers of this machine's own sessions are not spared."""

        @property
        def min_age(self) -> float:
            """The age in seconds below which they are spared."""


MIN_AGE = 60.0
"""Seconds. Unless told otherwise, a younger server is spared: it may be a login under way."""


def spared(server: MoshServer, listing: Listing, key: str, mine: OwnMosh, options: Choice) -> str:
    """Return the reason why a server must not be ended, even if it is chosen; empty if there is none.

    Args:
        server: A server of `listing`.
        listing: The answer of the server's host.
        key: The host's `nssh.ssh.identity.Target.key`.
        mine: This machine's mosh-clients, and the mosh-servers that this process runs in.
        options: The command line of `nssh sweep`.
    """
    if not options.include_mine:
        if any(pid == server.pid and _same_birth(born, server.birth) for pid, born in mine.around):
            return "you are in it"
        if any(_is_client_of(client, server, listing, key) for client in mine.clients):
            return "a session of yours here"
    if server.age < options.min_age:
        return "too young"
    return ""


def _is_client_of(client: MoshClient, server: MoshServer, listing: Listing, key: str) -> bool:
    """Whether a mosh-client of this machine belongs to this server. In doubt it does."""
    same_host = (
        (client.key == key and key != "")
        or client.address in listing.addresses
        or not listing.addresses
        # Behind address translation, no address of the host is the one that our client uses. But both mosh-server and
        # sshd see the same address for this machine.
        or (server.client != "" and server.client == listing.seen_from)
    )
    return same_host and (client.port in server.ports or not server.ports)


def _same_birth(one: str, other: str) -> bool:
    """Whether two results of `process.birth` mean the same start. Those in seconds may be rounded differently."""
    if "/" in one or "/" in other:
        return bool(one) and one == other
    try:
        return abs(float(one) - float(other)) < 2.0
    except ValueError:
        return False


def chosen(server: MoshServer, options: Choice) -> bool:
    """Whether the options choose a server. `spared` may still keep it from being ended."""
    if options.every:
        return True
    if options.detached and server.state is not ClientState.DETACHED:
        return False
    if options.older is not None and server.age < options.older:
        return False
    return options.chooses


def how(server: MoshServer, *, unused: bool, picked: bool = False) -> EndMethod:
    """Return how to end a chosen server.

    Args:
        server: A chosen server.
        unused: Whether it was chosen because nobody uses it. Then that is checked again right before the end: by the
            server itself if it heeds SIGUSR1, otherwise by utmp.
        picked: Whether the user selected it in a list, which may be minutes old.
    """
    if unused and server.signal_timeout:
        return EndMethod.UNUSED
    if unused or (picked and server.state is ClientState.DETACHED):
        return EndMethod.DETACHED
    return EndMethod.TERM


def forgotten(server: MoshServer, age: float) -> bool:
    """Whether `[sweep] on_connect` ends a server: it is older than `age` seconds, detached, and as long unused."""
    unused = server.since if server.idle is None else server.idle
    if server.age < age or unused is None or unused < age:
        return False
    # Without utmp only the server itself knows whether it is attached. One that heeds SIGUSR1 decides for itself.
    return server.state is ClientState.DETACHED or (server.state is ClientState.UNKNOWN and server.signal_timeout > 0)
