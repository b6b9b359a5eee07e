"""How the bytes get to the host before ssh begins: TCP, a ProxyCommand, or a channel through jump hosts."""

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

_DEAD_AFTER = 45  # seconds without acknowledgement of what was sent, keepalives every 15 s included
_GRACE = 1.0


class UnsupportedError(ConnectError):
    """Only OpenSSH itself can do what the configuration asks for."""


def tcp(target: Target, deadline: float) -> socket.socket:
    """Connect to host and port.

    Raises:
        ConnectError: With the words of ssh for it.
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
    # A peer that went away without a word would otherwise be waited for a quarter of an hour.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER * 1000)


def proxy_command(target: Target) -> tuple[socket.socket, Callable[[], None]]:
    """Start a ProxyCommand; return our end of its stdin and stdout, and what ends it.

    paramiko's own ProxyCommand blocks in write and leaves a zombie, so a socket pair takes its place.

    Raises:
        UnsupportedError: The command has tokens only ssh knows, or names that a shell could take for more than a name.
        ConnectError: The shell can't be started.
    """
    value = target.first("proxycommand")
    command = expand(value, target)
    # Host and user come from whoever typed the destination, which may be a script that got it from elsewhere.
    if command is None or not all(re.fullmatch(r"[\w.:%@-]*", word) for word in (target.hostname, target.user)):
        raise UnsupportedError(f"{target.destination}: its ProxyCommand is for ssh alone")
    near, far = socket.socketpair()
    try:
        with far:
            process = subprocess.Popen(
                # As ssh does: by the user's shell, which `exec` makes the command itself.
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
    """Take ProxyJump's value apart: for each hop its destination and the options that say its port."""
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
