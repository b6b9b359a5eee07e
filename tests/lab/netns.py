"""A network of its own for a remote: its loopback is not the laptop's, as in real life. Root only."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shutil
import subprocess
from typing import Self

import psutil
import pytest

from tests.lab import system

_numbers = itertools.count()
_NAME = re.compile(r"nl([0-9]+)x[0-9]+")


class Namespace:
    """A network namespace with a link to this one; a context manager.

    Attributes:
        address: Of the other side, as seen from here.
        prefix: What runs a command in there when put before it.
    """

    def __init__(self) -> None:
        """Choose names; the test is skipped where such a thing can't be made."""
        if os.geteuid() != 0:
            pytest.skip("a network namespace can only be made by root")
        self._ip = system.require("ip")[0]
        self.name = f"nl{os.getpid()}x{next(_numbers)}"
        self.address = ""
        self.prefix = (self._ip, "netns", "exec", self.name)

    def __enter__(self) -> Self:
        self._remove_stale()
        done = subprocess.run([self._ip, "netns", "add", self.name], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no network namespaces can be made here: {done.stderr.strip()}")
        try:
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> None:
        used = self._run("-o", "addr")
        while True:
            net = f"10.213.{random.randrange(256)}.{random.randrange(64) * 4}"  # noqa: S311, a number, no secret
            here, there = (f"{net.rpartition('.')[0]}.{int(net.rpartition('.')[2]) + n}" for n in (1, 2))
            if f" {here}/" not in used:
                break
        far = f"{self.name}r"[-15:]
        self._run("link", "add", self.name, "type", "veth", "peer", "name", far, "netns", self.name)
        self._run("addr", "add", f"{here}/30", "dev", self.name)
        self._run("link", "set", self.name, "up")
        self._run("-n", self.name, "addr", "add", f"{there}/30", "dev", far)
        self._run("-n", self.name, "link", "set", far, "up")
        self._run("-n", self.name, "link", "set", "lo", "up")
        self.address = there

    def _run(self, *words: str) -> str:
        done = subprocess.run([self._ip, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def close(self) -> None:
        """Remove it, and the link with it."""
        self._remove(self.name)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(RuntimeError):  # another test was faster, or it never came to be
            self._run("link", "del", name)
        with contextlib.suppress(RuntimeError):
            self._run("netns", "del", name)

    def _remove_stale(self) -> None:
        """Remove what killed tests left behind."""
        if shutil.which("ip") is None:
            return
        for line in self._run("netns", "list").splitlines():
            match = _NAME.fullmatch(line.partition(" ")[0])
            if match is not None and not psutil.pid_exists(int(match[1])):
                self._remove(match[0])
