"""Whether a session lives: asked, never guessed. "Alive" is an answer within `DEADLINE` (guarantee G3).

A session is asked over its control socket; it then sends a ping around its bus. A session of the Go program has no
socket and is pinged over its topic. The launcher imports this module before ssh if there is another session, so what
only a question needs is imported by the functions.
"""

from __future__ import annotations

import enum
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from nssh.base import process
from nssh.base.errors import BusError
from nssh.base.printable import printable
from nssh.state import session_records

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from nssh.config.settings import Config
    from nssh.state.session_records import Record

DEADLINE = 1.5
"""Seconds in which a session must have answered."""

# Seconds from a session's first record to a bridge that answers: its login may ask for a password and a second factor.
_STARTING = 120.0
# Seconds between attempts to connect: while a bridge that died is restarted, its socket is missing.
_PAUSE = 0.05
_LIMIT = 4096


class SessionState(enum.StrEnum):
    """The state of a session, by its own answer."""

    ALIVE = "alive"
    STANDBY = "standby"  # alive, but another session holds the lease
    STARTING = "starting"  # its login is under way
    BUS_DOWN = "bus-down"  # it answers, but can't reach its bus
    UNKNOWN = "unknown"  # it was not asked
    WEDGED = "wedged"  # it does not answer, or reports that one of its actors does not


class Liveness(NamedTuple):
    """The answer of a session."""

    state: SessionState
    rtt: float = 0.0
    """The round trip around the bus in seconds, if it is alive."""
    reason: str = ""
    """Why it is wedged or its bus is down; may be empty."""

    @property
    def alive(self) -> bool:
        """Whether it measured a round trip around the bus, or stands by for a session that acts."""
        return self.state in {SessionState.ALIVE, SessionState.STANDBY}

    @property
    def text(self) -> str:
        """The state in words for the user."""
        if self.state is SessionState.ALIVE:
            return f"answers in {self.rtt * 1000:.0f} ms"
        words = {
            SessionState.STANDBY: "stands by",
            SessionState.STARTING: "is starting",
            SessionState.UNKNOWN: "not asked",
            SessionState.BUS_DOWN: "answers, but its bus is down",
            SessionState.WEDGED: "does not answer",
        }[self.state]
        return f"{words}: {self.reason}" if self.reason else words


def probe(record: Record, config: Config | None = None, timeout: float = DEADLINE) -> Liveness:
    """Ask one session whether it lives; blocks for `timeout` seconds at most.

    Args:
        record: The session's record.
        config: The user's configuration, with the credentials of the bus. Without it, or if it names another server,
            a session of the Go program is not asked, and its state is unknown.
        timeout: Seconds.
    """
    deadline = time.monotonic() + timeout
    if process.is_stopped(record.pid):
        return Liveness(SessionState.WEDGED, reason="it is suspended")
    if record.foreign:
        return _over_topic(record, config, timeout) if config is not None else Liveness(SessionState.UNKNOWN)
    if not record.socket:
        age = time.time() - session_records.timestamp(record.started, 0.0)
        if not record.bridge and 0 <= age < _STARTING:
            return Liveness(SessionState.STARTING)
        return Liveness(SessionState.WEDGED, reason="it has no control socket")
    return _over_socket(record.socket, deadline)


def probe_all(found: Sequence[Record], config: Config | None = None, timeout: float = DEADLINE) -> list[Liveness]:
    """Ask several sessions at the same time, each on a thread of its own; return the answers in the same order."""
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
    """Let a session listen for the callbacks in a URL, before the browser opens it; return whether it answered."""
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
    """Ping a session of the Go program over its topic, if it uses the ntfy server of this configuration."""
    from nssh.bus.ping import ping

    # Another server would be told the topic, and might want credentials that are not known.
    if record.server.rstrip("/") != config.server or config.server == "relay":
        return Liveness(SessionState.UNKNOWN, reason=f"this machine's server is {printable(config.server, 100)}")
    try:
        rtt = ping(config, record.topic, timeout)
    except BusError as error:
        return Liveness(SessionState.BUS_DOWN, reason=str(error))
    return Liveness(SessionState.WEDGED) if rtt is None else Liveness(SessionState.ALIVE, rtt)
