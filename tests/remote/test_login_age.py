"""How old a login is: who has just logged in may ask before the laptop can answer."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nssh.remote import login_age
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from typing import IO


def ask(stdin: IO[str], stdout: IO[str]) -> float:
    stdin.write("\n")
    stdin.flush()
    return float(stdout.readline())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a session began")
def test_a_session_is_as_old_as_its_first_process() -> None:
    script = "import sys; from nssh.remote import login_age\nfor _ in sys.stdin: print(login_age.age(), flush=True)"
    # A child in the middle, as a shim is one of a shell that is one of sshd's.
    argv = ["sh", "-c", f'"$0" -c "{script}"; true', sys.executable]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        first = ask(stdin, stdout)
        assert first < login_age.age()
        wait_until(lambda: ask(stdin, stdout) > first + 0.1, "it grows older")
        stdin.close()


def test_where_the_system_does_not_tell_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getsid", lambda _pid: -1)
    assert login_age.age() == float("inf")
