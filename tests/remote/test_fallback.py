from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from nssh.remote import stub
from tests.remote.support import Home, Ran

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

_DISPLAY = "Error: Can't open display: {}\n"
_WAYLAND = "error: XDG_RUNTIME_DIR is invalid or not set in the environment.\nFailed to connect to a Wayland server\n"
_BROWSER = "Couldn't find a suitable web browser!\n"
_SELECTION = "xsel: Can't open display: {}\n: Inappropriate ioctl for device\n"
_NO_METHOD = "xdg-open: no method available for opening '{}'\n"

# What is not for the laptop, and how the real tool ends where there is no display: status, beginning of stderr.
NOT_OURS = [
    (["xclip"], 1, _DISPLAY.format("(null)")),
    (["xclip", "-o"], 1, _DISPLAY.format("(null)")),
    (["xclip", "-selection", "primary", "-i"], 1, _DISPLAY.format("(null)")),
    (["xclip", "-sel", "s", "-o"], 1, _DISPLAY.format("(null)")),
    (["xclip", "-sel", "c", "-display", ":1"], 1, _DISPLAY.format(":1")),
    (["xclip", "-sel", "c", "-o", "-version"], 0, "xclip version "),
    (["xclip", "-help"], 0, "Usage: xclip [OPTION] [FILE]...\n"),
    (["xclip", "-sel"], 1, _DISPLAY.format("(null)")),
    (["xsel"], 1, _SELECTION.format("(null)")),
    (["xsel", "-o"], 1, _SELECTION.format("(null)")),
    (["xsel", "-b", "-k"], 1, _SELECTION.format("(null)")),
    (["xsel", "--exchange"], 1, _SELECTION.format("(null)")),
    (["xsel", "-b", "--display", ":1"], 1, "xsel: Can't open display: :1\n: Connection refused\n"),
    (["xsel", "-b", "--nonsense"], 0, ""),
    (["xsel", "--version"], 0, ""),
    (["wl-copy", "-p", "x"], 1, _WAYLAND),
    (["wl-copy", "--primary"], 1, _WAYLAND),
    (["wl-copy", "--nonsense"], 1, "wl-copy: unrecognized option '--nonsense'\nUsage:\n"),
    (["wl-copy", "--p"], 1, "wl-copy: option '--p' is ambiguous; possibilities: '--primary' '--paste-once'\nUsage:\n"),
    (["wl-copy", "-t"], 1, "wl-copy: option requires an argument -- 't'\nUsage:\n"),
    (["wl-copy", "--clear=1"], 1, "wl-copy: option '--clear' doesn't allow an argument\nUsage:\n"),
    (["wl-copy", "--seat=x", "y"], 1, _WAYLAND),
    (["wl-paste", "-pn"], 1, _WAYLAND),
    (["wl-paste", "--watch", "cat"], 1, "wl-paste: the laptop's clipboard can't be watched from here"),
    (["wl-paste", "x"], 1, "Unexpected argument: x\nUsage:\n"),
    (["wl-paste", "--help"], 0, ""),
    (["xdg-open"], 1, ""),
    (["xdg-open", "--version"], 0, ""),
    (["xdg-open", "-x"], 1, "xdg-open: unexpected option '-x'\n"),
    (["xdg-open", "/etc/passwd"], 3, _NO_METHOD.format("/etc/passwd")),
    (["xdg-open", "/nowhere"], 2, "xdg-open: file '/nowhere' does not exist\n"),
    (["xdg-open", "file:///etc/passwd"], 3, _NO_METHOD.format("file:///etc/passwd")),
    (["xdg-open", "file:///nowhere"], 2, "xdg-open: file '/nowhere' does not exist\n"),
    (["xdg-open", "mailto:x@y.z"], 3, _NO_METHOD.format("mailto:x@y.z")),
    (["xdg-open", "javascript:alert(1)"], 3, _NO_METHOD.format("javascript:alert(1)")),
    (["xdg-open", "https:/x"], 3, _NO_METHOD.format("https:/x")),
    (["xdg-open", "https://x.y/", "https://x.y/"], 1, "xdg-open: unexpected argument 'https://x.y/'\n"),
    (["sensible-browser"], 1, _BROWSER),
    (["sensible-browser", "https://x.y/", "file.html"], 1, _BROWSER),
    (["x-www-browser", "--new-tab", "https://x.y/"], 1, _BROWSER),
    (["www-browser", "/etc/passwd"], 1, _BROWSER),
    (["nssh", "--help"], 0, ""),
    (["nssh", "help", "infect"], 0, ""),
    (["nssh", "--version"], 0, ""),
    (["nssh"], 2, "nssh: sessions start on your own machine; here there are copy"),
    (["nssh", "otherhost"], 2, "nssh: sessions start on your own machine; here there are copy"),
    (["nssh", "-v"], 2, "nssh: sessions start on your own machine; here there are copy"),
    (["nssh", "status", "--tail"], 2, "nssh: unknown option --tail; see nssh status --help"),
    (["nssh", "status", "devbox"], 2, "nssh: nssh status does not take devbox; see nssh status --help"),
    (["nssh", "infect", "devbox"], 2, "nssh: other hosts are infected from your own machine"),
    (["nssh", "sweep", "devbox"], 2, "nssh: other hosts are swept from your own machine"),
    (["nssh", "sweep", "--al"], 2, "nssh: unknown option --al; see nssh sweep --help"),
    (["nssh", "sweep", "--older", "soon"], 2, "nssh: --older: 'soon' is not a duration"),
    (["nssh", "sweep", "--older=0"], 2, "nssh: --older: 0 would choose all; --all does that; see nssh sweep --help"),
    (["nssh", "sweep", "--all", "--detached"], 2, "nssh: --all and --detached contradict each other"),
    (["nssh", "infect"], 2, "nssh: other hosts are infected from your own machine"),
]


@pytest.fixture(scope="module")
def installed() -> Iterator[Home]:
    with Home() as home:
        home.infect()
        home.connect()
        yield home


@pytest.fixture
def home(installed: Home) -> Iterator[Home]:
    yield installed
    for path in installed.real.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.mark.parametrize("argv", [argv for argv, _, _ in NOT_OURS], ids=" ".join)
def test_what_is_not_ours_goes_to_the_real_tool_as_it_is(argv: list[str], home: Home) -> None:
    home.real_tool(argv[0], 'printf "real"; for word; do printf "<%s>" "$word"; done; cat; exit 7')
    expected = b"real" + b"".join(b"<%s>" % word.encode() for word in argv[1:]) + b"input"
    assert home.run(*argv, stdin=b"input") == Ran(7, expected, "")


@pytest.mark.parametrize(("argv", "status", "said"), NOT_OURS, ids=[" ".join(argv) for argv, _, _ in NOT_OURS])
def test_without_a_real_tool_it_ends_as_that_does_without_a_display(
    argv: list[str], status: int, said: str, home: Home
) -> None:
    ran = home.run(*argv)
    assert (ran.status, ran.err[: len(said)]) == (status, said)
    if said:
        assert ran.out == b""
    else:
        assert ran.err == ""
        assert b"\n" in ran.out


def test_without_a_session_the_real_tool_gets_the_input_too() -> None:
    with Home() as home:
        home.infect()
        home.real_tool("xclip", "cat")
        ran = home.run("xclip", "-sel", "c", stdin=b"all of it", env={"DISPLAY": ":0"})
    assert ran == Ran(0, b"all of it", "")


def test_the_real_tool_dies_of_a_closed_pipe_as_always(home: Home) -> None:
    home.real_tool("xclip", "while echo line; do :; done")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([home.bin / "xclip"], env=home.env, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_a_shim_is_never_taken_for_the_real_tool(home: Home) -> None:
    (home.real / "copies").mkdir()
    shutil.copy(home.bin / "xclip", home.real / "copies/xclip")
    (home.real / "links").mkdir()
    (home.real / "links/xclip").symlink_to(home.bin / "xclip")
    (home.real / "directories/xclip").mkdir(parents=True)
    (home.real / "plain").mkdir()
    (home.real / "plain/xclip").write_text("not executable")
    (home.real / "dangling").mkdir()
    (home.real / "dangling/xclip").symlink_to("nowhere")
    directories = [str(home.real / name) for name in ("copies", "links", "directories", "plain", "dangling", "missing")]
    path = ":".join(["", *directories, home.env["PATH"], *directories])
    ran = home.run("xclip", "-o", env={"PATH": path})
    assert (ran.status, ran.out) == (1, b"")
    home.real_tool("xclip", "echo real")
    assert home.run("xclip", "-o", env={"PATH": path}) == Ran(0, b"real\n", "")


def test_an_older_stub_of_ours_is_recognised(home: Home) -> None:
    (home.real / "xclip").write_bytes(b"#!/bin/sh\n" + stub.MARKER + b"\necho never\n")
    (home.real / "xclip").chmod(0o755)
    assert home.run("xclip", "-o").status == 1


def test_a_real_tool_that_calls_us_back_is_no_endless_loop(home: Home) -> None:
    home.real_tool("xdg-open", f'echo round >&2; exec "{home.bin}/xdg-open" "$@"')
    ran = home.run("xdg-open", "mailto:x@y.z")
    assert ran.status == 4
    assert 1 < ran.err.count("round") < 20
    assert "in a circle" in ran.err.splitlines()[-1]


def test_a_real_tool_that_can_t_start_is_one_line(home: Home) -> None:
    path = home.real / "xclip"
    path.write_text("#!/nowhere/interpreter\n")
    path.chmod(0o755)
    assert home.run("xclip", "-o") == Ran(1, b"", f"xclip: can't start {path}: No such file or directory\n")
