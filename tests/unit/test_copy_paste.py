"""`nssh copy` and `nssh paste` on a machine with full nssh."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.system import require
from tests.lab.x11 import xvfb
from tests.remote.support import Home, Laptop, Ran

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\nrest"


def nssh(home: Path, *words: str, stdin: bytes = b"", display: dict[str, str] | None = None) -> Ran:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), **(display or {})}
    argv = [sys.executable, "-P", "-m", "nssh", *words]
    done = subprocess.run(argv, input=stdin, env=env, capture_output=True, cwd=home, check=False, timeout=60)
    return Ran(done.returncode, done.stdout, done.stderr.decode())


@pytest.mark.real
def test_without_a_laptop_it_is_this_machine_s_own(tmp_path: Path) -> None:
    require("xclip")
    with xvfb() as display:
        (tmp_path / "one").write_bytes(b"from a file")
        assert nssh(tmp_path, "copy", stdin=b"text\r\n", display=display) == Ran(0, b"", "")
        assert nssh(tmp_path, "paste", display=display) == Ran(0, b"text\r\n", "")
        assert nssh(tmp_path, "paste", "--list", display=display).out == b"text/plain\n"
        assert nssh(tmp_path, "paste", "--file", display=display) == Ran(1, b"", "nssh: the clipboard has no image\n")
        assert nssh(tmp_path, "copy", "one", display=display).status == 0
        assert nssh(tmp_path, "paste", "-t", "text", display=display).out == b"from a file"
        assert nssh(tmp_path, "copy", stdin=PNG, display=display).status == 0
        path = Path(os.fsdecode(nssh(tmp_path, "paste", "--file", display=display).out.strip()))
        assert path.read_bytes() == PNG
        assert path.suffix == ".png"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert nssh(tmp_path, "copy", "nowhere", display=display) == Ran(
            1, b"", "nssh: nowhere: No such file or directory\n"
        )


def test_without_any_clipboard_it_says_so(tmp_path: Path) -> None:
    for command in ("copy", "paste"):
        ran = nssh(tmp_path, command)
        assert ran.status == 1
        assert ran.err.startswith("nssh: this machine has no clipboard, and no laptop is connected to it")
        assert ran.err.count("\n") == 1


def test_wrong_usage(tmp_path: Path) -> None:
    for words in (["paste", "file"], ["copy", "--file"], ["paste", "--nonsense"], ["copy", "-t"]):
        ran = nssh(tmp_path, *words)
        assert (ran.status, ran.out) == (2, b"")
        assert f"; see nssh {words[0]} --help\n" in ran.err
    assert b"nssh copy" in nssh(tmp_path, "copy", "--help").out


def test_on_a_remote_it_is_the_laptop_s() -> None:
    with Home() as home:
        home.infect()
        address = home.connect(features=("targets", "types"))
        assert home.run("nssh-remote", "relay", "start").status == 0
        with Laptop(address, {"image/*": PNG, "text/plain": b"laptop"}) as laptop:
            laptop.answers_as = "image/png"
            # Full nssh, the shim of that name, and the one that the laptop calls.
            for ran in (
                nssh(home.path, "paste", "--file"),
                home.run("nssh", "paste", "--file"),
                home.run("nssh-remote", "paste", "--file"),
            ):
                path = Path(os.fsdecode(ran.out.strip()))
                assert path.read_bytes() == PNG
                assert path.parent == home.state / "pasted"
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
            laptop.answers_as = "text/plain"
            assert home.run("nssh-remote", "paste", "-t", "text").out == b"laptop"
            assert home.run("nssh", "copy", stdin=b"to the laptop").status == 0
            assert laptop.wait()[0][1] == b"to the laptop"


def test_an_old_file_is_swept_away_and_others_stay() -> None:
    with Home() as home:
        home.infect()
        address = home.connect(features=("targets", "types"))
        assert home.run("nssh-remote", "relay", "start").status == 0
        kept = home.state / "pasted"
        kept.mkdir(mode=0o700)
        for name, age in (("clip-old.png", 90_000), ("clip-new.png", 10), ("mine.png", 90_000)):
            (kept / name).touch()
            then = (kept / name).stat().st_mtime - age
            os.utime(kept / name, (then, then))
        with Laptop(address, {"image/*": PNG}) as laptop:
            laptop.answers_as = "image/png"
            assert home.run("nssh", "paste", "--file").status == 0
        assert {path.name for path in kept.iterdir()} >= {"clip-new.png", "mine.png"}
        assert not (kept / "clip-old.png").exists()
