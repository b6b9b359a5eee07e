"""`[clipboard] copy` and `paste`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import ToolError
from nssh.config.settings import ClipboardConfig
from nssh.local.clipboard import ClipboardEmpty, MemoryClipboard, detect
from nssh.local.clipboard_commands import CommandClipboard
from nssh.wire import mimes
from tests.local.scripts import ScriptDir, calls

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\nrest"


@pytest.fixture
def scripts(tmp_path: Path) -> ScriptDir:
    return ScriptDir(tmp_path / "bin")


def clipboard(scripts: ScriptDir, copy: tuple[str, ...], paste: tuple[str, ...]) -> CommandClipboard:
    environ = {"PATH": f"{scripts.path}:/usr/bin:/bin"}
    return CommandClipboard(copy, paste, MemoryClipboard(), environ, read_timeout=60, write_timeout=60)


@pytest.mark.parametrize("data", [b"text\r\n", PNG, b"$(touch pwned); `id` '\"\n", b"nul\0inside", b"x" * (8 << 20)])
def test_content_goes_by_stdin_and_stdout_alone(scripts: ScriptDir, tmp_path: Path, data: bytes) -> None:
    kept, asked = tmp_path / "kept", tmp_path / "asked"
    copied = scripts.recorder("copy", f'printf %s "$NSSH_CLIPBOARD_TYPE" >{asked}; cat >{kept}')
    scripts.add("paste", f"cat {kept}")
    both = clipboard(scripts, ("copy", "--to", "a b; c"), ("paste",))
    mime = "image/png" if data == PNG else "text/plain"
    both.write(mime, data)
    assert calls(copied) == [["--to", "a b; c"]]
    assert asked.read_text() == mime
    assert both.targets() == [mime]
    assert both.read(mime) == data
    assert both.fetch(mimes.ANYTHING)[0] == mime
    with pytest.raises(ClipboardEmpty) as caught:
        both.read("text/plain" if mime == "image/png" else "image/png")
    assert caught.value.others == [mime]


def test_where_one_is_missing_the_machine_s_own_serves(scripts: ScriptDir) -> None:
    scripts.add("paste", "printf pasted")
    only_paste = clipboard(scripts, (), ("paste",))
    only_paste.write("text/plain", b"kept in memory")
    assert only_paste.read("text/plain") == b"pasted"


def test_failures_are_one_line(scripts: ScriptDir) -> None:
    scripts.add("failing", "echo reason >&2; exit 3")
    scripts.add("silent", "exit 0")
    with pytest.raises(ToolError, match=r"failing failed \(status 3\): reason"):
        clipboard(scripts, ("failing",), ()).write("text/plain", b"x")
    with pytest.raises(ToolError, match="absent is not on the PATH"):
        clipboard(scripts, ("absent",), ()).write("text/plain", b"x")
    with pytest.raises(ClipboardEmpty):
        clipboard(scripts, (), ("silent",)).read("text/plain")
    with pytest.raises(ToolError, match="takes text and images"):
        clipboard(scripts, ("silent",), ()).write("x-special/gnome-copied-files", b"x")


def test_they_precede_what_the_machine_has() -> None:
    config = ClipboardConfig(copy=("true",), paste=("true",))
    assert detect({"DISPLAY": ":0", "PATH": os.environ["PATH"]}, config=config).name == "command"
    assert detect({}, config=ClipboardConfig()).name == "memory"
