"""A remote with the Go program's shims: what the doctor says of it, on each bus, and that nothing of it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doctor.support import PATH_LINE, Report, doctor, one_wrong, wait_tidy
from tests.doctor.test_wrong_remote import without_python
from tests.lab.go_program import ON_THE_WIRE, VERSION, GoProgram
from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import ntfy

pytestmark = pytest.mark.real


@pytest.fixture
def remote() -> Iterator[Sshd]:
    with Sshd() as remote:
        for name in (".profile", ".bashrc"):
            remote.write_home(name, PATH_LINE)
        yield remote


def go(remote: Sshd, does: str = ON_THE_WIRE) -> GoProgram:
    return GoProgram(remote.home, does=does)


def well(laptop: Laptop) -> Report:
    report = doctor(laptop)
    assert (report.status, report.named("skipped"), report.limited - {"paste"}) == (0, [], set()), report.told()
    return report


def test_over_ntfy_all_is_well(remote: Sshd, ntfy_server: ntfy.NtfyServer) -> None:
    program = go(remote)
    laptop = Laptop(remote.client, f'server = "{ntfy_server.url}"')
    report = well(laptop)
    assert report.steps["nssh"]["text"] == f"Go's nssh {VERSION}, works over ntfy"
    assert "the Go program's xclip, xdg-open … come first" in report.text("path-login")
    assert program.calls[0] == "nssh --version"
    assert {call.partition(" ")[0] for call in program.calls[1:]} == {"xdg-open", "xclip", "wl-copy", "wl-paste"}
    assert "Go's nssh" not in report.text("desktop")
    wait_tidy(remote)


@pytest.mark.parametrize(
    ("config", "reason", "advice"),
    [
        ("", "which can't use the relay", 'nssh infect --force devbox, or set server = "https://…" in config.toml'),
        ('server = "{url}"\ntoken = "tk_abcdefghijklmnopqrstuvwxyz012"', "which can't log in to an ntfy server",
         "nssh infect --force devbox"),
    ],
    ids=["relay", "token"],
)  # fmt: skip
def test_where_they_can_not_reach_the_bus_it_says_what_to_do(
    remote: Sshd, ntfy_server: ntfy.NtfyServer, config: str, reason: str, advice: str
) -> None:
    program = go(remote)
    laptop = Laptop(remote.client, config.replace("{url}", ntfy_server.url))
    report = doctor(laptop)
    assert "nssh" in report.named("failed")
    assert set(report.named("failed")) <= {"nssh", "subscribe"}, report.told()
    assert report.steps["nssh"]["text"] == f"Go's nssh {VERSION} is there, {reason}"
    assert report.steps["nssh"]["advice"].partition(" in config")[0] == advice.partition(" in config")[0]
    assert program.calls == ["nssh --version"]
    wait_tidy(remote)


def test_a_read_that_misses_its_answer_is_tried_again_and_told(remote: Sshd, ntfy_server: ntfy.NtfyServer) -> None:
    """As the Go program's reads do now and then; its stand-in's, too, so the misses are counted there."""
    missed = remote.home / "missed"
    go(
        remote,
        f'case "$name $*" in "wl-paste "*) [ -s {missed} ] || {{ echo >>{missed}; exit 1; }} ;; esac\n'
        f"({ON_THE_WIRE}) || {{ status=$?; echo >>{missed}; exit $status; }}",
    )
    report = well(Laptop(remote.client, f'server = "{ntfy_server.url}"'))
    assert report.steps["paste"]["state"] == "warning"
    times = missed.read_text().count("\n")
    assert times >= 1
    assert f"reads without an answer before: {times} " in report.text("paste")


def test_shims_that_do_nothing_are_wrong(remote: Sshd, ntfy_server: ntfy.NtfyServer) -> None:
    go(remote, "echo broken >&2; exit 1")
    report = doctor(Laptop(remote.client, f'server = "{ntfy_server.url}"'))
    assert report.named("failed") == ["open", "copy", "paste"]
    assert "xdg-open ended with status 1: broken" in report.text("open")


def test_without_python_nothing_is_wrong_for_them(ntfy_server: ntfy.NtfyServer) -> None:
    network = without_python()
    with Sshd() as healthy:
        go(healthy)
        with Sshd(client=healthy.client, network=network, env={"PATH": "/usr/bin:/bin"}) as bare:  # type: ignore[arg-type]
            go(bare)
            report = doctor(Laptop(healthy.client, f'server = "{ntfy_server.url}"'))
            assert report.named("failed") == [], report.told()
            assert "there is no python3; Go's nssh is there, which needs none" in report.text("python")
            one_wrong(Laptop(healthy.client), "python")
