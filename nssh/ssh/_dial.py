"""Open the byte stream that ssh runs over: TCP or a ProxyCommand; and parse ProxyJump."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.ssh._tokens import expand

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.ssh.identity import Target

_DEAD_AFTER = 45  # seconds in which the peer acknowledged nothing, not even the keepalives that are sent every 15 s
_GRACE = 1.0  # seconds from SIGTERM to SIGKILL


class UnsupportedError(ConnectError):
    """The configuration asks for something that only OpenSSH itself can do."""


def tcp(target: Target, deadline: float) -> socket.socket:
    """Connect to the target's host and port, trying its addresses in order.

    Raises:
        ConnectError: The name does not resolve, or no address answers; the text is worded as ssh words it.
    """
    families = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
    family = families.get(target.first("addressfamily", "any"), socket.AF_UNSPEC)
    try:
        addresses = socket.getaddrinfo(target.hostname, target.port, family, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "bad name"
        text = f"{target.destination}: Could not resolve hostname {target.hostname}: {reason}"
        raise ConnectError(text, "resolve") from error
    failure: OSError = TimeoutError()
    for family_, kind, protocol, _, address in addresses:
        sock = socket.socket(family_, kind, protocol)
        try:
            sock.settimeout(max(deadline - time.monotonic(), 0.01))
            sock.connect(address)
            _tune(sock)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    where = f"{target.destination}: connect to host {target.hostname} port {target.port}"
    if isinstance(failure, TimeoutError):
        raise ConnectError(f"{where}: Connection timed out", "timeout") from failure
    kind_ = "refused" if isinstance(failure, ConnectionRefusedError) else "unreachable"
    raise ConnectError(f"{where}: {failure.strerror or failure}", kind_) from failure


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # By default the kernel waits a quarter of an hour for a peer that vanished.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER * 1000)


def proxy_command(target: Target) -> tuple[socket.socket, Callable[[], None]]:
    """Start the ProxyCommand; return our end of its stdin and stdout, and a function that ends the process.

    paramiko's own ProxyCommand is not used: it blocks in write, and leaves a zombie.

    Raises:
        UnsupportedError: The command has tokens that only ssh knows, or host or user have characters that a shell
            interprets.
        ConnectError: The shell can't be started.
    """
    value = target.first("proxycommand")
    command = expand(value, target)
    # The destination may come from a script that got it from a stranger, so host and user are checked.
    if command is None or not all(re.fullmatch(r"[\w.:%@-]*", word) for word in (target.hostname, target.user)):
        raise UnsupportedError(f"{target.destination}: its ProxyCommand is for ssh alone")
    near, far = socket.socketpair()
    try:
        with far:
            process = subprocess.Popen(
                # As ssh does it: the user's shell runs the command, and `exec` replaces the shell by it.
                [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}"],
                stdin=far.fileno(),
                stdout=far.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    except OSError as error:
        near.close()
        raise ConnectError(f"{target.destination}: the ProxyCommand can't be started: {error.strerror}") from error

    def stop() -> None:
        near.close()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    return near, stop


def hops(jump: str) -> list[tuple[str, tuple[str, ...]]]:
    """Parse ProxyJump's value; return for each hop its destination and the ssh options that set its port."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for item in jump.split(","):
        spec = item.strip().removeprefix("ssh://").rstrip("/")
        user, at, host = spec.rpartition("@")
        match = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?|([^:]+)(?::(\d+))?", host)
        if match is None:  # an IPv6 address without brackets
            found.append((spec, ()))
            continue
        name, port = match[1] or match[3], match[2] or match[4]
        found.append((f"{user}{at}{name}", ("-p", port) if port else ()))
    return found
