"""What `nssh infect` says: which host it speaks of, and nothing that a remote could steer the terminal with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

# Lets the first script of a login through, and answers the installer's with words of its own.
LIAR = r"""#!/bin/sh
answer=$(sh -c "$SSH_ORIGINAL_COMMAND" | tr '\n' '@')
case $answer in
    *" begin@@"*" end 0@") printf '%s' "$answer" | tr '@' '\n' ;;
    *) printf '\033]0;owned\007 \033[2J\342\200\256 lies\n' ;;
esac
"""


def test_a_refusal_names_the_host() -> None:
    with Sshd() as remote:
        remote.write_home(".local/bin/xclip", "a program of the user's\n")
        laptop = Laptop(remote.client)
        done = laptop.run("infect", "devbox")
        assert done.returncode == 1
        assert done.stderr.startswith(f"nssh: devbox: {remote.home}/.local/bin/xclip is a program of yours")
        laptop.wait_gone()


def test_a_state_directory_that_is_none_is_no_failure_of_the_remote_s(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Sshd() as remote:
        laptop = Laptop(remote.client, XDG_STATE_HOME=os.fspath(tmp_path / "file"))
        done = laptop.run("infect", "devbox")
        assert done.returncode == 0
        assert "nssh: devbox: installed nssh" in done.stderr
        assert done.stderr.endswith("/nssh/hosts: Not a directory; the next session asks devbox anew\n")
        laptop.wait_gone()


def test_a_remote_that_lies_steers_no_terminal(tmp_path: Path) -> None:
    liar = tmp_path / "liar"
    liar.write_text(LIAR)
    liar.chmod(0o755)
    with Sshd(options=[f"ForceCommand {os.fspath(liar)}"]) as remote:
        laptop = Laptop(remote.client)
        done = laptop.run("infect", "devbox")
        assert done.returncode == 1
        assert "lies" in done.stderr
        assert done.stderr.removesuffix("\n").isprintable(), done.stderr
        laptop.wait_gone()
