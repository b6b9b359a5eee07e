"""Offer paramiko the keys that ssh would offer, from the agent and from files, without asking for a passphrase."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.agent import AgentSSH

from nssh.ssh._tokens import expand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.ssh.identity import Target

# What loading a key can raise: unreadable, encrypted (TypeError or PasswordRequiredException), or of an unknown kind.
_UNUSABLE = (OSError, ValueError, TypeError, paramiko.SSHException, paramiko.pkey.UnknownKeyType, UnsupportedAlgorithm)


class Agent(AgentSSH):
    """A connection to an ssh-agent at any path; paramiko's own class only knows $SSH_AUTH_SOCK."""

    def __init__(self, path: str, deadline: float) -> None:
        """Connect to the agent at `path` and ask for its keys.

        Raises:
            OSError, paramiko.SSHException: No agent answers there.
        """
        super().__init__()
        self._sock = socket.socket(socket.AF_UNIX)
        try:
            self._sock.settimeout(max(deadline - time.monotonic(), 0.01))
            self._sock.connect(path)
            self._connect(self._sock)  # type: ignore[attr-defined]  # the stubs leave out what is private
        except BaseException:
            self._sock.close()
            raise

    def close(self) -> None:
        """Close the connection; the keys can't sign any more."""
        self._sock.close()


def agent_path(target: Target) -> str | None:
    """Return the socket path of the agent that ssh would ask (IdentityAgent, SSH_AUTH_SOCK), or None."""
    value = target.first("identityagent", "SSH_AUTH_SOCK")
    if value == "none":
        return None
    if value == "SSH_AUTH_SOCK":
        return os.environ.get(value)
    if value.startswith("$"):
        return os.environ.get(value[1:].strip("{}"))
    return expand(value, target)


@contextlib.contextmanager
def offered(target: Target, deadline: float) -> Iterator[Iterator[paramiko.PKey]]:
    """Yield the keys in ssh's order: configured ones that the agent has, the agent's others, then files.

    Left to ssh itself are keys that need a touch or a PIN (`sk-…`), and encrypted files that no agent has.
    """
    files = [path for value in target.config.get("identityfile", []) if (path := expand(value, target))]
    with contextlib.ExitStack() as stack:
        agent_keys: list[paramiko.PKey] = []
        path = agent_path(target)
        if path:
            with contextlib.suppress(OSError, paramiko.SSHException):  # ssh also goes on without its agent
                agent = Agent(path, deadline)
                stack.callback(agent.close)
                agent_keys = [key for key in agent.get_keys() if not key.get_name().startswith("sk-")]
        yield _in_order(target, files, agent_keys)


def _in_order(target: Target, files: list[str], agent_keys: list[paramiko.PKey]) -> Iterator[paramiko.PKey]:
    public = {file: blob for file in files if (blob := _public_blob(file)) is not None}
    wanted = list(public.values())
    configured = [key for blob in wanted for key in agent_keys if key.asbytes() == blob]
    yield from configured
    if target.first("identitiesonly", "no") not in {"yes", "true"}:
        yield from (key for key in agent_keys if key.asbytes() not in wanted)
    tried = {key.asbytes() for key in configured}
    for file in files:
        if public.get(file) in tried:
            continue
        try:
            key = paramiko.PKey.from_path(file)  # loads the certificate beside it, too
        except _UNUSABLE:
            continue
        for value in target.config.get("certificatefile", []):
            with contextlib.suppress(*_UNUSABLE):  # the certificate belongs to another key
                key.load_certificate(expand(value, target) or value)
        yield key


def _public_blob(file: str) -> bytes | None:
    try:
        return paramiko.pkey.PublicBlob.from_file(f"{file}.pub").key_blob
    except _UNUSABLE:
        return None


def describe(key: paramiko.PKey) -> str:
    """Return text that names a key by fingerprint and type, as `ssh-add -l` does, and says where it came from."""
    where = "of the agent" if isinstance(key, paramiko.AgentKey) else "from a file"
    return f"the key {key.fingerprint} ({key.get_name()}) {where}"
