"""`nssh sweep` from outside, on real mosh-servers behind a real sshd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sweep.support import listed, start_server, sweep, wait_ended

if TYPE_CHECKING:
    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


def test_a_new_server_is_listed_spared_and_ended_when_that_is_asked_for(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    (one,) = listed(laptop, "devbox")
    assert (one["pid"], one["state"], one["spared"]) == (server.pid, "never connected", "too young")
    assert "spared: too young" in sweep(laptop, "--all", "devbox")
    assert server.runs
    (one,) = listed(laptop, "--all", "--min-age", "0", "devbox")
    assert (one["pid"], one["fate"]) == (server.pid, "ended")
    wait_ended(server)
    assert sweep(laptop, "--all", "devbox") == "no mosh-servers\n"


def test_without_a_terminal_and_a_choice_nothing_is_ended(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    done = laptop.run("sweep", "--min-age", "0", "devbox")
    assert done.returncode == 2
    assert "--all, --older DUR or --detached" in done.stderr
    assert server.runs
    sweep(laptop, "--all", "--min-age", "0", "devbox")
    wait_ended(server)
