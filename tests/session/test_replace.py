"""`--replace` again and again, while programs on the remote open URLs and copy: all once, in order."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
from collections import Counter
from typing import TYPE_CHECKING, Self

import pytest

from nssh.bus.drain import GRACE
from nssh.state import held_urls
from tests.lab.laptop import NSSH, Laptop
from tests.lab.tools import wait_until
from tests.session.support import hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real

# `REPLACES=100 make test ARGS=tests/session/test_replace.py` goes on for longer.
COUNT = int(os.environ.get("REPLACES", "9"))


class Programs:
    """Two programs on the remote, outside of any session, as in a tmux: one opens URLs, one copies."""

    def __init__(self, remote: Sshd) -> None:
        self._bin = remote.home / ".local/bin"
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG"}}
        self._env = {**kept, "HOME": os.fspath(remote.home)}
        self._tag = os.urandom(4).hex()
        self._over = threading.Event()
        self.urls: list[str] = []
        self.copies: list[str] = []
        self.refused: list[str] = []
        self._threads = [threading.Thread(target=one) for one in (self._open, self._copy)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, what: str, accepted: list[str], words: list[str], stdin: str = "") -> None:
        command = [os.fspath(self._bin / words[0]), *words[1:]]
        done = subprocess.run(
            command, env=self._env, input=stdin.encode(), capture_output=True, timeout=60, check=False
        )
        (accepted if done.returncode == 0 else self.refused).append(what)

    def _open(self) -> None:
        for number in itertools.count():
            if self._over.wait(0.7):
                return
            url = f"http://example.com/{self._tag}/{number}"
            self._run(url, self.urls, ["xdg-open", url])

    def _copy(self) -> None:
        for number in itertools.count():
            if self._over.wait(0.4):
                return
            self._run(f"copy {number}", self.copies, ["xclip", "-sel", "c"], f"copy {number}")


@pytest.fixture
def copied(laptop: Laptop) -> Path:
    """The laptop's clipboard, which is a file to which each copy adds a line."""
    path = laptop.client.home / "copied"
    script = laptop.client.home / "copy"
    script.write_text(f"#!/bin/sh\n{{ cat; echo; }} >> '{path}'\n")
    script.chmod(0o755)
    laptop.config.write_text(laptop.config.read_text() + f'\n[clipboard]\ncopy = "{script}"\npaste = "cat {path}"\n')
    path.write_text("")
    return path


def start(laptop: Laptop, *flags: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*NSSH, *flags, "devbox", "exec cat"], env=laptop.env, stdin=pipe, stdout=pipe, stderr=pipe)


def leave(_: subprocess.Popen[bytes]) -> None:
    """The old session goes on; it is the next one that ends it."""


def kill(session: subprocess.Popen[bytes]) -> None:
    session.kill()
    session.wait(10)


@pytest.mark.timeout(60 + 10 * COUNT)
def test_replace_after_replace_loses_and_repeats_nothing(
    laptop: Laptop, remote: Sshd, copied: Path, continued: list[int]
) -> None:
    """One session after another is replaced: alive, suspended, killed, and again."""
    preludes: list[Callable[[subprocess.Popen[bytes]], object]] = [
        leave,
        lambda session: hold(session.pid, continued),
        kill,
    ]
    sessions = [start(laptop)]
    topics = [laptop.wait_up()[0].topic]
    try:
        with Programs(remote) as programs:
            for prelude in itertools.islice(itertools.cycle(preludes), COUNT):
                prelude(sessions[-1])
                sessions.append(start(laptop, "--replace"))
                topics.append(topic_of(laptop, sessions[-1].pid))
        former = laptop.state / "topics"
        wait_until(lambda: not list(former.glob("*.former")), "the former topics are forgotten", GRACE + 30)
        assert len(set(topics)) == COUNT + 1, "each has a topic of its own"
        left = "".join(path.read_text() for path in (laptop.state / "topics").iterdir())
        assert not [topic for topic in topics[:-1] if topic in left]
        held = [one.url for path in (laptop.state / "topics").glob("*.held") for one in held_urls.read(os.fspath(path))]
        opened = Counter([*laptop.opened(), *held])
        ours = Counter({url: opened[url] for url in programs.urls})
        assert set(ours.values()) <= {1}, (Counter(ours.values()), [url for url in ours if ours[url] != 1])
        assert not [url for url in programs.refused if opened[url] > 1]
        wait_until(lambda: copied.read_text().split("\n")[-2:-1] == programs.copies[-1:], "the last copy is there")
        applied = [line for line in copied.read_text().split("\n") if line]
        numbers = [int(line.split()[1]) for line in applied]
        # A bridge that is killed right behind a write can't say that it was applied: it is applied once more, at once.
        assert numbers == sorted(numbers), "none is late"
        repeated = len(numbers) - len(set(numbers))
        assert repeated <= 1 + COUNT // 100
        counts = f"{len(programs.urls)} URLs, {len(programs.copies)} copies, {len(applied)} applied"
        print(f"{COUNT} replaces: {counts}, {repeated} once more, {len(programs.refused)} refused")
    finally:
        for session in sessions:
            if session.poll() is None:
                session.send_signal(signal.SIGCONT)
            session.communicate(b"", 60)


def topic_of(laptop: Laptop, pid: int) -> str:
    """Wait until a session leads, its bus is up, and its remote is ready; return its topic."""
    found: list[str] = []

    def leads() -> bool:
        ours = [one for one in laptop.sessions() if one.pid == pid and one.role == "leader" and one.bus == "up"]
        found.extend(one.topic for one in ours)
        return bool(ours)

    wait_until(leads, f"the session of pid {pid} leads", 30)
    return found[0]
