"""Running `nssh doctor`, reading what it says, and looking for what it left."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

PATH_LINE = 'export PATH="$HOME/.local/bin:$PATH"\n'

LIMITED = {"clipboard"}
"""Steps that can't be all well on a laptop without a display."""


class Report:
    """What one run said."""

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        self.status = status
        self.content = content
        self.steps = {step["name"]: step for step in content["steps"]}

    def named(self, state: str) -> list[str]:
        """Return the names of the steps that ended so, in their order."""
        return [name for name, step in self.steps.items() if step["state"] == state]

    @property
    def limited(self) -> set[str]:
        """The steps that say of a limit, less what is no fault of the host's."""
        # Who works on nssh may have changed it since it was put on the remote.
        newer = {name for name, step in self.steps.items() if "is another build" in step["text"]}
        return set(self.named("warning")) - LIMITED - newer

    def told(self) -> str:
        """Return what went wrong, for a test that fails."""
        return "\n".join(f"{name}: {self.text(name)}" for name in [*self.named("failed"), *self.limited])

    def text(self, name: str) -> str:
        """Return what a step says, advice included."""
        return f"{self.steps[name]['text']} → {self.steps[name]['advice']}"


def doctor(laptop: Laptop, *arguments: str, host: tuple[str, ...] = ("devbox",)) -> Report:
    """Run it, without a terminal."""
    done = laptop.run("doctor", "--json", *arguments, *host, timeout=100)
    assert done.returncode in (0, 1), done
    assert done.stderr == "", done.stderr
    report = Report(done.returncode, json.loads(done.stdout))
    assert report.content["ok"] is (report.status == 0) is (not report.named("failed"))
    return report


def one_wrong(laptop: Laptop, name: str, *arguments: str, host: tuple[str, ...] = ("devbox",)) -> Report:
    """Run it where one thing is wrong: that is said, and nothing else but what could not be tried for it."""
    report = doctor(laptop, *arguments, host=host)
    assert (report.named("failed"), report.status) == ([name], 1), report.told()
    assert report.limited == set(), report.told()
    for skipped in report.named("skipped"):
        assert report.steps[skipped]["text"] == f"not tried: see {name}"
    return report


def tree(*directories: Path) -> dict[str, tuple[int, int, str]]:
    """Return every file and directory there is, with its mode, its time of change and a checksum."""
    found = {}
    for directory in directories:
        for path in [directory, *sorted(directory.rglob("*"))]:
            info = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            # A directory's time changes as something comes and goes in it.
            found[os.fspath(path)] = (info.st_mode, info.st_mtime_ns if path.is_file() else 0, content)
    return found


def wait_tidy(remote: Sshd) -> None:
    """Wait until nothing of the doctor's runs or lies on the remote."""
    wait_until(lambda: not remote.runs("doctor-"), "its relay is gone")
    wait_until(lambda: not directories(remote.home), "its directory is gone")


def directories(home: Path) -> list[str]:
    """Return the doctor's directories; one may go while it is looked into, which os.walk does not mind."""
    return [name for _, names, _ in os.walk(home) for name in names if name.startswith("doctor-")]
