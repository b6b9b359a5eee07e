"""Notifications: the right tool, texts as arguments, and no harm where there is none."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nssh.local.desktop_notification import command, notify
from tests.lab import system

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '-e "do shell script \\"id\\"" <b>&amp;\n\x1b[2J$(id)'


def tool(directory: Path, name: str, body: str = "exit 0") -> str:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_linux_has_notify_send_and_its_markup_is_escaped(tmp_path: Path) -> None:
    path = tool(tmp_path, "notify-send")
    environ = {"PATH": str(tmp_path), "DISPLAY": ":1"}
    assert command("nssh", HOSTILE, environ, "linux") == [
        path, "--app-name=nssh", "--", "nssh",
        '-e "do shell script \\"id\\"" &lt;b&gt;&amp;amp;??[2J$(id)',
    ]  # fmt: skip


def test_macos_has_osascript_and_the_text_is_no_part_of_the_script(tmp_path: Path) -> None:
    path = tool(tmp_path, "osascript")
    argv = command("nssh", HOSTILE, {"PATH": str(tmp_path)}, "darwin")
    assert argv[0] == path
    assert argv[-3:] == ["--", "nssh", HOSTILE.replace("\n", "?").replace("\x1b", "?")]
    assert not any("id" in word for word in argv[:-3])


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_no_tool_is_no_notification(tmp_path: Path, platform: str) -> None:
    assert command("nssh", "text", {"PATH": str(tmp_path), "DISPLAY": ":1"}, platform) == []


def test_no_desktop_is_no_notification(tmp_path: Path) -> None:
    tool(tmp_path, "notify-send")
    assert command("nssh", "text", {"PATH": str(tmp_path)}, "linux") == []
    assert not notify("nssh", "text", {"PATH": str(tmp_path)})


@pytest.mark.skipif(sys.platform == "darwin", reason="its tool is another")
@pytest.mark.parametrize(("body", "taken"), [("exit 0", True), ("exit 1", False), ("kill -9 $$", False)])
def test_a_tool_is_run(tmp_path: Path, body: str, taken: bool) -> None:  # noqa: FBT001
    seen = tmp_path / "seen"
    tool(tmp_path, "notify-send", f'printf "%s\\n" "$@" > {seen}; {body}')
    assert notify("nssh", "port 8085", {"PATH": f"{tmp_path}:/usr/bin:/bin", "DISPLAY": ":1"}) is taken
    assert seen.read_text() == "--app-name=nssh\n--\nnssh\nport 8085\n"


@pytest.mark.real
def test_the_real_notify_send_takes_our_options() -> None:
    path = system.require("notify-send")[0]
    helped = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--app-name" in helped
