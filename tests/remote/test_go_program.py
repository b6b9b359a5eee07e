"""A host with the Go program's shims: they are recognised, refused, replaced, and brought back as they were."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import RemoteError
from nssh.install import deploy
from nssh.remote import go_program, stub
from tests.lab.go_program import NAMES, VERSION, GoProgram

if TYPE_CHECKING:
    from pathlib import Path

    from tests.remote.support import Home

pytestmark = pytest.mark.real


@pytest.fixture
def home(bare: Home) -> Home:
    return bare


def listing(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return what is in a directory: kind, mode, owner, time of change, and content or target."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(directory.iterdir()):
        info = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes()
        found[path.name] = (stat.filemode(info.st_mode), info.st_uid, info.st_mtime_ns, content)
    return found


def is_replaced(home: Home) -> bool:
    return all(stub.is_ours(str(home.bin / name)) for name in (*stub.PERSONAS, stub.OWN)) and not any(
        (home.bin / name).is_symlink() for name in NAMES
    )


def test_it_is_recognised_by_what_it_is(tmp_path: Path) -> None:
    go = GoProgram(tmp_path)
    assert go_program.is_binary(str(go.path))
    assert all(go_program.is_shim(str(link)) for link in go.links)
    assert not go_program.is_shim(str(go.path))
    assert go.calls == [], "nothing was started"
    assert go_program.version(str(go.links[0])) == VERSION
    assert go.calls == ["nssh --version"]


def test_what_only_looks_like_it_is_neither_recognised_nor_started(tmp_path: Path) -> None:
    go = GoProgram(tmp_path / "go")
    started = tmp_path / "started"
    script = f"#!/bin/sh\n# \nmod\tgithub.com/abizer/nssh/v2\t(devel)\t\ntouch {started}\necho nssh v2.5.1\n".encode()
    others = {
        "script": script,
        "other-elf": go.path.read_bytes().replace(b"abizer", b"somebody"),
        "user-of-it": go.path.read_bytes().replace(b"\nmod\t", b"\ndep\t"),
        "empty": b"",
    }
    for name, content in others.items():
        path = tmp_path / name / "nssh"
        path.parent.mkdir()
        path.write_bytes(content)
        path.chmod(0o755)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "directory").mkdir()
    for path in [*(tmp_path / name / "nssh" for name in others), *(tmp_path / name for name in ("pipe", "loop"))]:
        link = tmp_path / "xclip"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        assert not go_program.is_shim(str(link)), path
        assert go_program.version(str(link)) == ""
    assert not go_program.is_binary(str(tmp_path / "directory"))
    assert not started.exists()
    assert go.calls == []


@pytest.mark.parametrize(
    "does",
    [
        "sleep 600 & sleep 600",
        "yes nssh v1",
        "echo",
        "printf 'nssh \\033[2J\\n'",
        "echo nssh v1 and more",
        "kill -9 $$",
    ],
)
def test_a_binary_that_tells_no_version_has_none(does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_program, "_PATIENCE", 0.5)
    monkeypatch.setattr("tests.lab.go_program._ANSWER", "")
    known = go_program.version(str(GoProgram(tmp_path, does=does).path))
    assert known in ({"v1"} if does.startswith("yes") else {""})


def test_a_refusal_names_it_and_the_remedy_and_nothing_is_changed(home: Home) -> None:
    go = GoProgram(home.path)
    before = listing(home.bin)
    text = home.refusal()
    assert f"{home.bin}/xclip is Go's nssh {VERSION}" in text
    assert "use --force to have it replaced" in text
    assert listing(home.bin) == before
    assert not home.data.exists()
    assert go.calls == ["nssh --version"]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in-local-bin", "elsewhere"])
def test_all_of_it_is_replaced_and_comes_back_exactly_as_it_was(home: Home, *, elsewhere: bool) -> None:
    go = GoProgram(home.path, home.path / "go/bin" if elsewhere else None)
    go.path.chmod(0o751)
    os.utime(go.path, (1, 2))
    before, binary = listing(home.bin), listing(go.path.parent)
    assert home.infect(force=True).changed is True
    assert is_replaced(home)
    assert home.infect().changed is False, "what is ours needs no force"
    assert home.infect(force=True).changed is False
    for changed in (True, False):
        assert deploy.remove(home.connection).changed is changed
        assert listing(home.bin) == before
        assert listing(go.path.parent) == binary
    assert not home.data.exists()
    home.infect(force=True)
    assert is_replaced(home), "and again"
    deploy.remove(home.connection)
    assert listing(home.bin) == before


@pytest.mark.parametrize(
    ("server", "token", "stays"),
    [("https://ntfy.sh", "", True), ("https://ntfy.sh", "tk_x", False), ("relay", "", False)],
)
def test_a_session_that_its_shims_can_use_stays(home: Home, server: str, token: str, *, stays: bool) -> None:
    GoProgram(home.path)
    for force in (False, True):
        home.connect(server, token=token)
        session = home.state / "session"
        before = session.read_bytes()
        if force:
            home.infect(force=True)
        deploy.remove(home.connection)
        assert session.exists() is stays
        assert not stays or session.read_bytes() == before


def test_removing_ours_where_only_the_go_program_is_changes_nothing(home: Home) -> None:
    GoProgram(home.path)
    before = listing(home.bin)
    assert deploy.remove(home.connection).changed is False
    assert listing(home.bin) == before


def test_a_go_program_without_its_links_is_left_alone(home: Home) -> None:
    """It is used here as on a laptop."""
    go = GoProgram(home.path)
    for link in go.links:
        link.unlink()
    before = listing(home.bin)
    home.infect()
    home.infect(force=True)
    assert {name: value for name, value in listing(home.bin).items() if name == "nssh"} == before
    deploy.remove(home.connection)
    assert listing(home.bin) == before


def test_another_program_called_nssh_that_has_links_is_not_taken_for_it(home: Home) -> None:
    """As pipx installs this project's own command on a laptop."""
    own = home.real_tool("nssh", "echo mine")
    home.bin.mkdir(parents=True)
    (home.bin / "nssh").symlink_to(own)
    (home.bin / "xclip").symlink_to(own)
    before = listing(home.bin)
    assert "is a link of yours" in home.refusal()
    home.infect(force=True)
    assert home.run("nssh").out == b"mine\n"
    deploy.remove(home.connection)
    assert listing(home.bin) == before


def test_an_upgrade_of_ours_in_between_changes_nothing_of_what_comes_back(home: Home) -> None:
    GoProgram(home.path)
    before = listing(home.bin)
    home.infect(force=True)
    version = home.data / "version"
    version.write_text("0.0.1 aaaaaaaaaaaa /usr/bin/python3\n")
    (home.bin / "xclip").write_bytes(b"#!/bin/sh\n" + stub.MARKER + b"\n")  # as an older version wrote it
    assert home.infect().changed is True
    assert is_replaced(home)
    deploy.remove(home.connection)
    assert listing(home.bin) == before


def test_its_own_upgrade_in_between_is_what_comes_back(home: Home) -> None:
    """A laptop with the Go program installs it anew over our shims, through the file that is called nssh."""
    GoProgram(home.path)
    home.infect(force=True)
    newer = GoProgram(home.path, does="exit 5")
    before = listing(home.bin)
    assert "is Go's nssh" in home.refusal()
    home.infect(force=True)
    assert is_replaced(home)
    deploy.remove(home.connection)
    assert listing(home.bin) == {name: before[name] for name in ("nssh", *NAMES)}
    home.infect(force=True)
    newer.install()
    left = listing(home.bin)
    deploy.remove(home.connection)
    after = listing(home.bin)
    assert after == {name: left[name] for name in ("nssh", *NAMES)}, "what is there now stays; the older ones go"


CRASH = """
    import os, sys
    from nssh.remote import install, path_check
    path_check.warnings = lambda directory: []
    left = int(sys.argv[1])
    def counted(call):
        def wrapper(*args, **options):
            global left
            left -= "/.local/bin/" in str(args[0])
            if left < 0:
                os._exit(99)
            return call(*args, **options)
        return wrapper
    for name in ("rename", "link", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    request = {"action": sys.argv[2], "force": True, "version": "1", "digest": "d", "files": {"nssh/__init__.py": ""}}
    sys.exit(install.run(request, lambda key, text: None))
"""


def interrupted(home: Home, action: str, after: int, *, failing: str = "") -> bool:
    """Run the installer, and end it before its nth change of a name; return whether it came to that."""
    program = textwrap.dedent(CRASH)
    if failing:
        program = program.replace("os._exit(99)", f"raise OSError({failing}, 'no', args[0])")
    done = subprocess.run(
        [sys.executable, "-c", program, str(after), action],
        env={**home.env, "PYTHONPATH": os.fspath(REPOSITORY)}, capture_output=True, check=False,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode != 0


REPOSITORY = __file__.rpartition("/tests/")[0]


def every_name_runs(home: Home) -> bool:
    """Whether a program that calls one of the names finds one, at any moment."""
    return all(os.access(home.bin / name, os.X_OK) for name in ("nssh", *NAMES))


@pytest.mark.parametrize("action", ["install", "remove"])
def test_a_crash_at_any_moment_is_mended_by_the_next_run(action: str, home: Home) -> None:
    GoProgram(home.path)
    before = listing(home.bin)
    step, crashed = 0, True
    while crashed:
        mend = ("install", "remove")[step % 2]
        if action == "remove":
            assert not interrupted(home, "install", 10_000)
        crashed = interrupted(home, action, step)
        assert every_name_runs(home), step
        assert not interrupted(home, mend, 10_000), step
        assert is_replaced(home) is (mend == "install"), step
        assert every_name_runs(home), step
        assert not interrupted(home, "remove", 10_000), step
        assert listing(home.bin) == before, step
        step += 1
    assert step >= 10


@pytest.mark.parametrize("action", ["install", "remove"])
@pytest.mark.parametrize("error", ["28", "30"], ids=["disk-full", "read-only"])
def test_a_failure_at_any_moment_leaves_every_name_and_is_mended(error: str, action: str, home: Home) -> None:
    """From the nth change on nothing can be changed any more, as on a disk that is full or became read-only."""
    GoProgram(home.path)
    before = listing(home.bin)
    step, failed = 0, True
    while failed:
        if action == "remove":
            assert not interrupted(home, "install", 10_000)
        failed = interrupted(home, action, step, failing=error)
        assert every_name_runs(home), step
        assert not interrupted(home, "remove", 10_000), step
        assert listing(home.bin) == before, step
        step += 1
    assert step >= 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_directory_is_one_line_and_changes_nothing(home: Home) -> None:
    GoProgram(home.path)
    home.data.mkdir(parents=True)
    before = listing(home.bin)
    line = f"the remote: can't write {home.bin} (Permission denied): make it writable, then run it again"
    try:
        home.bin.chmod(0o555)
        assert home.refusal(force=True) == line
        assert listing(home.bin) == before
        home.bin.chmod(0o755)
        home.infect(force=True)
        home.bin.chmod(0o555)
        with pytest.raises(RemoteError) as caught:
            deploy.remove(home.connection)
        assert str(caught.value) == line
        assert is_replaced(home)
    finally:
        home.bin.chmod(0o755)
    assert deploy.remove(home.connection).changed is True
    assert listing(home.bin) == before


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line_and_changes_nothing(home: Home) -> None:
    home.bin.mkdir(parents=True)
    options = "size=40k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "nssh-test", home.bin], check=False).returncode:
        pytest.skip("can't mount a tmpfs here")
    try:
        GoProgram(home.path)
        with (home.bin / "full").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        before = listing(home.bin)
        assert "no space left" in home.refusal(force=True)
        assert listing(home.bin) == before
    finally:
        subprocess.run(["umount", home.bin], check=True)


def test_without_hard_links_it_works_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from nssh.remote import install

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for name in [*os.environ]:
        if name.startswith(("XDG_", "DISPLAY", "WAYLAND")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", os.fspath(home.path))
    GoProgram(home.path)
    before = listing(home.bin)
    request = {"action": "install", "force": True, "version": "1", "digest": "d", "files": {"nssh/__init__.py": ""}}
    assert install.run(request, lambda *_: None) == 0
    assert is_replaced(home)
    assert install.run({**request, "action": "remove"}, lambda *_: None) == 0
    assert listing(home.bin) == before


def test_infect_self_does_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("XDG_", "DISPLAY", "WAYLAND")):
            monkeypatch.delenv(name)
    for name, value in home.env.items():
        monkeypatch.setenv(name, value)
    GoProgram(home.path)
    before = listing(home.bin)
    with pytest.raises(RemoteError, match=r"this machine: .* is Go's nssh v2.5.1"):
        deploy.infect_self()
    assert deploy.infect_self(force=True).changed is True
    assert is_replaced(home)
    assert deploy.remove_self().changed is True
    assert listing(home.bin) == before
