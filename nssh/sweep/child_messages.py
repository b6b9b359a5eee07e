"""What `nssh sweep` and `python -m actors.sweep_process`, its child, tell each other: lines of JSON, on pipes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from nssh.ssh.identity import Target
from nssh.sweep.end_servers import EndMethod, Fate, Verdict
from nssh.sweep.mosh_servers import Attachment, Listing, MoshServer

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LINE = 16 << 20
"""Bytes: the configurations of two thousand hosts; what a remote may answer is well below."""


class Job(NamedTuple):
    """To the child, once, first: what to look at."""

    targets: tuple[Target, ...]
    timeout: float
    """Seconds for connecting and listing."""
    log: str
    """Path of the event log."""
    keep: float
    """Seconds that event logs are kept."""


class End(NamedTuple):
    """To the child: end these servers of the host with this number (its place in the job's targets)."""

    host: int
    chosen: tuple[tuple[MoshServer, EndMethod], ...]


class Listed(NamedTuple):
    """From the child: a host's mosh-servers."""

    host: int
    listing: Listing


class Judged(NamedTuple):
    """From the child: a chosen server's fate."""

    host: int
    verdict: Verdict


class Finished(NamedTuple):
    """From the child: all fates of a host that could be learnt are told."""

    host: int


class Failed(NamedTuple):
    """From the child: a host can't be swept, or its connection was lost; nothing more will be heard of it."""

    host: int
    reason: str
    """One line that begins with what the user calls the host."""


Order = Job | End
News = Listed | Judged | Finished | Failed


def encode(message: Order | News) -> bytes:
    """Return one line of JSON."""
    return json.dumps([type(message).__name__, *message]).encode() + b"\n"


def decode(line: bytes) -> Order | News:
    """Read what `encode` wrote.

    Raises:
        ValueError, TypeError, KeyError: It was not written by the same version of nssh.
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
    return server._replace(state=Attachment(server.state), ports=tuple(server.ports))


def _listing(servers: list[Any], addresses: list[str], seen_from: str) -> Listing:
    return Listing(tuple(map(_server, servers)), tuple(addresses), seen_from)


_DECODERS: dict[str, Any] = {
    "Job": _job,
    "End": lambda host, chosen: End(host, tuple((_server(server), EndMethod(how)) for server, how in chosen)),
    "Listed": lambda host, listing: Listed(host, _listing(*listing)),
    "Judged": lambda host, verdict: Judged(host, Verdict(verdict[0], Fate(verdict[1]))),
    "Finished": Finished,
    "Failed": Failed,
}


class Lines:
    """Splits what arrives on a pipe into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Order | News]:
        """Yield the messages that are complete now.

        Raises:
            ValueError: A line is longer than any message.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise ValueError("a message is too long")
        for line in lines:
            yield decode(line)
