"""The steps, in the order in which they depend on one another; their names are part of `--json` (docs/doctor.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.doctor import bus, laptop, login, loop, remote, sessions
from nssh.doctor.walk import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.doctor.walk import Walk

_LAPTOP = (
    Step("config", (), laptop.configuration),
    Step("state", (), laptop.state_directory),
    Step("clipboard", ("config",), laptop.clipboard),
    Step("browser", ("config",), laptop.browser),
    Step("ssh", ("config",), laptop.ssh),
    Step("target", ("ssh",), laptop.target),
    Step("records", ("state",), sessions.stale),
    Step("sessions", ("state", "target"), sessions.live),
)

_REMOTE = (
    Step("login", ("target",), login.login),
    Step("round-trip", ("login",), login.round_trip),
    Step("shell", ("login",), remote.shell),
    Step("forwarding", ("shell",), login.forwarding),
    Step("clock", ("shell",), remote.clock),
    Step("mosh", ("shell",), remote.mosh),
    Step("python", ("shell",), remote.python),
    Step("desktop", ("python",), remote.desktop),
    Step("nssh", ("python",), remote.nssh),
    Step("path-login", ("nssh",), remote.path("login", "as a login")),
    Step("path-interactive", ("path-login",), remote.path("interactive", "in a window")),
    Step("path-command", ("nssh",), remote.path("command", "for a command given to ssh")),
    Step("remote-state", ("python",), remote.state),
    Step("session-file", ("python",), remote.session_file),
)


def _around(server: str) -> tuple[Step, ...]:
    """Return the steps of the bus and of the loop, which depend on what the bus is."""
    over_ssh = server == "relay"
    reached = ("nssh", "remote-state") if over_ssh else ("config",)
    own = (Step("relay", ("python",), bus.relay),)
    others = (Step("bus-from-remote", ("bus", "python"), bus.from_remote), Step("bus-clock", ("bus",), bus.clock))
    return (
        *(own if over_ssh else ()),
        Step("bus", reached, bus.reach),
        *(() if over_ssh else others),
        Step("subscribe", ("bus",), bus.subscribe),
        Step("publish", ("subscribe",), bus.publish),
        Step("attachment", ("publish",), bus.attachment),
        Step("shims", ("publish", "nssh", "remote-state", *(() if over_ssh else ("bus-from-remote",))), loop.session),
        Step("open", ("shims",), loop.url),
        Step("copy", ("shims", "attachment"), loop.copy),
        Step("paste", ("shims", "attachment"), loop.paste),
    )


def steps(walk: Walk) -> Iterator[Step]:
    """Yield all of them; which bus it is, is known when its steps are reached."""
    yield from _LAPTOP
    yield from _REMOTE
    yield from _around(walk.config.server)
