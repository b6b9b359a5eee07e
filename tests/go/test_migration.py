"""From the Go program to this one, a machine at a time, and back; after each step all works."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.go.support import GoDesk, GoSession, OwnDesk, install_on_remote, opens, wait_ready
from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.sshd import Sshd
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from tests.go.support import Desk
    from tests.lab import ntfy

pytestmark = pytest.mark.real


def serves(shell: RemoteShell, desk: Desk) -> None:
    """Check that a page opens and that the clipboard passes both ways."""
    url = opens(shell, "page")
    wait_until(lambda: url in desk.opened(), "it is open")
    text = os.urandom(8).hex().encode()
    assert shell.run(f"printf {text.decode()} | xclip -selection clipboard -i") == (0, b"")
    wait_until(lambda: desk.clipboard() == text, "it is copied")
    # The Go program's shim misses an answer now and then.
    for _ in range(8):
        status, said = shell.run("xclip -selection clipboard -o")
        if status == 0:
            break
    assert said == text


def test_one_machine_after_the_other_and_back(ntfy_server: ntfy.NtfyServer) -> None:
    with Sshd() as remote:
        program = install_on_remote(remote.home)
        before = {
            path.name: path.readlink() if path.is_symlink() else path.read_bytes() for path in program.bin.iterdir()
        }
        laptop = Laptop(remote.client, f'server = "{ntfy_server.url}"')
        go_desk, own_desk = GoDesk(laptop.client.home / "go-desk"), OwnDesk(laptop)
        with GoSession(laptop, go_desk) as go:
            go.wait_did("subscribed")
            serves(go, go_desk)
        # The laptop first: the remote is left as it is.
        with RemoteShell(laptop) as ours:
            wait_ready(laptop, remote)
            serves(ours, own_desk)
        refused = laptop.run("infect", "devbox")
        assert refused.returncode != 0
        assert "--force" in refused.stderr
        # Then the remote.
        laptop.infect("--force")
        with RemoteShell(laptop) as ours:
            wait_ready(laptop, remote)
            serves(ours, own_desk)
            # What only our two halves know: a list of what is really there.
            status, said = ours.run("xclip -selection clipboard -t TARGETS -o")
            assert (status, b"image/png" in said) == (0, False)
        # A laptop that still has the Go program goes on working with it.
        with GoSession(laptop, go_desk) as go:
            go.wait_did("subscribed")
            serves(go, go_desk)
        # Now nobody needs the ntfy server any more.
        config = laptop.config.read_text()
        laptop.config.write_text(
            "".join(line for line in config.splitlines(keepends=True) if not line.startswith("server"))
        )
        with RemoteShell(laptop) as ours:
            wait_ready(laptop, remote)
            serves(ours, own_desk)
        # And back.
        laptop.config.write_text(config)
        assert laptop.run("infect", "--remove", "devbox").returncode == 0
        after = {
            path.name: path.readlink() if path.is_symlink() else path.read_bytes() for path in program.bin.iterdir()
        }
        assert after == before
        with GoSession(laptop, go_desk) as go:
            go.wait_did("subscribed")
            serves(go, go_desk)
        laptop.wait_gone()
        assert laptop.tracebacks() == ""
