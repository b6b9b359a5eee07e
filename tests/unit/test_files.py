from __future__ import annotations

import contextlib
import itertools
import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from nssh.wire import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@contextlib.contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("function", "variable", "default"),
    [
        (files.state_dir, "XDG_STATE_HOME", ".local/state"),
        (files.config_dir, "XDG_CONFIG_HOME", ".config"),
        (files.data_dir, "XDG_DATA_HOME", ".local/share"),
    ],
)
def test_places_as_the_xdg_specification_has_them(function: object, variable: str, default: str) -> None:
    assert callable(function)
    assert function({"HOME": "/home/me", variable: "/xdg"}) == "/xdg/nssh"
    for unusable in ("", "relative/path", "~/x"):
        assert function({"HOME": "/home/me", variable: unusable}) == f"/home/me/{default}/nssh"
    assert function({"HOME": "/home/me"}) == f"/home/me/{default}/nssh"
    assert function({}).startswith("/")


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o000, 0o077])
def test_every_directory_that_is_made_is_private(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        path = files.make_private_dir(str(tmp_path / "a" / "b" / "c"))
    assert path == str(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_a_directory_of_ours_is_made_private_and_those_above_it_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "a" / "b").chmod(0o755)
    files.make_private_dir(str(tmp_path / "a" / "b"))
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o755, 0o700)


@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_what_is_no_directory_of_its_own_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    path = tmp_path / "state"
    if kind == "file":
        path.write_bytes(b"")
    else:
        path.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "missing"))
    with pytest.raises(OSError, match="state"):
        files.make_private_dir(str(path))
    assert mode(tmp_path / "elsewhere") == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's directory")
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 12345, 12345)
    with pytest.raises(PermissionError):
        files.make_private_dir(str(theirs))


@pytest.mark.parametrize("name", ["dangling", "file"])
def test_a_parent_that_can_hold_nothing_is_an_error(tmp_path: Path, name: str) -> None:
    """A dangling symlink is there and is not: neither can it be made nor can anything be made in it."""
    (tmp_path / "dangling").symlink_to(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=name):
        files.make_private_dir(str(tmp_path / name / "nssh" / "logs"))


def test_a_current_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    code = (
        "import os, sys; from nssh.wire import files\n"
        "os.mkdir(sys.argv[1]); os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
        "try: files.make_private_dir('a/b')\nexcept FileNotFoundError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "gone")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "refused\n"


def test_many_at_once_make_one_tree(tmp_path: Path) -> None:
    barrier, errors = threading.Barrier(8), []

    def make() -> None:
        barrier.wait()
        try:
            for number in range(50):
                files.make_private_dir(str(tmp_path / str(number) / "b" / "c"))
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_what_is_written_is_private_whatever_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for before in (None, 0o644, 0o400):
        if before is not None:
            path.write_bytes(b"old")
            path.chmod(before)
        with umask(0):
            files.write_private(str(path), b"\0new\n" * 100_000)
        assert path.read_bytes() == b"\0new\n" * 100_000
        assert mode(path) == 0o600
        path.unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_symlink_is_replaced_and_what_it_points_at_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "file").symlink_to(tmp_path / "precious")
    files.write_private(str(tmp_path / "file"), b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_symlink_planted_under_the_temporary_name_is_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / f"file.{os.getpid()}.tmp").symlink_to(tmp_path / "precious")
    with contextlib.suppress(OSError):
        files.write_private(str(path), b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    files.write_private(str(path), b"newer")
    assert path.read_bytes() == b"newer"


def test_a_disk_that_is_full_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = (
        "import resource, sys; from nssh.wire import files; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: files.write_private(sys.argv[1], b'x' * 1000)\nexcept OSError as error: print(error.filename)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}\n"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_in_the_way_or_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_private(str(tmp_path / "directory"), b"x")
    with pytest.raises(FileNotFoundError):
        files.write_private(str(tmp_path / "missing" / "file"), b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "directory"]


def test_a_reader_sees_the_old_content_or_the_new_and_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    code = (
        "import itertools, sys; from nssh.wire import files\n"
        "for n in itertools.count():\n"
        "    files.write_private(sys.argv[1], b'%d\\n' % n * 50000)\n"
        "    if n == 0: print('first', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"first\n"
        seen: set[bytes] = set()
        for _ in itertools.takewhile(lambda _: len(seen) < 20, range(100_000)):
            words = path.read_bytes().split()
            assert len(words) == 50000
            assert len(set(words)) == 1
            seen.add(words[0])
        writer.kill()
    assert len(seen) == 20
    words = path.read_bytes().split()
    assert (len(words), len(set(words))) == (50000, 1)
