"""The macOS backend against small scripts named as its tools: what is run and how; not what AppleScript makes of it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from nssh.errors import ToolError
from nssh.local.clipboard import ClipboardEmpty, detect
from nssh.local.content import SIZE_LIMIT
from nssh.local.macos import MacClipboard
from tests.local.scripts import ScriptDir

if TYPE_CHECKING:
    from pathlib import Path

# Keeps one clipboard in $STORE; `clipboard info` and the two scripts are told apart by what only they contain.
FAKE_OSASCRIPT = """\
import json, os, stat, sys
store = os.environ["STORE"]
open(store + "/argv", "a").write(json.dumps(sys.argv[1:]) + "\\n")
png = store + "/png"
if sys.argv[1:] == ["-e", "clipboard info"]:
    kinds = ["«class PNGf», 3"] * os.path.exists(png)
    kinds += ["«class utf8», 4", "string, 4"] * os.path.exists(store + "/text")
    print(", ".join(kinds))
    sys.exit()
dash, path = sys.argv[1:]
script = sys.stdin.buffer.read().decode()
assert dash == "-" and stat.S_IMODE(os.stat(path).st_mode) == 0o600
if "to theFile" in script:
    if not os.path.exists(png):
        sys.exit("0:1: execution error: Can't make some data into the expected type. (-1700)")
    open(path, "wb").write(open(png, "rb").read())
else:
    assert "set the clipboard to (read" in script
    open(png, "wb").write(open(path, "rb").read())
"""


class Mac:
    def __init__(self, path: Path) -> None:
        self.store = path / "store"
        self.store.mkdir()
        self.temporary = path / "tmp"
        self.temporary.mkdir()
        self.scripts = ScriptDir(path / "bin")
        self.scripts.add("pbcopy", 'test "$LC_ALL" = en_US.UTF-8 || exit 9\ncat >$STORE/text')
        self.scripts.add("pbpaste", 'test "$LC_ALL" = en_US.UTF-8 || exit 9\ncat $STORE/text 2>/dev/null || true')
        self.scripts.python("osascript", FAKE_OSASCRIPT)
        self.environ = {"PATH": f"{self.scripts.path}:/usr/bin:/bin", "STORE": str(self.store), "LC_ALL": "C"}

    @property
    def clipboard(self) -> MacClipboard:
        tools = [str(self.scripts.path / name) for name in ("pbcopy", "pbpaste", "osascript")]
        return MacClipboard(tools[0], tools[1], tools[2], self.environ, read_timeout=60, write_timeout=60)


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    mac = Mac(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(mac.temporary))
    return mac


def test_nothing_is_there_at_first(mac: Mac) -> None:
    assert mac.clipboard.targets() == []
    for mime in ("text/plain", "image/png"):
        with pytest.raises(ClipboardEmpty, match=mime):
            mac.clipboard.read(mime)


def test_text_and_png_come_back_byte_for_byte(mac: Mac) -> None:
    text, image = "žluť 🦊\r\n".encode(), os.urandom(8 << 20)
    mac.clipboard.write("text/plain", text)
    mac.clipboard.write("image/png", image)
    assert mac.clipboard.targets() == ["text/plain", "image/png"]
    assert mac.clipboard.read("text/plain") == text
    assert mac.clipboard.read("image/png") == image


def test_no_data_is_in_an_argument_and_no_file_stays(mac: Mac) -> None:
    mac.clipboard.write("image/png", b"secret")
    assert mac.clipboard.read("image/png") == b"secret"
    assert "secret" not in (mac.store / "argv").read_text()
    assert list(mac.temporary.iterdir()) == []


def test_an_image_over_the_limit_is_refused(mac: Mac) -> None:
    (mac.store / "png").write_bytes(b"x" * (SIZE_LIMIT + 1))
    with pytest.raises(ToolError, match="20 MiB"):
        mac.clipboard.read("image/png")


def test_other_types_and_a_missing_osascript_are_one_line(mac: Mac) -> None:
    with pytest.raises(ToolError, match="text and PNG, not image/jpeg"):
        mac.clipboard.read("image/jpeg")
    (mac.scripts.path / "osascript").unlink()
    clipboard = detect(mac.environ, platform="darwin")
    assert clipboard.name == "macos"
    clipboard.write("text/plain", b"x")
    assert clipboard.targets() == ["text/plain"]
    with pytest.raises(ToolError, match="need osascript"):
        clipboard.write("image/png", b"x")


def test_a_failing_tool_is_one_line(mac: Mac) -> None:
    mac.scripts.add("osascript", "echo 'execution error: not allowed (-1743)' >&2; exit 1")
    with pytest.raises(ToolError, match=r"osascript failed \(status 1\): execution error: not allowed") as caught:
        mac.clipboard.read("image/png")
    assert not isinstance(caught.value, ClipboardEmpty)


def test_the_private_file_is_private_from_its_creation(mac: Mac) -> None:
    seen = mac.store / "mode"
    mac.scripts.add("osascript", f'stat -c %a "$2" >{seen}')
    old = os.umask(0)
    try:
        mac.clipboard.write("image/png", b"x")
    finally:
        os.umask(old)
    assert int(seen.read_text(), 8) == stat.S_IRUSR | stat.S_IWUSR
