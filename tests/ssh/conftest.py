from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from nssh.ssh.batch_connection import BatchConnection
from nssh.ssh.control_connection import ControlConnection
from nssh.ssh.identity import Target, resolve
from nssh.ssh.paramiko_connection import ParamikoConnection
from tests.lab.sshd import Sshd, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nssh.ssh.connection import Connection

WAYS = ("control", "paramiko", "batch")


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture(scope="module")
def remote() -> Iterator[Sshd]:
    with Sshd() as sshd:
        yield sshd


def target_of(sshd: Sshd, alias: str | None = None, *options: str) -> Target:
    return resolve(sshd.client.ssh, alias or sshd.alias, options)


@contextlib.contextmanager
def connected(way: str, sshd: Sshd, alias: str | None = None) -> Iterator[Connection]:
    """Connect by one way; closes, and sees that nothing is left behind."""
    target = target_of(sshd, alias)
    with contextlib.ExitStack() as stack:
        if way == "control":
            master = stack.enter_context(sshd.client.master(target.destination))
        with nothing_left():
            connection: Connection
            if way == "control":
                connection = ControlConnection(target, os.fspath(master))
            elif way == "paramiko":
                connection = ParamikoConnection(target)
            else:
                connection = BatchConnection(target)
            try:
                yield connection
            finally:
                connection.close()


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """See that descriptors, threads and children are the same as before."""
    before = _held()
    yield
    wait_until(lambda: _held() <= before, f"nothing is left: {_held() - before}", 10)


def _held() -> set[object]:
    held: set[object] = {("thread", thread.name) for thread in threading.enumerate()}
    held |= {("child", child.pid) for child in psutil.Process().children()}
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            held.add(("file", link.name, os.fspath(link.readlink())))
    return held


def read_exactly(recv: Callable[[int], bytes], size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = recv(65536)
        if not part:
            break
        data += part
    return bytes(data)
