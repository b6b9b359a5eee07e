"""The laptop's state directory is full or read-only, from the start or all of a sudden: the session goes on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import NSSH, Laptop, RemoteShell
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.session.support import ANY_PROMPT, own_lines, settle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

HOW = pytest.mark.parametrize("how", ["full", "read-only"])


@pytest.fixture(scope="module")
def remote() -> Iterator[Sshd]:
    with Sshd() as remote:
        Laptop(remote.client).infect()
        yield remote


@pytest.fixture
def own_laptop(remote: Sshd) -> Iterator[Laptop]:
    """A laptop whose state directory is a small file system of its own, and that has had a session before."""
    laptop = Laptop(remote.client)
    laptop.opened_file.unlink(missing_ok=True)
    laptop.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    mount(laptop.state, "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs")
    try:
        assert laptop.run("devbox", "true").returncode == 0
        laptop.wait_gone()
        yield laptop
    finally:
        while os.path.ismount(laptop.state):
            subprocess.run(["umount", "-l", laptop.state], check=True)
    laptop.wait_gone()


def mount(path: Path, *words: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    mounted = subprocess.run(["mount", *words, path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no mount here: {mounted.stderr.decode().strip()}")


def spoil(laptop: Laptop, how: str) -> None:
    """Let nothing more be written to the state directory; what is open for writing stays so."""
    if how == "read-only":
        mount(laptop.state, "--bind", os.fspath(laptop.state))
        mount(laptop.state, "-o", "remount,bind,ro")
        return
    with contextlib.suppress(OSError), (laptop.state / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 1024):
            pass


def mend(laptop: Laptop, how: str) -> None:
    if how == "read-only":
        subprocess.run(["umount", "-l", laptop.state], check=True)
    else:
        (laptop.state / "filler").unlink()


@HOW
@pytest.mark.parametrize("mode", ["--ssh", "--mosh"])
def test_all_of_a_sudden_while_a_session_runs(own_laptop: Laptop, how: str, mode: str) -> None:
    """All goes on, the terminal included; and when there is room again, what was done meanwhile is on record."""
    tag = f"http://example.com/{random.randrange(10**9)}"  # noqa: S311  (no secret)
    with Terminal([*NSSH, mode, "devbox"], own_laptop.env) as window:
        settle(window)
        own_laptop.wait_up()
        window.send(f"~/.local/bin/xdg-open {tag}/before; echo do''ne0\r".encode())
        window.expect(b"done0")
        own_laptop.wait_opened(f"{tag}/before")
        spoil(own_laptop, how)
        shown = len(window.output)
        for number in range(3):
            window.send(f"~/.local/bin/xdg-open {tag}/{number}; echo do''ne{number + 1}\r".encode())
            window.expect(f"done{number + 1}".encode())
            own_laptop.wait_opened(f"{tag}/{number}")
        window.send(b"printf te''xt | ~/.local/bin/xclip -i -selection clipboard; echo do''ne4\r")
        window.expect(b"done4")
        window.send(b"~/.local/bin/xclip -o -selection clipboard; echo -do''ne5\r")
        window.expect(b"text-done5")
        done = own_laptop.run("status", "--json")
        assert (done.returncode, [one["state"] for one in json.loads(done.stdout)]) == (0, ["alive"])
        assert own_lines(window.output[shown:]) == []
        mend(own_laptop, how)
        window.send(f"~/.local/bin/xdg-open {tag}/after; echo do''ne6\r".encode())
        window.expect(b"done6")
        own_laptop.wait_opened(f"{tag}/after")
        window.send(b"exit 5\r")
        assert window.wait() == (5 if mode == "--ssh" else 0)
        assert own_lines(window.output[shown:]) == []
    own_laptop.wait_gone()
    assert own_laptop.tracebacks() == ""
    if how == "read-only":  # a full disk has room at the end of a file's last page
        assert "log-lost" in {event["event"] for event in own_laptop.events()}, "what could not be logged is counted"
    # The next session repeats nothing.
    with RemoteShell(own_laptop) as shell:
        own_laptop.wait_up()
        assert shell.run(f"xdg-open {tag}/next") == (0, b"")
        own_laptop.wait_opened(f"{tag}/next")
    names = ["before", "0", "1", "2", "after", "next"]
    assert [url for url in own_laptop.opened() if url.startswith(tag)] == [f"{tag}/{name}" for name in names]


@HOW
@pytest.mark.parametrize("mode", ["--ssh", "--mosh"])
def test_from_the_start(own_laptop: Laptop, how: str, mode: str) -> None:
    """The session is what it would be without nssh, and one line says what will not work, or it all does."""
    spoil(own_laptop, how)
    with Terminal([*NSSH, mode, "devbox"], own_laptop.env) as window:
        window.expect(ANY_PROMPT)
        window.send(b"printf 'al%s' ive\r")
        window.expect(b"alive")
        window.send(b"\rexit 5\r")
        assert window.wait() == (5 if mode == "--ssh" else 0)
        assert window.attributes() == window.initial
        lines = own_lines(window.output)
        assert b"Traceback" not in window.output
    assert len(lines) <= 1
    own_laptop.wait_gone()
    for words in (["status"], ["status", "--json"], ["status", "--held"]):
        assert own_laptop.run(*words).returncode == 0
