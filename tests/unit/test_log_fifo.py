"""The FIFOs that ssh logs to: removed with their process at the latest."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nssh.ssh import log_fifo


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))
    return tmp_path


def test_only_its_user_can_open_it() -> None:
    path = Path(log_fifo.make())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_removed_with_its_directory(temporary: Path) -> None:
    log_fifo.remove(log_fifo.make())
    assert list(temporary.iterdir()) == []


def test_that_of_a_process_that_is_gone_is_removed_by_another_one_and_nothing_else(temporary: Path) -> None:
    own = Path(log_fifo.make()).parent
    program = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[1]; from nssh.ssh import log_fifo; print(log_fifo.make())"
    )
    made = subprocess.run([sys.executable, "-c", program, temporary], capture_output=True, text=True, check=True).stdout
    reused = temporary / f"nssh-log-{os.getpid()}-an0ther-one.1-x_y"
    others = ["nssh-log-", "nssh-log-x-1-y", "nssh-log-1", "nssh-other-1-2-3"]
    for name in (reused.name, *others):
        (temporary / name).mkdir()
    link = temporary / "nssh-log-99999999-1-link"
    kept = temporary / "kept"
    kept.mkdir()
    link.symlink_to(kept)
    assert Path(made.strip()).exists()
    log_fifo.remove_abandoned()
    assert {path.name for path in temporary.iterdir()} == {own.name, kept.name, link.name, *others}


def test_a_directory_that_can_t_be_read_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    log_fifo.remove_abandoned()
