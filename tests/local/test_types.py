"""What can be had of a clipboard that offers other types than the one asked for, and what is never handed out."""

from __future__ import annotations

import io
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from nssh.base.errors import ToolError
from nssh.local.clipboard import MemoryClipboard
from nssh.local.clipboard_base import MARKED_SECRET, OfferingClipboard, convert, image_file
from nssh.local.clipboard_content import ClipboardEmpty, Content, SensitiveError, check_uris
from nssh.local.clipboard_x11 import XclipClipboard
from nssh.local.image_conversion import FORMATS, MAX_PIXELS
from nssh.wire import mimes
from tests.lab.system import require
from tests.lab.x11 import xvfb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, (200, 30, 30, 128)[: len(mode)]).save(out, kind)
    return out.getvalue()


def look(data: bytes) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(data)) as image:
        return image.format, image.size


class Offers(OfferingClipboard):
    """A fake: a dictionary in place of a display."""

    name = "fake"
    read_timeout = 60.0

    def __init__(self, **offers: bytes) -> None:
        self.offers = {name.replace("__", "/").replace("_", "-"): data for name, data in offers.items()}

    def _offered(self, _deadline: float) -> list[str]:
        return list(self.offers)

    def _get(self, name: str, _deadline: float, limit: int, _progress: Callable[[], None] | None) -> Content:
        assert len(self.offers[name]) <= limit
        return Content(self.offers[name])

    def _replace(self, mime: str, data: Content) -> None:
        raise NotImplementedError


def offers(**others: bytes) -> Offers:
    return Offers(**others)


def test_what_is_asked_for_comes_as_it_is() -> None:
    clipboard = offers(text__html=b"<b>", image__jpeg=picture("JPEG"))
    clipboard.offers["UTF8_STRING"] = "ü".encode()
    assert clipboard.fetch("text/plain;charset=utf-8")[1].read_all() == "ü".encode()
    assert clipboard.read("TEXT/HTML") == b"<b>"
    assert clipboard.read("image/jpeg") == clipboard.offers["image/jpeg"]
    assert clipboard.targets() == ["text/plain", "image/png", "text/html", "image/jpeg"]


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("wanted", ["image/png", "image/jpeg"])
def test_an_image_of_another_type_is_converted(kind: str, wanted: str) -> None:
    name = f"image/{kind.lower()}"
    clipboard = offers()
    clipboard.offers[name] = picture(kind)
    assert "image/png" in clipboard.targets()
    data = clipboard.read(wanted)
    assert look(data) == (FORMATS[wanted], (8, 6))
    if name == wanted:
        assert data == clipboard.offers[name], "what needs no conversion is not touched"


def test_so_it_is_where_the_clipboard_is_in_memory() -> None:
    clipboard = MemoryClipboard()
    clipboard.write("image/jpeg", picture("JPEG"))
    assert clipboard.targets() == ["image/png", "image/jpeg"]
    assert look(clipboard.read("image/png")) == ("PNG", (8, 6))
    assert clipboard.fetch(mimes.ANY_IMAGE)[0] == "image/jpeg"
    with pytest.raises(ClipboardEmpty):
        clipboard.read("text/plain")


def test_transparency_becomes_white_in_a_jpeg() -> None:
    data = convert(Content(picture(mode="RGBA")), "image/jpeg", 1 << 20).read_all()
    with Image.open(io.BytesIO(data)) as image:
        pixel = image.convert("RGB").getpixel((4, 3))
        assert isinstance(pixel, tuple)
        assert min(pixel) > 120


def test_a_photo_is_turned_upright() -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (8, 6)).save(out, "JPEG", exif=exif)
    assert look(convert(Content(out.getvalue()), "image/png", 1 << 20).read_all()) == ("PNG", (6, 8))


def test_a_decompression_bomb_is_refused() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    bomb = picture("PNG", (side, side), "L")
    assert len(bomb) < 1 << 20
    with pytest.raises(ToolError, match="too many to convert"):
        convert(Content(bomb), "image/jpeg", 64 << 20)


@pytest.mark.parametrize(
    "data", [b"", b"no image", picture()[:40], b"\xff\xd8\xff" + bytes(500), b"GIF89a" + bytes(100)]
)
def test_what_is_no_image_is_one_line(data: bytes) -> None:
    with pytest.raises(ToolError, match=r"no image/jpeg can be made of the image") as caught:
        convert(Content(data), "image/jpeg", 1 << 20)
    assert "\n" not in str(caught.value)


def test_what_the_libraries_say_above_it_is_left_out() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 6)).save(out, "TIFF", compression="tiff_lzw")
    broken = bytearray(out.getvalue())
    broken[8:16] = b"\xff" * 8  # libtiff says what it thinks of that
    with pytest.raises(ToolError) as caught:
        convert(Content(bytes(broken)), "image/png", 1 << 20)
    assert str(caught.value) == "no image/png can be made of the image: the image can't be read (OSError)"


def test_what_comes_out_too_large_is_refused() -> None:
    noise = Image.frombytes("RGB", (200, 200), os.urandom(120_000))
    out = io.BytesIO()
    noise.save(out, "JPEG")
    with pytest.raises(ToolError, match="more than 1000 bytes"):
        convert(Content(out.getvalue()), "image/png", 1000)


@pytest.mark.parametrize(
    ("name", "before"),
    [("text/uri-list", b""), ("x-special/gnome-copied-files", b"copy\n"), ("application/x-kde4-urilist", b"")],
)
def test_a_copied_image_file_is_had_as_its_bytes(tmp_path: Path, name: str, before: bytes) -> None:
    path = tmp_path / "screen shot é.jpg"
    path.write_bytes(picture("JPEG"))
    clipboard = offers(text__plain=os.fsencode(path))
    clipboard.offers[name] = before + path.as_uri().encode() + b"\r\n"
    assert {"image/jpeg", "image/png"} <= set(clipboard.targets())
    assert clipboard.read("image/jpeg") == path.read_bytes()
    assert look(clipboard.read("image/png"))[0] == "PNG"
    assert clipboard.fetch(mimes.ANY_IMAGE)[0] == "image/jpeg"
    assert clipboard.fetch(mimes.ANYTHING)[0] == "text/plain"


def test_a_copied_file_that_is_no_image_is_not_had(tmp_path: Path) -> None:
    secret = tmp_path / "id_ed25519"
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    fifo = tmp_path / "fifo.png"
    os.mkfifo(fifo)
    for uri in (secret.as_uri(), fifo.as_uri(), tmp_path.as_uri(), "file:///nowhere.png", "file://elsewhere/x.png",
                "http://x.y/a.png", "file:///%00.png", "file:relative.png", ""):  # fmt: skip
        clipboard = offers(text__uri_list=uri.encode())
        clipboard.offers = {"text/uri-list": uri.encode()}
        with pytest.raises(ClipboardEmpty):
            clipboard.read("image/png")
        assert clipboard.targets() == ["text/uri-list"]


def test_a_copied_image_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(picture() + bytes(2000))
    with pytest.raises(ToolError, match="larger than 1000 bytes"):
        image_file(os.fspath(path), 1000)


@pytest.mark.parametrize("marker", ["x-kde-passwordManagerHint", MARKED_SECRET])
def test_what_is_marked_as_a_password_is_not_handed_out(marker: str) -> None:
    clipboard = offers(text__plain=b"hunter2")
    clipboard.offers[marker] = b"secret"
    for use in (
        clipboard.targets,
        lambda: clipboard.read("text/plain"),
        lambda: clipboard.fetch(mimes.ANYTHING),
        lambda: clipboard.read("image/png"),
    ):
        with pytest.raises(SensitiveError) as caught:
            use()
        assert "hunter2" not in str(caught.value)
    if marker != MARKED_SECRET:
        clipboard.offers[marker] = b"public"
        assert clipboard.read("text/plain") == b"hunter2"


def test_a_password_that_is_copied_while_something_is_read_is_not_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clipboard = offers(text__plain=b"before")
    get = clipboard._get

    def copied_just_now(name: str, *others: Any) -> Content:
        clipboard.offers = {"text/plain": b"hunter2", MARKED_SECRET: b""}
        return get(name, *others)

    monkeypatch.setattr(clipboard, "_get", copied_just_now)
    with pytest.raises(SensitiveError):
        clipboard.read("text/plain")


def test_what_there_is_instead_is_told() -> None:
    for clipboard, others in ((offers(), []), (offers(text__plain=b"x"), ["text/plain"])):
        with pytest.raises(ClipboardEmpty) as caught:
            clipboard.read("image/png")
        assert caught.value.others == others


def test_text_in_other_encodings_comes_as_utf_8() -> None:
    clipboard = offers()
    clipboard.offers = {"STRING": b"\xfc", "text/html": "<b>ü".encode("utf-16")}
    assert clipboard.read("text/plain") == "ü".encode()
    assert clipboard.read("text/html") == "<b>ü".encode()


@pytest.mark.parametrize("uris", [b"http://x.y/\r\nhttps://z/", b"# file:///comment\r\nmailto:a@b.c", b""])
def test_a_list_of_addresses_may_be_put_there(uris: bytes) -> None:
    check_uris(Content(uris))


@pytest.mark.parametrize(
    "uris",
    [b"file:///etc/x", b"https://x/\r\n FILE:///x", b"https://x/\rfile:///x", b"/etc/x", b"trash:///x",
     b"x" * ((1 << 20) + 1)],
)  # fmt: skip
def test_a_list_of_files_may_not(uris: bytes) -> None:
    with pytest.raises(ToolError, match="not put on the clipboard"):
        check_uris(Content(uris))


@pytest.fixture(scope="module")
def display() -> Iterator[tuple[XclipClipboard, dict[str, str]]]:
    (xclip,) = require("xclip")
    with xvfb() as found:
        environ = {"PATH": os.environ["PATH"], **found}
        yield XclipClipboard(xclip, environ, read_timeout=60, write_timeout=60), environ


@pytest.mark.real
def test_on_a_real_display(display: tuple[XclipClipboard, dict[str, str]], tmp_path: Path) -> None:
    clipboard, environ = display

    def own(target: str, data: bytes) -> None:
        argv = ["xclip", "-selection", "clipboard", "-t", target]
        subprocess.run(argv, input=data, env=environ, stdout=subprocess.DEVNULL, check=True)
        while clipboard._offered(time.monotonic() + 60) != ["TARGETS", target]:
            pass

    own("image/bmp", picture("BMP"))
    assert look(clipboard.read("image/png")) == ("PNG", (8, 6))
    path = tmp_path / "copied.png"
    path.write_bytes(picture())
    own("x-special/gnome-copied-files", b"copy\n" + path.as_uri().encode())
    assert clipboard.read("image/png") == path.read_bytes()
    own("x-kde-passwordManagerHint", b"secret")
    with pytest.raises(SensitiveError):
        clipboard.read("text/plain")
