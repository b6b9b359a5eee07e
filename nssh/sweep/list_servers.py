"""The script that lists a remote user's mosh-servers, and how its answer is read.

On Linux everything comes from /proc, whatever userland there is; elsewhere from `ps` by columns that macOS, FreeBSD and
procps share. `who` tells who is attached (`nssh.sweep.who_output`).
"""

from __future__ import annotations

import re
from calendar import timegm
from time import strptime
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import RemoteError
from nssh.ssh import framing
from nssh.sweep import who_output
from nssh.sweep.mosh_servers import Attachment, Listing, MoshServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nssh.sweep.who_output import UtmpEntry

NAME = "mosh-server"


def script() -> framing.Script:
    """Return the script, framed."""
    return framing.pack(framing.source(__file__, "list_servers.sh"))


class _Process(NamedTuple):
    pid: int
    parent: int
    group: int
    foreground: int
    """The process group in the foreground of its terminal."""
    tty: str
    """Without `/dev/`; `` if it has none."""
    start: str
    name: str


# mosh-server ends by itself when nobody has connected for 60 s; its entry in utmp is as old as itself until then.
_FIRST_CONTACT = 60.0
_SILENCE = 30.0
_MINUTE = 60.0
# Servers of one host: there are a thousand UDP ports for them.
_MOST = 2000
_ADDRESSES = 500
# Beginnings of addresses that tell no host from another: the loopback's, a link's.
_EVERYBODYS = ("127.", "fe80:")


def read(answer: framing.Answer) -> Listing:
    """Read what the script said.

    Raises:
        RemoteError: It makes no sense.
    """
    told = _ParsedAnswer(answer)
    found = told.servers()
    if len(found) > _MOST:
        raise RemoteError(f"it tells of {len(found)} mosh-servers, more than anybody can have")
    servers = [told.server(process) for process in found]
    servers.sort(key=lambda server: (-server.age, server.pid))
    return Listing(tuple(servers), *told.addresses())


class _ParsedAnswer:
    """The lines of an answer, by what they tell."""

    def __init__(self, answer: framing.Answer) -> None:
        lines: dict[str, list[str]] = {}
        for line in answer.lines:
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
            raise RemoteError(f"the list of processes makes no sense: {error}") from None
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
        """Return the host's own addresses, and ours as its sshd has it."""
        words = self._one("address").split()
        own = [one for one in self._lines.get("own", ()) if one != "::1" and not one.startswith(_EVERYBODYS)]
        return tuple(dict.fromkeys([*words[2:3], *own[:_ADDRESSES]])), words[0] if words else ""

    def _one(self, key: str) -> str:
        return next(iter(self._lines.get(key, ())), "")

    def servers(self) -> list[_Process]:
        """The mosh-servers; one that another has just made for its shell is none."""
        return [one for one in self._processes if self._is_server(one) and one.parent not in self._named]

    def _is_server(self, process: _Process) -> bool:
        if process.name != NAME:
            return False
        # Linux also tells the file that runs; one whose package was upgraded meanwhile is marked as deleted.
        program = self._programs.get(process.pid, "").removesuffix(" (deleted)")
        return program.rpartition("/")[2] in {"", NAME}

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
            runs="" if state is Attachment.NEVER else self._runs(tty),
            ports=self._ports.get(process.pid, ()),
            signal_timeout=_timeout(self._limits.get(process.pid, "")),
            birth=f"{self._boot}/{process.start}" if self._boot else f"{born:.2f}",
        )

    def _born(self, process: _Process) -> float:
        if process.start.isascii() and process.start.isdigit():
            return self._now - (self._tick - int(process.start)) / self._hertz
        return float(timegm(strptime(process.start)))

    def _state(self, pid: int, tty: str, born: float, *, held: bool) -> tuple[Attachment, float | None, str]:
        """Return state, how long it has been detached, and the client's address.

        Args:
            pid: The server's.
            tty: Its terminal; `` if it is not known.
            born: When it was started.
            held: Whether its shell has not begun, as it does with the first contact of a client.
        """
        if held:
            return Attachment.NEVER, None, ""
        # A killed server leaves its entry, and another one may bear its PID now: on another terminal.
        entries = [one for one in self._entries.get(pid, ()) if not tty or one.tty == tty]
        if not entries:
            return Attachment.UNKNOWN, None, ""
        entry = entries[-1]
        if entry.client:
            return Attachment.ATTACHED, None, entry.client
        return self._detached(entry, born)

    def _detached(self, entry: UtmpEntry, born: float) -> tuple[Attachment, float | None, str]:
        if entry.written is None:
            return Attachment.DETACHED, None, ""
        # The entry of one that had a client was written half a minute after its last word, at the earliest.
        if self._now - born < _FIRST_CONTACT and entry.written + _MINUTE <= born + _SILENCE:
            return Attachment.NEVER, None, ""
        return Attachment.DETACHED, max(0.0, self._now - max(entry.written, born)), ""

    def _runs(self, tty: str) -> str:
        """Return the name of the program in the foreground of a terminal, `` if that can't be told."""
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
    """Read a time of a remote's; nothing that a calendar can't hold."""
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
    # No kernel has a process 0 that could be listed, and -1 means everybody to kill(2); a foreground may be -1.
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
    """Read MOSH_SERVER_SIGNAL_TMOUT as mosh-server does; 0 if it would not heed it."""
    return int(text) if re.fullmatch("[0-9]{1,12}", text) else 0


def _is_pid(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10
