"""Finds this machine's mosh-clients, and the mosh-servers that this process runs in: a sweep spares their servers."""

from __future__ import annotations

import os
import subprocess
from calendar import timegm
from time import strptime
from typing import NamedTuple

from nssh.mosh.list_servers import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CLIENT = "mosh-client"
_PS_TIMEOUT = 10.0


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


class _Process(NamedTuple):
    """A process of this machine, whoever runs it."""

    pid: int
    parent: int
    has_terminal: bool
    birth: str
    """In the form of `nssh.mosh.mosh_servers.MoshServer.birth`."""
    name: str


def look(sessions: Mapping[int, str] | None = None, proc: str = "/proc") -> OwnMosh:
    """Look at this machine's processes. Those that can't be examined are passed over.

    Args:
        sessions: The PIDs of this user's nssh sessions, each with the key of its host.
        proc: Where Linux has its processes. Without it, `ps` is asked.
    """
    linux = os.path.exists(proc + "/self/stat")
    table = {one.pid: one for one in (_from_proc(proc) if linux else _from_ps())}
    clients = []
    # Clients of all users: `sudo nssh sweep` is run by the same person.
    for one in table.values():
        if one.name == _CLIENT:
            key = next(((sessions or {})[up.pid] for up in _parents(one, table) if up.pid in (sessions or {})), "")
            clients += _client(_arguments(one.pid, proc if linux else ""), key)
    return OwnMosh(tuple(clients), tuple(_around(table)))


def _from_proc(proc: str) -> Iterator[_Process]:
    with open(proc + "/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()[:8]
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            with open("%s/%s/stat" % (proc, name), "rb") as file:
                text = file.read().decode("utf-8", "replace")
        except OSError:
            continue  # it has ended, or is hidden
        command = text[text.find("(") + 1 : text.rfind(")")]
        fields = text[text.rfind(")") + 1 :].split()  # proc(5), from the state on
        yield _Process(int(name), int(fields[1]), fields[4] != "0", "%s/%s" % (boot, fields[19]), command)


def _from_ps() -> Iterator[_Process]:
    for line in _ps("-A", "-o", "pid=", "-o", "ppid=", "-o", "tty=", "-o", "lstart=", "-o", "ucomm="):
        words = line.split(None, 8)
        try:
            born = "%.2f" % timegm(strptime(" ".join(words[3:8])))
            yield _Process(int(words[0]), int(words[1]), words[2] not in ("-", "?", "??"), born, words[8].strip())
        except (ValueError, IndexError):
            continue  # not a process


def _ps(*arguments: str) -> list[str]:
    environ = dict(os.environ, LC_ALL="C", TZ="UTC0")
    try:
        done = subprocess.run(
            ["ps", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environ, timeout=_PS_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.decode("utf-8", "replace").splitlines()


def _arguments(pid: int, proc: str) -> list[str]:
    if not proc:
        return "".join(_ps("-p", str(pid), "-o", "args=")[:1]).split()
    try:
        with open("%s/%d/cmdline" % (proc, pid), "rb") as file:
            return file.read().decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return []


def _client(words: list[str], key: str) -> list[MoshClient]:
    # The last two arguments are the server's address and port. The socket tells nothing: it is not connected.
    if len(words) < 3 or not (words[-1].isascii() and words[-1].isdigit() and len(words[-1]) <= 5):
        return []
    return [MoshClient(words[-2], int(words[-1]), key)]


def _parents(one: _Process, table: Mapping[int, _Process]) -> list[_Process]:
    found: list[_Process] = []
    while one.parent in table and one.parent not in (up.pid for up in found):
        one = table[one.parent]
        found.append(one)
    return found


def _around(table: Mapping[int, _Process]) -> Iterator[tuple[int, str]]:
    """Yield the mosh-servers among the ancestors of this process, and of the clients of its tmux or screen."""
    us = table.get(os.getpid())
    if us is None:
        return
    above = {up for one in (us, *_viewers(us, table)) for up in _parents(one, table)}
    for up in above:
        if up.name == NAME:
            yield up.pid, up.birth


def _viewers(us: _Process, table: Mapping[int, _Process]) -> Iterator[_Process]:
    """Yield the clients of the tmux, screen or the like that this process runs in.

    Its server has no terminal. Its clients are the processes of the same name that have one; which of them shows this
    process is not known, so all count.
    """
    server = next((one for one in _parents(us, table) if not one.has_terminal), None)
    if server is None or server.name == NAME or not us.has_terminal:
        return
    # Names of server and client: `tmux: server` and `tmux: client`, `SCREEN` and `screen`.
    name = server.name.partition(":")[0].lower()
    for one in table.values():
        if one.has_terminal and one.name.partition(":")[0].lower() == name:
            yield one
