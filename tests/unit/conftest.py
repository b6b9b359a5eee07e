"""A private home for what keeps its state there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nssh.wire import files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point HOME and the XDG directories below `tmp_path`, for this process and its children; return the state's."""
    home = tmp_path / "home"
    home.mkdir()
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "NSSH_SSH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    directory = home / ".local" / "state" / "nssh"
    assert files.state_dir() == str(directory)
    return directory


@pytest.fixture
def lease_path(tmp_path: Path) -> str:
    """Where a topic's lease may be."""
    return str(tmp_path / "topic.lease")
