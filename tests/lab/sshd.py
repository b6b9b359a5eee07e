"""A real private sshd on loopback, and a client's side to go with it: nothing of the user's is read or written.

    with Sshd() as remote:
        subprocess.run([*remote.client.ssh, "devbox", "echo hello"], env=remote.client.env())

The remote side is the same account with another HOME (sshd's `SetEnv` wins over the HOME that sshd itself sets, though
the session still starts in the account's real home directory), or, as root, a second account that the fixture makes and
removes. Every process started through the sshd carries `NSSH_LAB=<directory>` in its environment: that is how daemons
that outlive their session are found, and ended when the fixture ends.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from tests.lab.account import Account
from tests.lab.client import Client
from tests.lab.system import check_marked
from tests.lab.tools import DEADLINE, can_connect, kill_all, make_key, marked, own, remove_stale, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.lab.netns import Namespace

__all__ = ["DEADLINE", "Client", "Sshd", "can_connect", "find_sshd", "kill_all", "make_key", "wait_until"]


def find_sshd() -> str:
    """Return sshd's absolute path (it re-executes itself), or skip the test where there is none."""
    check_marked("sshd")
    path = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        import pytest  # which the demo does without

        pytest.skip("no sshd on this machine (Debian: apt-get install openssh-server)")
    return path


@functools.cache
def _has_penalties(sshd: str) -> bool:
    # OpenSSH 9.8 began to lock out addresses that fail to authenticate, which is what some tests do on purpose.
    told = subprocess.run([sshd, "-V"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stderr
    version = re.search(r"OpenSSH_(\d+)\.(\d+)", told)
    return version is not None and (int(version[1]), int(version[2])) >= (9, 8)


class Sshd:
    """A private sshd; use it as a context manager. Everything it made is gone afterwards.

    Args:
        client: The laptop's side to use, for a second sshd beside a first (a jump host); otherwise one is made.
        alias: The name of the entry in the client's ssh_config.
        options: Lines for sshd_config, before the fixture's own (sshd takes the first value it meets).
        env: More variables for the remote side.
        shell: The login shell, a name or path; makes a second account (root only: otherwise the test is skipped).
        password: Make a second account with the password in attribute `password`, and allow password logins.
        account: Make a second account, in any case.
        host_keys: The kinds of host key to have.
        network: A network of its own to be in.

    Attributes:
        home: The remote HOME; `state`, `data` and `config` are its XDG directories.
        user, port, address: What to log in as, and where.
    """

    def __init__(
        self,
        *,
        client: Client | None = None,
        alias: str = "devbox",
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        shell: str | None = None,
        password: bool = False,
        account: bool = False,
        host_keys: Sequence[str] = ("ed25519",),
        network: Namespace | None = None,
    ) -> None:
        self._sshd = find_sshd()
        self.address = network.address if network else "127.0.0.1"
        self._prefix = network.prefix if network else ()
        remove_stale()
        self._owns_client = client is None
        self.client = client or Client()
        self.alias = alias
        self.directory = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))
        own(self.directory)
        self.directory.chmod(0o711)  # a second account must get through to its home and to authorized_keys
        self.home = self.directory / "home"
        self.home.mkdir(mode=0o700)
        self._account: Account | None = None
        if shell or password or account:
            try:
                self._account = Account(self.home, shell or "sh", with_password=password)
            except BaseException:  # a skipped test, most likely
                self._remove_directories()
                raise
        self.user = self._account.name if self._account else pwd.getpwuid(os.geteuid()).pw_name
        self.password = self._account.password if self._account else None
        self.state, self.data = self.home / ".local/state", self.home / ".local/share"
        self.config = self.home / ".config"
        self.log = self.directory / "log"
        self._options = list(options)
        self._env = dict(env or {})
        self._host_keys = [make_key(self.directory / f"host_{kind}", kind) for kind in host_keys]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        (self.directory / "authorized_keys").write_text(self.client.key.with_name("id_ed25519.pub").read_text())
        (self.directory / "authorized_keys").chmod(0o644)

    def __enter__(self) -> Self:
        try:
            self._start_anywhere()
        except BaseException:
            self.close()
            raise
        self.client.host(self.alias, f"HostName {self.address}", f"Port {self.port}", f"User {self.user}")
        for key in self._host_keys:
            self.client.know(self.known_as, self.public(key))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def known_as(self) -> str:
        """The name in known_hosts."""
        return f"[{self.address}]:{self.port}"

    @staticmethod
    def public(key: Path) -> Path:
        """Return the public half of a key pair."""
        return key.with_name(key.name + ".pub")

    @property
    def host_key(self) -> Path:
        """The (first) private host key."""
        return self._host_keys[0]

    def authorize(self, public_key: Path) -> None:
        """Let one more key in."""
        with (self.directory / "authorized_keys").open("a") as file:
            file.write(public_key.read_text())

    def write_home(self, path: str, text: str) -> Path:
        """Write a file below the remote HOME, owned by the remote's user."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        if self._account:
            self._account.own(self.home)
        return target

    def _remote_environment(self) -> dict[str, str]:
        return {
            "HOME": os.fspath(self.home),
            "XDG_STATE_HOME": os.fspath(self.state),
            "XDG_DATA_HOME": os.fspath(self.data),
            "XDG_CONFIG_HOME": os.fspath(self.config),
            "NSSH_LAB": os.fspath(self.directory),
            **self._env,
        }

    def _write_config(self) -> Path:
        # All variables on one line: sshd ignores every SetEnv after the first.
        variables = " ".join(f'"{name}={value}"' for name, value in self._remote_environment().items())
        lines = [
            *self._options,
            f"ListenAddress {self.address}:{self.port}",
            *(f"HostKey {key}" for key in self._host_keys),
            f"AuthorizedKeysFile {self.directory}/authorized_keys",
            f"PidFile {self.directory}/pid",
            f"SetEnv {variables}",
            f"PasswordAuthentication {'yes' if self.password else 'no'}",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            f"UsePAM {'yes' if self._account is None and _locked(self.user) else 'no'}",
            "StrictModes no",  # /tmp is writable for everybody
            "PermitUserRC no",
            "PrintMotd no",
            "PrintLastLog no",
            "UseDNS no",
            "MaxStartups 200:30:400",
            "MaxSessions 200",
            "MaxAuthTries 20",
            "LogLevel VERBOSE",
            "Subsystem sftp internal-sftp",
        ]
        if _has_penalties(self._sshd):
            lines.append("PerSourcePenalties no")
        path = self.directory / "sshd_config"
        path.write_text("\n".join([*lines, ""]))
        return path

    def _start_anywhere(self) -> None:
        for _ in range(20):
            # Below the range that the kernel hands out, so that nobody gets the port while we are stopped.
            self.port = random.randrange(20001, 32000)  # noqa: S311, a port is no secret
            if self._start():
                return
        raise RuntimeError(f"sshd found no free port:\n{self.log.read_text()}")

    def _start(self) -> bool:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self._write_config()
        self.log.write_bytes(b"")
        self._process = subprocess.Popen(
            [*self._prefix, self._sshd, "-D", "-f", os.fspath(config), "-E", os.fspath(self.log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        process = self._process
        wait_until(
            lambda: b"Server listening on" in self.log.read_bytes() or process.poll() is not None, "sshd listens"
        )
        if process.poll() is None:
            return True
        self._process = None
        text = self.log.read_text()
        if "Address already in use" not in text:
            raise RuntimeError(f"sshd did not start:\n{text}")
        return False

    def start(self) -> None:
        """Start again, on the same port."""
        assert self._process is None, "it runs"
        if not self._start():
            raise RuntimeError(f"port {self.port} was taken meanwhile")

    def stop(self) -> None:
        """Kill the listener and every session; connections end at once and new ones are refused."""
        if self._process is None:
            return
        self.kill_sessions()
        self._process.kill()
        self._process.wait(DEADLINE)
        self._process = None

    def sessions(self) -> list[psutil.Process]:
        """Return the sshd processes of the connections there are."""
        if self._process is None:
            return []
        return psutil.Process(self._process.pid).children()

    def kill_sessions(self) -> None:
        """Kill every connection's sshd and what it runs, while the listener goes on; detached daemons stay."""
        if self._process is None:
            return
        kill_all(psutil.Process(self._process.pid).children(recursive=True))

    def leftovers(self) -> list[psutil.Process]:
        """Return the processes that were started through this sshd and still run, detached daemons included."""
        return marked(self.directory)

    def runs(self, word: str) -> bool:
        """Whether a process that was started through this sshd has `word` in its command line."""
        for process in self.leftovers():
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended just now
                if word in process.cmdline():
                    return True
        return False

    def change_host_key(self) -> None:
        """Give the sshd a new host key, as a reinstalled machine has; known_hosts keeps the old one."""
        self.stop()
        for key in self._host_keys:
            make_key(key, key.name.removeprefix("host_"))
        self.start()

    def close(self) -> None:
        """End and remove everything, daemons on the remote side included."""
        self.stop()
        kill_all(self.leftovers())
        if self._account:
            self._account.remove()
            self._account = None
        self._remove_directories()

    def _remove_directories(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._owns_client:
            self.client.close()


def _locked(user: str) -> bool:
    # sshd without PAM refuses an account whose password field begins with "!", even with a key.
    if os.geteuid() != 0:
        return False
    for line in Path("/etc/shadow").read_text().splitlines():
        if line.startswith(f"{user}:"):
            return line.split(":")[1].startswith("!")
    return False
