"""The foreground process of a session: one ssh handshake, the terminal left to ssh or mosh, the bridge kept beside it.

Standard library only, and little of it, until ssh runs: every millisecond here is one before the user's prompt.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from nssh import control_path, hosts, identity, login, prepare, process, records, spawn, topics
from nssh.bridge import Bridge
from nssh.errors import NsshError
from nssh.session import Session
from nssh.terminal import Terminal
from nssh.wire import files
from nssh.wire import session as session_file

if TYPE_CHECKING:
    from types import FrameType

    from nssh.argv import Connect
    from nssh.config import Config
    from nssh.framing import Answer

FEATURES = ("targets", "ids")
"""What this laptop's side can do beyond the Go program, told in the session file."""

# Sent on to ssh or mosh-client, which decide what they mean.
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGWINCH", "SIGUSR1", "SIGUSR2")

# Seconds that the launcher waits, after the session's end, for the bridge to deliver what has just arrived.
_LAST_DELIVERY = 0.7


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is not on the PATH (`shutil.which` costs 8 ms to import)."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def say(text: str) -> None:
    """Write one line for the user, outside the session."""
    print(f"nssh: {text}", file=sys.stderr)


class _Route(NamedTuple):
    """How this session gets to its prompt."""

    login_first: bool
    mosh: bool
    wrapper: bool
    """The mosh wrapper of `[mosh] command`, with a login of its own."""


class Launcher:
    """One session from the first handshake to the exit status."""

    def __init__(self, wish: Connect, config: Config) -> None:
        self.wish = wish
        self.config = config
        self.terminal = Terminal()
        self.target = identity.resolve(config.ssh.command, wish.ssh.destination, wish.ssh.options)
        self.host = hosts.read(self.target.key)
        self._interactive = os.isatty(0) and os.isatty(2)
        self._child = 0
        self._ended: int | None = None
        self._wakeup = -1
        self.bridge: Bridge | None = None

    def run(self) -> int:
        """Run the session to its end and return its exit code.

        Raises:
            NsshError: It can't even be started; the terminal is as it was.
        """
        route = self._route()
        self._catch_signals()
        try:
            return self._run(route)
        finally:
            self.terminal.restore()

    def _route(self) -> _Route:
        mosh = self.wish.mode != "ssh"
        if mosh and self.config.mosh.command:
            return _Route(login_first=False, mosh=True, wrapper=True)
        if mosh and find_program("mosh-client") is None:
            if self.wish.mode == "mosh":
                raise NsshError("mosh-client is not on this machine's PATH: install mosh, or use --ssh")
            mosh = False
        if mosh and not self.wish.mode and (self.target.proxied or not self._interactive):
            # Behind a jump host mosh's UDP rarely gets through, and a script wants its pipes: ssh, unless --mosh says so.
            mosh = False
        ask = self._interactive and not self.host.version and not self.host.declined and not self.wish.ssh.command
        return _Route(login_first=mosh or ask, mosh=mosh, wrapper=False)

    def _run(self, route: _Route) -> int:
        path = "" if self.target.control_path else control_path.choose(os.getpid())
        if route.login_first:
            return self._run_login_first(route, path)
        # The user's own ssh comes first; everything else happens beside its handshake.
        if route.wrapper:
            argv = [*self.config.mosh.command, f"--ssh={_join([*self.target.ssh, *self.target.options])}"]
            argv += [self.target.destination, *(["--", *self.wish.ssh.command] if self.wish.ssh.command else [])]
        else:
            argv = self._ssh(path)
        self._start_child(argv)
        self._start_bridge(route, path, "mosh" if route.wrapper else "ssh")
        self._tell(child=self._child)
        return self._finish(self._watch())

    def _ssh(self, path: str) -> list[str]:
        target = self.target
        options = [*login.control_options(target, path), *target.options]
        return [*target.ssh, *options, "--", target.destination, *self.wish.ssh.command]

    def _run_login_first(self, route: _Route, path: str) -> int:
        topic = self._topic()
        mosh: tuple[str, ...] = ()
        if route.mosh:
            colors = spawn.capture(["mosh-client", "-c"])[1].decode("ascii", "replace").strip()
            mosh = prepare.mosh_arguments(colors if colors.isdigit() else "8", self.wish.ssh.command)
        timeout = str(int(self.config.mosh.timeout)) if self.config.mosh.timeout else ""
        script = prepare.script(self._session_file(topic), mosh=mosh, mosh_timeout=timeout)
        options = login.control_options(self.target, path, keep_alive=route.mosh)
        started = login.Login(self.target, script, options)
        self._child = started.pid
        self._start_bridge(route, path, "", topic)
        answer = self._await_login(started)
        if answer is None:
            status = self._watch()
            if status == 0:
                say(f"{self.target.destination}: its shell did not run our script: {started.noise or 'no output'}")
            return self._finish(status or 1)
        self._child, self._ended = 0, None
        return self._finish(self._enter(route, path, answer))

    def _await_login(self, started: login.Login) -> Answer | None:
        """Wait for the login's answer while signals are passed on to it; None if ssh ends without one."""
        try:
            while True:
                ready, _, _ = select.select([started.fileno(), self._wakeup], [], [], self._tick())
                if started.fileno() in ready and (answer := started.read()) is not None:
                    return answer
                if self._wakeup in ready:
                    self._forward()
                    self._ended = self._reap()
        except EOFError:
            return None
        finally:
            started.close()

    def _enter(self, route: _Route, path: str, answer: Answer) -> int:
        """Go from the finished login to the session itself."""
        prepared = prepare.read(answer)
        self._learn(prepared)
        if self._interactive and not prepared.version and not self.host.declined:
            self._offer_install(path)
        environ = None
        if route.mosh and prepared.mosh_port:
            address = self._address(path) or prepared.server_address or self.target.hostname
            argv = ["mosh-client", "-#", f"{self.target.destination} ", address, prepared.mosh_port]
            environ = {**os.environ, "MOSH_KEY": prepared.mosh_key}
        elif self.wish.mode == "mosh":
            reason = prepared.mosh_error or "mosh-server is not there: install mosh on it, or use --ssh"
            say(f"{self.target.destination}: {reason}")
            return 1
        else:
            if prepared.mosh_error:
                say(f"{self.target.destination}: {prepared.mosh_error} (so this is an ssh session)")
            argv = self._ssh(path)
        self._start_child(argv, environ)
        self._tell(
            child=self._child,
            prepared=True,
            transport="mosh" if environ else "ssh",
            version=self.host.version,
            problem=prepared.problem,
        )
        return self._watch()

    def _learn(self, prepared: prepare.Prepared) -> None:
        """Keep and say what the login told about the remote."""
        destination = self.target.destination
        if prepared.problem:
            say(f"{destination}: {prepared.problem}; clipboard and browser will not work in this session")
        self.host = self.host._replace(version=prepared.version)
        try:
            hosts.write(self.target.key, self.host)
        except OSError as error:
            say(f"can't write {error.filename}: {error.strerror}")
        note = hosts.difference(destination, prepared.version)
        if note:
            say(note)

    def _offer_install(self, path: str) -> None:
        """Ask whether to install the remote side, and do it over the connection that is already there."""
        destination = self.target.destination
        say(f"{destination} has no nssh yet: without it, its clipboard and browser stay unconnected.")
        try:
            reply = input(f"Install it there now (in ~/.local, no root; undo with nssh infect --remove {destination})? [Y/n] ")
        except EOFError:
            reply = "n"
        if reply.strip().lower() not in {"", "y", "yes"}:
            self.host = self.host._replace(declined=True)
            hosts.write(self.target.key, self.host)
            say(f"as you wish; nssh infect {destination} installs it later")
            return
        from nssh import infect  # noqa: PLC0415 - heavy, and only on this way

        try:
            self.host = infect.over_control(self.target, self.target.control_path or path)
        except NsshError as error:
            say(str(error))

    def _address(self, path: str) -> str:
        """The server's address as our own TCP connection has it: mosh's UDP goes the same way."""
        if self.target.proxied:
            return ""
        from nssh import peer  # noqa: PLC0415 - imports psutil, while the login is under way

        return peer.address(self.target, self.target.control_path or path)

    def _topic(self) -> topics.Topic:
        try:
            return topics.obtain(
                self.target.key, self.config.server, fixed=self.config.topic or "", fresh=self.wish.fresh
            )
        except OSError as error:
            say(f"can't write {error.filename}: {error.strerror}; clipboard and browser will not work in this session")
            return topics.Topic("", "", "")

    def _session_file(self, topic: topics.Topic) -> str:
        config = self.config
        if not topic.name:
            return ""
        return session_file.render(
            session_file.Session(config.server, topic.name, FEATURES, config.token or "")
        )

    def _start_bridge(self, route: _Route, path: str, transport: str, topic: topics.Topic | None = None) -> None:
        """Start the bridge; without a topic (no writable state directory) there is none, and the session goes on."""
        topic = topic or self._topic()
        if not topic.name:
            return
        try:
            logs = files.make_private_dir(os.path.join(files.state_dir(), "logs"))
        except OSError as error:
            say(f"can't write {error.filename}: {error.strerror}; clipboard and browser will not work in this session")
            return
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        session = Session(
            pid=os.getpid(),
            birth=process.birth(os.getpid()),
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            target=self.target,
            key=self.target.key,
            server=self.config.server,
            topic=topic.name,
            ledger=topic.ledger,
            lease=topic.lease,
            log=os.path.join(logs, f"{stamp}-{os.getpid()}.jsonl"),
            session_file=self._session_file(topic),
            control_path=self.target.control_path or path,
            own_control=not self.target.control_path,
            login_first=route.login_first,
            transport=transport,
        )
        self.bridge = Bridge(session)
        self.bridge.start()

    def _tell(self, **news: object) -> None:
        if self.bridge is not None:
            self.bridge.tell(**news)

    def _start_child(self, argv: list[str], environ: dict[str, str] | None = None) -> None:
        try:
            self._child = spawn.start(argv, environ=environ)
        except FileNotFoundError:
            raise NsshError(f"{argv[0]}: no such program") from None

    # Signals and children: handlers only wake the loop, which then does everything in order.

    def _catch_signals(self) -> None:
        self._wakeup, writer = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for name in (*_FORWARDED, "SIGCHLD"):
            signal.signal(getattr(signal, name), _wake)

    def _watch(self) -> int:
        """Wait for the session's end; return its exit code."""
        while True:
            status = self._reap()
            if status is not None:
                return status
            select.select([self._wakeup], [], [], self._tick())
            self._forward()

    def _tick(self) -> float | None:
        return self.bridge.tick() if self.bridge is not None else None

    def _forward(self) -> None:
        try:
            numbers = os.read(self._wakeup, 4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number != signal.SIGCHLD and self._child:
                try:
                    os.kill(self._child, number)
                except ProcessLookupError:
                    return

    def _reap(self) -> int | None:
        """Take the news of all children; return the session's exit code if it ended."""
        if self._ended is not None:
            return self._ended
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            if os.WIFSTOPPED(status):
                if pid == self._child:
                    self._stop_too()
            elif pid == self._child:
                self._child = 0
                return spawn.exit_code(status)
            elif self.bridge is not None:
                self.bridge.ended(pid)

    def _stop_too(self) -> None:
        """The child was suspended (Ctrl-Z, ~^Z): suspend ourselves, so that the user's shell takes over; then go on."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _wake)
        if self._child:
            os.kill(self._child, signal.SIGCONT)

    def _finish(self, status: int) -> int:
        """Give the terminal back, let the bridge end, and say what the user should know."""
        self.terminal.restore()
        bridge = self.bridge
        if bridge is None:
            return status
        record = records.read(records.path_of(os.getpid()))
        ran = bridge.running
        bridge.close()
        self._ended = None
        deadline = time.monotonic() + _LAST_DELIVERY
        while bridge.running and (left := deadline - time.monotonic()) > 0:
            self._reap()
            if bridge.running:
                select.select([self._wakeup], [], [], left)
                self._forward()
        if not ran:
            records.remove(os.getpid())
        if bridge.gave_up:
            say(f"the bridge died {bridge.session.restarts} times and was given up; see {bridge.session.log}.err")
        elif record is not None and record.problem and self._interactive:
            say(f"{self.target.destination}: {record.problem}")
        return status


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up file descriptor has already told the loop."""


def _join(words: list[str]) -> str:
    from shlex import join  # noqa: PLC0415 - only with a mosh wrapper

    return join(words)


def run(wish: Connect, config: Config) -> int:
    """Run `nssh <host>` and return its exit code.

    Raises:
        NsshError: The session can't be started.
    """
    if wish.ssh.wants_no_session or not wish.ssh.destination:
        # -W, -N, -O, -V and their like are for ssh alone.
        ssh = config.ssh.command
        tail = ["--", wish.ssh.destination, *wish.ssh.command] if wish.ssh.destination else []
        os.execvp(ssh[0], [*ssh, *wish.ssh.options, *tail])  # noqa: S606 - an argv list, no shell
    return Launcher(wish, config).run()
