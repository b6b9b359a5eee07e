from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh import __version__
from nssh.state import remembered_hosts
from nssh.state.remembered_hosts import RememberedHost

if TYPE_CHECKING:
    from pathlib import Path

KEY = "me@[fe80::1]:22 via hop"


def the_file(state: Path) -> Path:
    [path] = (state / "hosts").iterdir()
    return path


def test_what_is_remembered_is_known_and_of_that_host_alone(state: Path) -> None:
    assert remembered_hosts.read(KEY) == RememberedHost("", declined=False)
    remembered_hosts.write(KEY, RememberedHost("1.2 abc 3.11"))
    assert remembered_hosts.read(KEY) == RememberedHost("1.2 abc 3.11")
    assert remembered_hosts.read(KEY + "2") == RememberedHost()
    remembered_hosts.write(KEY, RememberedHost(declined=True, session="01234567"))
    assert remembered_hosts.read(KEY) == RememberedHost("", declined=True, session="01234567")
    remembered_hosts.write(KEY, RememberedHost())
    assert remembered_hosts.read(KEY) == RememberedHost()


def test_it_is_private_and_not_written_for_nothing(state: Path) -> None:
    remembered_hosts.write(KEY, RememberedHost())
    assert not state.exists()
    before = os.umask(0)
    try:
        remembered_hosts.write(KEY, RememberedHost("1"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(the_file(state).stat().st_mode) == 0o600
    assert stat.S_IMODE((state / "hosts").stat().st_mode) == 0o700
    inode = the_file(state).stat().st_ino
    remembered_hosts.write(KEY, RememberedHost("1"))
    assert the_file(state).stat().st_ino == inode


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff", b"[" * 5000, b'{"version": "' + b"x" * 9000 + b'"}', b"{}"],
)
def test_a_damaged_file_is_nothing_known_and_is_written_over(state: Path, content: bytes) -> None:
    remembered_hosts.write(KEY, RememberedHost("1"))
    the_file(state).write_bytes(content)
    assert remembered_hosts.read(KEY) == RememberedHost()
    remembered_hosts.write(KEY, RememberedHost("2"))
    assert remembered_hosts.read(KEY) == RememberedHost("2")


@pytest.mark.parametrize(
    ("content", "host"),
    [
        (b'{"version": "1", "declined": "no"}', RememberedHost("1")),
        (b'{"version": "1", "declined": 1}', RememberedHost("1")),
        (b'{"declined": true, "new": [1]}', RememberedHost("", declined=True)),
    ],
)
def test_a_value_of_another_type_is_not_believed(state: Path, content: bytes, host: RememberedHost) -> None:
    remembered_hosts.write(KEY, RememberedHost("0"))
    the_file(state).write_bytes(content)
    assert remembered_hosts.read(KEY) == host


def test_a_remote_that_tells_a_long_version_is_remembered_all_the_same(state: Path) -> None:
    remembered_hosts.write(KEY, RememberedHost("9.9 " + "x" * 100_000))
    assert remembered_hosts.read(KEY).version.startswith("9.9 ")
    assert the_file(state).stat().st_size < 4096


@given(text=st.text(max_size=50), version=st.text())
def test_what_was_written_reads_the_same_again(
    text: str, version: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """So that nothing is written again for a remote that has not changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "hosts"))
        remembered_hosts.write(text, RememberedHost(version, session="x"))
        known = remembered_hosts.read(text)
        assert (known.session, known.version.isprintable()) == ("x", True)
        remembered_hosts.write(text, known)
        assert remembered_hosts.read(text) == known


def test_a_session_file_that_changed_has_another_checksum() -> None:
    texts = ["", "a", 'topic = "nssh_1"\n', 'topic = "nssh_2"\n', "é"]
    assert len({remembered_hosts.checksum(text) for text in texts}) == len(texts)
    assert remembered_hosts.checksum("a") == remembered_hosts.checksum("a")
    assert all(len(remembered_hosts.checksum(text)) == 8 for text in texts)


def test_a_directory_that_can_not_be_written_is_an_error(state: Path) -> None:
    state.parent.mkdir(parents=True)
    state.write_bytes(b"")
    with pytest.raises(OSError, match="nssh"):
        remembered_hosts.write(KEY, RememberedHost("1"))


def test_another_version_is_told_with_what_to_do() -> None:
    assert remembered_hosts.difference("devbox", "") == ""
    assert remembered_hosts.difference("devbox", f"{__version__} digest 3.11") == ""
    line = remembered_hosts.difference("devbox", "0.0.1 digest 3.11")
    assert ("0.0.1" in line, __version__ in line, "nssh infect devbox" in line) == (True, True, True)


@given(st.text())
def test_what_the_remote_says_of_its_version_makes_one_short_line(version: str) -> None:
    line = remembered_hosts.difference("devbox", version)
    assert line.isprintable()
    assert len(line) < 200


def test_the_go_program_s_shims_are_remembered(state: Path) -> None:
    remembered_hosts.write(KEY, RememberedHost(go_shims=True))
    assert remembered_hosts.read(KEY) == RememberedHost(go_shims=True)
    the_file(state).write_bytes(b'{"go_shims": "yes"}')
    assert remembered_hosts.read(KEY) == RememberedHost()


def test_where_the_go_program_s_shims_reach_the_bus_there_is_nothing_to_say() -> None:
    assert remembered_hosts.go_shims_problem("devbox", "https://ntfy.sh", credentials=False) == ""
    for server, credentials in (("relay", False), ("https://ntfy.sh", True)):
        line = remembered_hosts.go_shims_problem("devbox", server, credentials=credentials)
        assert "run nssh infect --force devbox" in line
