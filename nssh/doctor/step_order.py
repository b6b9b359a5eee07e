"""Lists the doctor's steps in order, with the steps that each needs. Their names are part of `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.doctor import check_bus, check_laptop, check_login, check_loop, check_remote, check_sessions
from nssh.doctor.step_runner import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.doctor.step_runner import Examination

_LAPTOP = (
    Step("config", (), check_laptop.configuration),
    Step("state", (), check_laptop.state_directory),
    Step("clipboard", ("config",), check_laptop.clipboard),
    Step("browser", ("config",), check_laptop.browser),
    Step("ssh", ("config",), check_laptop.ssh),
    Step("target", ("ssh",), check_laptop.target),
    Step("records", ("state",), check_sessions.stale),
    Step("sessions", ("state", "target"), check_sessions.live),
)

_REMOTE = (
    Step("login", ("target",), check_login.login),
    Step("round-trip", ("login",), check_login.round_trip),
    Step("shell", ("login",), check_remote.shell),
    Step("forwarding", ("shell",), check_login.forwarding),
    Step("clock", ("shell",), check_remote.clock),
    Step("mosh", ("shell",), check_remote.mosh),
    Step("python", ("shell",), check_remote.python),
    Step("desktop", ("python",), check_remote.desktop),
    Step("nssh", ("python",), check_remote.nssh),
    Step("path-login", ("nssh",), check_remote.path("login", "as a login")),
    Step("path-interactive", ("path-login",), check_remote.path("interactive", "in a window")),
    Step("path-command", ("nssh",), check_remote.path("command", "for a command given to ssh")),
    Step("remote-state", ("python",), check_remote.state),
    Step("session-file", ("python",), check_remote.session_file),
)


def _around(server: str) -> tuple[Step, ...]:
    """Return the steps of the bus and the shims, which differ between the relay and an ntfy server."""
    over_ssh = server == "relay"
    reached = ("nssh", "remote-state") if over_ssh else ("config",)
    own = (Step("relay", ("python",), check_bus.relay),)
    others = (
        Step("bus-from-remote", ("bus", "python"), check_bus.from_remote),
        Step("bus-clock", ("bus",), check_bus.clock),
    )
    return (
        *(own if over_ssh else ()),
        Step("bus", reached, check_bus.reach),
        *(() if over_ssh else others),
        Step("subscribe", ("bus",), check_bus.subscribe),
        Step("publish", ("subscribe",), check_bus.publish),
        Step("attachment", ("publish",), check_bus.attachment),
        Step(
            "shims",
            ("publish", "nssh", "remote-state", *(() if over_ssh else ("bus-from-remote",))),
            check_loop.session,
        ),
        Step("open", ("shims",), check_loop.url),
        Step("copy", ("shims", "attachment"), check_loop.copy),
        Step("paste", ("shims", "attachment"), check_loop.paste),
    )


def steps(exam: Examination) -> Iterator[Step]:
    """Yield the steps in order. Those around the bus depend on the configuration, which an earlier step reads."""
    yield from _LAPTOP
    yield from _REMOTE
    yield from _around(exam.config.server)
