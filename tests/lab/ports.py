"""Ports that are free, and stay so until a test takes them."""

from __future__ import annotations

import contextlib
import random
import socket

# Below what the kernel gives to outgoing connections (32768 and more on Linux, 49152 elsewhere), and below our sshds: a
# port that the kernel chose and that was closed again may be another process's before it is used.
_PORTS = range(10_000, 20_000)
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port on which nobody listens on 127.0.0.1 or ::1, another one each time."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"every port from {_PORTS.start} to {_PORTS.stop} is taken")


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)), contextlib.ExitStack() as other:
            if has_ipv6():
                other.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6))
            return True
    except OSError:
        return False


def has_ipv6() -> bool:
    """Say whether this machine has the loopback address ::1."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False
