"""`nssh status` on a remote: which bus this account's programs speak to, since when, and whether a laptop answers."""

from __future__ import annotations

import os
import time

from nssh import __version__
from nssh.base.durations import format_gap
from nssh.remote import command_options, whole_nssh
from nssh.remote.failure import Failure, UseRealTool, printable
from nssh.remote.shim import NoSession, write_all
from nssh.wire.envelope import redact
from nssh.wire.files import state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim

_OPTIONS = {"json": "", "help": "h"}

ALIVE = "alive"
NO_LAPTOP = "no-laptop"
BUS_DOWN = "bus-down"
NO_SESSION = "no-session"
UNREADABLE = "unreadable"


class Status:
    """What there is to tell, with the fields of `--json` (docs/shims.md, "The commands of nssh on a remote")."""

    def __init__(self) -> None:
        self.state = NO_SESSION
        self.server = ""
        """`relay` or a URL without credentials; empty if it is not known."""
        self.since = 0.0
        """When the session file was written, seconds since the epoch; 0 if it is not known."""
        self.rtt = 0.0
        self.problem = ""


def run(shim: Shim, arguments: list[str]) -> int:
    """Run `nssh status`, and return its exit status. Raises UseRealTool where a whole nssh can tell more."""
    options = command_options.read("status", arguments, _OPTIONS)
    if options.words:
        raise command_options.wrong("status", "nssh status does not take %s" % options.words[0][:80])
    whole = whole_nssh.find()
    if "json" in options and whole:
        raise UseRealTool("")  # scripts on a machine that is a laptop, too, expect its sessions
    found = look(shim)
    write_all((_as_json(found) if "json" in options else _as_text(found)).encode("utf-8", "replace"))
    status = 0 if found.state == ALIVE else 1
    if whole:
        raise UseRealTool("", status)  # it tells the sessions that start here
    return status


def look(shim: Shim) -> Status:
    """Find out the status; blocks for some seconds at most."""
    found = Status()
    path = os.path.join(state_dir(shim.environ), "session")
    try:
        bus = shim.bus()
    except (NoSession, Failure) as error:
        found.problem = printable(str(error))
        if "connect" not in found.problem:
            found.state = UNREADABLE
            found.problem += ": connect again with `nssh <host>` from your laptop"
        return found
    found.server = _shown(bus.session.server, state_dir(shim.environ))
    try:
        found.since = os.stat(path).st_mtime
        time.localtime(found.since)
    except (OSError, ValueError, OverflowError):
        found.since = 0.0  # the topic is config.toml's; or a time that no calendar has
    from nssh.remote.ping import ping

    try:
        answered = ping(bus)
    except Failure as error:
        found.state, found.problem = BUS_DOWN, printable(str(error))
        return found
    if answered is None:
        found.state = NO_LAPTOP
        found.problem = "no laptop answers: connect with `nssh <host>` from yours, or wait for it to come back"
    else:
        found.state, found.rtt = ALIVE, answered
    return found


def _shown(server: str, state: str) -> str:
    """Return a server as it may be shown."""
    if server == "unix:" + os.path.join(state, "relay.sock"):
        return "relay"
    return server if server.startswith("unix:") else redact(server)


def _as_text(found: Status) -> str:
    if not found.server:
        return found.problem + "\n"
    where = "the relay on this machine" if found.server == "relay" else found.server
    lines = ["bus: " + where]
    if found.since:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.since))
        lines[0] += ", since %s (%s)" % (when, format_gap(time.time() - found.since))
    if found.state == ALIVE:
        lines.append("a laptop answers in %.0f ms" % (found.rtt * 1000))
    elif found.state == BUS_DOWN:
        lines.append("the bus is down: %s; `nssh doctor <host>` on your laptop says more" % found.problem)
    else:
        lines.append(found.problem)
    return "\n".join(lines) + "\n"


def _as_json(found: Status) -> str:
    import json

    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.since)) if found.since else ""
    fields = {
        "state": found.state,
        "alive": found.state == ALIVE,
        "server": found.server,
        "since": since,
        "uptime": max(0, round(time.time() - found.since)) if found.since else 0,
        "rtt": round(found.rtt, 4),
        "problem": found.problem,
        "version": __version__,
    }
    return json.dumps(fields, indent=2) + "\n"
