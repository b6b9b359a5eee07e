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
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import pytest

from tests.lab.account import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

DEADLINE = 20.0
"""Seconds; what does not happen within them never will."""


def wait_until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Poll a condition with doubling pauses until it is true.

    Raises:
        TimeoutError: It was still false after `deadline` seconds.
    """
    end = time.monotonic() + deadline
    pause = 0.005
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {deadline:g} s still not: {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.2)


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Generate a key pair at `path` and `path.pub`, in place of one that is there."""
    for old in (path, path.with_name(path.name + ".pub")):
        old.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "nssh-lab", "-f", os.fspath(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return path


def find_sshd() -> str:
    """Return sshd's absolute path (it re-executes itself), or skip the test where there is none."""
    path = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        pytest.skip("no sshd on this machine (Debian: apt-get install openssh-server)")
    return path


@functools.cache
def _has_penalties(sshd: str) -> bool:
    # OpenSSH 9.8 began to lock out addresses that fail to authenticate, which is what some tests do on purpose.
    told = subprocess.run([sshd, "-V"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stderr
    version = re.search(r"OpenSSH_(\d+)\.(\d+)", told)
    return version is not None and (int(version[1]), int(version[2])) >= (9, 8)


class Client:
    """The laptop's side: a key, a known_hosts file and an ssh_config in one private directory.

    Attributes:
        ssh: The command prefix that uses all this: `ssh -F file`.
        key: The private key that every Sshd made with this client accepts.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))
        _own(self.directory)
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
                process.terminate()
                process.wait(DEADLINE)
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
                process.terminate()
                process.wait(DEADLINE)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.directory, ignore_errors=True)


def can_connect(path: str) -> bool:
    """Whether somebody accepts connections on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


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

    Attributes:
        home: The remote HOME; `state`, `data` and `config` are its XDG directories.
        user, port: What to log in as, and where (address 127.0.0.1).
    """

    address = "127.0.0.1"

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
    ) -> None:
        self._sshd = find_sshd()
        _remove_stale()
        self._owns_client = client is None
        self.client = client or Client()
        self.alias = alias
        self.directory = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))
        _own(self.directory)
        self.directory.chmod(0o711)  # a second account must get through to its home and to authorized_keys
        self.home = self.directory / "home"
        self.home.mkdir(mode=0o700)
        self._account: Account | None = None
        if shell or password or account:
            self._account = Account(self.home, shell or "sh", with_password=password)
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
            [self._sshd, "-D", "-f", os.fspath(config), "-E", os.fspath(self.log)],
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
        return _marked(self.directory)

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
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._owns_client:
            self.client.close()


def _own(directory: Path) -> None:
    process = psutil.Process()
    (directory / "owner").write_text(f"{process.pid} {process.create_time()}")


def _remove_stale() -> None:
    """Remove what tests that were killed left in /tmp, sshds and daemons included."""
    for owner in Path("/tmp").glob("nssh-*/owner"):
        with contextlib.suppress(OSError, ValueError):  # another test's, being made or removed right now
            pid, created = owner.read_text().split()
            if owner.stat().st_uid != os.geteuid() or _runs(int(pid), float(created)):
                continue
            kill_all(_listeners(owner.parent))
            kill_all(_marked(owner.parent))
            shutil.rmtree(owner.parent, ignore_errors=True)


def _runs(pid: int, created: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - created) < 1
    except psutil.NoSuchProcess:
        return False


def _listeners(directory: Path) -> list[psutil.Process]:
    # sshd writes its title over its environment, so it is known by its command line.
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"-D -f {directory}/sshd_config " in " ".join(process.cmdline()):
                found += [*process.children(recursive=True), process]
    return found


def _marked(directory: Path) -> list[psutil.Process]:
    mark = os.fspath(directory)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("NSSH_LAB") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Kill processes and wait until they are dead; in a container nobody may collect those that lost their parent."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()

    def dead(process: psutil.Process) -> bool:
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_until(lambda: all(dead(process) for process in processes), "killed processes are gone")


def _locked(user: str) -> bool:
    # sshd without PAM refuses an account whose password field begins with "!", even with a key.
    if os.geteuid() != 0:
        return False
    for line in Path("/etc/shadow").read_text().splitlines():
        if line.startswith(f"{user}:"):
            return line.split(":")[1].startswith("!")
    return False
