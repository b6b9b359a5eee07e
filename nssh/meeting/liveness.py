"""Whether a session lives: asked, never guessed. "Alive" is an answer within `DEADLINE` (guarantee G3).

A session of ours is asked over its control socket and sends a ping around its bus; one of the Go program has no socket
and is pinged over its topic. What asks several does so at once. The launcher imports this before ssh where there is
another session, so what only asking needs is imported by the functions.
"""

from __future__ import annotations

import enum
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from nssh.base import process
from nssh.base.errors import BusError
from nssh.base.printable import printable
from nssh.state import records

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from nssh.config.settings import Config
    from nssh.state.records import Record

DEADLINE = 1.5
"""Seconds for everything."""

# Seconds from a session's first record to a bridge that answers: a login may ask for a password and a second factor.
_STARTING = 120.0
# A bridge that died is started anew at once; its socket is missing meanwhile.
_PAUSE = 0.05
_LIMIT = 4096


class SessionState(enum.StrEnum):
    """How a session is."""

    ALIVE = "alive"
    STANDBY = "standby"  # alive, and not the one that acts
    STARTING = "starting"  # its login is under way
    BUS_DOWN = "bus-down"  # the session itself is well, its bus is not reached
    UNKNOWN = "unknown"  # it was not asked
    WEDGED = "wedged"  # it does not answer, or says that a part of it does not


class Liveness(NamedTuple):
    """What a session said, or that it said nothing."""

    state: SessionState
    rtt: float = 0.0
    """Seconds around the bus."""
    reason: str = ""
    """Why it counts as wedged."""

    @property
    def alive(self) -> bool:
        """Whether it answers: a round trip around the bus, or that it stands by for one that does that."""
        return self.state in {SessionState.ALIVE, SessionState.STANDBY}

    @property
    def text(self) -> str:
        """What to tell the user."""
        if self.state is SessionState.ALIVE:
            return f"answers in {self.rtt * 1000:.0f} ms"
        words = {
            SessionState.STANDBY: "stands by",
            SessionState.STARTING: "is starting",
            SessionState.UNKNOWN: "",
            SessionState.BUS_DOWN: "answers, but its bus is down",
            SessionState.WEDGED: "does not answer",
        }[self.state]
        return f"{words}: {self.reason}" if self.reason else words


def probe(record: Record, config: Config | None = None, timeout: float = DEADLINE) -> Liveness:
    """Ask one session.

    Args:
        record: Its record.
        config: The user's, for the credentials of the bus; without it a session of the Go program is not asked.
        timeout: Seconds in all.
    """
    deadline = time.monotonic() + timeout
    if process.is_stopped(record.pid):
        return Liveness(SessionState.WEDGED, reason="it is suspended")
    if record.foreign:
        return _over_topic(record, config, timeout) if config is not None else Liveness(SessionState.UNKNOWN)
    if not record.socket:
        age = time.time() - records.timestamp(record.started, 0.0)
        if not record.bridge and 0 <= age < _STARTING:
            return Liveness(SessionState.STARTING)
        return Liveness(SessionState.WEDGED, reason="it has no control socket")
    return _over_socket(record.socket, deadline)


def probe_all(found: Sequence[Record], config: Config | None = None, timeout: float = DEADLINE) -> list[Liveness]:
    """Ask several sessions at once, each on a thread of its own; the answers are in their order."""
    import threading

    answers = [Liveness(SessionState.WEDGED)] * len(found)

    def ask(number: int) -> None:
        answers[number] = probe(found[number], config, timeout)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout + 0.5)
    return list(answers)


def _over_socket(path: str, deadline: float) -> Liveness:
    import socket

    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return Liveness(SessionState.WEDGED)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(left)
            try:
                connection.connect(path)
                connection.sendall(b"\n")
                answer = _read_line(connection, deadline)
            except TimeoutError:
                return Liveness(SessionState.WEDGED)
            except OSError:
                answer = b""
        if answer:
            return _understand(answer)
        time.sleep(min(_PAUSE, max(0.0, deadline - time.monotonic())))


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _LIMIT:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        data = connection.recv(_LIMIT)
        if not data:
            break
        line += data
    return line


def _understand(line: bytes) -> Liveness:
    try:
        answer: Any = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        return Liveness(SessionState.WEDGED, reason="its answer is not understood")
    if answer.get("alive") is True:
        rtt = answer.get("rtt")
        known = isinstance(rtt, int | float) and not isinstance(rtt, bool) and 0 <= rtt <= 3600
        state = SessionState.STANDBY if answer.get("standby") is True else SessionState.ALIVE
        return Liveness(state, float(rtt) if known else 0.0)  # type: ignore[arg-type]  # a number, checked above
    stuck = answer.get("stuck")
    if isinstance(stuck, list) and stuck:
        return Liveness(
            SessionState.WEDGED, reason=printable(", ".join(str(one) for one in stuck[:9]), 200) + " is stuck"
        )
    return Liveness(SessionState.BUS_DOWN if answer.get("bus") == "down" else SessionState.WEDGED)


def expect(record: Record, url: str, timeout: float = DEADLINE) -> bool:
    """Have a session listen where a URL will send the browser in the end; return whether it does. Then open it."""
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(record.socket)
            connection.sendall(json.dumps({"expect": url}).encode() + b"\n")
            return bool(connection.recv(_LIMIT))
        except OSError:
            return False


def _over_topic(record: Record, config: Config, timeout: float) -> Liveness:
    """Ping a session of the Go program; its server is an ntfy server, and ours if it is to be joined."""
    from nssh.bus.ping import ping

    if record.server != config.server:
        return Liveness(SessionState.WEDGED, reason=f"it is on another server, {printable(record.server, 100)}")
    try:
        rtt = ping(config, record.topic, timeout)
    except BusError as error:
        return Liveness(SessionState.BUS_DOWN, reason=str(error))
    return Liveness(SessionState.WEDGED) if rtt is None else Liveness(SessionState.ALIVE, rtt)
