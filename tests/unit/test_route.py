"""The way to the prompt: every combination of what was asked for and what there is."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import NsshError
from nssh.launch import route
from nssh.launch.route import Route
from nssh.ssh import argv

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=[True, False], ids=["mosh", "no mosh"])
def has_mosh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bool:
    """A PATH with or without mosh-client."""
    monkeypatch.setenv("PATH", f"/nonexistent:{tmp_path}")
    if request.param:
        (tmp_path / "mosh-client").touch(mode=0o755)
    else:
        (tmp_path / "mosh-client").mkdir()  # what can't be run is none
    return bool(request.param)


@pytest.mark.parametrize(
    ("wrapped", "proxied", "on_terminal", "login_first"), list(itertools.product([True, False], repeat=4))
)
@pytest.mark.parametrize("command", [[], ["uptime"]])
@pytest.mark.parametrize("mode", [[], ["--ssh"], ["--mosh"]])
def test_the_way(
    mode: list[str], command: list[str], *, has_mosh: bool, wrapped: bool, proxied: bool, on_terminal: bool,
    login_first: bool,
) -> None:  # fmt: skip
    wish = argv.parse_connect([*mode, "devbox", *command])
    wanted = mode == ["--mosh"] or not (mode or command)
    if wanted and wrapped:
        expected = Route(login_first=False, mosh=True, wrapper=True, why="config.toml names a command for it")
    elif mode == ["--mosh"] and not has_mosh:
        with pytest.raises(NsshError, match="mosh-client is not on this machine's PATH"):
            route.choose_route(wish, wrapped=wrapped, proxied=proxied, on_terminal=on_terminal, login_first=login_first)
        return
    elif mode:
        mosh = mode == ["--mosh"]
        expected = Route(login_first=mosh or login_first, mosh=mosh, why=f"{mode[0]} was given")
    elif wanted and has_mosh and on_terminal and not proxied:
        expected = Route(login_first=True, mosh=True, why="both sides have it")
    else:
        why = (
            "a command was given" if command
            else "mosh is not on this machine" if not has_mosh
            else "a jump host is in the way" if proxied
            else "standard output is not a terminal"
        )  # fmt: skip
        expected = Route(login_first=login_first, mosh=False, why=why)
    chosen = route.choose_route(
        wish, wrapped=wrapped, proxied=proxied, on_terminal=on_terminal, login_first=login_first
    )
    assert chosen == expected


def test_a_command_that_mosh_can_not_be_given_is_refused_before_anything_is_started() -> None:
    wish = argv.parse_connect(["--mosh", "devbox", "echo\nid"])
    with pytest.raises(NsshError, match="newline"):
        route.choose_route(wish, wrapped=True, proxied=False, on_terminal=True, login_first=False)
