"""The clipboard of a laptop with a display, as the programs of the remote see it."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.lab.laptop import RemoteShell
from tests.lab.system import require
from tests.lab.tools import wait_until
from tests.lab.x11 import xvfb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.laptop import Laptop

pytestmark = pytest.mark.real


@pytest.fixture
def display(relay_laptop: Laptop) -> Iterator[dict[str, str]]:
    """A display that the laptop's session finds in its environment."""
    require("xclip")
    with xvfb() as environ:
        relay_laptop.env.update(environ)
        yield {"PATH": os.environ["PATH"], **environ}


def own(display: dict[str, str], target: str, data: bytes) -> None:
    """Copy as a program on the laptop would."""
    argv = ["xclip", "-selection", "clipboard", "-t", target]
    subprocess.run(argv, input=data, env=display, stdout=subprocess.DEVNULL, check=True)
    wait_until(lambda: target in owned(display, "TARGETS").decode().split(), f"{target} is there")


def owned(display: dict[str, str], target: str) -> bytes:
    argv = ["xclip", "-selection", "clipboard", "-o", "-t", target]
    return subprocess.run(argv, env=display, capture_output=True, check=False).stdout


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (12, 5), "teal").save(out, kind)
    return out.getvalue()


def test_what_the_remote_gets_of_it(relay_laptop: Laptop, display: dict[str, str], tmp_path: Path) -> None:
    with RemoteShell(relay_laptop) as shell:
        relay_laptop.wait_up()

        def run(command: str) -> tuple[int, bytes]:
            return shell.run(f"{{ {command}; }} 2>&1")

        assert run("wl-paste") == (1, b"No selection\n")
        assert run("xclip -sel c -o") == (1, b"Error: target STRING not available\n")

        own(display, "UTF8_STRING", "ü\r\n".encode())
        assert run("wl-paste -n") == (0, "ü\r\n".encode())
        assert run("xclip -sel c -o -t image/png") == (1, b"Error: target image/png not available\n")
        assert run("wl-paste -t image/png") == (1, b"No suitable type of content copied\n")

        own(display, "image/bmp", picture("BMP"))
        assert run("xclip -sel c -o -t TARGETS") == (0, b"TARGETS\nimage/png\nimage/bmp\n")
        status, data = run("wl-paste -t image/png")
        with Image.open(io.BytesIO(data)) as image:
            assert (status, image.format, image.size) == (0, "PNG", (12, 5))
        status, data = run("xclip -sel c -o -t image/jpeg")
        assert (status, data[:3]) == (0, b"\xff\xd8\xff")
        # No type asked for: as it is.
        assert run("wl-paste") == (0, picture("BMP"))

        path = tmp_path / "copied.png"
        path.write_bytes(picture("PNG"))
        own(display, "text/uri-list", path.as_uri().encode() + b"\r\n")
        assert run("xclip -sel c -o -t image/png") == (0, picture("PNG"))
        assert run("f=$(nssh paste --file) && stat -c %a $f && cat $f && rm $f") == (0, b"600\n" + picture("PNG"))
        assert run("wl-paste -n -t text/uri-list") == (0, path.as_uri().encode() + b"\r\n")

        own(display, "text/html", b"<b>x</b>")
        assert run("xclip -sel c -o -t text/html") == (0, b"<b>x</b>")

        own(display, "x-kde-passwordManagerHint", b"secret")
        said = b"the clipboard holds what a password manager marked as secret; it is not sent\n"
        assert run("xclip -sel c -o") == (1, b"xclip: " + said)
        assert run("wl-paste -l") == (1, b"wl-paste: " + said)
    assert "secret" not in "".join(log.read_text() for log in (relay_laptop.state / "logs").glob("*.err"))


def test_a_hostile_remote_can_t_read_a_picture_by_naming_it(
    relay_laptop: Laptop, display: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "private.png"
    path.write_bytes(picture("PNG"))
    own(display, "UTF8_STRING", b"before")
    with RemoteShell(relay_laptop) as shell:
        relay_laptop.wait_up()
        assert shell.run(f"printf {path.as_uri()} | xclip -sel c -t text/uri-list")[0] == 1
        # Without the shim's honesty, and under other names.
        envelope = '{"kind":"clip-write","mime":"%s","body":"%s"}'
        body = base64.b64encode(path.as_uri().encode()).decode()
        for mime in (
            "text/uri-list",
            "TEXT/URI-LIST;x=y",
            "x-special/gnome-copied-files",
            "application/x-kde4-urilist",
        ):
            message = envelope % (mime, body)
            script = (
                "import sys; sys.path.insert(0, sys.argv[1]); from nssh.wire.session_file import load;"
                "from nssh.wire.http import Client; s = load();"
                "print(Client(s.server).request('POST', '/' + s.topic, (), sys.argv[2].encode()).status)"
            )
            lib = "$(ls -d ~/.local/share/nssh/lib-* | tail -1)"
            assert shell.run(f"python3 -c \"{script}\" {lib} '{message}'") == (0, b"200\n")
        assert shell.run("xclip -sel c -o -t image/png 2>&1") == (1, b"Error: target image/png not available\n")
        assert shell.run("xclip -sel c -o") == (0, b"before")


def test_what_the_remote_copied_stays_when_the_session_is_over(relay_laptop: Laptop, display: dict[str, str]) -> None:
    with RemoteShell(relay_laptop) as shell:
        relay_laptop.wait_up()
        assert shell.run("printf 'for later' | wl-copy")[0] == 0
        wait_until(lambda: owned(display, "UTF8_STRING") == b"for later", "it is there")
    # Nothing of the session is left but the xclip that holds the text.
    wait_until(lambda: [one.name() for one in relay_laptop.processes()] == ["xclip"], "the session is over")
    assert owned(display, "UTF8_STRING") == b"for later"
    own(display, "image/png", picture("PNG"))  # which ends when somebody else copies


def test_a_command_that_reads_at_once_waits_for_the_laptop_that_ran_it(
    relay_laptop: Laptop, display: dict[str, str]
) -> None:
    own(display, "UTF8_STRING", b"copied before")
    for _ in range(5):
        done = relay_laptop.run("devbox", "$HOME/.local/bin/xclip -selection clipboard -o")
        assert (done.returncode, done.stdout) == (0, "copied before"), done.stderr


def test_limits_hold_in_either_direction(relay_laptop: Laptop, display: dict[str, str]) -> None:
    limits = '[clipboard]\ncopy_limit = "1 KiB"\npaste_limit = "2 KiB"\n'
    relay_laptop.config.write_text(relay_laptop.config.read_text() + limits)
    with RemoteShell(relay_laptop, "--ssh") as shell:
        relay_laptop.wait_up()
        own(display, "UTF8_STRING", b"x" * 2049)
        wait_until(
            lambda: shell.run("grep copy-limit=1024 ${XDG_STATE_HOME:-$HOME/.local/state}/nssh/session")[0] == 0,
            "the shims know",
        )
        assert shell.run("head -c 1025 /dev/zero | xclip -sel c 2>&1") == (
            1, b"xclip: the input is larger than 1 KiB, the most that can be sent\n"
        )  # fmt: skip
        status, said = shell.run("xclip -sel c -o 2>&1")
        assert (status, said) == (1, b"xclip: the laptop's clipboard holds more than 2 KiB, the most that it sends\n")
        own(display, "UTF8_STRING", b"y" * 2048)
        assert shell.run("xclip -sel c -o") == (0, b"y" * 2048)
        assert shell.run("head -c 1024 /dev/zero | xclip -sel c") == (0, b"")
