"""The laptop's side of the lab: a key, known_hosts and ssh_config of its own, agents and masters to go with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.tools import can_connect, end, make_key, own, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Client:
    """The laptop's side: a key, a known_hosts file and an ssh_config in one private directory.

    Attributes:
        ssh: The command prefix that uses all this: `ssh -F file`.
        key: The private key that every Sshd made with this client accepts.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))
        own(self.directory)
        self.home = self.directory / "home"
        self.home.mkdir(mode=0o700)
        self.key = make_key(self.directory / "id_ed25519")
        self.known_hosts = self.directory / "known_hosts"
        self.known_hosts.touch(mode=0o600)
        self.config = self.directory / "ssh_config"
        self.ssh = ("ssh", "-F", os.fspath(self.config))
        self._hosts: dict[str, list[str]] = {}
        self._write()

    def _write(self) -> None:
        lines = [line for alias, options in self._hosts.items() for line in (f"Host {alias}", *options)]
        common = [
            "Host *",
            f"UserKnownHostsFile {self.known_hosts}",
            "GlobalKnownHostsFile /dev/null",
            "StrictHostKeyChecking yes",
            "IdentitiesOnly yes",
            f"IdentityFile {self.key}",
        ]
        self.config.write_text("\n".join([*lines, *common, ""]))

    def host(self, alias: str, *options: str) -> None:
        """Write (or replace) one `Host` entry; an option is a line such as `Port 22`; the first of a kind counts."""
        self._hosts[alias] = list(options)
        self._write()

    def options(self, alias: str) -> list[str]:
        """Return the option lines of one entry."""
        return list(self._hosts[alias])

    def know(self, name: str, public_key: Path, marker: str = "") -> None:
        """Append a public key to known_hosts under `name` (`[127.0.0.1]:2222`)."""
        with self.known_hosts.open("a") as file:
            file.write(f"{marker} {name} {public_key.read_text()}".lstrip())

    def env(self, **more: str) -> dict[str, str]:
        """Return an environment for the laptop's side: private HOME and XDG directories, no agent, `NSSH_SSH` set."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "SSH_", "NSSH_"))}
        runtime = self.home / "run"
        runtime.mkdir(mode=0o700, exist_ok=True)
        private = {
            "HOME": os.fspath(self.home),
            "XDG_STATE_HOME": os.fspath(self.home / ".local/state"),
            "XDG_DATA_HOME": os.fspath(self.home / ".local/share"),
            "XDG_CONFIG_HOME": os.fspath(self.home / ".config"),
            "XDG_RUNTIME_DIR": os.fspath(runtime),
            "NSSH_SSH": " ".join(self.ssh),
        }
        return {**keep, **private, **more}

    @contextlib.contextmanager
    def agent(self, *keys: Path) -> Iterator[str]:
        """Run a private ssh-agent that holds `keys` (without passphrase); yields the path for SSH_AUTH_SOCK."""
        path = os.fspath(self.directory / "agent")
        with subprocess.Popen(
            ["ssh-agent", "-D", "-a", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                wait_until(lambda: can_connect(path), "the agent answers")
                for key in keys:
                    subprocess.run(["ssh-add", "-q", os.fspath(key)], env=self.env(SSH_AUTH_SOCK=path), check=True)
                yield path
            finally:
                end(process)
                Path(path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def master(self, alias: str = "devbox", *options: str) -> Iterator[Path]:
        """Run `ssh -M -N` to a host, as a user's live connection would be; yields its control socket's path."""
        path = self.directory / f"m-{alias}"
        command = [*self.ssh, "-M", "-N", "-S", os.fspath(path), *options, alias]
        with subprocess.Popen(command, env=self.env(), stdin=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: can_connect(os.fspath(path)) or process.poll() is not None, "the master is there")
                assert process.poll() is None, f"ssh -M ended with {process.returncode}"
                yield path
            finally:
                end(process)
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.directory, ignore_errors=True)
