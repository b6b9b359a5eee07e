"""The clipboard of Windows against small scripts named as its tools: what is run and how; not what Windows does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import ToolError
from nssh.local.clipboard import ClipboardEmpty, detect
from nssh.local.clipboard_content import SensitiveError
from nssh.local.clipboard_wsl import WslClipboard
from tests.local.scripts import ScriptDir

if TYPE_CHECKING:
    from pathlib import Path

FAKE_POWERSHELL = """\
import base64, os, sys
store = os.environ["STORE"]
assert sys.argv[1:5] == ["-NoProfile", "-NonInteractive", "-STA", "-EncodedCommand"], sys.argv
script = base64.b64decode(sys.argv[5]).decode("utf-16-le")
def has(name): return os.path.exists(store + "/" + name)
def send(name): sys.stdout.buffer.write(open(store + "/" + name, "rb").read())
if "$names" in script:
    print(*[kind for kind, name in (("secret", "mark"), ("text/plain", "text"), ("image/png", "png")) if has(name)])
elif "Send($bytes)" in script and "GetFormats()" in script and has("new-mark"):
    sys.exit(3)
elif "CopyTo" in script:
    open(store + "/png", "wb").write(sys.stdin.buffer.read())
elif "GetDataPresent('PNG')" in script:
    send("png")
else:
    assert "GetText()" in script
    send("text")
"""
FAKE_CLIP = """\
import os, sys
data = sys.stdin.buffer.read()
assert data[:2] == b"\\xff\\xfe"
open(os.environ["STORE"] + "/text", "wb").write(data[2:].decode("utf-16-le").encode())
"""


class Windows:
    def __init__(self, path: Path) -> None:
        self.store = path / "store"
        self.store.mkdir()
        scripts = ScriptDir(path / "bin")
        clip, powershell = scripts.python("clip.exe", FAKE_CLIP), scripts.python("powershell.exe", FAKE_POWERSHELL)
        self.environ = {"PATH": f"{scripts.path}:/usr/bin:/bin", "STORE": str(self.store), "WSL_DISTRO_NAME": "Debian"}
        self.clipboard = WslClipboard(clip, powershell, self.environ, read_timeout=60, write_timeout=60)


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    return Windows(tmp_path)


def test_nothing_is_there_at_first(windows: Windows) -> None:
    assert windows.clipboard.targets() == []
    with pytest.raises(ClipboardEmpty):
        windows.clipboard.read("text/plain")


@pytest.mark.parametrize("text", ["x", "žluť 🦊\r\n\ttwo\n", "", "$(id) `x` ' \" -rf"])
def test_text_comes_back_as_it_was(windows: Windows, text: str) -> None:
    windows.clipboard.write("text/plain", text.encode())
    assert windows.clipboard.read("text/plain") == text.encode()


def test_an_image_comes_back_byte_for_byte(windows: Windows) -> None:
    image = b"\x89PNG\r\n\x1a\n" + os.urandom(4 << 20)
    windows.clipboard.write("image/png", image)
    assert windows.clipboard.targets() == ["image/png"]
    assert windows.clipboard.read("image/png") == image
    with pytest.raises(ToolError, match="text and PNG"):
        windows.clipboard.write("text/html", b"<b>")


def test_what_a_password_manager_copied_is_not_handed_out(windows: Windows) -> None:
    windows.clipboard.write("text/plain", b"hunter2")
    (windows.store / "mark").touch()
    with pytest.raises(SensitiveError):
        windows.clipboard.read("text/plain")


def test_nor_what_it_copied_after_the_types_were_asked_for(windows: Windows) -> None:
    windows.clipboard.write("text/plain", b"hunter2")
    (windows.store / "new-mark").touch()
    with pytest.raises(SensitiveError):
        windows.clipboard.read("text/plain")


def test_it_precedes_the_displays_that_windows_gives(windows: Windows) -> None:
    assert detect({**windows.environ, "WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}).name == "wsl"
    without = {**windows.environ, "PATH": "/nowhere"}
    found = detect(without)
    assert found.name == "memory"
    assert "clip.exe" in getattr(found, "reason", "")
