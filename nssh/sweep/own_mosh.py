"""Finds this machine's mosh-clients, and the mosh-servers that this process runs in: a sweep spares their servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psutil

from nssh.base import process
from nssh.state import session_records
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
    """The key of its nssh session; empty if it was not started by nssh."""


class OwnMosh(NamedTuple):
    """The mosh processes of this machine that a sweep must know."""

    clients: tuple[MoshClient, ...] = ()
    around: tuple[tuple[int, str], ...] = ()
    """PID and birth of the mosh-servers that this process runs in."""


def look() -> OwnMosh:
    """Look at this machine's processes. Those that can't be examined are passed over."""
    return OwnMosh(tuple(_clients()), tuple(_around()))


def _clients() -> Iterator[MoshClient]:
    try:
        keys = {record.pid: record.key for record in session_records.live()}
    except OSError:
        keys = {}  # the state directory can't be read: the clients' servers are known by address only
    # Clients of all users: `sudo nssh sweep` is run by the same person.
    for one in psutil.process_iter(["name", "cmdline"]):
        words = one.info["cmdline"] or []
        if one.info["name"] != _CLIENT or len(words) < 3:
            continue
        # The last two arguments are the server's address and port. The socket tells nothing: it is not connected.
        address, port = words[-2:]
        if port.isascii() and port.isdigit() and len(port) <= 5:
            yield MoshClient(address, int(port), next((keys[up.pid] for up in _parents(one) if up.pid in keys), ""))


def _parents(one: psutil.Process) -> list[psutil.Process]:
    try:
        return one.parents()
    except psutil.Error:
        return []


def _around() -> Iterator[tuple[int, str]]:
    """Yield the mosh-servers among the ancestors of this process, and of the clients of its tmux or screen."""
    us = psutil.Process()
    above = {parent.pid: parent for one in (us, *_viewers(us)) for parent in _parents(one)}
    for parent in above.values():
        if _name(parent) == NAME:
            yield parent.pid, process.birth(parent.pid)


def _viewers(us: psutil.Process) -> Iterator[psutil.Process]:
    """Yield the clients of the tmux, screen or the like that this process runs in.

    Its server has no terminal. Its clients are the processes of the same name that have one; which of them shows this
    process is not known, so all count.
    """
    server = next((one for one in _parents(us) if _terminal(one) is None), None)
    if server is None or _name(server) == NAME or _terminal(us) is None:
        return
    # Names of server and client: `tmux: server` and `tmux: client`, `SCREEN` and `screen`.
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
