from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nssh import __version__
from nssh.base.errors import RemoteError
from nssh.install import deploy
from nssh.remote import desktop, install, path_check, stub
from nssh.ssh.remote_command import remote_command
from tests.remote.support import Home, Interpreter, interpreters

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.real


@pytest.fixture
def home(bare: Home) -> Home:
    return bare


def tree(path: Path) -> dict[str, bytes]:
    """Return every file below a directory with its content, links as such."""
    return {
        str(item.relative_to(path)): os.fsencode(item.readlink()) if item.is_symlink() else item.read_bytes()
        for item in sorted(path.rglob("*"))
        if item.is_symlink() or item.is_file()
    }


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda interpreter: interpreter.version)
def test_a_fresh_home_gets_everything_on_every_interpreter(interpreter: Interpreter) -> None:
    with Home(interpreter.path) as home:
        report = home.infect()
        assert (report.version, report.changed) == (__version__, True)
        version, digest, python = (home.data / "version").read_text().split()
        assert (version, digest) == (__version__, deploy.payload().digest)
        assert os.path.realpath(python) == os.path.realpath(report.python)
        done = subprocess.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True,
                              text=True, check=True)  # fmt: skip
        assert done.stdout.strip() == interpreter.version
        for name in stub.PERSONAS:
            assert stat.S_IMODE((home.bin / name).stat().st_mode) == 0o755
        assert home.run("nssh-remote", "version").out == f"nssh {__version__}\n".encode()
        lib = home.data / f"lib-{version}-{digest}"
        assert stat.S_IMODE(lib.stat().st_mode) == 0o755
        sources = {path.stem for path in lib.rglob("*.py")}
        assert {path.name.partition(".")[0] for path in lib.rglob("*.pyc")} == sources, "every module is compiled"


def test_a_second_run_changes_nothing_and_says_so(home: Home) -> None:
    home.infect()
    before = tree(home.path)
    times = {path: path.stat().st_mtime_ns for path in home.path.rglob("*")}
    assert home.infect().changed is False
    assert tree(home.path) == before
    assert {path: path.stat().st_mtime_ns for path in home.path.rglob("*")} == times


def test_removing_restores_the_home_to_what_it_was(home: Home) -> None:
    before = sorted(home.path.rglob("*"))
    home.infect()
    home.connect()
    home.run("xdg-open", "file:///nothing")
    assert deploy.remove(home.connection).changed is True
    assert sorted(home.path.rglob("*")) == before or sorted(home.path.rglob("*")) == sorted(
        [*before, home.path / ".local", home.path / ".local/state"]
    ), "only the state directory's parents, which the laptop made, may stay"
    assert deploy.remove(home.connection).changed is False


def test_directories_that_were_there_stay(home: Home) -> None:
    home.bin.mkdir(parents=True)
    (home.bin / "mine").write_text("mine")
    home.infect()
    deploy.remove(home.connection)
    assert tree(home.path / ".local") == {"bin/mine": b"mine"}


def test_removing_leaves_the_laptops_own_state(home: Home) -> None:
    home.infect()
    home.connect()
    (home.state / "sessions").mkdir()
    (home.state / "sessions" / "17.json").write_text("{}")
    deploy.remove(home.connection)
    assert tree(home.state) == {"sessions/17.json": b"{}"}


def test_a_program_in_the_way_is_refused_by_name_and_nothing_is_written(home: Home) -> None:
    home.bin.mkdir(parents=True)
    (home.bin / "xclip").write_text("#!/bin/sh\necho mine\n")
    before = tree(home.path)
    text = home.refusal()
    assert str(home.bin / "xclip") in text
    assert "--force" in text
    assert tree(home.path) == before
    assert not home.data.exists()


def test_force_keeps_what_was_in_the_way_and_removing_brings_it_back(home: Home) -> None:
    home.bin.mkdir(parents=True)
    (home.bin / "xclip").write_text("#!/bin/sh\necho mine\n")
    (home.bin / "wl-copy").symlink_to("xclip")
    before = tree(home.bin)
    home.infect(force=True)
    assert stub.is_ours(str(home.bin / "xclip"))
    assert not (home.bin / "wl-copy").is_symlink()
    assert (home.bin / "xclip.nssh-saved").read_text() == "#!/bin/sh\necho mine\n"
    assert home.infect().changed is False, "what is ours needs no force"
    deploy.remove(home.connection)
    assert tree(home.bin) == before


def test_a_symlink_is_never_written_through(home: Home) -> None:
    precious = home.path / "precious"
    precious.write_text("precious")
    home.bin.mkdir(parents=True)
    (home.bin / "xdg-open").symlink_to(precious)
    assert "a link" in home.refusal()
    home.infect(force=True)
    assert precious.read_text() == "precious"
    assert not (home.bin / "xdg-open").is_symlink()
    # Neither through one that leads to a stub of ours, nor through one in place of nssh's own files.
    (home.bin / "xclip").unlink()
    (home.bin / "xclip").symlink_to("xdg-open")
    assert "a link" in home.refusal()
    (home.bin / "xclip").unlink()
    for name in ("version", "nssh-remote"):
        (home.data / name).unlink()
        (home.data / name).symlink_to(precious)
    assert home.infect().changed is True
    assert precious.read_text() == "precious"


def test_a_second_thing_to_keep_is_refused_rather_than_lost(home: Home) -> None:
    home.bin.mkdir(parents=True)
    (home.bin / "xclip").write_text("first")
    home.infect(force=True)
    (home.bin / "xclip").write_text("second")
    assert "xclip.nssh-saved" in home.refusal(force=True)
    assert (home.bin / "xclip").read_text() == "second"
    assert (home.bin / "xclip.nssh-saved").read_text() == "first"


def test_damage_is_repaired(home: Home) -> None:
    home.infect()
    library = next(home.data.glob("lib-*"))
    (library / "nssh/remote/entry.py").write_text("")
    (home.bin / "xclip").unlink()
    (home.data / "nssh-remote").chmod(0o600)
    assert home.infect().changed is True
    assert (library / "nssh/remote/entry.py").read_text()
    assert home.run("nssh-remote", "version").status == 0
    assert sorted(path.name for path in home.data.iterdir()) == [
        library.name, "made-directories", "nssh-remote", "version",
    ]  # fmt: skip


def test_an_upgrade_keeps_the_previous_version_and_removes_older_ones(home: Home) -> None:
    home.infect()
    current = next(home.data.glob("lib-*"))
    for name in ("lib-0.0.8-aaaaaaaaaaaa", "lib-0.0.9-bbbbbbbbbbbb", ".lib-interrupted"):
        shutil.copytree(current, home.data / name)
    (home.data / "version").write_text("0.0.9 bbbbbbbbbbbb /usr/bin/python3\n")
    assert home.infect().changed is True
    left = sorted(path.name for path in home.data.iterdir() if path.is_dir())
    assert left == ["lib-0.0.9-bbbbbbbbbbbb", current.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_home_is_one_clear_line(home: Home) -> None:
    home.path.chmod(0o555)
    try:
        text = home.refusal()
    finally:
        home.path.chmod(0o755)
    assert ".local" in text
    assert "make it writable" in text


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")], ids=["file", "link"])
def test_what_stands_where_a_directory_is_needed_is_one_clear_line(home: Home, make: Callable[[Path], None]) -> None:
    make(home.path / ".local")
    assert f"{home.path / '.local'} must be a directory, and is none: move it away" in home.refusal()


def test_directories_that_are_links_are_used_and_left_as_they_were(home: Home) -> None:
    for link in (home.bin, home.data):
        (home.path / "elsewhere" / link.name).mkdir(parents=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(home.path / "elsewhere" / link.name)
    before = tree(home.path)
    home.infect()
    assert deploy.remove(home.connection).changed is True
    assert tree(home.path) == before


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounting a small disk needs root")
def test_a_full_disk_is_one_clear_line_and_leaves_what_was_there(home: Home) -> None:
    small = home.path / ".local"
    small.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "nssh-test", small], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"can't mount a tmpfs here: {mount.stderr!r}")
    try:
        text = home.refusal()
        assert "no space left" in text
        assert tree(small) == {}
    finally:
        subprocess.run(["umount", small], check=True)


def test_no_python_is_one_clear_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _only_python(home, monkeypatch)
    assert home.refusal() == (
        "no python3 on the remote: install python3 (3.8 or newer) there, then run nssh infect again"
    )


def test_a_python_too_old_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _only_python(home, monkeypatch)
    python = home.path / "tools/python3"
    python.write_text("#!/bin/sh\necho 3.6\nexit 1\n")
    python.chmod(0o755)
    advice = "install python3 (3.8 or newer) there, then run nssh infect again"
    assert home.refusal() == f"no python3 on the remote ({python} is 3.6 there): {advice}"


def test_a_newer_python_further_down_is_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _only_python(home, monkeypatch)
    (home.path / "tools/python3").write_text("#!/bin/sh\necho 3.6\nexit 1\n")
    (home.path / "tools/python3").chmod(0o755)
    (home.path / "tools/python3.11").symlink_to(home.python)
    assert home.infect().changed is True


def _only_python(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the script see no interpreter but those in `tools`: this machine's own are at fixed places."""
    (home.path / "tools/python3").unlink()
    hidden = (
        deploy._find_python()
        .replace("/usr/bin/python3 /usr/local/bin/python3", "")
        .replace("/opt/homebrew/bin/python3", "")
    )
    monkeypatch.setattr(deploy, "_find_python", lambda: hidden)


def test_a_python_in_a_path_with_spaces_or_of_great_length_works(home: Home) -> None:
    for name in ("with space", "x" * 140):
        directory = home.path / name
        directory.mkdir(exist_ok=True)
        (directory / "pyvenv.cfg").touch()
        content = stub.render(str(_wrapper(directory, home.python)), str(next(iter(_libraries(home)))))
        target = home.path / "nssh-remote"
        target.write_bytes(content)
        target.chmod(0o755)
        done = subprocess.run([target, "version"], capture_output=True, env=home.env, check=False)
        assert done.stdout == f"nssh {__version__}\n".encode(), done.stderr


def _wrapper(directory: Path, python: str) -> Path:
    path = directory / "python3"
    path.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
    path.chmod(0o755)
    return path


def _libraries(home: Home) -> list[Path]:
    home.infect()
    return list(home.data.glob("lib-*"))


def test_an_environments_interpreter_is_left_for_the_one_it_was_made_from(home: Home) -> None:
    venv = home.path / "venv"
    subprocess.run([home.python, "-m", "venv", "--without-pip", venv], check=True)
    (home.path / "tools/python3").unlink()
    (home.path / "tools/python3").symlink_to(venv / "bin/python3")
    home.env["PATH"] = f"{venv}/bin:{home.env['PATH']}"
    assert not home.infect().python.startswith(str(venv))


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", ""),
        ({"DISPLAY": "localhost:10.0"}, "linux", ""),
        ({"DISPLAY": "buildhost:11"}, "linux", ""),
        ({"DISPLAY": ":0"}, "linux", "DISPLAY is :0"),
        ({"DISPLAY": ":0.0"}, "linux", "DISPLAY is :0.0"),
        ({"DISPLAY": "localhost:0"}, "linux", "DISPLAY is localhost:0"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", "WAYLAND_DISPLAY is set"),
        ({}, "darwin", "it is a Mac"),
    ],
)
def test_desktops_are_told_from_servers(environ: dict[str, str], platform: str, expected: str, tmp_path: Path) -> None:
    assert desktop.reason(environ, platform, str(tmp_path)) == expected


def test_a_desktop_is_refused_untouched_unless_forced(home: Home) -> None:
    before = tree(home.path)
    home.env["DISPLAY"] = ":0"
    text = home.refusal()
    assert "desktop (DISPLAY is :0)" in text
    assert "--force" in text
    assert tree(home.path) == before
    assert home.infect(force=True).changed is True


@pytest.mark.real
def test_a_headless_x_server_is_no_desktop(tmp_path: Path) -> None:
    path = shutil.which("Xvfb")
    if path is None:
        pytest.skip("needs Xvfb")
    read, write = os.pipe()
    server = subprocess.Popen(
        [path, "-displayfd", str(write), "-nolisten", "tcp"], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    try:
        number = os.read(read, 16).strip().decode()
        assert desktop._listener(f"/tmp/.X11-unix/X{number}") == "Xvfb"
    finally:
        os.close(read)
        server.terminate()
        server.wait(10)


def test_the_installer_on_this_machine_uses_the_same_path(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("XDG_", "DISPLAY", "WAYLAND")):
            monkeypatch.delenv(name)
    for name, value in home.env.items():
        monkeypatch.setenv(name, value)
    assert deploy.infect_self().changed is True
    assert deploy.infect_self().changed is False
    assert deploy.remove_self().changed is True
    assert not home.data.exists()


def test_a_remote_that_breaks_off_or_lies_gives_one_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for script in ("exit 5", "say error '\x1b[31mred'; finish 1", "say warning x; finish 1"):
        monkeypatch.setattr(deploy, "_find_python", functools.partial(str, script))
        with pytest.raises(RemoteError) as caught:
            deploy.infect(home.connection)
        assert str(caught.value).isprintable()


def test_remote_commands_are_read_alike_by_every_shell(home: Home) -> None:
    home.infect()
    command = remote_command("version")
    ran = []
    for shell in ("sh", "bash", "zsh", "fish", "tcsh", "dash"):
        if path := shutil.which(shell):
            done = subprocess.run([path, "-c", command], capture_output=True, env=home.env, cwd=home.path, check=False)
            assert done.stdout == f"nssh {__version__}\n".encode(), (shell, done.stderr)
            ran.append(shell)
    assert "sh" in ran
    sys.stderr.write(f"shells: {ran}\n")
    for word in ("", "a b", "$x", "`x`", "x;y", "x'y", "ä", "x\n"):
        with pytest.raises(ValueError, match="word"):
            remote_command(word)


RC_FILES = {
    "bash": (".bash_profile", 'echo noise; export PATH="{bin}:$PATH"', ".bash_profile", "export PATH="),
    "zsh": (".zshrc", 'echo noise; export PATH="{bin}:$PATH"', ".zshrc", "export PATH="),
    "fish": (".config/fish/config.fish", "echo noise; set -gx PATH {bin} $PATH", "config.fish", "fish_add_path"),
    "tcsh": (".tcshrc", 'echo noise; setenv PATH "{bin}:$PATH"', ".tcshrc", "setenv PATH"),
}


@pytest.mark.parametrize("name", RC_FILES)
def test_each_shell_is_asked_for_its_path_and_gets_its_own_advice(
    name: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"{name} is not installed")
    home.infect()
    rc_file, line, advised, words = RC_FILES[name]
    target = home.path / rc_file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("echo noise\n")
    monkeypatch.setenv("HOME", str(home.path))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.delenv("ZDOTDIR", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(path_check, "shells", lambda: [shell])
    before = target.read_text()
    warnings = [text for text in path_check.warnings(str(home.bin), 30.0) if text.startswith("a login")]
    assert len(warnings) == 1, warnings
    assert advised in warnings[0]
    assert words in warnings[0]
    assert target.read_text() == before, "rc files are never edited"
    target.write_text(line.format(bin=home.bin) + "\n")
    assert [text for text in path_check.warnings(str(home.bin), 30.0) if text.startswith("a login")] == []


def test_a_shell_that_hangs_is_given_up_and_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = home.real_tool("hang", "exec sleep 600")
    monkeypatch.setattr(path_check, "shells", lambda: [str(shell)])
    warnings = path_check.warnings(str(home.bin), 0.3)
    assert len(warnings) == 2
    assert "gave no answer" in warnings[0]


def test_two_installers_at_once_both_leave_it_whole(home: Home) -> None:
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: home.infect(), range(4)))
    assert [report.changed for report in reports].count(True) >= 1
    assert home.infect().changed is False
    assert home.run("nssh-remote", "version").status == 0
    assert [path.name for path in home.data.iterdir() if path.name.startswith(".")] == []


def test_a_directory_that_another_installer_makes_meanwhile_is_no_error_and_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def late(path: str, mode: int) -> None:
        if path.endswith("/share"):
            mkdir(path)
        mkdir(path, mode)

    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "mkdir", late)
    places = install.InstallPaths()
    made: list[str] = []
    install._make_directories(places, made)
    assert os.path.isdir(places.data)
    assert os.path.isdir(places.bin)
    assert not any(path.endswith("/share") for path in made)
    (tmp_path / ".local/bin").rmdir()
    (tmp_path / ".local/bin").write_text("")
    with pytest.raises(FileExistsError):
        install._make_directories(places, [])


def test_an_nssh_of_somebody_s_own_stays_as_it_is() -> None:
    with Home() as home:
        home.bin.mkdir(parents=True)
        own = home.bin / stub.OWN
        own.write_text("#!/bin/sh\necho mine\n")
        own.chmod(0o755)
        assert home.infect().changed is True
        assert home.run("nssh", "paste").out == b"mine\n"
        assert home.infect(force=True).changed is False
        deploy.remove(home.connection)
        assert own.read_text() == "#!/bin/sh\necho mine\n"


def test_our_own_name_is_taken_away_again_and_steps_aside_for_another() -> None:
    with Home() as home:
        home.infect()
        assert stub.is_ours(str(home.bin / stub.OWN))
        home.real_tool("nssh", 'echo "real $*"')
        assert home.run("nssh", "status", "--json").out == b"real status --json\n"
        deploy.remove(home.connection)
        assert not (home.bin / stub.OWN).exists()
