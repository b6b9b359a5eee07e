"""What of this machine a sweep has to spare: its mosh-clients' servers, and the one we may be running under."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psutil

from nssh.base import process
from nssh.state import records
from nssh.sweep.list_servers import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLIENT = "mosh-client"


class MoshClient(NamedTuple):
    """A mosh-client that runs on this machine."""

    address: str
    port: int
    """The UDP port of its server."""
    key: str = ""
    """The key of the nssh session that it belongs to, or ``."""


class OwnMosh(NamedTuple):
    """What to spare."""

    clients: tuple[MoshClient, ...] = ()
    around: tuple[tuple[int, str], ...] = ()
    """PID and birth of the mosh-servers that we run in."""


def look() -> OwnMosh:
    """Look at this machine's processes; never raises for what it may not see."""
    return OwnMosh(tuple(_clients()), tuple(_around()))


def _clients() -> Iterator[MoshClient]:
    try:
        keys = {record.pid: record.key for record in records.live()}
    except OSError:
        keys = {}  # a state directory that can't be read: their servers are told by the address alone
    # Whoever runs them: `sudo nssh sweep` is of the same person, and a port of a host has one server.
    for one in psutil.process_iter(["name", "cmdline"]):
        words = one.info["cmdline"] or []
        if one.info["name"] != _CLIENT or len(words) < 3:
            continue
        # mosh-client's last words are its server's address and port; its socket is not connected.
        address, port = words[-2:]
        if port.isascii() and port.isdigit() and len(port) <= 5:
            yield MoshClient(address, int(port), next((keys[up.pid] for up in _parents(one) if up.pid in keys), ""))


def _parents(one: psutil.Process) -> list[psutil.Process]:
    try:
        return one.parents()
    except psutil.Error:
        return []


def _around() -> Iterator[tuple[int, str]]:
    """Yield the mosh-servers among our ancestors, and among those of whatever shows us."""
    us = psutil.Process()
    above = {parent.pid: parent for one in (us, *_viewers(us)) for parent in _parents(one)}
    for parent in above.values():
        if _name(parent) == NAME:
            yield parent.pid, process.birth(parent.pid)


def _viewers(us: psutil.Process) -> Iterator[psutil.Process]:
    """Yield what shows us if we run in tmux, screen or the like, whose server is nobody's child and has no terminal.

    Its clients are processes of the same name on terminals; which of them shows us is its own business, so all count.
    """
    server = next((one for one in _parents(us) if _terminal(one) is None), None)
    if server is None or _name(server) == NAME or _terminal(us) is None:
        return
    # tmux calls itself `tmux: server` and `tmux: client`, screen SCREEN and screen.
    name = _name(server).partition(":")[0].lower()
    for one in psutil.process_iter(["name", "terminal"]):
        if one.info["terminal"] is not None and (one.info["name"] or "").partition(":")[0].lower() == name:
            yield one


def _terminal(one: psutil.Process) -> str | None:
    try:
        return one.terminal()
    except psutil.Error:
        return None


def _name(one: psutil.Process) -> str:
    try:
        return one.name()
    except psutil.Error:
        return ""
