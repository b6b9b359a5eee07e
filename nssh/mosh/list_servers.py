"""Reads what the script `list_servers.sh` tells of a user's mosh-servers.

On Linux the script reads /proc, whatever userland there is. Elsewhere it runs `ps` with the columns that macOS, FreeBSD
and procps share. Who is attached, `who` tells (`nssh.mosh.who_output`).
"""

from __future__ import annotations

import re
from calendar import timegm
from time import strptime
from typing import TYPE_CHECKING, NamedTuple

from nssh.mosh import who_output
from nssh.mosh.mosh_servers import ClientState, Listing, MoshServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nssh.mosh.who_output import UtmpEntry

NAME = "mosh-server"


class ListingError(ValueError):
    """The script's output is malformed, or names more servers than a host can have."""


class _Process(NamedTuple):
    """A process of the user."""

    pid: int
    parent: int
    group: int
    foreground: int
    """The process group in the foreground of its terminal."""
    tty: str
    """Without `/dev/`; empty if it has none."""
    start: str
    name: str


# Seconds. A mosh-server to which nobody connects ends after 60 s; until then its utmp entry is as old as the server.
_FIRST_CONTACT = 60.0
_SILENCE = 30.0
_MINUTE = 60.0
# Servers of one host: mosh has a thousand UDP ports for them.
_MOST = 2000
_ADDRESSES = 500
# Beginnings of addresses that every host has: loopback and link-local.
_EVERYBODYS = ("127.", "fe80:")


def read(lines: Iterable[str]) -> Listing:
    """Read the lines of the script's output. Raises ListingError."""
    told = _ParsedAnswer(lines)
    found = told.servers()
    if len(found) > _MOST:
        raise ListingError(f"it tells of {len(found)} mosh-servers, more than anybody can have")
    servers = [told.server(process) for process in found]
    servers.sort(key=lambda server: (-server.age, server.pid))
    return Listing(tuple(servers), *told.addresses())


class _ParsedAnswer:
    """The lines of an answer, grouped by their first word."""

    def __init__(self, answer: Iterable[str]) -> None:
        lines: dict[str, list[str]] = {}
        for line in answer:
            key, _, value = line.partition(" ")
            lines.setdefault(key, []).append(value)
        self._lines = lines
        try:
            self._now = _number(self._one("now"))
            self._tick = _number(self._one("tick") or "0")
            self._hertz = _number(self._one("hertz") or "100") or 100.0
            self._boot = self._one("boot")[:8]
            self._processes = [_from_proc(value) for value in lines.get("process", ())]
            self._processes += [_from_ps(value) for value in lines.get("ps", ())]
        except ValueError as error:
            raise ListingError(f"the list of processes makes no sense: {error}") from None
        self._children: dict[int, list[_Process]] = {}
        self._jobs: dict[str, list[_Process]] = {}
        for process in self._processes:
            self._children.setdefault(process.parent, []).append(process)
            if process.tty and process.group == process.foreground:
                self._jobs.setdefault(process.tty, []).append(process)
        self._programs = dict(_pairs(lines.get("program", ())))
        self._limits = dict(_pairs(lines.get("limit", ())))
        self._read = dict(_read_times(lines.get("read", ())))
        self._entries: dict[int, list[UtmpEntry]] = {}
        for line in lines.get("who", ()):
            if entry := who_output.read(line, self._now):
                self._entries.setdefault(entry.pid, []).append(entry)
        self._ports = self._all_ports()
        self._named = {process.pid for process in self._processes if process.name == NAME}

    def addresses(self) -> tuple[tuple[str, ...], str]:
        """Return the host's own addresses, and this machine's address as the host's sshd sees it."""
        words = self._one("address").split()
        own = [one for one in self._lines.get("own", ()) if one != "::1" and not one.startswith(_EVERYBODYS)]
        return tuple(dict.fromkeys([*words[2:3], *own[:_ADDRESSES]])), words[0] if words else ""

    def _one(self, key: str) -> str:
        return next(iter(self._lines.get(key, ())), "")

    def servers(self) -> list[_Process]:
        """Return the mosh-servers, without the child that a server forks and has not turned into a shell yet."""
        return [one for one in self._processes if self._is_server(one) and one.parent not in self._named]

    def _is_server(self, process: _Process) -> bool:
        if process.name != NAME:
            return False
        # Linux also tells the file that the process runs. If a package upgrade replaced it, it is marked as deleted.
        program = self._programs.get(process.pid, "").rpartition("/")[2]
        return program in {"", NAME, NAME + " (deleted)"}

    def server(self, process: _Process) -> MoshServer:
        children = self._children.get(process.pid, ())
        tty = next((child.tty for child in children if child.tty), "")
        born = self._born(process)
        age = max(0.0, self._now - born)
        state, since, client = self._state(process.pid, tty, born, held=any(child.name == NAME for child in children))
        read = self._read.get(tty)
        return MoshServer(
            pid=process.pid,
            start=process.start,
            age=age,
            state=state,
            since=since,
            client=client,
            idle=None if read is None else min(max(0.0, self._now - read), age),
            runs="" if state is ClientState.NEVER else self._runs(tty),
            ports=self._ports.get(process.pid, ()),
            signal_timeout=_timeout(self._limits.get(process.pid, "")),
            birth=f"{self._boot}/{process.start}" if self._boot else f"{born:.2f}",
        )

    def _born(self, process: _Process) -> float:
        if process.start.isascii() and process.start.isdigit():
            return self._now - (self._tick - int(process.start)) / self._hertz
        return float(timegm(strptime(process.start)))

    def _state(self, pid: int, tty: str, born: float, *, held: bool) -> tuple[ClientState, float | None, str]:
        """Return a server's state, the seconds since it was detached, and its client's address.

        Args:
            pid: The server's PID.
            tty: The server's terminal; empty if it is not known.
            born: When the server was started, seconds since the epoch by the host's clock.
            held: Whether the server has not started its shell. It does at the first contact of a client.
        """
        if held:
            return ClientState.NEVER, None, ""
        # A killed server leaves its utmp entry behind. The PID may belong to another server now, on another terminal.
        entries = [one for one in self._entries.get(pid, ()) if not tty or one.tty == tty]
        if not entries:
            return ClientState.UNKNOWN, None, ""
        entry = entries[-1]
        if entry.client:
            return ClientState.ATTACHED, None, entry.client
        return self._detached(entry, born)

    def _detached(self, entry: UtmpEntry, born: float) -> tuple[ClientState, float | None, str]:
        if entry.written is None:
            return ClientState.DETACHED, None, ""
        # A server that loses its client writes its entry 30 s after the client's last packet at the earliest.
        if self._now - born < _FIRST_CONTACT and entry.written + _MINUTE <= born + _SILENCE:
            return ClientState.NEVER, None, ""
        return ClientState.DETACHED, max(0.0, self._now - max(entry.written, born)), ""

    def _runs(self, tty: str) -> str:
        """Return the name of the program in a terminal's foreground; empty if it is not known."""
        job = self._jobs.get(tty, [])
        leader = next((one for one in job if one.pid == one.group), None) or next(iter(job), None)
        return leader.name if leader else ""

    def _all_ports(self) -> dict[int, tuple[int, ...]]:
        udp = {inode: int(port, 16) for inode, port in _words("udp", self._lines) if re.fullmatch("[0-9A-F]{4}", port)}
        ports: dict[int, list[int]] = {}
        for pid, inode in _words("socket", self._lines):
            if _is_pid(pid) and inode in udp:
                ports.setdefault(int(pid), []).append(udp[inode])
        for pid, port in _words("port", self._lines):
            if _is_pid(pid) and re.fullmatch("[0-9]{1,5}", port):
                ports.setdefault(int(pid), []).append(int(port))
        return {pid: tuple(dict.fromkeys(found)) for pid, found in ports.items()}


def _number(text: str) -> float:
    """Read a time in seconds, of at most 11 digits, which a calendar can hold."""
    if not re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", text):
        raise ValueError(f"{text[:40]!r} is no time")
    return float(text)


def _from_proc(line: str) -> _Process:
    pid, parent, group, foreground, tty, start, name = line.split(" ", 6)
    if not re.fullmatch("[0-9]{1,19}", start):
        raise ValueError(f"{start[:40]!r} is no start time")
    return _Process(*_ids(pid, parent, group, foreground), "" if tty == "-" else tty, start, name)


def _from_ps(line: str) -> _Process:
    words = line.split(maxsplit=10)
    if len(words) != 11:
        raise ValueError(f"{line[:60]!r} is no line of ps")
    start = " ".join(words[5:10])
    strptime(start)
    tty = "" if words[4] in {"-", "?", "??"} else words[4]
    return _Process(*_ids(*words[:4]), tty, start, words[10].rpartition("/")[2])


def _ids(*words: str) -> tuple[int, int, int, int]:
    # The PID is used in kill(2), where 0 and -1 mean many processes. A foreground process group may be -1.
    if not re.fullmatch("[1-9][0-9]{0,8}", words[0]) or not all(re.fullmatch("-?[0-9]{1,9}", one) for one in words):
        raise ValueError(f"{' '.join(words)[:60]!r} are no processes")
    pid, parent, group, foreground = map(int, words)
    return pid, parent, group, foreground


def _pairs(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for line in lines:
        pid, _, value = line.partition(" ")
        if re.fullmatch("[0-9]{1,9}", pid):
            yield int(pid), value


def _words(key: str, lines: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for line in lines.get(key, ()):
        first, _, second = line.partition(" ")
        yield first, second


def _read_times(lines: Iterable[str]) -> Iterator[tuple[str, float]]:
    for line in lines:
        when, _, tty = line.partition("_/dev/")
        if re.fullmatch("[0-9]{1,11}", when):
            yield tty, float(when)


def _timeout(text: str) -> int:
    """Read MOSH_SERVER_SIGNAL_TMOUT as mosh-server does; return 0 if mosh-server would ignore the value."""
    return int(text) if re.fullmatch("[0-9]{1,12}", text) else 0


def _is_pid(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10
