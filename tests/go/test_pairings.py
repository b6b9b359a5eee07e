"""Both sides of either program on one ntfy server: pages, clipboard both ways, a hundred reads, ping and pong."""

from __future__ import annotations

import os
import random
import shlex
from typing import TYPE_CHECKING, NamedTuple

import pytest

from nssh.bus.ping import ping
from nssh.config import settings
from tests.go import laptop as go_laptop
from tests.go.shims import TARGETS
from tests.go.support import Desk, GoDesk, GoSession, OwnDesk, wait_ready
from tests.lab.laptop import RemoteShell
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real

IMAGE = b"\x89PNG\r\n\x1a\n" + os.urandom(70_000)
TEXTS = [b"short", "ü <&> \\n \u2028 ends in a newline\n".encode(), b"long " * 100_000]

EDGE = b"x" * 3072
"""The longest text that goes into an envelope; with that, it is longer than an ntfy server takes as a message."""

TRIES = 8
"""For what the Go program misses now and then, as its users repeat a key that did nothing."""


class Pair(NamedTuple):
    """Shims of one program and a laptop of one program."""

    shims: str
    laptop: str
    shell: RemoteShell
    desk: Desk
    files: Path
    """A directory that both sides see."""

    @property
    def go_shims(self) -> bool:
        return self.shims == "go"

    @property
    def go_laptop(self) -> bool:
        return self.laptop == "go"

    def run(self, command: str) -> tuple[int, bytes]:
        return self.shell.run(command)

    def copies(self, data: bytes, option: str = "") -> None:
        """Copy on the remote until the laptop has it: more than once only where the Go program fetches a file."""
        (self.files / "copied").write_bytes(data)
        for _ in range(TRIES):
            lost = len(self.lost())
            assert self.run(f"xclip -selection clipboard -i {option} < {self.files}/copied")[0] == 0
            if self._arrives(data, lost):
                return
        pytest.fail(f"{TRIES} copies never came")

    def _arrives(self, data: bytes, lost: int) -> bool:
        wait_until(lambda: self.desk.clipboard() == data or len(self.lost()) > lost, f"{data[:20]!r} is copied")
        return self.desk.clipboard() == data

    def lost(self) -> list[object]:
        """Return the copies whose file the stand-in asked for too early."""
        return [*self.desk.journal("lost")] if isinstance(self.desk, GoDesk) else []

    def pastes(self, option: str = "") -> bytes:
        """Paste on the remote; more than once only where the Go program's shim misses the answer."""
        for _ in range(TRIES):
            path = shlex.quote(str(self.files / "pasted"))
            status, said = self.run(f"xclip -selection clipboard -o {option} > {path}")
            if status == 0:
                return (self.files / "pasted").read_bytes()
            assert self.go_shims, said
            assert b"timed out" in said or b"fetch attachment: 404" in said
        pytest.fail(f"{TRIES} reads got no answer")


@pytest.fixture(params=["ours", "go"], ids=["our-shims", "go-shims"])
def shims(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["ours", "go"], ids=["our-laptop", "go-laptop"])
def pair(request: pytest.FixtureRequest, shims: str, tmp_path: Path) -> Iterator[Pair]:
    laptop: Laptop = request.getfixturevalue("laptop" if shims == "ours" else "laptop_of_go_remote")
    remote: Sshd = request.getfixturevalue("remote" if shims == "ours" else "go_remote")
    desk: Desk
    if request.param == "go":
        desk = GoDesk(laptop.client.home / "go-desk")
        with GoSession(laptop, desk) as shell:
            shell.wait_did("subscribed")
            yield Pair(shims, "go", shell, desk, tmp_path)
    else:
        desk = OwnDesk(laptop)
        with RemoteShell(laptop) as shell:
            wait_ready(laptop, remote)
            yield Pair(shims, "ours", shell, desk, tmp_path)


def unique(tag: str) -> str:
    return f"https://example.com/{tag}?a={random.randrange(10**9)}&b=c"  # noqa: S311 - no secret


def test_pages_open_once(pair: Pair) -> None:
    urls = [unique(f"page-{number}") for number in range(10)]
    for url in urls:
        assert pair.run(f"xdg-open '{url}'") == (0, b"")
    last = unique("last")
    assert pair.run(f"sensible-browser '{last}'") == (0, b"")
    wait_until(lambda: len(pair.desk.opened()) >= 11, "all are open")
    # The Go program handles each on a thread of its own; and ntfy's live order is not quite that of the bus.
    assert sorted(pair.desk.opened()) == sorted([*urls, last])


def test_text_and_images_pass_both_ways(pair: Pair) -> None:
    for text in TEXTS:
        pair.copies(text)
        pair.desk.copy(text)
        assert pair.pastes() == text
        assert pair.pastes("-t UTF8_STRING") == text
    pair.copies(IMAGE, "-t image/png")
    pair.desk.copy(IMAGE, "image/png")
    assert pair.pastes("-t image/png") == IMAGE


def test_a_text_that_ntfy_takes_for_a_file(pair: Pair) -> None:
    """The Go program's envelopes of such a text become files, which its own other side does not look into."""
    pair.desk.copy(EDGE)
    if pair.go_shims and pair.go_laptop:
        assert pair.run("xclip -selection clipboard -o") == (1, b"nssh: clipboard read timed out\n")
        return
    assert pair.pastes() == EDGE
    pair.copies(EDGE)


def test_a_hundred_reads_in_a_row(pair: Pair) -> None:
    """The Go program's shim misses what falls between replay and live stream, whoever answers, and nothing else."""
    pair.desk.copy(b"again")
    got = [pair.run("xclip -selection clipboard -o") for _ in range(100)]
    answers = [one for one in got if one == (0, b"again")]
    if pair.go_shims:
        assert {one for one in got if one not in answers} <= {(1, b"nssh: clipboard read timed out\n")}
        assert len(answers) >= 50
    else:
        assert len(answers) == 100, got


def test_what_the_clipboard_is_said_to_hold(pair: Pair) -> None:
    """The Go program's list is fixed, whoever makes it; only our two halves know better."""
    pair.desk.copy(b"text")
    status, said = pair.run("xclip -selection clipboard -t TARGETS -o")
    assert status == 0
    if pair.go_shims:
        assert said.decode() == TARGETS
    elif pair.go_laptop:
        assert {b"image/png", b"text/plain"} <= set(said.split())
    else:
        assert b"image/png" not in said.split()
        assert b"text/plain" in said.split()


def test_an_image_that_is_not_there(pair: Pair) -> None:
    """The Go laptop answers with text, which our shim does not pass on; the Go shim prints nothing where ours fails."""
    pair.desk.copy(b"text")
    if pair.go_shims:
        assert pair.pastes("-t image/jpeg") == (b"text" if pair.go_laptop else b"")
    else:
        missing = b"Error: target image/jpeg not available\n"
        assert pair.run("xclip -selection clipboard -o -t image/jpeg") == (1, missing)


def test_html_from_our_laptop(pair: Pair) -> None:
    pair.desk.copy(b"<b>bold</b>")
    if pair.go_laptop and not pair.go_shims:
        assert pair.run("xclip -selection clipboard -o -t text/html")[0] == 1
    else:
        assert pair.pastes("-t text/html") == b"<b>bold</b>"


def test_either_answers_the_others_ping(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    [record] = pair.shell.laptop.sessions()
    monkeypatch.setenv("XDG_CONFIG_HOME", pair.shell.laptop.env["XDG_CONFIG_HOME"])
    rtt = ping(settings.load(), record.topic, 1.5)
    assert rtt is not None
    assert go_laptop.ping(f"{record.server}/{record.topic}")
