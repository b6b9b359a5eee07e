"""What holds for all tests."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests.lab import ntfy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["tests.no_skips"]

# A shell that starts the tests in the background, or nohup, has its jobs ignore some of these, and every program under
# test would, too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# What the desktop, the shell or the container of whoever runs the tests has set is not the environment of the programs
# under test: a display would be another clipboard, and with PYTHONUNBUFFERED output that fails at exit does not.
_NAMES = {"DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "BROWSER", "NO_COLOR", "TMUX", "STY", "PYTHONUNBUFFERED",
          "PYTHONWARNINGS", "PYTHONDEVMODE", "NSSH_NTFY_BASE", "NSSH_SSH", "NSSH_TIMEOUT", "NSSH_CLIPBOARD_TYPE",
          "NSSH_SHIM_DEPTH"}  # fmt: skip
for _name in [name for name in os.environ if name in _NAMES or name.startswith(("LC_", "SSH_", "XDG_"))]:
    del os.environ[_name]
os.environ["LANG"] = "C.UTF-8"

# A loaded machine is no failure: no property is about time. `make quick` looks at fewer examples. In CI
# they are the same each time, so that no commit is judged by luck; everywhere else they are new ones.
settings.register_profile(
    "nssh",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=10 if os.environ.get("NSSH_TESTS") == "quick" else 100,
)
settings.load_profile("nssh")


@pytest.fixture(scope="module")
def ntfy_server() -> Iterator[ntfy.NtfyServer]:
    """A real ntfy server that wants no credentials."""
    ntfy.require_ntfy()
    with ntfy.running() as server:
        yield server


@pytest.fixture
def continued() -> Iterator[list[int]]:
    """PIDs that are continued at the end, whatever happens."""
    stopped: list[int] = []
    yield stopped
    for pid in stopped:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGCONT)
