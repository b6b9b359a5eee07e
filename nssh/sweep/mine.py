"""What of this machine a sweep has to spare: our own mosh-clients' servers, and the one we may be running under."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import psutil

from nssh import process, records
from nssh.sweep.listing import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLIENT = "mosh-client"
_TMUX_SECONDS = 2.0


class Client(NamedTuple):
    """A mosh-client of ours that runs on this machine."""

    address: str
    port: int
    """The UDP port of its server."""
    key: str = ""
    """The key of the nssh session that it belongs to, or ``."""


class Mine(NamedTuple):
    """What to spare."""

    clients: tuple[Client, ...] = ()
    around: tuple[tuple[int, str], ...] = ()
    """PID and birth of the mosh-servers that we run in."""


def look() -> Mine:
    """Look at this machine's processes; never raises for what it may not see."""
    return Mine(tuple(_clients()), tuple(_around()))


def _clients() -> Iterator[Client]:
    try:
        keys = {record.pid: record.key for record in records.live()}
    except OSError:
        keys = {}  # a state directory that can't be read: their servers are told by the address alone
    for one in psutil.process_iter(["name", "uids", "cmdline"]):
        words, uids = one.info["cmdline"] or [], one.info["uids"]
        if one.info["name"] != _CLIENT or uids is None or uids.real != os.getuid() or len(words) < 3:
            continue
        # mosh-client's last words are its server's address and port; its socket is not connected.
        address, port = words[-2:]
        if port.isascii() and port.isdigit() and len(port) <= 5:
            yield Client(address, int(port), next((keys[pid] for pid in _parents(one) if pid in keys), ""))


def _parents(one: psutil.Process) -> list[int]:
    try:
        return [parent.pid for parent in one.parents()]
    except psutil.Error:
        return []


def _around() -> Iterator[tuple[int, str]]:
    """Yield the mosh-servers among our ancestors, and among those of the tmux clients that may be showing us."""
    seen: set[int] = set()
    for pid in (os.getpid(), *_tmux_clients()):
        try:
            parents = psutil.Process(pid).parents()
        except psutil.Error:
            continue
        for parent in parents:
            if parent.pid not in seen and _name(parent) == NAME:
                seen.add(parent.pid)
                yield parent.pid, process.birth(parent.pid)


def _name(one: psutil.Process) -> str:
    try:
        return str(one.name())
    except psutil.Error:
        return ""


def _tmux_clients() -> list[int]:
    """Return the PIDs of the clients of the tmux that we run in: its server is nobody's child."""
    if not os.environ.get("TMUX"):
        return []
    try:
        done = subprocess.run(
            ["tmux", "list-clients", "-F", "#{client_pid}"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TMUX_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [int(word) for word in done.stdout.split() if word.isdigit()]
