"""Whether the system takes keys back is asked of the system itself, and types nothing."""

from __future__ import annotations

import os
import pty
import select
from typing import TYPE_CHECKING

import pytest

from nssh.tui import _unread_keys
from tests.tui.question import end, question

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.real  # these tests start programs


def outcome(work: Callable[[], int], slave: int) -> int:
    """Return the result of a function that runs with this terminal as an ordinary user, whom it does not control."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setsid()
            os.dup2(slave, 0)
            if os.geteuid() == 0:
                os.setuid(65534)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_system_that_takes_no_keys_back_says_so_and_none_is_typed() -> None:
    """Linux refuses it on a terminal that does not control the process, as it does everywhere with legacy_tiocsti=0."""
    master, slave = pty.openpty()
    try:
        assert outcome(lambda: int(_unread_keys.are_taken_back()), slave) == 0
        assert outcome(lambda: int(_unread_keys.give_back(b"x")), slave) == 0
        assert not select.select([slave], [], [], 0)[0]
        os.write(master, b"rm x\n")
        assert select.select([slave], [], [], 10.0)[0]
        assert outcome(lambda: int(_unread_keys.give_back(b"x")), slave) == 0
        assert not select.select([slave], [], [], 0)[0], "nothing of what was typed is left by halves"
    finally:
        os.close(master)
        os.close(slave)


def test_the_probe_types_nothing() -> None:
    with question(left=True) as screen:
        screen.wait("Cancel")
        screen.window.send(b"j")
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "j"', "read: b''"]
