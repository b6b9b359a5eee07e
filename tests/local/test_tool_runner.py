from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nssh.base.errors import ToolError
from nssh.local.tool_runner import ToolFailedError, ToolHungError, find_tool, run, run_writer
from nssh.remote import stub
from tests.local.scripts import ScriptDir, process_gone, wait_for

pytestmark = pytest.mark.real  # these tests start programs


@pytest.fixture
def scripts(tmp_path: Path) -> ScriptDir:
    return ScriptDir(tmp_path / "bin")


def test_input_and_output_of_megabytes_pass_at_the_same_time() -> None:
    data = os.urandom(8 << 20)
    assert run(["/bin/cat"], stdin=data, timeout=60, limit=len(data)) == data


def test_output_at_the_limit_passes_and_a_byte_more_is_refused() -> None:
    assert run(["/bin/cat"], stdin=b"12345", timeout=60, limit=5) == b"12345"
    with pytest.raises(ToolError, match="cat gave more than 4 bytes"):
        run(["/bin/cat"], stdin=b"12345", timeout=60, limit=4)


def test_endless_output_ends_at_the_limit() -> None:
    with pytest.raises(ToolError, match="limit"):
        run(["/bin/cat", "/dev/zero"], timeout=60, limit=1 << 20)


def test_a_failure_carries_status_and_the_last_line_it_said(scripts: ScriptDir) -> None:
    tool = scripts.add("failing", "echo library chatter >&2; printf 'the \\033reason\\n\\n' >&2; exit 3")
    for start in (lambda: run([tool], timeout=60), lambda: run_writer([tool], timeout=60)):
        with pytest.raises(ToolFailedError) as caught:
            start()
        assert str(caught.value) == "failing failed (status 3): the ?reason"
        assert caught.value.status == 3
        assert "library chatter" in caught.value.stderr


def test_a_signal_is_a_failure(scripts: ScriptDir) -> None:
    with pytest.raises(ToolFailedError, match=r"signal 11"):
        run([scripts.add("crashing", "kill -SEGV $$")], timeout=60)


def test_what_it_complains_is_cut(scripts: ScriptDir) -> None:
    tool = scripts.add("chatty", "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1")
    with pytest.raises(ToolFailedError) as caught:
        run([tool], timeout=60)
    assert len(caught.value.stderr) <= 8192
    assert len(str(caught.value)) < 300


def test_what_cannot_be_started_is_one_line(scripts: ScriptDir) -> None:
    with pytest.raises(ToolError, match="absent can't be run: No such file"):
        run([str(scripts.path / "absent")], timeout=60)
    with pytest.raises(ToolError, match="can't be run"):
        run(["/bin/echo", "a\0b"], timeout=60)


def test_a_tool_that_reads_no_input_is_judged_by_its_status(scripts: ScriptDir) -> None:
    data = b"x" * (1 << 20)
    assert run([scripts.add("deaf", "exec <&-; echo done")], stdin=data, timeout=60) == b"done\n"


@pytest.mark.parametrize("start", [run, run_writer])
def test_a_hung_tool_is_killed_with_its_children(scripts: ScriptDir, start: object) -> None:
    record = scripts.path / "pids"
    tool = scripts.add("hung", f"trap '' TERM HUP INT\nsleep 1000 &\necho $$ $! >{record}\nwait")
    assert callable(start)
    with pytest.raises(ToolHungError, match=r"hung did not end within 1 s and was killed"):
        start([tool], timeout=1)
    pids = [int(pid) for pid in record.read_text().split()]
    assert len(pids) == 2
    for pid in pids:
        wait_for(lambda pid=pid: process_gone(pid), f"{pid} ended")  # type: ignore[misc]


def test_a_reader_whose_child_keeps_the_output_open_is_hung(scripts: ScriptDir) -> None:
    record = scripts.path / "pid"
    tool = scripts.add("forking", f"sleep 1000 &\necho $! >{record}")
    with pytest.raises(ToolHungError):
        run([tool], timeout=1)
    wait_for(lambda: process_gone(int(record.read_text())), "its child ended")


def test_a_tool_that_takes_no_more_input_is_hung(scripts: ScriptDir) -> None:
    with pytest.raises(ToolHungError):
        run_writer([scripts.add("stuffed", "exec sleep 1000")], stdin=b"x" * (4 << 20), timeout=1)


def test_a_writer_may_leave_a_child_behind_which_stays(scripts: ScriptDir) -> None:
    record = scripts.path / "pid"
    release = scripts.path / "release"
    os.mkfifo(release)
    # The child holds every standard stream open, as that of xclip does, until somebody opens the FIFO.
    tool = scripts.add("forking", f"cat >/dev/null\n(read line <{release}; echo late >&2; echo ok >{record}) &\nexit 0")
    run_writer([tool], stdin=b"x", timeout=60)
    release.write_text("go\n")
    wait_for(lambda: record.exists() and record.read_text() == "ok\n", "the child went on")


@pytest.mark.parametrize("size", [5, 100_000, 3 << 20])
def test_a_writer_gets_all_of_it_though_who_started_it_is_killed(scripts: ScriptDir, size: int) -> None:
    started, release, got = scripts.path / "started", scripts.path / "release", scripts.path / "got"
    os.mkfifo(release)
    tool = scripts.add("slow", f"echo >{started}; read line <{release}; cat >{got}.new; mv {got}.new {got}")
    code = f"from nssh.local.tool_runner import run_writer; run_writer([{tool!r}], stdin=b'x' * {size}, timeout=60)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        wait_for(started.exists, "it runs")
        process.kill()
    release.write_text("go\n")
    wait_for(got.exists, "it has read its input")
    assert got.stat().st_size == size


def test_a_writer_that_reads_slowly_has_as_long_as_it_moves(scripts: ScriptDir) -> None:
    tool = scripts.add("slow", "for _ in 1 2 3 4 5 6; do sleep 0.4; head -c 100000 >/dev/null; done; cat >/dev/null")
    run_writer([tool], stdin=b"x" * 700_000, timeout=1.5)


def test_no_zombie_stays(scripts: ScriptDir) -> None:
    record = scripts.path / "pid"
    tool = scripts.add("hung", f"echo $$ >{record}; exec sleep 1000")
    with pytest.raises(ToolHungError):
        run([tool], timeout=1)
    assert not Path(f"/proc/{record.read_text().strip()}").exists()


def test_tools_are_found_behind_our_own_shims(tmp_path: Path) -> None:
    ours, go, real = (ScriptDir(tmp_path / name) for name in ("ours", "go", "real"))
    (ours.path / "xclip").write_bytes(stub.render("/usr/bin/python3", "/home/me/lib"))
    (ours.path / "xclip").chmod(0o755)
    go.add("nssh", "exit 1")
    (go.path / "xclip").symlink_to("nssh")
    wanted = real.add("xclip", "exit 0")
    (tmp_path / "directory" / "xclip").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "xclip").write_text("not executable")
    path = [str(tmp_path / name) for name in ("directory", "plain", "absent", "ours", "go", "real")]
    assert find_tool("xclip", {"PATH": ":".join(path)}) == wanted
    assert find_tool("xclip", {"PATH": ":".join(path[:-1])}) is None
    assert find_tool(str(ours.path / "xclip"), {}) is None
    assert find_tool(wanted, {}) == wanted


def test_relative_directories_of_the_path_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptDir(tmp_path / "bin").add("xclip", "exit 0")
    monkeypatch.chdir(tmp_path / "bin")
    assert find_tool("xclip", {"PATH": ":.:../bin"}) is None
