from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from nssh.remote import stub
from tests.remote.support import Home, Ran

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_OURS = [
    ["xclip"],
    ["xclip", "-o"],
    ["xclip", "-selection", "primary", "-i"],
    ["xclip", "-sel", "s", "-o"],
    ["xclip", "-sel", "c", "-display", ":1"],
    ["xclip", "-version"],
    ["xclip", "-sel"],
    ["wl-copy", "-p", "x"],
    ["wl-copy", "--primary"],
    ["wl-copy", "--nonsense"],
    ["wl-copy", "-t"],
    ["wl-copy", "--seat=x", "y"],
    ["wl-paste", "-pn"],
    ["wl-paste", "--watch", "cat"],
    ["wl-paste", "--help"],
    ["xdg-open"],
    ["xdg-open", "--version"],
    ["xdg-open", "/etc/passwd"],
    ["xdg-open", "file:///etc/passwd"],
    ["xdg-open", "mailto:x@y.z"],
    ["xdg-open", "javascript:alert(1)"],
    ["xdg-open", "https:/x"],
    ["xdg-open", "https://x.y/", "https://x.y/"],
    ["sensible-browser"],
    ["sensible-browser", "https://x.y/", "file.html"],
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


@pytest.mark.parametrize("argv", NOT_OURS, ids=" ".join)
def test_what_is_not_ours_goes_to_the_real_tool_as_it_is(argv: list[str], home: Home) -> None:
    home.real_tool(argv[0], 'printf "real"; for word; do printf "<%s>" "$word"; done; cat; exit 7')
    expected = b"real" + b"".join(b"<%s>" % word.encode() for word in argv[1:]) + b"input"
    assert home.run(*argv, stdin=b"input") == Ran(7, expected, "")


@pytest.mark.parametrize("argv", NOT_OURS, ids=" ".join)
def test_without_a_real_tool_one_line_says_so(argv: list[str], home: Home) -> None:
    ran = home.run(*argv)
    assert (ran.status, ran.out) == (3 if argv[0] == "xdg-open" else 1, b"")
    assert ran.err.startswith(f"{argv[0]}: ")
    assert ran.err.count("\n") == 1


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
