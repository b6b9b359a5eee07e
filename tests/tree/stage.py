"""The real tree of the bridge on a stage: a relay, a remote, a browser that writes down, faults on demand."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import shlex
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.clipboard import Clipboard
from actors.liveness_responder import LivenessResponder
from actors.log_writer import LogWriter
from actors.messages import Arrived, ExpectCallbacks, Flush, Log, NetworkChanged, SessionChanged
from actors.oauth_proxy import OAuthProxy
from actors.publisher import Publisher
from actors.remote_host import RemoteHost
from actors.session_registry import SessionRegistry
from actors.subscriber import Subscriber
from actors.supervision import Backoff, Clock, Event, EventKind
from actors.tree import Tree
from actors.url_opener import UrlOpener
from nssh.base import process
from nssh.bus.client import BusClient
from nssh.bus.deliveries import Delivery
from nssh.config.settings import BrowserConfig, Config
from nssh.launch.session_info import SessionInfo
from nssh.state import session_records
from nssh.wire import envelope as wire
from tests.lab.ports import free_port
from tests.supervision.support import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

    from actors.supervision import BaseActor
    from nssh.ssh.identity import Target


class Part(NamedTuple):
    """An actor of the application, and the kind of message that it is given whenever the session is of use."""

    actor: type[BaseActor]
    message: type[Any]


PARTS = {
    "log_writer": Part(LogWriter, Log),
    "session_registry": Part(SessionRegistry, SessionChanged),
    "remote_host": Part(RemoteHost, NetworkChanged),
    "publisher": Part(Publisher, Flush),
    "liveness_responder": Part(LivenessResponder, Delivery),
    "clipboard": Part(Clipboard, Delivery),
    "oauth_proxy": Part(OAuthProxy, ExpectCallbacks),
    "url_opener": Part(UrlOpener, Delivery),
    "subscriber": Part(Subscriber, Arrived),
}


class InjectedError(Exception):
    pass


def raise_it(kind: type[BaseException]) -> None:
    # A fresh one each time: it holds on to the frames that it passed, and they to the actor.
    raise kind("injected")


class Poke(NamedTuple):
    """Makes its receiver fail."""


class Hang(NamedTuple):
    """Makes its receiver hang, after it has declared `busy` seconds if that is not 0."""

    busy: float = 0.0


class SkippingClock(Clock):
    """Real time, of which any amount can be skipped: what hangs is found without waiting for its deadline."""

    def __init__(self) -> None:
        self._skipped = 0.0
        self._conditions: set[threading.Condition] = set()
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        with self._lock:
            self._conditions.add(condition)
        # Not for long: a skip between the caller's look at the time and this wait would go unnoticed.
        condition.wait(0.5 if timeout is None else min(timeout, 0.5))

    def skip(self, seconds: float) -> None:
        with self._lock:
            self._skipped += seconds
            conditions = list(self._conditions)
        for condition in conditions:
            with condition:
                condition.notify_all()


class Faults:
    """Makes one actor fail, once for each fault that was planned; all others are as they are."""

    def __init__(self, name: str, patch: pytest.MonkeyPatch) -> None:
        self.name = name
        self.release = threading.Event()  # ends every hang
        self.hanging = threading.Event()
        self.struck: list[str] = []
        self._plans: dict[str, Callable[[], object]] = {}
        self._lock = threading.Lock()
        part = PARTS[name]
        for method in ("__init__", "started", "handle", "stopped"):
            patch.setattr(part.actor, method, self._wrap(getattr(part.actor, method), method, part.message))

    def plan(self, where: str, act: Callable[[], object]) -> None:
        """Call `act` there: `started#2` is that method in its second life, `message` the next of the actor's kind.

        `message` is before it is handled, `handled` after.
        """
        with self._lock:
            self._plans[where] = act

    def fail(self) -> None:
        raise InjectedError(f"injected into {self.name}")

    def hang(self) -> None:
        self.hanging.set()
        self.release.wait(4 * PATIENCE)

    def let_time_pass(self, stage: Stage) -> None:
        """Skip time until the actor that hangs was abandoned; nobody else is taken for hanging, too."""
        assert self.hanging.wait(PATIENCE)
        before = stage.count(EventKind.ABANDONED, self.name)

        def patience() -> float:
            """How long the others can still be busy with what they are at, seconds."""
            lives = [child.incarnation for child in stage.tree.supervisor._children.values() if child.id != self.name]
            works = [life.work for life in lives if life is not None]
            now = stage.clock.monotonic()
            return min((work.deadline - now for work in works if work is not None), default=math.inf)

        next_skip = time.monotonic()

        def abandoned() -> bool:
            nonlocal next_skip
            if stage.count(EventKind.ABANDONED, self.name) > before:
                return True
            # Not more than the others can bear, some of whom may wait for the one that hangs. Once is enough if nobody
            # else is busy, unless the supervisor reads its clock only now; a second one must not hit the successor.
            left = patience()
            if left > 30 and time.monotonic() > next_skip:
                stage.clock.skip(400 if left == math.inf else 12)
                next_skip = time.monotonic() + (3.0 if left == math.inf else 0.3)
            return False

        eventually(abandoned, "the hanging actor is abandoned")

    def end(self, stage: Stage) -> None:
        """Let what hangs go on, to its end."""
        self.release.set()
        eventually(lambda: not stage.tree.supervisor._ghosts.existing(), "the abandoned threads end")

    def _strike(self, where: str) -> None:
        with self._lock:
            act = self._plans.pop(where, None)
        if act is not None:
            self.struck.append(where)
            act()

    def _wrap(self, original: Callable[..., Any], method: str, kind: type[Any]) -> Callable[..., Any]:
        # functools.wraps keeps the signature for pykka, which looks at actors' attributes.
        @functools.wraps(original)
        def wrapped(actor: BaseActor, *args: Any, **kwargs: Any) -> object:
            if method == "handle":
                if isinstance(args[0], Poke):
                    raise InjectedError("poked")
                if isinstance(args[0], Hang):
                    if args[0].busy:
                        actor.busy(args[0].busy)
                    self.hang()
                    return None
                if not isinstance(args[0], kind):
                    return original(actor, *args)
                self._strike("message")
                answer = original(actor, *args)
                self._strike("handled")
                return answer
            context = args[0] if method == "__init__" else actor.context
            self._strike(f"{method}#{context.generation}")
            return original(actor, *args, **kwargs)

        return wrapped


class Theatre(NamedTuple):
    """What all tests of a module share."""

    relay: str  # the server, as in config.toml
    far_relay: Path  # the socket of the remote's own relay
    target: Target
    master: str


class Stage:
    """One session's tree in this process, with files of its own.

    Args:
        theatre: The shared parts.
        patch: For the environment.
        directory: Short: control sockets are made below it.
        over_ssh: Reach the remote's own relay through ssh, as by default; otherwise directly, which is faster.
        supervision: For the tree.
    """

    def __init__(
        self,
        theatre: Theatre,
        patch: pytest.MonkeyPatch,
        directory: Path,
        *,
        over_ssh: bool = False,
        **supervision: Any,
    ) -> None:
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", os.fspath(directory))
        for name in ("STATE", "CONFIG", "DATA"):
            patch.setenv(f"XDG_{name}_HOME", os.fspath(directory / name.lower()))
        self.state = directory / "state/nssh"
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.opened_file = directory / "opened"
        browser = directory / "browser"
        browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> {shlex.quote(os.fspath(self.opened_file))}\n')
        browser.chmod(0o755)
        self.topic = f"nssh_{os.urandom(8).hex()}"
        self.session = SessionInfo(
            pid=os.getpid(),
            birth=process.birth(os.getpid()),
            started="2026-01-01T00:00:00Z",
            target=theatre.target,
            key=theatre.target.key,
            server="relay" if over_ssh else theatre.relay,
            topic=self.topic,
            ledger=os.fspath(self.state / "t.ledger"),
            lease=os.fspath(self.state / "t.lease"),
            log=os.fspath(self.state / "log.jsonl"),
            session_file="",
            control_path=theatre.master,
            own_control=False,
            login_first=False,
            transport="ssh",
        )
        self.config = Config(browser=BrowserConfig((os.fspath(browser),)))
        (directory / "config/nssh").mkdir(parents=True, exist_ok=True)
        (directory / "config/nssh/config.toml").write_text(f"[browser]\ncommand = {json.dumps(os.fspath(browser))}\n")
        self.clock = SkippingClock()
        self.callback_port = free_port()
        self.happened: list[Event] = []
        self.supervision = {
            "clock": self.clock,
            "backoff": Backoff(initial=0.001, maximum=0.01),
            "abandonments": 3,
            **supervision,
        }
        self._server = f"unix:{theatre.far_relay}" if over_ssh else theatre.relay
        self._bus: BusClient | None = None
        self.tree: Tree
        self.published: list[str] = []  # URLs
        self._logged = 0  # restarts, by trees before this one

    @contextlib.contextmanager
    def playing(self, *, until_up: bool = True, **options: Any) -> Iterator[Stage]:
        """Run the tree."""
        self.tree = Tree(self.session, self.config, **self.supervision, **options)
        self.happened.clear()
        self._logged = len(self.log("actor-restart"))
        told = self.tree.supervisor._shared.on_event

        def note(event: Event) -> None:
            self.happened.append(event)
            assert told is not None
            told(event)

        self.tree.supervisor._shared.on_event = note
        try:
            self.tree.supervisor.start()
            if until_up:
                eventually(lambda: self.record().bus == "up", "the bus is up")
                eventually(lambda: self.record().route == "control", "the remote is reached")
            yield self
        finally:
            self.tree.supervisor.stop(timeout=5.0)
            self.tree._lease.release()
            if self._bus is not None:
                self._bus.close()

    @property
    def bus(self) -> BusClient:
        """A remote's program's view of the bus."""
        if self._bus is None:
            self._bus = BusClient(self._server)
        return self._bus

    # --- What a remote asks for ---------------------------------------------------------------------------------------

    def publish(self, kind: str, **fields: Any) -> str:
        """Publish an envelope; return the message's id."""
        return self.bus.publish_envelope(self.topic, wire.Envelope(kind, **fields)).id

    def open_url(self, **fields: Any) -> str:
        url = f"http://example.com/{os.urandom(6).hex()}?redirect_uri=http%3A%2F%2F127.0.0.1%3A{self.callback_port}%2F"
        self.published.append(url)
        self.publish(wire.KIND_OPEN, url=url, **{"id": wire.new_id(), **fields})
        return url

    def write(self, text: str, **fields: Any) -> str:
        fields = {"mime": "text/plain", "body": text.encode(), "id": wire.new_id(), **fields}
        return self.publish(wire.KIND_CLIP_WRITE, **fields)

    def ask(self, kind: str, **fields: Any) -> str:
        """Publish something that is answered; return the envelope's id."""
        asked = wire.new_id()
        self.publish(kind, id=asked, **fields)
        return asked

    def answers(self, kind: str, asked: str) -> list[wire.Envelope]:
        """Return the answers on the bus."""
        found = []
        for message in self.bus.poll(self.topic, None):
            with contextlib.suppress(wire.EnvelopeError):
                envelope = wire.decode(message.text)
                if (envelope.kind, envelope.id) == (kind, asked):
                    if message.attachment is not None:
                        envelope.body = self.bus.download(message.id)
                    found.append(envelope)
        return found

    def read(self) -> bytes:
        """Read the clipboard as a shim does: asks again where no answer comes."""
        asked = self.ask(wire.KIND_CLIP_READ_REQUEST, mime="text/plain")
        eventually(lambda: self.answers(wire.KIND_CLIP_READ_RESPONSE, asked), "the read is answered")
        return self.answers(wire.KIND_CLIP_READ_RESPONSE, asked)[0].body

    def has_read(self, expected: str) -> None:
        """See that the clipboard has this, and that it stays so while what was published before is dealt with."""
        assert self.read() == expected.encode()

    def probe(self, question: bytes = b"\n") -> dict[str, Any]:
        """Ask over the control socket whether the session is alive; {} if nobody listens."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PATIENCE)
            try:
                probe.connect(os.fspath(self.state / f"sessions/{os.getpid()}.sock"))
                with contextlib.suppress(BrokenPipeError):  # too long to be read to its end
                    probe.sendall(question)
                answer = probe.makefile("rb").readline()
            except OSError:
                return {}
        return json.loads(answer) if answer else {}

    # --- What came of it ----------------------------------------------------------------------------------------------

    def opened(self) -> list[str]:
        return self.opened_file.read_text().split() if self.opened_file.exists() else []

    def record(self) -> session_records.Record:
        found = session_records.read(session_records.path_of(os.getpid()))
        assert found is not None
        return found

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """What the log has, once that is in it which its writer was told; one that hangs is waited for a second."""
        give_up = time.monotonic() + 1
        eventually(lambda: is_idle(self, "log_writer") or time.monotonic() > give_up)
        path = Path(self.session.log)
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if event in {"", line["event"]}]

    def count(self, kind: EventKind, name: str | None = None) -> int:
        return sum(event.kind is kind and name in {None, event.id} for event in list(self.happened))

    def tell(self, **news: Any) -> None:
        """Tell what the launcher would."""
        self.session = self.session._replace(**news)
        self.tree.tell(self.session)

    def send(self, to: str, message: Any) -> None:
        self.tree.supervisor.directory.send(to, message)

    def serves(self) -> None:
        """See that everything that a session is for is done, each once."""
        text = os.urandom(8).hex()
        url = self.open_url()
        self.write(text)
        ping = self.ask(wire.KIND_PING)
        self.served(url, text, ping)

    def served(self, url: str, text: str, ping: str) -> None:
        """Wait until what was published took effect; `text` is the newest on the clipboard."""
        eventually(lambda: url in self.opened(), "the URL is opened")
        assert self.read() == text.encode()
        eventually(lambda: self.answers(wire.KIND_PONG, ping), "the ping is answered")
        eventually(lambda: self.probe().get("alive"), "the control socket says that it is alive")
        restarts = self.count(EventKind.RESTARTING)
        expected = {
            "role": "leader",
            "bus": "up",
            "route": "control",
            "transport": self.session.transport,
            "bridge": os.getpid(),
            "actor_restarts": restarts,
            "socket": os.fspath(self.state / f"sessions/{os.getpid()}.sock"),
            "problem": "",
        }
        eventually(
            lambda: self._told(expected) == expected,
            lambda: f"{expected}, of which the record tells {self._told(expected)} and {self.happened} happened,",
        )
        assert self.opened() == self.published, "each once, in order"
        eventually(lambda: len(self.log("actor-restart")) == self._logged + restarts, "every restart is in the log")

    def _told(self, names: Iterable[str]) -> dict[str, Any]:
        record = self.record()
        return {name: getattr(record, name) for name in names}


def is_idle(stage: Stage, name: str) -> bool:
    """Whether nothing is left in an actor's hands or mailbox, or it is not up."""
    if not hasattr(stage, "tree"):
        return True
    life = stage.tree.supervisor._children[name].incarnation
    return life is None or life.inbox is None or (life.work is None and life.inbox.empty())


def await_idle(stage: Stage, name: str) -> None:
    """Wait until nothing is left in an actor's hands or mailbox."""
    eventually(lambda: is_idle(stage, name), f"{name} is idle")
