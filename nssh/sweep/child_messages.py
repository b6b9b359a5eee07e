"""The messages between `nssh sweep` and its child process: one line of JSON each, on the child's stdin and stdout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from nssh.mosh.end_servers import EndMethod, Fate, SweepVerdict
from nssh.mosh.mosh_servers import ClientState, Listing, MoshServer
from nssh.ssh.identity import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LINE = 16 << 20
"""Bytes. The configurations of two thousand hosts fit; a remote's answer is limited to much less."""


class Job(NamedTuple):
    """The first message to the child: which hosts to connect to."""

    targets: tuple[Target, ...]
    timeout: float
    """Seconds for connecting and listing."""
    log: str
    """Path of the event log."""
    keep: float
    """Seconds that event logs are kept."""


class End(NamedTuple):
    """To the child: end these servers of one host. Everywhere, `host` is an index into the job's targets."""

    host: int
    chosen: tuple[tuple[MoshServer, EndMethod], ...]


class Listed(NamedTuple):
    """From the child: a host has answered with its mosh-servers."""

    host: int
    listing: Listing


class Judged(NamedTuple):
    """From the child: the fate of a chosen server is known."""

    host: int
    verdict: SweepVerdict


class Finished(NamedTuple):
    """From the child: a host's order is carried out. Fates that were not told by now remain unknown."""

    host: int


class Failed(NamedTuple):
    """From the child: a host can't be reached, or the connection was lost. No more messages about it follow."""

    host: int
    reason: str
    """One line that begins with the host's name on the command line."""


Order = Job | End
News = Listed | Judged | Finished | Failed


def encode(message: Order | News) -> bytes:
    """Return a message as a line of JSON."""
    return json.dumps([type(message).__name__, *message]).encode() + b"\n"


def decode(line: bytes) -> Order | News:
    """Read a line that `encode` returned.

    Raises:
        ValueError, TypeError, KeyError: Another version of nssh wrote the line.
    """
    name, *fields = json.loads(line)
    message: Order | News = _DECODERS[name](*fields)
    return message


def _job(targets: list[Any], timeout: float, log: str, keep: float) -> Job:
    return Job(
        tuple(Target(name, tuple(ssh), tuple(options), config) for name, ssh, options, config in targets),
        timeout,
        log,
        keep,
    )


def _server(fields: list[Any]) -> MoshServer:
    server = MoshServer(*fields)
    return server._replace(state=ClientState(server.state), ports=tuple(server.ports))


def _listing(servers: list[Any], addresses: list[str], seen_from: str) -> Listing:
    return Listing(tuple(map(_server, servers)), tuple(addresses), seen_from)


_DECODERS: dict[str, Any] = {
    "Job": _job,
    "End": lambda host, chosen: End(host, tuple((_server(server), EndMethod(how)) for server, how in chosen)),
    "Listed": lambda host, listing: Listed(host, _listing(*listing)),
    "Judged": lambda host, verdict: Judged(host, SweepVerdict(verdict[0], Fate(verdict[1]))),
    "Finished": Finished,
    "Failed": Failed,
}


class MessageSplitter:
    """Splits the bytes that arrive on a pipe into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Order | News]:
        """Take received bytes, and yield the messages that are complete.

        Raises:
            ValueError: A line is longer than `LONGEST_LINE`.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise ValueError("a message is too long")
        for line in lines:
            yield decode(line)
