from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nssh.ssh import control_path

if TYPE_CHECKING:
    from collections.abc import Iterator

PID = 4194999
"""Above the largest of Linux: nobody's, so that the tests never touch a session's."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short directory of our own, and nothing in the environment that points elsewhere."""
    directory = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(directory / "state"))
    yield directory
    shutil.rmtree(directory)


def test_the_runtime_directory_first_then_the_state_directory(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert control_path.choose(PID) == f"{short}/state/nssh/c{PID}"
    runtime = short / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert control_path.choose(PID) == f"{runtime}/nssh/c{PID}"
    for directory in (runtime / "nssh", short / "state", short / "state" / "nssh"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("runtime", ["", "relative", "/nonexistent/run", "/proc/self"])
def test_a_runtime_directory_that_can_hold_nothing_is_passed_over(
    short: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert control_path.choose(PID) == f"{short}/state/nssh/c{PID}"
    assert not Path("/nonexistent").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's directory")
def test_another_users_runtime_directory_is_not_used_as_after_sudo(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = short / "run"
    runtime.mkdir()
    os.chown(runtime, 12345, 12345)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert control_path.choose(PID) == f"{short}/state/nssh/c{PID}"
    assert list(runtime.iterdir()) == []


def test_every_path_is_short_enough_for_ssh_to_bind(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's word for it, on the path as ssh binds it: with a dot and 16 characters behind it."""
    monkeypatch.setattr(control_path, "_last_resort", lambda: f"{short}/resort")
    in_state = 0
    for length in range(1, 90):
        base = short / ("x" * length)
        monkeypatch.setenv("XDG_STATE_HOME", str(base))
        path = control_path.choose(PID)
        in_state += path.startswith(str(base))
        assert len(os.fsencode(path)) + 17 < 104
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{path}.0123456789abcdef")
        os.unlink(f"{path}.0123456789abcdef")
        assert base.exists() == path.startswith(str(base))
    assert 20 < in_state < 80


def test_bytes_count_and_not_characters(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_path, "_last_resort", lambda: f"{short}/resort")
    monkeypatch.setenv("XDG_STATE_HOME", str(short / ("é" * 30)))
    assert control_path.choose(PID) == f"{short}/resort/c{PID}"


@pytest.mark.parametrize("kind", ["link", "file", "foreign", "foreign link"])
def test_a_last_resort_that_is_not_ours_is_refused(short: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """As another user of the machine could plant it in /tmp, which is everybody's."""
    trap, target = short / "resort", short / "target"
    target.mkdir(mode=0o777)
    monkeypatch.setattr(control_path, "_last_resort", lambda: str(trap))
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/self/nowhere")
    if kind.startswith("foreign") and os.geteuid() != 0:
        pytest.skip("only root can make somebody else's directory")
    if kind == "file":
        trap.write_bytes(b"")
    elif kind == "foreign":
        trap.mkdir(mode=0o777)
        os.chown(trap, 12345, 12345)
    else:
        trap.symlink_to(target)
    if kind == "foreign link":
        os.chown(trap, 12345, 12345, follow_symlinks=False)
    assert control_path.choose(PID) == ""
    assert list(target.iterdir()) == []


def test_the_last_resort_is_private_and_the_users_own(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert control_path._last_resort() == f"/tmp/nssh-{os.geteuid()}"
    resort = short / "resort"
    resort.mkdir(mode=0o755)
    monkeypatch.setattr(control_path, "_last_resort", lambda: str(resort))
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/self/nowhere")
    assert control_path.choose(PID) == f"{resort}/c{PID}"
    assert stat.S_IMODE(resort.stat().st_mode) == 0o700


def test_what_a_dead_session_left_is_removed_and_what_can_not_be_is_avoided(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Path(control_path.choose(PID))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(left))
    assert left.exists()
    assert control_path.choose(PID) == str(left)
    assert not left.exists()
    left.mkdir()
    resort = short / "resort"
    monkeypatch.setattr(control_path, "_last_resort", lambda: str(resort))
    assert control_path.choose(PID) == f"{resort}/c{PID}"


def test_of_a_dead_session_only_its_own_socket_is_touched_and_only_where_nobody_listens(short: Path) -> None:
    left = Path(control_path.choose(PID))
    other = left.with_name(f"c{PID + 1}")
    for path in (left, other):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    control_path.end_abandoned(PID)
    assert (left.exists(), other.exists()) == (False, True)
    control_path.end_abandoned(PID)
    left.write_bytes(b"no socket")
    control_path.end_abandoned(PID)
    assert left.exists()
    left.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(left))
        server.listen()
        kept: list[socket.socket] = []

        def answer() -> None:
            kept.append(server.accept()[0])  # hanging up would mean that nobody is there
            kept[0].send(b"\0\0\0\x08no ssh!!")

        threading.Thread(target=answer, daemon=True).start()
        control_path.end_abandoned(PID)
        kept[0].close()
    assert left.exists(), "what listens is no ssh"
