"""Every backend that Linux has, against a real X server and a real Wayland compositor."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from nssh.base.errors import ToolError
from nssh.local.clipboard import Clipboard, ClipboardEmpty, MemoryClipboard, detect
from nssh.local.clipboard_wayland import WaylandClipboard
from nssh.local.clipboard_x11 import XclipClipboard, XselClipboard
from nssh.local.tool_runner import ToolHungError
from nssh.wire import CONTENT_LIMIT
from tests.lab.system import require
from tests.lab.x11 import stop, wayland, xvfb
from tests.local.scripts import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

UNICODE = "žluťoučký 日本語 🦊 e\u0301\r\n\ttab\n\n".encode()
BINARY = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3

BASE = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


class Place(NamedTuple):
    clipboard: Clipboard
    environ: dict[str, str]


@contextlib.contextmanager
def place_of(kind: str) -> Iterator[Place]:
    if kind == "memory":
        yield Place(MemoryClipboard(), {})
        return
    tools = {"xclip": ["xclip"], "xsel": ["xsel"], "wayland": ["wl-copy", "wl-paste"]}[kind]
    paths = require(*tools)
    with (wayland if kind == "wayland" else xvfb)() as display:
        environ = {**BASE, **display}
        if kind == "xclip":
            yield Place(XclipClipboard(paths[0], environ, read_timeout=60, write_timeout=60), environ)
        elif kind == "xsel":
            yield Place(XselClipboard(paths[0], environ, read_timeout=60, write_timeout=60), environ)
        else:
            yield Place(WaylandClipboard(paths[0], paths[1], environ, read_timeout=60, write_timeout=60), environ)


@pytest.fixture(params=["xclip", "xsel", "wayland", "memory"], scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A display for the tests that leave nothing behind but the clipboard's content."""
    with place_of(request.param) as place:
        yield place


@pytest.fixture
def clipboard(shared: Place) -> Clipboard:
    return shared.clipboard


@pytest.fixture(params=["xclip", "wayland", "memory"], scope="module")
def any_type(request: pytest.FixtureRequest) -> Iterator[Clipboard]:
    """One that takes more than text, as xsel does not."""
    with place_of(request.param) as place:
        yield place.clipboard


@pytest.mark.parametrize("kind", ["xclip", "xsel", "wayland", "memory"])
def test_nothing_is_there_at_first(kind: str) -> None:
    with place_of(kind) as place:
        assert place.clipboard.targets() == []
        for mime in ["text/plain"] if kind == "xsel" else ["text/plain", "image/png"]:
            with pytest.raises(ClipboardEmpty, match=mime):
                place.clipboard.read(mime)


@pytest.mark.parametrize("data", [b"x", b"hello world\n", UNICODE, b"-rf --help", b"\n"])
def test_text_comes_back_byte_for_byte(clipboard: Clipboard, data: bytes) -> None:
    clipboard.write("text/plain", data)
    assert clipboard.targets() == ["text/plain"]
    assert clipboard.read("text/plain") == data
    assert clipboard.read("text/plain;charset=utf-8") == data


def test_text_with_a_nul_comes_back_or_is_refused(clipboard: Clipboard) -> None:
    if clipboard.name == "xsel":
        with pytest.raises(ToolError, match="NUL"):
            clipboard.write("text/plain", b"nul\0inside")
    else:
        clipboard.write("text/plain", b"nul\0inside")
        assert clipboard.read("text/plain") == b"nul\0inside"


def test_megabytes_of_text_come_back(clipboard: Clipboard) -> None:
    data = (UNICODE * (8 << 20))[: 8 << 20].decode("utf-8", "ignore").encode()
    clipboard.write("text/plain", data)
    assert clipboard.read("text/plain") == data


def test_the_last_write_counts(clipboard: Clipboard) -> None:
    for number in range(20):
        clipboard.write("text/plain", b"%d" % number)
    assert clipboard.read("text/plain") == b"19"


@pytest.mark.parametrize("kind", ["xclip", "xsel"])
def test_a_write_right_after_another_wins_even_on_a_busy_machine(kind: str) -> None:
    """Without `_settle`, 2 (xclip) or 8 (xsel) of a hundred of these were lost."""

    def pairs(_: int) -> list[tuple[bytes, bytes]]:
        with place_of(kind) as place:
            seen = []
            for number in range(25):
                place.clipboard.write("text/plain", b"first %d" % number)
                place.clipboard.write("text/plain", b"second %d" % number)
                seen.append((place.clipboard.read("text/plain"), b"second %d" % number))
            return seen

    with ThreadPoolExecutor(6) as threads:
        for seen in threads.map(pairs, range(6)):
            assert [got for got, _ in seen] == [wanted for _, wanted in seen]


def test_empty_text(clipboard: Clipboard) -> None:
    clipboard.write("text/plain", b"before")
    clipboard.write("text/plain", b"")
    if clipboard.name == "xsel":  # it can't tell the two apart
        with pytest.raises(ClipboardEmpty):
            clipboard.read("text/plain")
    else:
        assert clipboard.read("text/plain") == b""


@pytest.mark.parametrize("size", [0, 8 << 20, CONTENT_LIMIT])
def test_an_image_comes_back_byte_for_byte(any_type: Clipboard, size: int) -> None:
    data = (BINARY + random.Random(size).randbytes(max(0, size - len(BINARY))))[: size or None]  # noqa: S311  not a secret
    any_type.write("image/png", data)
    assert any_type.targets() == ["image/png"]
    assert any_type.read("image/png") == data


def test_an_image_is_never_handed_out_as_text_nor_text_as_an_image(any_type: Clipboard) -> None:
    any_type.write("image/png", BINARY)
    with pytest.raises(ClipboardEmpty, match="text/plain"):
        any_type.read("text/plain")
    any_type.write("text/plain", b"text")
    with pytest.raises(ClipboardEmpty, match="image/png"):
        any_type.read("image/png")


def test_too_much_is_refused_in_both_directions(shared: Place) -> None:
    clipboard = shared.clipboard
    clipboard.write("text/plain", b"before")
    with pytest.raises(ToolError, match="limit is 64 MiB"):
        clipboard.write("text/plain", b"x" * (CONTENT_LIMIT + 1))
    assert clipboard.read("text/plain") == b"before"
    if clipboard.name == "memory":
        return
    command = ["wl-copy"] if clipboard.name == "wl-clipboard" else ["xclip", "-selection", "clipboard"]
    require(command[0])
    subprocess.run(command, input=b"x" * ((1 << 20) + 1), env=shared.environ, stdout=subprocess.DEVNULL, check=True)
    # xsel may run into its own trouble with so much first ("malloc error")
    with pytest.raises(ToolError, match="xsel" if clipboard.name == "xsel" else "more than 1048576 bytes"):
        clipboard.fetch("text/plain", 1 << 20)


@pytest.mark.parametrize(
    "mime", ["text/x-moz-url", "x-special/gnome-copied-files", "image/", "image/a b", "image/\n", "-i", "a/b"]
)
def test_types_that_are_not_bridged_are_refused(clipboard: Clipboard, mime: str) -> None:
    clipboard.write("text/plain", b"before")
    with pytest.raises(ToolError, match="takes text and images"):
        clipboard.write(mime, b"x")
    with pytest.raises(ToolError, match="takes text and images"):
        clipboard.read(mime)
    assert clipboard.read("text/plain") == b"before"


def test_xsel_says_that_images_need_xclip() -> None:
    with place_of("xsel") as place:
        for use in (lambda: place.clipboard.read("image/png"), lambda: place.clipboard.write("image/png", b"x")):
            with pytest.raises(ToolError, match="text only, not image/png; install xclip"):
                use()


@pytest.mark.parametrize("kind", ["xclip", "xsel", "wayland"])
def test_a_display_that_died_is_an_error_and_the_next_detection_finds_another(kind: str) -> None:
    with place_of(kind) as place:
        clipboard = place.clipboard
        clipboard.write("text/plain", b"x")
    for use in (clipboard.targets, lambda: clipboard.read("text/plain"), lambda: clipboard.write("text/plain", b"y")):
        with pytest.raises(ToolError) as caught:
            use()
        assert not isinstance(caught.value, ClipboardEmpty)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["xclip", "xsel"])
def test_an_owner_that_does_not_answer_is_waited_for_until_the_deadline(kind: str) -> None:
    path, owner = require(kind, "xclip")
    with xvfb() as display:
        environ = {**BASE, **display}
        backend = XclipClipboard if kind == "xclip" else XselClipboard
        patient = backend(path, environ, read_timeout=60)
        foreground = subprocess.Popen(
            [owner, "-selection", "clipboard", "-quiet"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
        try:
            assert foreground.stdin is not None
            foreground.stdin.write(b"x")
            foreground.stdin.close()
            wait_for(lambda: patient.targets() == ["text/plain"], "the owner is there")
            foreground.send_signal(19)  # SIGSTOP
            with pytest.raises(ToolHungError):
                backend(path, environ, read_timeout=0.5).read("text/plain")
        finally:
            foreground.kill()
            stop(foreground)


def test_a_question_that_an_owner_takes_with_it_when_it_is_replaced_is_asked_again() -> None:
    (xclip,) = require("xclip")
    with xvfb() as display, ThreadPoolExecutor(1) as reader:
        clipboard = XclipClipboard(xclip, {**BASE, **display}, read_timeout=30)
        clipboard.write("text/plain", b"before")
        (owner,) = clients(display["DISPLAY"], "-i")
        owner.suspend()
        try:
            answer = reader.submit(clipboard.read, "text/plain")
            wait_for(
                lambda: any(asleep(client) for client in clients(display["DISPLAY"], "TARGETS", "-o")),
                "the owner is asked",
            )
            clipboard.write("text/plain", b"after")
        finally:
            owner.kill()
        assert answer.result() == b"after"


def clients(display: str, *arguments: str) -> list[psutil.Process]:
    """Return the processes with these arguments on a display."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if set(arguments) <= set(process.cmdline()) and process.environ().get("DISPLAY") == display:
                found.append(process)
    return found


def asleep(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_SLEEPING
    return False


def test_xclip_reads_what_xsel_owns_whose_targets_are_no_mime_types() -> None:
    xclip, xsel = require("xclip", "xsel")
    with xvfb() as display:
        environ = {**BASE, **display}
        XselClipboard(xsel, environ).write("text/plain", UNICODE)
        reader = XclipClipboard(xclip, environ, read_timeout=60)
        assert reader.targets() == ["text/plain"]
        assert reader.read("text/plain") == UNICODE


def test_detection_prefers_wayland_then_xclip_then_xsel_then_memory() -> None:
    def which(*present: str) -> object:
        return lambda name, _environ: f"/bin/{name}" if name in present else None

    everything = which("wl-copy", "wl-paste", "xclip", "xsel", "pbcopy", "pbpaste", "osascript")
    both = {"DISPLAY": ":9", "WAYLAND_DISPLAY": "wayland-9"}

    def found(environ: dict[str, str], which: object, platform: str = "linux") -> str:
        assert callable(which)
        return detect(environ, which, platform).name

    assert found(both, everything) == "wl-clipboard"
    assert found(both, which("xclip", "wl-copy")) == "xclip"
    assert found({"DISPLAY": ":9"}, everything) == "xclip"
    assert found({"DISPLAY": ":9"}, which("xsel")) == "xsel"
    assert found({"DISPLAY": ""}, everything) == "memory"
    assert found({}, everything, "darwin") == "macos"
    assert found(both, which(), "darwin") == "memory"


def test_the_clipboard_in_memory_says_why_there_is_no_better_one() -> None:
    def reason(**environ: str) -> str:
        clipboard = detect(environ, lambda _name, _environ: None, "linux")
        assert isinstance(clipboard, MemoryClipboard)
        return clipboard.reason

    assert reason() == "neither WAYLAND_DISPLAY nor DISPLAY is set"
    assert "neither xclip nor xsel is installed" in reason(DISPLAY=":9")
    assert "wl-clipboard is not installed" in reason(WAYLAND_DISPLAY="w")
