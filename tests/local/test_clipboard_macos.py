"""The macOS backend against small scripts named as its tools: what is run and how; not what AppleScript makes of it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import ToolError
from nssh.local.clipboard import ClipboardEmpty, detect
from nssh.local.clipboard_content import SensitiveError
from nssh.local.clipboard_macos import MacClipboard
from tests.local.scripts import ScriptDir

if TYPE_CHECKING:
    from pathlib import Path

# A small fake of osascript: keeps one pasteboard in $STORE, a file a type. The three scripts are told apart by what
# only they contain; what JavaScript for Automation makes of them is not tested.
FAKE_OSASCRIPT = """\
import json, os, stat, sys
store = os.environ["STORE"]
open(store + "/argv", "a").write(json.dumps(sys.argv[1:]) + "\\n")
language, javascript, dash, *rest = sys.argv[1:]
assert [language, javascript, dash] == ["-l", "JavaScript", "-"]
script = sys.stdin.buffer.read().decode()
if ".types" in script:
    print("\\n".join(name for name in os.listdir(store) if "." in name))
    sys.exit()
kind, path = rest
assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
if "dataForType" in script:
    if os.path.exists(store + "/" + kind):
        open(path, "wb").write(open(store + "/" + kind, "rb").read())
        print("done")
    else:
        print("nothing")
else:
    assert "setDataForType" in script
    for name in os.listdir(store):
        if "." in name:
            os.unlink(store + "/" + name)
    open(store + "/" + kind, "wb").write(open(path, "rb").read())
    print("done")
"""


class Mac:
    def __init__(self, path: Path) -> None:
        self.store = path / "store"
        self.store.mkdir()
        self.temporary = path / "tmp"
        self.temporary.mkdir()
        self.scripts = ScriptDir(path / "bin")
        self.scripts.add(
            "pbcopy", 'test "$LC_ALL" = en_US.UTF-8 || exit 9\nrm -f $STORE/*.*; cat >$STORE/public.utf8-plain-text'
        )
        self.scripts.add(
            "pbpaste", 'test "$LC_ALL" = en_US.UTF-8 || exit 9\ncat $STORE/public.utf8-plain-text 2>/dev/null || true'
        )
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
    assert mac.clipboard.targets() == ["text/plain"]
    assert mac.clipboard.read("text/plain") == text
    mac.clipboard.write("image/png", image)
    assert mac.clipboard.targets() == ["image/png"]
    assert mac.clipboard.read("image/png") == image
    mac.clipboard.write("text/html", b"<b>x</b>")
    assert mac.clipboard.read("text/html") == b"<b>x</b>"


def test_no_data_is_in_an_argument_and_no_file_stays(mac: Mac) -> None:
    mac.clipboard.write("image/png", b"secret")
    assert mac.clipboard.read("image/png") == b"secret"
    assert "secret" not in (mac.store / "argv").read_text()
    assert list(mac.temporary.iterdir()) == []


def test_an_image_over_the_limit_is_refused(mac: Mac) -> None:
    (mac.store / "public.png").write_bytes(b"x" * 1025)
    with pytest.raises(ToolError, match="larger than 1 KiB"):
        mac.clipboard.fetch("image/png", 1024)


def test_other_types_and_a_missing_osascript_are_one_line(mac: Mac) -> None:
    with pytest.raises(ToolError, match="not bridged for image/svg"):
        mac.clipboard.write("image/svg+xml", b"<svg/>")
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
    mac.scripts.add("osascript", f'stat -c %a "$5" >{seen}; echo done')
    old = os.umask(0)
    try:
        mac.clipboard.write("image/png", b"x")
    finally:
        os.umask(old)
    assert int(seen.read_text(), 8) == stat.S_IRUSR | stat.S_IWUSR


def test_what_a_password_manager_copied_is_not_handed_out(mac: Mac) -> None:
    mac.clipboard.write("text/plain", b"hunter2")
    (mac.store / "org.nspasteboard.ConcealedType").write_bytes(b"")
    for use in (mac.clipboard.targets, lambda: mac.clipboard.read("text/plain")):
        with pytest.raises(SensitiveError, match="not sent"):
            use()


def test_a_file_copied_in_the_finder_is_had_as_an_image(mac: Mac, tmp_path: Path) -> None:
    picture = tmp_path / "a picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\nrest")
    (mac.store / "public.file-url").write_bytes(picture.as_uri().encode())
    (mac.store / "public.utf8-plain-text").write_bytes(b"a picture.png")
    assert mac.clipboard.targets() == ["text/plain", "image/png", "text/uri-list"]
    assert mac.clipboard.read("image/png") == picture.read_bytes()
