"""Who is spared, who is chosen, and how the chosen are asked to end; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.sweep.end_servers import EndMethod
from nssh.sweep.mosh_servers import Attachment

if TYPE_CHECKING:
    from nssh.sweep.mosh_servers import Listing, MoshServer
    from nssh.sweep.own_mosh import MoshClient, OwnMosh
    from nssh.sweep.sweep_options import SweepOptions


def spared(server: MoshServer, listing: Listing, key: str, mine: OwnMosh, options: SweepOptions) -> str:
    """Return why a server must not be ended whoever chooses it, or ``.

    Args:
        server: One of the listing.
        listing: Its host's.
        key: The host's `nssh.ssh.identity.Target.key`.
        mine: What this machine has to do with mosh-servers.
        options: What the user asked for.
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
    """Whether one of our mosh-clients is this server's; in doubt it is."""
    same_host = (
        client.key == key
        or client.address in listing.addresses
        or not listing.addresses
        # Behind address translation the host has another address for us: but it sees us where its sshd does.
        or (server.client != "" and server.client == listing.seen_from)
    )
    return same_host and (client.port in server.ports or not server.ports)


def _same_birth(one: str, other: str) -> bool:
    """Whether two words of `process.birth` mean one moment; without ticks they are seconds, of two sources."""
    if "/" in one or "/" in other:
        return bool(one) and one == other
    try:
        return abs(float(one) - float(other)) < 2.0
    except ValueError:
        return False


def chosen(server: MoshServer, options: SweepOptions) -> bool:
    """Whether the flags choose a server; sparing is another matter."""
    if options.every:
        return True
    if options.detached and server.state is not Attachment.DETACHED:
        return False
    if options.older is not None and server.age < options.older:
        return False
    return options.chooses


def how(server: MoshServer, *, unused: bool, picked: bool = False) -> EndMethod:
    """Return how to end a server.

    Args:
        server: A chosen one.
        unused: Whether it was chosen because nobody uses it, which is looked at once more at the last moment: by the
            server itself, where it can.
        picked: Whether the user picked it from a list, which is minutes old by then.
    """
    if unused and server.signal_timeout:
        return EndMethod.UNUSED
    if unused or (picked and server.state is Attachment.DETACHED):
        return EndMethod.DETACHED
    return EndMethod.TERM


def forgotten(server: MoshServer, age: float) -> bool:
    """Whether `[sweep] on_connect` means a server: that old, nobody attached, and nothing typed for as long."""
    unused = server.since if server.idle is None else server.idle
    if server.age < age or unused is None or unused < age:
        return False
    # Without utmp only the server itself knows, if it is of those that are asked (see `how`).
    return server.state is Attachment.DETACHED or (server.state is Attachment.UNKNOWN and server.signal_timeout > 0)
