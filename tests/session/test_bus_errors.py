"""What a user sees when the bus refuses, limits, or is not there: one line, on the side where it is of use."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from tests.lab import ntfy
from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


def unique(tag: str) -> str:
    return f"http://example.com/{tag}?{random.randrange(10**9)}"  # noqa: S311 - no secret


@pytest.fixture(scope="module")
def guarded() -> Iterator[ntfy.NtfyServer]:
    """A server that lets nobody in without credentials."""
    ntfy.require_ntfy()
    with ntfy.running(auth=True) as server:
        yield server


def one_line(output: bytes) -> str:
    text = output.decode().rstrip("\n")
    assert text
    assert "\n" not in text, text
    assert "Traceback" not in text
    return text


def problem_of(laptop: Laptop) -> str:
    """Wait until `nssh status` tells a problem, and return it."""
    wait_until(lambda: [record.problem for record in laptop.sessions()] not in ([], [""]), "a problem is told")
    (status,) = json.loads(laptop.run("status", "--json").stdout)
    assert status["bus"] == "down"
    return str(status["problem"])


@pytest.mark.parametrize(
    ("credentials", "told"),
    [("", "wants credentials"), ('token = "tk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"', "refuses these credentials")],
    ids=["403", "401"],
)
def test_wrong_credentials_are_told_on_both_sides(
    remote: Sshd, guarded: ntfy.NtfyServer, credentials: str, told: str
) -> None:
    laptop = Laptop(remote.client, f'server = "{guarded.url}"\n{credentials}')
    with RemoteShell(laptop, "--new") as shell:
        assert told in problem_of(laptop)
        status, output = shell.run(f"xdg-open '{unique('refused')}'")
        assert status == 4
        assert "token" in one_line(output)
        assert "problem" in laptop.run("status").stdout
        # The session itself knows nothing of it.
        assert shell.run("exit_status=0") == (0, b"")
    laptop.wait_gone()
    assert laptop.tracebacks() == ""


@pytest.mark.parametrize("kind", ["token", "password"])
def test_right_credentials_are_used_by_both_sides(remote: Sshd, guarded: ntfy.NtfyServer, kind: str) -> None:
    credentials = f'token = "{guarded.token}"'
    if kind == "password":
        credentials = f"user = {json.dumps(ntfy.USER)}\npassword = {json.dumps(ntfy.PASSWORD)}"
    laptop = Laptop(remote.client, f'server = "{guarded.url}"\n{credentials}')
    with RemoteShell(laptop, "--new") as shell:
        laptop.wait_up()
        url = unique(kind)
        assert shell.run(f"xdg-open '{url}'")[0] == 0
        laptop.wait_opened(url)
        assert shell.run("printf secret | wl-copy && wl-paste -n") == (0, b"secret")
    laptop.wait_gone()
    for path in (laptop.state / "logs").iterdir():
        assert guarded.token not in path.read_text()
        assert ntfy.PASSWORD not in path.read_text()


def test_a_server_that_limits_is_told_and_waited_for(remote: Sshd) -> None:
    ntfy.require_ntfy()
    with ntfy.running(tight=True) as server:
        laptop = Laptop(remote.client, f'server = "{server.url}"')
        with RemoteShell(laptop, "--new") as shell:
            output, status = b"", 0
            for _ in range(8):
                status, output = shell.run("printf x | xclip -selection clipboard -i")
                if status:
                    break
            assert status == 1
            assert "429" in one_line(output) or "too many" in one_line(output)
            (record,) = laptop.sessions()
            assert record.restarts == 0, "a limit is no crash"
        laptop.wait_gone()
        assert laptop.tracebacks() == ""


def test_too_large_an_image_is_refused_in_one_line(remote: Sshd) -> None:
    """Nothing was set: a stock server takes 15 MB, and nssh itself much more."""
    ntfy.require_ntfy()
    with ntfy.running(file_limit="15M") as server:
        laptop = Laptop(remote.client, f'server = "{server.url}"')
        with RemoteShell(laptop) as shell:
            laptop.wait_up()
            command = "head -c 17000000 /dev/zero > /tmp/big$$; xclip -selection clipboard -t image/png -i /tmp/big$$"
            status, output = shell.run(f"{command}; s=$?; rm -f /tmp/big$$; (exit $s)")
            assert status == 1
            assert "413" in one_line(output) or "large" in one_line(output)
            url = unique("after413")
            assert shell.run(f"xdg-open '{url}'")[0] == 0
            laptop.wait_opened(url)
        laptop.wait_gone()


def test_a_server_that_is_down_at_the_start_is_used_when_it_comes(remote: Sshd) -> None:
    ntfy.require_ntfy()
    with ntfy.running() as server:
        server.stop()
        laptop = Laptop(remote.client, f'server = "{server.url}"')
        with RemoteShell(laptop, "--new") as shell:
            assert "can't be reached" in problem_of(laptop)
            status, output = shell.run(f"xdg-open '{unique('down')}'")
            assert status == 4
            one_line(output)
            server.start()
            laptop.wait_up()
            url = unique("up")
            assert shell.run(f"xdg-open '{url}'")[0] == 0
            laptop.wait_opened(url)
            assert [record.problem for record in laptop.sessions()] == [""]
        laptop.wait_gone()
        downs = [event for event in laptop.events() if event["event"] == "subscribe-down"]
        assert len([event for event in downs if "can't be reached" in event["err"]]) == 1, "once an outage"
