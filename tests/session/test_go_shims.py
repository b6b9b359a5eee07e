"""A host with the Go program's shims: no offer to install, and one line where they can't reach the bus."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from nssh import __version__
from tests.lab.go_program import ON_THE_WIRE, VERSION, GoProgram
from tests.lab.laptop import NSSH, Laptop, RemoteShell
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.session.support import ANY_PROMPT, own_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab import ntfy

pytestmark = pytest.mark.real

FLOWS = pytest.mark.parametrize("mode", [[], ["--ssh"], ["--mosh"]], ids=["default", "ssh", "mosh"])

ON_RELAY = (
    "devbox has Go's nssh, which can't use the relay: run nssh infect --force devbox, or set server = \"https://…\""
)


@pytest.fixture
def remote() -> Iterator[Sshd]:
    """A remote on which the Go program is installed, and nothing of ours."""
    with Sshd() as remote:
        yield remote


@pytest.fixture
def go(remote: Sshd) -> GoProgram:
    return GoProgram(remote.home)


@pytest.fixture
def make(remote: Sshd, go: GoProgram) -> Iterator[Callable[[str], Laptop]]:
    """Make laptops that have never seen the remote, by their configuration."""
    laptops: list[Laptop] = []

    def laptop(config: str = "") -> Laptop:
        laptops.append(Laptop(remote.client, config))
        return laptops[-1]

    yield laptop
    for one in laptops:
        one.wait_gone()
        assert one.tracebacks() == ""
        assert one.sessions() == []
    assert go.calls == [], "nobody has started the Go program"


def session(laptop: Laptop, mode: list[str], *, up: bool) -> list[str]:
    """Run a session on a terminal; return the lines of nssh's own."""
    with Terminal([*NSSH, *mode, "devbox"], laptop.env) as window:
        window.expect(ANY_PROMPT)
        if up:
            wait_until(lambda: [one for one in laptop.sessions() if one.bus == "up" and one.route], "it is up")
        else:
            wait_until(lambda: [one for one in laptop.sessions() if one.problem], "it has a problem")
        window.send(b"exit 0\r")
        assert window.wait() == 0
        assert b"[Y/n]" not in window.output
        return own_lines(window.output)


@FLOWS
def test_on_the_relay_one_line_says_what_to_do(make: Callable[..., Laptop], mode: list[str]) -> None:
    laptop = make()
    for _ in range(2):
        assert session(laptop, mode, up=False) == [ON_RELAY]
        laptop.wait_gone()


@FLOWS
def test_over_ntfy_there_is_nothing_to_say(
    make: Callable[..., Laptop], mode: list[str], ntfy_server: ntfy.NtfyServer
) -> None:
    laptop = make(f'server = "{ntfy_server.url}"')
    for _ in range(2):
        assert session(laptop, mode, up=True) == []
        laptop.wait_gone()


def test_over_ntfy_its_shims_work_in_our_session(remote: Sshd, ntfy_server: ntfy.NtfyServer) -> None:
    go = GoProgram(remote.home, does=ON_THE_WIRE)
    laptop = Laptop(remote.client, f'server = "{ntfy_server.url}"')
    for number in range(2):
        with RemoteShell(laptop) as shell:
            wait_until(lambda: [one for one in laptop.sessions() if one.bus == "up" and one.route], "it is up")
            url = f"https://example.com/{number}"
            assert shell.run(f"~/.local/bin/xdg-open {url}") == (0, b"")
            laptop.wait_opened(url)
        laptop.wait_gone()
    assert [call.split()[0] for call in go.calls] == ["xdg-open", "xdg-open"]
    assert laptop.tracebacks() == ""


def test_over_ntfy_with_a_token_its_shims_can_not_log_in(make: Callable[..., Laptop]) -> None:
    laptop = make('server = "http://127.0.0.1:9"\ntoken = "tk_abcdefghijklmnopqrstuvwxyz012"')
    lines = session(laptop, ["--ssh"], up=False)
    assert lines == ["devbox has Go's nssh, which can't log in to an ntfy server: run nssh infect --force devbox"]


@pytest.mark.parametrize("bus", ["relay", "ntfy"])
def test_a_script_is_told_nothing(make: Callable[..., Laptop], bus: str, ntfy_server: ntfy.NtfyServer) -> None:
    laptop = make(f'server = "{ntfy_server.url}"' if bus == "ntfy" else "")
    for _ in range(2):
        done = subprocess.run([*NSSH, "devbox", "echo hello"], env=laptop.env, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
        laptop.wait_gone()


def test_it_is_replaced_and_brought_back(make: Callable[..., Laptop], go: GoProgram, remote: Sshd) -> None:
    laptop = make()
    refused = laptop.run("infect", "devbox")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"nssh: devbox: {remote.home}/.local/bin/xclip is Go's nssh {VERSION}, which works over an ntfy server only; "
        "use --force to have it replaced, and kept\n"
    )
    assert session(laptop, ["--ssh"], up=False) == [ON_RELAY]
    laptop.infect("--force")
    assert session(laptop, ["--ssh"], up=True) == []
    laptop.infect("--remove")
    assert all(link.readlink() == go.path for link in go.links)
    assert session(laptop, ["--ssh"], up=False) == [ON_RELAY]
    assert go.calls == ["nssh --version"]
    go.forget_calls()


def test_its_shims_over_ours_are_noticed(make: Callable[..., Laptop], go: GoProgram) -> None:
    """A laptop with the Go program has installed it over ours, which our own files do not show."""
    laptop = make()
    laptop.infect("--force")
    assert session(laptop, ["--ssh"], up=True) == []
    go.install()
    (record,) = (laptop.state / "hosts").glob("*")
    assert json.loads(record.read_text())["version"].startswith(__version__)
    assert session(laptop, ["--ssh"], up=False) == [ON_RELAY]
    assert json.loads(record.read_text())["go_shims"] is True
