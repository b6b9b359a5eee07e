"""What the benchmark measures in: a laptop and a remote with a slow link between them, for ssh, mosh and ntfy."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import psutil

from tests.lab.client import Client
from tests.lab.laptop import Laptop
from tests.lab.proxy import DelayProxy
from tests.lab.sshd import Sshd
from tests.lab.system import require
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.state.session_records import Record

DELAY = 0.020
"""Seconds, each way."""

LINKS = {"devbox": "40 ms", "direct": "loopback"}
"""Hosts by which the remote is reached, and the round trip that is on the way."""

_QUIET = 0.5
"""Seconds without a call of the browser after which none is under way: one takes milliseconds."""

PROMPT = b"bench-ready-7f3a>"
"""What the remote's interactive shells say when they are ready."""


def round_trip(runs: int) -> list[float]:
    """Measure what a round trip over the slow link really takes, in seconds."""
    times = []
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        DelayProxy(*server.getsockname(), delay=DELAY) as link,
        socket.create_connection(("127.0.0.1", link.port)) as near,
    ):
        far, _ = server.accept()
        with far:
            for _ in range(runs + 1):
                begun = time.monotonic()
                near.sendall(b"x")
                far.sendall(far.recv(1))
                near.recv(1)
                times.append(time.monotonic() - begun)
    return times[1:]  # the first byte waited for the link's own handshake


class Timed(NamedTuple):
    """A command that was run on the remote; times are `time.time()`, of this one machine."""

    begun: float
    seconds: float
    status: int
    output: bytes


class RemoteShell:
    """A bash on the remote, by a connection without delay, that times commands from fork to end."""

    def __init__(self, client: Client, alias: str) -> None:
        # Another HOME than the laptop's, so that `settle` does not wait for it.
        env = {**client.env(), "HOME": os.fspath(client.directory)}
        command = [*client.ssh, alias, 'PATH="$HOME/.local/bin:$PATH" exec bash']
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, command: str, stdin: str = "") -> Timed:
        """Run a command whose output, both streams, is small, with a little text on stdin (in a file by then)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mark = os.urandom(6).hex()
        # The output is kept in a variable: a file would be timed, too. Nothing is forked but the command itself.
        source = f"<<<{shlex.quote(stdin)}" if stdin else "</dev/null"
        script = f"a=$EPOCHREALTIME; o=$({command} 2>&1 {source}); s=$?; b=$EPOCHREALTIME\n"
        self._process.stdin.write(f'{script}printf "%s\\n{mark} %s %s %s\\n" "$o" $a $b $s\n'.encode())
        self._process.stdin.flush()
        output = b""
        for line in self._process.stdout:
            if line.startswith(mark.encode()):
                begun, ended, status = line.split()[1:]
                return Timed(float(begun), float(ended) - float(begun), int(status), output.removesuffix(b"\n"))
            output += line
        raise EOFError(f"the remote shell ended in {command!r}")


class Lab:
    """Everything that runs, from entry to exit of the context.

    Attributes:
        remote: The sshd; `devbox` is reached over the slow link, `direct` is not (see `LINKS`).
        laptop: Home, configuration, records.
        env: The laptop's environment, in which mosh's datagrams go over a slow link, too; `near_env` is without it.
        has_mosh: Whether there is a mosh to compare with.
    """

    def __init__(self) -> None:
        require("sshd", "ssh", "bash")
        self.has_mosh = shutil.which("mosh") is not None and shutil.which("mosh-server") is not None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.client = Client()
            stack.callback(self.client.close)
            far, near = self.client.directory / "far", self.client.directory / "near"
            for directory in (far, near):
                directory.mkdir()
            self.remote = stack.enter_context(Sshd(client=self.client, env={"PATH": f"{far}:{os.environ['PATH']}"}))
            self.remote.write_home(".profile", f"PS1={shlex.quote(PROMPT.decode() + ' ')}\n")
            link = stack.enter_context(DelayProxy(self.remote.address, self.remote.port, delay=DELAY))
            self._name_host("direct", self.remote.port)
            self._name_host("devbox", link.port)
            self.laptop = Laptop(self.client)
            self._config = self.laptop.config.read_text()
            self._opened = self._watch_browser()
            stack.callback(os.close, self._opened)
            if self.has_mosh:
                self._slow_mosh(stack, near, far)
            self.env = {**self.laptop.env, "PATH": f"{near}:{os.environ['PATH']}"}
            # An installation's modules are compiled; some environments forbid Python to keep what it compiles.
            self.env.pop("PYTHONDONTWRITEBYTECODE", None)
            self.near_env = {**self.env, "BENCH_NEAR": "1"}
            for host in LINKS:
                done = self.laptop.run("infect", host)
                if done.returncode:
                    raise RuntimeError(f"nssh infect {host}: {done.stderr}")
            self.shell = stack.enter_context(RemoteShell(self.client, "direct"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _name_host(self, alias: str, port: int) -> None:
        self.client.host(alias, "HostName 127.0.0.1", f"Port {port}", f"User {self.remote.user}")
        self.client.know(f"[127.0.0.1]:{port}", self.remote.public(self.remote.host_key))

    def _watch_browser(self) -> int:
        # The browser tells by a pipe, at once: looking again and again would blur the time.
        pipe = self.client.home / "opened-now"
        os.mkfifo(pipe, 0o600)
        script = self.client.home / "browser"
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" > {shlex.quote(os.fspath(pipe))}\n')
        return os.open(pipe, os.O_RDWR | os.O_NONBLOCK)

    def _slow_mosh(self, stack: contextlib.ExitStack, near: Path, far: Path) -> None:
        """Let mosh-server take one known port, and mosh-client talk to it over a slow link.

        Both by scripts that stand before the real programs on either PATH, for the mosh wrapper and nssh alike.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        link = stack.enter_context(DelayProxy("127.0.0.1", port, delay=DELAY, udp=True))
        server, client = shutil.which("mosh-server"), shutil.which("mosh-client")
        scripts = {
            far / "mosh-server": f'shift\nexec {server} new -p {port} "$@"\n',
            # Its last argument is the port; the wrapper gives three in all and nssh four.
            near / "mosh-client": f"""\
[ -z "$BENCH_NEAR" ] || exec {client} "$@"
case $# in
    3) set -- "$1" "$2" {link.port} ;;
    4) set -- "$1" "$2" "$3" {link.port} ;;
esac
exec {client} "$@"
""",
        }
        for path, text in scripts.items():
            path.write_text("#!/bin/sh\n" + text)
            path.chmod(0o755)

    def nssh(self, *words: str) -> list[str]:
        """Return the command line of the installed program, or of this checkout's if it is not installed."""
        installed = Path(sys.executable).with_name("nssh")
        return [*([os.fspath(installed)] if installed.exists() else [sys.executable, "-P", "-m", "nssh"]), *words]

    def use_server(self, server: str, more: str = "") -> None:
        """Configure the bus, `relay` or a URL, and more, as TOML."""
        self.laptop.config.write_text(f'server = "{server}"\n{self._config}{more}')

    def prompt(self, *argv: str, near: bool = False, alone: bool = True) -> float:
        """Return the seconds from the start of a program to the remote's prompt.

        Args:
            argv: The program.
            near: Let mosh's datagrams take no detour.
            alone: Nothing else of nssh's runs, so that nothing is left running; otherwise the records stay as many.
        """
        records = len(self.laptop.sessions())
        begun = time.monotonic()
        with Terminal(argv, self.near_env if near else self.env) as window:
            window.expect(PROMPT)
            seconds = time.monotonic() - begun
            window.send(b"exit\r")
            window.wait()
        if alone:
            self.settle()
        else:
            wait_until(lambda: len(self.laptop.sessions()) <= records, "the session's record is gone")
        return seconds

    def settle(self) -> None:
        """Wait until nothing of a session is left but the relay: what still ends would slow down what is timed next."""
        self.laptop.wait_gone(deadline=20.0)
        # Only one mosh-server can have the port; one that did not hear of its client's end is not waited for.
        servers = [process for process in self.remote.leftovers() if process.name() == "mosh-server"]
        for process in psutil.wait_procs(servers, timeout=2)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    @contextlib.contextmanager
    def session(self, host: str = "devbox") -> Iterator[Record]:
        """Run one session on a terminal, from the moment its bus is up."""
        with Terminal(self.nssh("--ssh", host), self.env) as window:
            window.expect(PROMPT)
            (record,) = self.laptop.wait_up()
            # With --ssh the remote is made ready beside the session; the bus may be up before its shims know of it.
            told = self.remote.state / "nssh/session"
            wait_until(lambda: told.exists() and record.topic in told.read_text(), "the remote knows the session")
            yield record
            window.send(b"exit\r")
            window.wait()
        self.settle()

    @contextlib.contextmanager
    def joined(self, host: str = "devbox") -> Iterator[Record]:
        """Run a second session beside a live one, from the moment it stands by."""
        with Terminal(self.nssh("--ssh", "--join", host), self.env) as window:
            window.expect(PROMPT)
            standing: list[Record] = []

            def stands_by() -> bool:
                standing[:] = [one for one in self.laptop.sessions() if one.role == "standby" and one.bridge]
                return bool(standing)

            wait_until(stands_by, "the second session stands by")
            yield standing[0]
            window.send(b"exit\r")
            window.wait()

    def opened(self, least: int, deadline: float = 30.0) -> int:
        """Return how often the browser was called since somebody last waited for it, once it is quiet.

        Raises:
            TimeoutError: It was not called so often.
        """
        end, count = time.monotonic() + deadline, 0
        while count < least or select.select([self._opened], [], [], _QUIET)[0]:
            if not select.select([self._opened], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"the browser was called {count} times, not {least}")
            count += os.read(self._opened, 65536).count(b"\n")
        return count

    def wait_opened(self, url: str, deadline: float = 30.0) -> float:
        """Wait until the browser is called with a URL; return when, as `time.time()`.

        Raises:
            TimeoutError: It was not called with it in time.
        """
        end, seen = time.monotonic() + deadline, b""
        while url.encode() + b"\n" not in seen:
            if not select.select([self._opened], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{url} was not opened within {deadline:g} s")
            seen += os.read(self._opened, 65536)
        return time.time()
