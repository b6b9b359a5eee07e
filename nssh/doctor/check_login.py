"""Checks the login: which connection works, how it was authenticated, its round trip, and port forwarding."""

from __future__ import annotations

import os
import re
import shlex
import time
from typing import TYPE_CHECKING

from nssh.base import spawn
from nssh.base.errors import ConnectError
from nssh.base.printable import printable
from nssh.doctor.report import Result, failed, ok, warning
from nssh.ssh import control_path
from nssh.ssh.batch_connection import connection_options
from nssh.ssh.connect import connect
from nssh.ssh.control_connection import ControlConnection
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.doctor.step_runner import Examination
    from nssh.ssh.connection import Connection

_MASTER = 5.0  # seconds for a live session's connection to answer
_FAR = 1.0  # seconds: a longer round trip is a warning


def login(exam: Examination) -> Result:
    """Connect over a live session's connection, by paramiko or by OpenSSH, without asking the user anything."""
    dead = _over_live(exam)
    if isinstance(dead, Result):
        return dead
    started = time.monotonic()
    remember = os.path.join(files.state_dir(), "routes.json")
    kept = remember if os.path.exists(remember) else None  # the doctor creates no file of its own
    try:
        exam.connection = connect(
            exam.target, control_path=None, deadline=started + exam.options.timeout, remember=kept
        )
    except ConnectError as error:
        return failed(str(error), _advice(exam, error))
    seconds = time.monotonic() - started
    exam.undo.callback(exam.connection.close)
    how = _method(exam, exam.connection)
    if dead:
        return warning(
            f"{dead}; {how}", "nssh status says more; a session that roamed connects anew by itself", seconds
        )
    return ok(how, seconds)


def _over_live(exam: Examination) -> Result | str:
    """Take the connection of a live session. Otherwise return which one does not answer; empty if there is none."""
    dead = ""
    for pid, path in _masters(exam):
        connection = ControlConnection(exam.target, path)
        if not connection.alive():
            continue
        whose = f"session {pid}" if pid else "your own ControlPath"
        started = time.monotonic()
        try:
            connection.run("exit 0", timeout=_MASTER)
        except ConnectError:
            # The local ssh process answers, but the network connection does not: the laptop slept, or roamed.
            dead = f"the connection of {whose} does not answer"
            connection.close()
            continue
        exam.connection = connection
        exam.undo.callback(connection.close)
        return ok(f"over the connection of {whose}, which asks for nothing", time.monotonic() - started)
    return dead


def _masters(exam: Examination) -> list[tuple[int, str]]:
    found = [(record.pid, path) for record in exam.sessions for path in control_path.candidates(record.pid)]
    found.append((0, exam.target.control_path))
    return [(pid, path) for pid, path in found if path and os.path.exists(path)]


def _method(exam: Examination, connection: Connection) -> str:
    method = str(getattr(connection, "method", ""))
    if connection.name == "batch":
        method = _openssh_method(exam)
        return f"by OpenSSH itself, with {method or 'what it did not say'}"
    return f"by paramiko, with {method}"


def _openssh_method(exam: Examination) -> str:
    """Return how ssh authenticates. Only ssh's own log tells, so this takes another login."""
    options = ["BatchMode=yes", "ControlPath=none", "LogLevel=VERBOSE", "RemoteCommand=none"]
    options.append(f"ConnectTimeout={max(int(exam.options.timeout), 1)}")
    words = [word for option in options for word in ("-o", option)]
    argv = [*exam.target.ssh, "-T", *words, *connection_options(exam.target.options), "--", exam.host, "exit 0"]
    output = spawn.capture(argv, merge_stderr=True)[1].decode("utf-8", "replace")
    found = re.search(r'^Authenticated to .* using "([\w-]+)"', output, re.MULTILINE)
    return found[1] if found else ""


def _advice(exam: Examination, error: ConnectError) -> str:
    host, text = exam.words, str(error)
    if error.kind == "auth":
        if "password" in text or "keyboard-interactive" in text:
            return f"it needs a password or a second factor: start nssh {host} first, doctor then uses its connection"
        copy = shlex.join(["ssh-copy-id", *exam.options.ssh_options, exam.host])
        return f"give it your key ({copy}), or unlock the key (ssh-add), or start nssh {host} first"
    if error.kind == "hostkey":
        if "offending key" in text.lower():
            return "if the machine was installed anew: remove that line, connect with ssh, and compare the new key"
        return f"connect once with ssh {host}, and compare the key before you accept it"
    return {
        "resolve": "correct the name, or HostName in your ssh configuration",
        "refused": f"nothing listens on port {exam.target.port} there: is sshd running, is it the right port?",
        "unreachable": "check the network, the VPN, the jump host",
        "timeout": "check the network, the VPN, the firewall; --timeout gives it longer",
        "closed": "sshd there hangs up: its log says why (MaxStartups, a ban after failed logins)",
    }.get(error.kind, "")


def round_trip(exam: Examination) -> Result:
    """Measure the round trip of an empty command; the best of three."""
    times = []
    for _ in range(1 if exam.connection.name == "batch" else 3):
        started = time.monotonic()
        exam.connection.run("exit 0", timeout=exam.options.timeout)
        times.append(time.monotonic() - started)
    best = min(times)
    if exam.connection.name == "batch":
        return ok("a login for each command, which only OpenSSH can do here", best)
    text = "a command there and back"
    return ok(text, best) if best < _FAR else warning(f"{text}: everything takes as long, at least", "", best)


def forwarding(exam: Examination) -> Result:
    """Check port forwarding, which OAuth callbacks use, by a channel to sshd's own port."""
    address = exam.said.get("address", "").split()
    if (
        len(address) != 4
        or not re.fullmatch("[0-9]{1,5}", address[3])
        or not re.fullmatch(r"[0-9a-fA-F.:]+(%\w+)?", address[2])
    ):
        return warning("its sshd does not tell where it listens: not tried")
    started = time.monotonic()
    try:
        stream = exam.connection.open_port(address[2], int(address[3]), timeout=exam.options.timeout)
    except ConnectError as error:
        if error.kind not in {"refused", "closed"}:
            raise
        return _no_forwarding(printable(str(error), 200))
    try:
        stream.settimeout(exam.options.timeout)
        banner = stream.recv(64)
    except OSError:
        banner = b""
    finally:
        stream.close()
    if not banner.startswith(b"SSH-"):
        return _no_forwarding("the channel ends at once")
    return ok("ssh leads to ports there: answers to logins (OAuth) take that way", time.monotonic() - started)


def _no_forwarding(reason: str) -> Result:
    return warning(
        f"ssh leads to no port there ({reason}): answers to logins (OAuth) go through a command instead",
        "nothing need be done; AllowTcpForwarding yes in its sshd_config makes it quicker",
    )
