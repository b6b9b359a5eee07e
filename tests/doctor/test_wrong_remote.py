"""One thing wrong on the remote: as in `test_wrong`."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import suppress
from typing import NamedTuple

import pytest

from nssh import __version__
from tests.doctor.support import PATH_LINE, doctor, one_wrong, wait_tidy
from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.proxy import DelayProxy
from tests.lab.sshd import Sshd
from tests.lab.system import require

pytestmark = pytest.mark.real


class Unshared(NamedTuple):
    """A network of its own that is none: only files differ."""

    prefix: tuple[str, ...]
    address: str = "127.0.0.1"


def without_python() -> Unshared:
    """Return a network in which an sshd finds no python3."""
    (unshare,) = require("unshare")
    if os.geteuid() != 0:
        pytest.skip("only root can hide a file")
    found = subprocess.run(["sh", "-c", "ls /usr/bin/python3* /usr/local/bin/python3*"], capture_output=True, text=True,
                           check=False).stdout.split()  # fmt: skip
    hide = "; ".join(f"mount --bind /dev/null {path}" for path in {os.path.realpath(one) for one in found})
    return Unshared((unshare, "-m", "sh", "-c", f'{hide or ":"}; exec "$@"', "sh"))


def test_no_python() -> None:
    network = without_python()
    with Sshd() as healthy:
        laptop = Laptop(healthy.client)
        laptop.infect()
        with Sshd(client=healthy.client, network=network, env={"PATH": "/usr/bin:/bin"}):  # type: ignore[arg-type]
            report = one_wrong(laptop, "python")
    assert "there is no python3" in report.text("python")
    assert "install python3" in report.text("python")
    assert report.steps["mosh"]["state"] == "ok"
    assert report.steps["relay"]["state"] == "skipped"


def test_no_nssh(own: Sshd) -> None:
    laptop = Laptop(own.client)
    laptop.infect("--remove")
    report = one_wrong(laptop, "nssh")
    assert report.steps["nssh"]["text"] == "devbox has none"
    assert report.steps["nssh"]["advice"] == "nssh infect devbox"
    wait_tidy(own)


def test_what_to_do_is_told_with_the_options_that_lead_there(own: Sshd) -> None:
    laptop, host = Laptop(own.client), ("devbox", "-o", "SendEnv=A B")
    laptop.infect("--remove")
    advice = one_wrong(laptop, "nssh", host=host).steps["nssh"]["advice"]
    assert advice == "nssh infect devbox -o 'SendEnv=A B'"
    assert laptop.run(*shlex.split(advice)[1:]).returncode == 0
    assert doctor(laptop, host=host).status == 0


def test_an_old_nssh(own: Sshd) -> None:
    version = own.data / "nssh/version"
    version.write_text(version.read_text().replace(__version__, "0.0.1", 1))
    report = one_wrong(Laptop(own.client), "nssh")
    assert report.steps["nssh"]["text"] == f"devbox has 0.0.1, this is {__version__}"


def test_another_build_is_a_limit(own: Sshd) -> None:
    version = own.data / "nssh/version"
    number, _, python = version.read_text().split()
    version.write_text(f"{number} 000000000000 {python}\n")
    report = doctor(Laptop(own.client))
    assert report.status == 0
    assert "another build" in report.text("nssh")


def test_an_nssh_whose_python_went_away(own: Sshd) -> None:
    command = own.data / "nssh/nssh-remote"
    first, _, rest = command.read_text().partition("\n")
    assert first.startswith("#!")
    command.write_text(f"#!/usr/bin/python3.0 -IS\n{rest}")
    report = one_wrong(Laptop(own.client), "nssh")
    assert "does not run" in report.text("nssh")


def test_a_program_in_the_place_of_a_shim(own: Sshd) -> None:
    own.write_home(".local/bin/xclip", "#!/bin/sh\n").chmod(0o755)
    report = one_wrong(Laptop(own.client), "nssh")
    assert ".local/bin/xclip is not nssh's" in report.text("nssh")
    assert "nssh infect --force devbox" in report.text("nssh")


def test_a_shim_that_was_removed(own: Sshd) -> None:
    (own.home / ".local/bin/wl-copy").unlink()
    report = one_wrong(Laptop(own.client), "nssh")
    assert "wl-copy of nssh's are missing" in report.text("nssh")


def test_a_real_xclip_before_ours_at_a_login(own: Sshd) -> None:
    own.write_home("first/xclip", "#!/bin/sh\n").chmod(0o755)
    own.write_home(".profile", f'{PATH_LINE}PATH="$HOME/first:$PATH"\n')
    report = doctor(Laptop(own.client))
    assert f"finds {own.home}/first/xclip before nssh's xclip" in report.text("path-login")
    assert "add to the end of ~/.profile" in report.text("path-login")
    # A window inherits the login's PATH.
    assert report.steps["path-interactive"]["text"] == "not tried: see path-login"
    assert report.named("failed") == ["path-login"]
    assert report.steps["path-command"]["state"] == "ok"
    assert report.steps["paste"]["state"] == "ok"


def test_a_start_up_file_that_puts_others_before_ours(own: Sshd) -> None:
    own.write_home("first/xdg-open", "#!/bin/sh\n").chmod(0o755)
    own.write_home(".bashrc", f'{PATH_LINE}case $- in *i*) PATH="$HOME/first:$PATH" ;; esac\n')
    report = one_wrong(Laptop(own.client), "path-interactive")
    assert f"bash in a window finds {own.home}/first/xdg-open before nssh's xdg-open" in report.text("path-interactive")
    assert "to the end of ~/.bashrc" in report.text("path-interactive")


def test_another_shell_than_the_login_s_is_a_limit() -> None:
    require("zsh")
    with Sshd(shell="zsh") as remote:  # noqa: S604 - the account's login shell
        laptop = Laptop(remote.client)
        laptop.infect()
        remote.write_home(".zshenv", PATH_LINE)
        report = doctor(laptop)
        assert report.status == 0, report.told()
        assert "bash as a login finds" in report.text("path-login")
        assert "zsh" not in report.text("path-login")
        remote.write_home(".zshenv", "")
        assert "zsh as a login finds" in doctor(laptop).text("path-login")


def test_a_start_up_file_that_hangs_is_given_up(own: Sshd) -> None:
    own.write_home(".profile", f"{PATH_LINE}sleep 1000 <&- >&- 2>&-\n")
    report = doctor(Laptop(own.client))
    assert "bash as a login gave no answer" in report.text("path-login")
    assert report.steps["paste"]["state"] == "ok"
    wait_tidy(own)
    assert not own.runs("1000")


def test_a_link_that_went_dead_under_a_session(own: Sshd) -> None:
    with DelayProxy(own.address, own.port) as link:
        own.client.host("devbox", f"HostName {own.address}", f"Port {link.port}", f"User {own.user}",
                        f"HostKeyAlias {own.known_as}")  # fmt: skip
        laptop = Laptop(own.client)
        with RemoteShell(laptop):
            laptop.wait_up()
            assert doctor(laptop).status == 0
            link.freeze()
            report = doctor(laptop, "--timeout", "2s")
            link.thaw()
        assert report.named("failed")[-1] == "login"
        assert "timed out" in report.text("login")
        laptop.wait_gone()


def test_a_path_of_commands_without_ours_is_a_limit(own: Sshd) -> None:
    own.write_home(".bashrc", f"case $- in *i*) ;; *) return ;; esac\n{PATH_LINE}")
    report = doctor(Laptop(own.client))
    assert report.status == 0
    assert "as the first line of ~/.bashrc" in report.text("path-command")


def test_a_state_directory_there_that_can_not_be_written(own: Sshd) -> None:
    state = own.state / "nssh"
    state.mkdir(parents=True, exist_ok=True)
    own.write_home(".local/state/nssh/x", "")
    state.chmod(0o500)
    report = one_wrong(Laptop(own.client), "remote-state")
    assert "Permission denied" in report.text("remote-state")
    assert "make it writable on devbox" in report.text("remote-state")


def test_a_full_disk_there(own: Sshd) -> None:
    state = own.state / "nssh"
    own.write_home(".local/state/nssh/x", "")
    owner = own.home.stat()
    options = f"size=16k,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "nssh-test", state], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"can't mount a tmpfs here: {mount.stderr!r}")
    try:
        with suppress(OSError), (state / "full").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        report = one_wrong(Laptop(own.client), "remote-state")
        assert "No space left on device" in report.text("remote-state")
        assert "free space" in report.text("remote-state")
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def test_a_clock_that_is_an_hour_ahead(own: Sshd) -> None:
    own.write_home("clock/date", "#!/bin/sh\necho $(($(/bin/date +%s) + 3600))\n").chmod(0o755)
    with Sshd(client=own.client, env={"PATH": f"{own.home}/clock:/usr/bin:/bin"}) as skewed:
        laptop = Laptop(own.client)
        laptop.infect()
        skewed.write_home(".profile", PATH_LINE)
        skewed.write_home(".bashrc", PATH_LINE)
        report = one_wrong(laptop, "clock")
    assert "s ahead of this machine's" in report.text("clock")
    assert "timedatectl" in report.text("clock")
