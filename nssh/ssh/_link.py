"""Make an authenticated paramiko transport to a host, through its jump hosts, checked against known_hosts."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import paramiko

from nssh.base.errors import ConnectError
from nssh.ssh import _dial, _keys, identity, known_hosts
from nssh.ssh._dial import UnsupportedError
from nssh.ssh._tokens import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.ssh.identity import Target
    from nssh.ssh.known_hosts import KnownKey

_KEEPALIVE = 15  # seconds
_KEEPALIVE_CHECK = 5.0  # seconds between checks for a due keepalive; paramiko's own 0.1 costs wake-ups
_MAX_HOPS = 8
_SSH_PORT = 22

# Options that only OpenSSH implements, and the values of `ssh -G` that mean the option is off.
_OPENSSH_ONLY = {
    "knownhostscommand": {"", "none"},
    "revokedhostkeys": {"", "none"},
    "verifyhostkeydns": {"", "no", "false"},
    "bindaddress": {"", "none"},
    "bindinterface": {"", "none"},
    "proxyusefdpass": {"", "no", "false"},
    "pubkeyauthentication": {"", "yes", "true", "unbound", "host-bound"},
}


class UnknownHostKeyError(ConnectError):
    """known_hosts has no key for the host; ssh itself may know one in ways that are not supported here."""


class Link:
    """A paramiko transport, with the sockets, processes and links to jump hosts that it depends on.

    Attributes:
        transport: The transport, logged in.
        method: Text that names the key which was accepted.
    """

    transport: paramiko.Transport

    def __init__(self, target: Target, deadline: float, *, through: Link | None = None, depth: int = 0) -> None:
        """Connect and log in; blocks until `deadline` at most.

        Args:
            target: The host to reach.
            deadline: By `time.monotonic`.
            through: A link to the jump host before this one; replaces the configured ProxyJump.
            depth: How many links depend on this one.

        Raises:
            UnsupportedError: The configuration needs OpenSSH itself.
            UnknownHostKeyError: known_hosts does not have the host.
            ConnectError: Any other failure, worded as ssh words it.
        """
        self._target = target
        self._deadline = deadline
        self._undo = contextlib.ExitStack()  # closes, in reverse order, everything that was opened
        self._root: socket.socket | None = None  # the local socket that all of this link's bytes pass through
        self.method = ""
        if depth > _MAX_HOPS:
            raise ConnectError(f"{target.destination}: more than {_MAX_HOPS} jump hosts, or a circle of them")
        for key, fine in _OPENSSH_ONLY.items():
            if target.first(key) not in fine:
                raise UnsupportedError(f"{target.destination}: {key} is for ssh alone")
        try:
            self._sock = self._connect(through, depth)
            self._handshake()
            self._authenticate()
        except BaseException:
            self.close()
            raise
        self.transport.set_keepalive(_KEEPALIVE)
        self._sock.settimeout(_KEEPALIVE_CHECK)

    def open_session(self, deadline: float) -> paramiko.Channel:
        """Open a session channel; raises what paramiko raises."""
        return self.transport.open_session(timeout=max(deadline - time.monotonic(), 0.01))

    def open_port(self, host: str, port: int, deadline: float) -> paramiko.Channel:
        """Open a channel to a TCP port, with `host` resolved on the remote; raises what paramiko raises."""
        remaining = max(deadline - time.monotonic(), 0.01)
        return self.transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=remaining)

    def close(self) -> None:
        """End the link and the links to its jump hosts; waits a second at most for each paramiko thread."""
        if self._root is not None:
            # First of all, because it wakes threads that are stuck in sending.
            _shut_down(self._root)
        self._undo.close()

    def _connect(self, through: Link | None, depth: int) -> socket.socket | paramiko.Channel:
        target = self._target
        if through is None and target.jump:
            through = self._jump(depth)
        if through is not None:
            self._root = through._root  # noqa: SLF001, one of us
            return self._channel(through)
        if target.proxied:
            sock, stop = _dial.proxy_command(target)
            self._undo.callback(stop)
        else:
            sock = _dial.tcp(target, self._deadline)
            self._undo.callback(sock.close)
        self._root = sock
        return sock

    def _jump(self, depth: int) -> Link:
        # As ssh does it: each hop has its own configuration and is reached through the hop before. Of the user's
        # options, only the configuration file (-F) applies to hops.
        target, link = self._target, None
        for destination, options in _dial.hops(target.jump):
            try:
                hop = identity.resolve(target.ssh, destination, (*_config_option(target.options), *options))
                link = Link(hop, self._deadline, through=link, depth=depth + 1)
            except ConnectError as error:
                raise type(error)(f"{target.destination}: jump host {error}", error.kind) from error
            self._undo.callback(link.close)
        if link is None:
            raise UnsupportedError(f"{target.destination}: ProxyJump names no host")
        return link

    def _channel(self, through: Link) -> paramiko.Channel:
        target = self._target
        try:
            channel = through.open_port(target.hostname, target.port, self._deadline)
        except paramiko.ChannelException as error:
            text = f"{target.destination}: the jump host can't reach {target.hostname} port {target.port}: {error.text}"
            raise ConnectError(text, "refused") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise ConnectError(f"{target.destination}: the jump host does not answer", "timeout") from error
        self._undo.callback(_close_quietly, channel.close)
        return channel

    def _remaining(self) -> float:
        return max(self._deadline - time.monotonic(), 0.01)

    def _handshake(self) -> None:
        target = self._target
        known = self._known_keys()
        try:
            sock = self._sock if isinstance(self._sock, socket.socket) else _ChannelSocket(self._sock)
            self.transport = paramiko.Transport(sock)  # type: ignore[arg-type]  # it uses send, recv, settimeout and close only
        except (paramiko.SSHException, OSError) as error:
            raise ConnectError(f"{target.destination}: {error}") from error
        transport = self.transport
        transport.daemon = True
        self._undo.callback(_end, transport)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = self._remaining()
        self._prefer_known_types(known)
        done = threading.Event()
        transport.start_client(event=done)
        if not done.wait(self._remaining()):
            raise ConnectError(f"{target.destination}: Connection timed out during the handshake", "timeout")
        failure = transport.get_exception()
        if failure is not None or not transport.is_active():
            self._raise_handshake_error(failure)
        self._check_host_key(known)

    def _raise_handshake_error(self, error: Exception | None) -> None:
        text = f"{self._target.destination}: {error or 'Connection closed by remote host'}"
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            raise UnsupportedError(text) from error
        if isinstance(error, TimeoutError) or (error and "timeout" in str(error).lower()):
            raise ConnectError(f"{self._target.destination}: Connection timed out", "timeout") from error
        if error is None or isinstance(error, EOFError) or "banner" in str(error):
            raise ConnectError(f"{self._target.destination}: Connection closed by remote host", "closed") from error
        raise ConnectError(text) from error

    @property
    def _name(self) -> str:
        """The name to look up in known_hosts."""
        target = self._target
        if target.host_key_alias:
            return target.host_key_alias
        return target.hostname if target.port == _SSH_PORT else f"[{target.hostname}]:{target.port}"

    def _known_keys(self) -> list[KnownKey]:
        target = self._target
        values = [*target.config.get("userknownhostsfile", []), *target.config.get("globalknownhostsfile", [])]
        files = [path for value in values for word in value.split() if (path := expand(word, target))]
        found = known_hosts.look_up(self._name, files)
        if not found and self._name.startswith("[") and not target.host_key_alias:
            # As ssh does: a key that is recorded for the name without the port is accepted.
            found = known_hosts.look_up(target.hostname, files)
        if any(key.marker for key in found):
            raise UnsupportedError(f"{target.destination}: known_hosts has a marked line, which is for ssh alone")
        return found

    def _prefer_known_types(self, known: Sequence[KnownKey]) -> None:
        """Prefer the key types that known_hosts has, as ssh does: a key of another type would count as unknown."""
        options = self.transport.get_security_options()
        possible = list(options.key_types)
        first: list[str] = []
        for key in known:
            names = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa") if key.kind == "ssh-rsa" else (key.kind,)
            first += [name for name in names if name in possible and name not in first]
        if first:
            options.key_types = (*first, *(name for name in possible if name not in first))

    def _check_host_key(self, known: Sequence[KnownKey]) -> None:
        key = self.transport.get_remote_server_key()
        kind, blob = key.get_name(), key.asbytes()
        if any(entry.blob == blob for entry in known):
            return
        target = self._target
        label = kind.removeprefix("ssh-").split("-")[0].upper()
        other = next((entry for entry in known if entry.kind == kind), None)
        if other is None:
            raise UnknownHostKeyError(
                f"{target.destination}: No {label} host key is known for {self._name}: Host key verification failed; "
                f"connect once with ssh to check and accept it",
                "hostkey",
            )
        text = (
            f"{target.destination}: Host key for {self._name} has changed and you have requested strict checking "
            f"(offending key in {other.file}:{other.line})"
        )
        if target.first("stricthostkeychecking") in {"no", "off", "false"}:
            raise UnsupportedError(text, "hostkey")  # the user has told ssh to connect all the same: leave it to ssh
        raise ConnectError(text, "hostkey")

    def _authenticate(self) -> None:
        target, transport = self._target, self.transport
        refused: Exception | None = None
        with _keys.offered(target, self._deadline) as keys:
            for key in keys:
                transport.auth_timeout = self._remaining()
                try:
                    if not transport.auth_publickey(target.user, key):
                        self.method = _keys.describe(key)
                        return
                except paramiko.AuthenticationException as error:
                    refused = error
                except (paramiko.SSHException, OSError, EOFError) as error:
                    refused = error
                    if not transport.is_active():
                        break
                if time.monotonic() > self._deadline:
                    raise ConnectError(f"{target.destination}: Connection timed out while logging in", "timeout")
        allowed = f" ({','.join(refused.allowed_types)})" if isinstance(refused, paramiko.BadAuthenticationType) else ""
        raise ConnectError(f"{target.destination}: Permission denied{allowed}", "auth") from refused


class _ChannelSocket:
    """A channel to a jump host, as the socket of the next transport, whose thread must not fail when it closes it."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self.send = channel.send
        self.recv = channel.recv
        self.settimeout = channel.settimeout
        self.getpeername = channel.getpeername

    @property
    def _closed(self) -> bool:
        return self._channel.closed

    def close(self) -> None:
        """Close the channel, also where the connection is gone and the peer can't be told."""
        _close_quietly(self._channel.close)


def _close_quietly(close: Callable[[], object]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the connection is gone already
        close()


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # not connected any more
        sock.shutdown(socket.SHUT_RDWR)


def _end(transport: paramiko.Transport) -> None:
    _close_quietly(transport.close)
    if transport.is_alive():
        transport.join(1.0)


def _config_option(options: Sequence[str]) -> tuple[str, ...]:
    """Return `-F` and its file from ssh's options; empty without it."""
    for index, word in enumerate(options):
        if word == "-F" and index + 1 < len(options):
            return ("-F", options[index + 1])
        if word.startswith("-F") and len(word) > 2:
            return (word,)
    return ()
