"""Where a soak takes place: a remote, a laptop with a link to it that can break, and a bus, each of real parts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from nssh.bus.client import BusClient
from tests.lab import ntfy
from tests.lab.laptop import Laptop
from tests.lab.proxy import DelayProxy
from tests.lab.sshd import Sshd
from tests.lab.tools import kill_all, wait_until
from tests.soak.journal import Browser, Clipboard

if TYPE_CHECKING:
    from nssh.bus.messages import Message

DELAY = 0.005
"""Seconds that the link takes in each direction."""

# The ways of a shim to the remote's own programs, whatever becomes of the laptop's link.
DIRECT = "direct"


class World:
    """All that does not change while things break; a context manager that leaves nothing behind.

    Attributes:
        bus: `relay` or `ntfy`.
        remote: The sshd; shims run there, reached by `DIRECT`, which does not go over the link.
        links: What lies between the laptop and the rest, by name: `link` to the sshd, `bus` to the ntfy server.
        home: The remote HOME.
    """

    def __init__(self, bus: str) -> None:
        self.bus = bus
        self._stack = contextlib.ExitStack()
        self.links: dict[str, DelayProxy] = {}
        self.server: ntfy.NtfyServer | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._build(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self, stack: contextlib.ExitStack) -> None:
        environ: dict[str, str] = {}
        config = ""
        if self.bus == "ntfy":
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="nssh-ntfy-"))
            self.server = stack.enter_context(ntfy.NtfyServer(Path(directory)))
            # Only the laptop's way to the server breaks, while shims go on to publish.
            environ["NSSH_NTFY_BASE"] = self.server.url
            self.links["bus"] = stack.enter_context(DelayProxy("127.0.0.1", self.server.port, delay=DELAY))
            config = f'server = "http://127.0.0.1:{self.links["bus"].port}"\n'
        self.remote = stack.enter_context(Sshd(env=environ))
        self.home = self.remote.home
        self.links["link"] = link = stack.enter_context(DelayProxy("127.0.0.1", self.remote.port, delay=DELAY))
        client = self.remote.client
        user = f"User {self.remote.user}"
        client.host(DIRECT, "HostName 127.0.0.1", f"Port {self.remote.port}", user)
        client.host("devbox", "HostName 127.0.0.1", f"Port {link.port}", user)
        client.know(f"[127.0.0.1]:{link.port}", self.remote.public(self.remote.host_key))
        self.temporary = client.home / "tmp"
        self.temporary.mkdir(mode=0o700)
        self.clipboard = Clipboard(client.home)
        path = os.pathsep.join([os.fspath(self.clipboard.path), os.environ["PATH"]])
        self.laptop = Laptop(client, config, DISPLAY=":none", PATH=path, TMPDIR=os.fspath(self.temporary))
        self.browser = Browser(client.home)
        self.topics: list[str] = []
        stack.callback(self._end_laptop)
        self.laptop.infect()

    def _end_laptop(self) -> None:
        kill_all(self.laptop.processes())

    def note_topic(self) -> None:
        """Note the topic that the remote has now. Called before and after each shim, so that none is missed."""
        with contextlib.suppress(FileNotFoundError):
            for line in (self.home / ".local/state/nssh/session").read_text().splitlines():
                if line.startswith("topic = ") and (topic := line.partition('"')[2].rstrip('"')) not in self.topics:
                    self.topics.append(topic)

    def backlog(self) -> list[tuple[int, Message]]:
        """Return every message of each topic, with the number of its topic, in the bus's order."""
        server = self.server.url if self.server is not None else f"unix:{self.home}/.local/state/nssh/relay.sock"
        client = BusClient(server)
        found: list[tuple[int, Message]] = []
        for number, topic in enumerate(self.topics):
            here: list[Message] = []
            while True:
                more = client.poll(topic, here[-1].id if here else None)
                here += [message for message in more if message.id not in {one.id for one in here[-100:]}]
                if more.complete:
                    break
            found += [(number, message) for message in here]
        client.close()
        return found

    def relay(self) -> psutil.Process | None:
        """Return the relay's daemon, if there is one."""
        for process in self.remote.leftovers():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if "serve" in words and any(word.endswith("relay/__main__.py") for word in words):
                    return process
        return None

    def start_server(self) -> None:
        """Let there be a bus again, whoever killed or stopped it."""
        if self.server is not None:
            if not self.server.healthy():
                self.server.kill()
                self.server.start()
            return
        daemon = self.relay()
        if daemon is not None:
            daemon.resume()

    def shell(self) -> subprocess.Popen[bytes]:
        """Start a shell on the remote whose way there never breaks, for the programs that run there."""
        command = [*self.remote.client.ssh, DIRECT, "exec sh"]
        shell = subprocess.Popen(
            command, env=self.remote.client.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert shell.stdin is not None
        shell.stdin.write(b"PATH=$HOME/.local/bin:$PATH\n")
        return shell

    def end_relay(self) -> None:
        """End the daemon, as its idle time would."""
        daemon = self.relay()
        if daemon is not None:
            daemon.terminate()
            wait_until(lambda: self.relay() is None, "the relay ends")
