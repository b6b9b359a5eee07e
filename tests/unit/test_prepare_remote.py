from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nssh import __version__
from nssh.launch import prepare_remote
from nssh.launch.prepare_remote import PreparedRemote
from nssh.log.log_reader import when
from nssh.remote.events import MAX_SIZE, Events
from nssh.ssh import framing
from nssh.ssh.framing import Answer
from tests.lab.go_program import GoProgram

if TYPE_CHECKING:
    from pathlib import Path

    from nssh.ssh.framing import Script

SESSION = 'server = "relay"\ntopic = "nssh_x"\nfeatures = ["a"]\n'
NOTHING = PreparedRemote("", "", "", mosh=False, mosh_port="", mosh_key="", mosh_error="")
MOSH = ("new", "-s", "-c", "256")


class Remote:
    """A home directory, and a PATH with the system's programs and those of the test."""

    def __init__(self, path: Path) -> None:
        self.home = path / "remote home"
        self.bin = path / "bin"
        self.home.mkdir()
        self.bin.mkdir()
        for program in ("sh", "dd", "mkdir", "chmod", "mv", "rm", "cat", "printf", "env", "wc", "date", "grep"):
            found = shutil.which(program)
            assert found is not None
            (self.bin / program).symlink_to(found)
        self.limit: tuple[str, ...] = ()
        """A command that runs the shell with a limit."""
        self.environ = {"HOME": str(self.home), "PATH": str(self.bin)}

    @property
    def session(self) -> Path:
        return self.home / ".local" / "state" / "nssh" / "session"

    def add(self, name: str, body: str) -> None:
        program = self.bin / name
        program.unlink(missing_ok=True)  # it may be a link to the system's own
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    def answer(self, script: Script, shell: str = "sh") -> Answer:
        path = shutil.which(shell)
        if path is None:
            pytest.skip(f"{shell} is not installed")
        done = subprocess.run(
            [*self.limit, path, "-c", framing.BOOTSTRAP.replace("exec sh", f"exec {path}")],
            input=script.stdin,
            capture_output=True,
            timeout=60,
            check=False,
            env=self.environ,
        )
        assert done.stderr == b""
        return framing.unpack(script, done.stdout)

    def prepare(self, script: Script, shell: str = "sh") -> PreparedRemote:
        return prepare_remote.read(self.answer(script, shell))


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path)


SHELLS = ["dash", "bash", "zsh"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_session_file_is_written_and_private(remote: Remote, shell: str) -> None:
    remote.environ["SSH_CONNECTION"] = "10.0.0.1 50000 10.0.0.2 22"
    told = remote.prepare(prepare_remote.script(SESSION), shell)
    assert told == NOTHING._replace(server_address="10.0.0.2")
    assert remote.session.read_text() == SESSION
    assert stat.S_IMODE(remote.session.stat().st_mode) == 0o600
    for directory in (remote.session.parent, remote.session.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.name for path in remote.session.parent.iterdir()] == ["session"]


CONTENT = st.text(
    st.one_of(st.sampled_from("\n\n'\"\\$`!%~ \t"), st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    min_size=1,
    max_size=200,
)


@settings(max_examples=40)
@given(content=CONTENT)
def test_it_arrives_byte_for_byte(content: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    remote = Remote(tmp_path_factory.mktemp("remote"))
    assert remote.prepare(prepare_remote.script(content)) == NOTHING
    assert remote.session.read_bytes() == content.encode()


def test_a_large_one_too(remote: Remote) -> None:
    content = "x" * 100 + "\n" * 300 + "é" * 10_000 + "\n\n"
    assert remote.prepare(prepare_remote.script(content)).problem == ""
    assert remote.session.read_bytes() == content.encode()


def test_without_a_topic_the_remotes_file_is_left_alone(remote: Remote) -> None:
    assert remote.prepare(prepare_remote.script("")) == NOTHING
    assert not remote.session.parent.exists()
    remote.prepare(prepare_remote.script(SESSION))
    assert remote.prepare(prepare_remote.script("")) == NOTHING
    assert remote.session.read_text() == SESSION


def test_the_xdg_directories_of_the_remote_are_used(remote: Remote) -> None:
    remote.environ |= {"XDG_STATE_HOME": f"{remote.home}/s t", "XDG_DATA_HOME": f"{remote.home}/d a"}
    data = remote.home / "d a" / "nssh"
    data.mkdir(parents=True)
    (data / "version").write_text("9.9 abc 3.11\nmore\n")
    assert remote.prepare(prepare_remote.script(SESSION)).version == "9.9 abc 3.11"
    assert (remote.home / "s t" / "nssh" / "session").read_text() == SESSION


def test_an_old_file_is_replaced_and_a_link_not_followed(remote: Remote, tmp_path: Path) -> None:
    remote.session.parent.mkdir(parents=True, mode=0o755)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    remote.session.symlink_to(precious)
    assert remote.prepare(prepare_remote.script(SESSION)).problem == ""
    assert (precious.read_text(), remote.session.is_symlink()) == ("precious", False)
    assert remote.session.read_text() == SESSION
    assert stat.S_IMODE(remote.session.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("shell", SHELLS)
def test_a_state_directory_that_can_not_be_made_is_told_and_the_rest_goes_on(remote: Remote, shell: str) -> None:
    remote.environ["XDG_STATE_HOME"] = "/proc/nowhere"
    data = remote.home / ".local" / "share" / "nssh"
    data.mkdir(parents=True)
    (data / "version").write_text("9.9")
    remote.add("mosh-server", "echo; echo MOSH CONNECT 60001 abcdefghijklmnopqrstuv")
    told = remote.prepare(prepare_remote.script(SESSION, opened=OPEN, mosh=MOSH), shell)
    assert told.problem.startswith("can't create /proc/nowhere/nssh: ")
    assert told._replace(problem="") == NOTHING._replace(
        mosh=True, mosh_port="60001", mosh_key="abcdefghijklmnopqrstuv"
    )


def test_a_full_disk_is_told_and_the_old_file_stays(remote: Remote) -> None:
    remote.prepare(prepare_remote.script(SESSION))
    # cat is what writes; /dev/full gives it the error of a full disk.
    cat = os.path.realpath(remote.bin / "cat")
    remote.add("cat", f"exec {cat} > /dev/full")
    told = remote.prepare(prepare_remote.script("another"))
    assert "No space left" in told.problem
    assert remote.session.read_text() == SESSION
    assert [path.name for path in remote.session.parent.iterdir()] == ["session"]


@pytest.mark.parametrize(
    ("content", "version"),
    [("9.9 abc 3.11\n", "9.9 abc 3.11"), ("9.9\nmosh yes\nend 0\n", "9.9"), ("\\n $(id) `id`\n", "\\n $(id) `id`")],
)
def test_the_version_is_the_first_line_of_its_file(remote: Remote, content: str, version: str) -> None:
    data = remote.home / ".local" / "share" / "nssh"
    data.mkdir(parents=True)
    (data / "version").write_text(content)
    assert remote.prepare(prepare_remote.script(SESSION)) == NOTHING._replace(version=version)


# The event log.

OPEN = prepare_remote.session_open("https://ntfy.example", "me@devbox")


def log(remote: Remote) -> Path:
    return remote.session.parent / "log.jsonl"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_remotes_log_tells_of_the_session(remote: Remote, shell: str) -> None:
    target = "me@dev'box\" $(id) `id` \\n %s é\n"
    opened = prepare_remote.session_open("relay", target)
    began = time.time()
    for _ in range(2):
        assert remote.prepare(prepare_remote.script(SESSION, opened=opened), shell) == NOTHING
    assert remote.session.read_text() == SESSION
    assert stat.S_IMODE(log(remote).stat().st_mode) == 0o600
    lines = log(remote).read_bytes().splitlines()
    assert len(lines) == 2
    for line in lines:
        fields = json.loads(line)
        assert begun_at(line) == pytest.approx(began, abs=60)
        assert fields.pop("pid") > 0
        del fields["ts"]
        assert fields == {"event": "session-open", "side": "session-init", "server": "relay", "target": target,
                          "version": __version__}  # fmt: skip


def test_the_topic_is_not_in_it(remote: Remote) -> None:
    remote.prepare(prepare_remote.script(SESSION, opened=OPEN))
    assert "nssh_x" not in log(remote).read_text()


def test_a_shim_and_the_session_write_the_same_format(remote: Remote) -> None:
    remote.prepare(prepare_remote.script(SESSION, opened=OPEN))
    events = Events(str(log(remote).parent), "session-init")
    events.add("session-open", server="https://ntfy.example", target="me@devbox", version=__version__)
    events.flush()
    ours, shims = log(remote).read_text().splitlines()
    variable = r'"ts":"[0-9T:.-]+Z"|"pid":[0-9]+'
    assert re.sub(variable, "", ours) == re.sub(variable, "", shims)
    assert [len(re.findall(variable, line)) for line in (ours, shims)] == [2, 2]
    assert begun_at(ours.encode()) == pytest.approx(begun_at(shims.encode()), abs=60)


def begun_at(line: bytes) -> float:
    moment = when(line)
    assert moment is not None
    return moment


def test_a_full_log_is_rotated_as_the_shims_rotate_it(remote: Remote) -> None:
    remote.prepare(prepare_remote.script(SESSION))
    source = framing.source(prepare_remote.__file__, "prepare_remote.sh")
    assert f" -ge {MAX_SIZE} " in source
    for size, names in ((MAX_SIZE - 1, ["log.jsonl", "session"]), (MAX_SIZE, ["log.jsonl", "log.jsonl.1", "session"])):
        log(remote).write_bytes(b"x" * size)
        remote.prepare(prepare_remote.script(SESSION, opened=OPEN))
        assert sorted(path.name for path in remote.session.parent.iterdir()) == names
    assert log(remote).read_bytes().count(b"session-open") == 1
    assert log(remote).with_name("log.jsonl.1").stat().st_size == MAX_SIZE


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("what", ["link", "dangling link", "directory", "fifo", "full disk", "no date", "no directory"])
def test_a_log_that_can_not_be_written_costs_the_session_nothing(
    remote: Remote, tmp_path: Path, shell: str, what: str
) -> None:
    mosh = "abcdefghijklmnopqrstuv"
    remote.add("mosh-server", f"echo; echo MOSH CONNECT 60001 {mosh}")
    remote.prepare(prepare_remote.script(SESSION))
    precious = tmp_path / "precious"
    session, expected = SESSION, SESSION
    match what:
        case "link":
            precious.write_text("precious")
            log(remote).symlink_to(precious)
        case "dangling link":
            log(remote).symlink_to(precious)
        case "directory":
            log(remote).mkdir()
        case "fifo":
            os.mkfifo(log(remote))
        case "full disk":
            # No file may grow beyond 1024 bytes, which is an error as a full disk is.
            remote.limit = ("/bin/sh", "-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh")
            log(remote).write_bytes(b"x" * 4096)
        case "no date":
            (remote.bin / "date").unlink()
        case "no directory":
            shutil.rmtree(remote.session.parent)
            session = expected = ""
    told = remote.prepare(prepare_remote.script(session, opened=OPEN, mosh=MOSH), shell)
    assert told == NOTHING._replace(mosh=True, mosh_port="60001", mosh_key=mosh)
    if expected:
        assert remote.session.read_text() == expected
    else:
        assert not remote.session.parent.exists()
    if what == "link":
        assert precious.read_text() == "precious"
    elif what == "dangling link":
        assert not precious.exists()
    elif what == "full disk":
        assert log(remote).read_bytes() == b"x" * 4096


# mosh-server.


def test_mosh_server_is_started_with_its_arguments_as_they_are(remote: Remote, tmp_path: Path) -> None:
    record = shlex.quote(str(tmp_path / "record"))
    remote.add(
        "mosh-server",
        f'printf "%s\\0" "$@" > {record}; cat > {record}.in\n'
        f'printf "%s %s" "$MOSH_SERVER_NETWORK_TMOUT" "$MOSH_SERVER_SIGNAL_TMOUT" > {record}.timeout\n'
        "printf '\\nMOSH CONNECT 60001 4NeCCgvZFe2RnPgrcU1PQw\\n\\nmosh-server (mosh 1.4.0)\\n'\n"
        "printf '[mosh-server detached, pid = 7]\\n'",
    )
    words = (*MOSH, "-l", "LANG=C.UTF-8", "--", "a b", "", "'\"", "$HOME `id`", "\\n", "  lead", "trail  ", "*", "é")
    told = remote.prepare(prepare_remote.script(SESSION, mosh=words, mosh_timeouts=(60.0, 0.5)))
    assert told == NOTHING._replace(mosh=True, mosh_port="60001", mosh_key="4NeCCgvZFe2RnPgrcU1PQw")
    assert tuple((tmp_path / "record").read_bytes().decode().split("\0")[:-1]) == words
    assert (tmp_path / "record.in").read_bytes() == b""
    assert (tmp_path / "record.timeout").read_text() == "60 1"
    assert remote.session.read_text() == SESSION


def test_without_a_timeout_the_remotes_own_is_left(remote: Remote, tmp_path: Path) -> None:
    remote.environ["MOSH_SERVER_NETWORK_TMOUT"] = "77"
    remote.add("mosh-server", f'printf "%s" "$MOSH_SERVER_NETWORK_TMOUT" > {shlex.quote(str(tmp_path / "t"))}')
    remote.prepare(prepare_remote.script(SESSION, mosh=MOSH))
    assert (tmp_path / "t").read_text() == "77"


def test_mosh_server_is_only_started_when_asked_for(remote: Remote, tmp_path: Path) -> None:
    remote.add("mosh-server", f"touch {shlex.quote(str(tmp_path / 'ran'))}")
    assert remote.prepare(prepare_remote.script(SESSION)) == NOTHING
    assert not (tmp_path / "ran").exists()


def test_no_mosh_server_is_no_error(remote: Remote) -> None:
    assert remote.prepare(prepare_remote.script(SESSION, mosh=MOSH)) == NOTHING


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            "echo 'mosh-server needs a UTF-8 native locale to run.' >&2; echo; echo LANG=C; exit 1",
            "mosh-server needs a UTF-8",
        ),
        ("echo 'Network exception: bind: mosh failed' >&2; exit 1", "Network exception"),
    ],
)
def test_why_mosh_server_does_not_start_is_told_and_the_session_file_is_there(
    remote: Remote, body: str, error: str
) -> None:
    remote.add("mosh-server", body)
    told = remote.prepare(prepare_remote.script(SESSION, mosh=MOSH))
    assert (told.mosh, told.mosh_port, told.mosh_key) == (True, "", "")
    assert told.mosh_error.startswith(error)
    assert remote.session.read_text() == SESSION


def test_a_mosh_server_that_says_nothing_is_told_too(remote: Remote) -> None:
    remote.add("mosh-server", "exit 1")
    told = remote.prepare(prepare_remote.script(SESSION, mosh=MOSH))
    assert (told.mosh, told.mosh_port) == (True, "")


def test_a_word_with_a_newline_is_refused() -> None:
    with pytest.raises(ValueError, match="--ssh"):
        prepare_remote.script(SESSION, mosh=("new", "--", "a\nb"))


@pytest.mark.parametrize("shell", SHELLS)
def test_many_words(remote: Remote, tmp_path: Path, shell: str) -> None:
    remote.add("mosh-server", f"printf '%s' $# > {shlex.quote(str(tmp_path / 'count'))}")
    remote.prepare(prepare_remote.script(SESSION, mosh=(*MOSH, "--", *["word"] * 500)), shell)
    assert (tmp_path / "count").read_text() == "505"


def test_arguments_as_the_mosh_wrapper_gives_them() -> None:
    environ = {"LC_ALL": "de_DE.UTF-8", "LANG": "C.UTF-8", "LC_TIME": "", "LC_CTYPE": "a\nb", "OTHER": "x"}
    assert prepare_remote.mosh_arguments("256", (), environ) == (
        "new", "-s", "-c", "256", "-l", "LANG=C.UTF-8", "-l", "LC_ALL=de_DE.UTF-8",
    )  # fmt: skip
    assert prepare_remote.mosh_arguments("8", ("tmux", "a b"), {}) == (
        "new", "-s", "-c", "8", "-l", "LANG=C.UTF-8", "--", "tmux", "a b",
    )  # fmt: skip


# Hostile answers.


def read(*lines: str) -> PreparedRemote:
    return prepare_remote.read(Answer(0, dict(line.partition(" ")[::2] for line in lines), list(lines)))


KEY = "4NeCCgvZFe2RnPgrcU1PQw"


def test_a_port_and_a_key_are_what_they_must_be() -> None:
    assert read(f"MOSH CONNECT 60001 {KEY}")[4:6] == ("60001", KEY)


@pytest.mark.parametrize(
    "line",
    [
        f"MOSH CONNECT 0 {KEY}",
        f"MOSH CONNECT 65536 {KEY}",
        f"MOSH CONNECT {'9' * 5000} {KEY}",
        f"MOSH CONNECT -1 {KEY}",
        f"MOSH CONNECT ²³ {KEY}",
        f"MOSH CONNECT ٣٣٣٣ {KEY}",
        f"MOSH CONNECT 60001 {KEY[:-1]}",
        f"MOSH CONNECT 60001 {KEY}x",
        f"MOSH CONNECT 60001 {KEY[:-1]}\0",
        f"MOSH CONNECT 60001 {KEY[:-1]}-",
        "MOSH CONNECT 60001 " + "é" * 22,
        "MOSH CONNECT 60001",
        f"MOSH CONNECT 60001 {KEY} more",
    ],
    ids=lambda line: line[:40].replace("\0", "0"),
)
def test_what_mosh_client_could_not_use_is_no_port_and_no_key(line: str) -> None:
    told = read("mosh yes", line)
    assert (told.mosh_port, told.mosh_key) == ("", "")
    assert KEY[:-1] not in told.mosh_error != ""


@pytest.mark.parametrize(
    "address", ["", "a b c", "10.0.0.1 1 -x 22", "10.0.0.1 1 evil.example 22", "a b \0 d", "1 2 3 4 5"]
)
def test_what_is_no_address_is_not_given_to_mosh_client(address: str) -> None:
    assert read(f"address {address}").server_address == ""


@pytest.mark.parametrize("address", ["10.0.0.2", "::1", "fe80::1%eth0", "2001:db8::7"])
def test_addresses(address: str) -> None:
    assert read(f"address fe80::2 50000 {address} 22").server_address == address


@given(st.lists(st.text(max_size=40), max_size=6))
def test_no_answer_is_a_crash(lines: list[str]) -> None:
    told = read(*(line.replace("\n", "") for line in lines))
    assert not told.mosh_key or told.mosh_port


@pytest.mark.parametrize("shell", SHELLS)
def test_the_go_program_s_shims_are_recognised(remote: Remote, shell: str) -> None:
    script = prepare_remote.script("")
    go = GoProgram(remote.home, remote.home / "go bin")
    assert remote.prepare(script, shell) == NOTHING._replace(go_shims=True)
    assert go.calls == []
    (remote.home / ".local/bin/xclip").unlink()
    assert remote.prepare(script, shell).go_shims, "xdg-open is one, too"
    go.path.write_bytes(go.path.read_bytes().replace(b"abizer", b"nobody"))
    assert remote.prepare(script, shell) == NOTHING
    go.path.unlink()
    assert remote.prepare(script, shell) == NOTHING
    os.mkfifo(go.path)
    assert remote.prepare(script, shell) == NOTHING


def test_a_file_in_the_place_of_a_shim_is_not_the_go_program(remote: Remote) -> None:
    go = GoProgram(remote.home)
    for link in go.links:
        link.unlink()
        link.write_bytes(go.path.read_bytes())
    assert remote.prepare(prepare_remote.script("")) == NOTHING
