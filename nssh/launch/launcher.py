"""Runs one session: one ssh handshake, the terminal left to ssh or mosh, the bridge process beside it.

Until ssh runs, it uses a small part of the standard library only: every millisecond delays the user's prompt.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from nssh.base import process
from nssh.base.printable import LONGEST, printable
from nssh.base.terminal import Terminal, colors
from nssh.launch import prepare_remote
from nssh.launch.foreground import Foreground, InterruptedBySignal
from nssh.launch.mosh_first_screen import EarlyResizes
from nssh.launch.route import choose_route
from nssh.launch.session_info import SessionInfo
from nssh.meeting.session_start import JoinedSessionCheck, SessionStart, SessionStarter
from nssh.ssh import control_path, login
from nssh.state import remembered_hosts, session_records
from nssh.wire import CONTENT_LIMIT, files, session_file

if TYPE_CHECKING:
    from nssh.config.settings import Config
    from nssh.launch.bridge import Bridge
    from nssh.launch.route import Route
    from nssh.ssh.argv import Connect
    from nssh.ssh.framing import Answer
    from nssh.ssh.identity import Pending
    from nssh.state.session_records import Record

FEATURES = ("targets", "ids", "types")
"""What this program can do beyond the Go program. The session file tells them to the shims."""

# Seconds that the launcher waits after the session's end for the bridge to deliver what has just arrived.
_LAST_DELIVERY = 0.7

_WITHOUT = "clipboard and browser will not work in this session"


def say(text: str) -> None:
    """Write a line for the user on standard error. It may hold a remote's text, so it is made printable and cut."""
    try:
        print(f"nssh: {printable(text, LONGEST)}", file=sys.stderr, flush=True)
    except OSError:
        return  # the terminal is gone


class Launcher:
    """One session, from the first handshake to the exit status. For one thread, which it blocks."""

    def __init__(self, request: Connect, config: Config, pending: Pending) -> None:
        self.request = request
        self.config = config
        self.terminal = Terminal()
        self.target = pending.target()
        self.host = remembered_hosts.read(self.target.key)
        self._interactive = os.isatty(0) and os.isatty(2)
        self._told = False
        self._told_unwritable = False
        self._record: Record | None = None
        self.bridge: Bridge | None = None
        self._no_bridge = ""
        self._doubt: JoinedSessionCheck | None = None
        self._early_resizes = EarlyResizes()
        # Before `Foreground` installs its signal handlers: a question to the user has its own.
        try:
            self.start = self._settle()
            self.foreground = Foreground(self._child_ended, reads="n" not in request.ssh.letters)
        except BaseException:
            session_records.remove(os.getpid())  # Ctrl-C may have come after the record was written
            raise
        self.session_file = self._session_file()
        self._leader_file = ""
        if self.start is not None and self.start.joined is not None and self.start.joined.foreign:
            # The Go program acts for now: the shims must not ask it for what it does not know.
            plain = session_file.parse(self.session_file)
            plain.features = ()
            self.session_file, self._leader_file = session_file.render(plain), self.session_file

    def run(self) -> int:
        """Run the session to its end and return its exit code.

        Raises:
            NsshError: The session can't be started; the terminal is as it was.
        """
        path = "" if self.target.control_path else control_path.choose(os.getpid())
        self.foreground.come_to_foreground()
        try:
            status = self._run(self._route(), path)
        except InterruptedBySignal as interrupt:
            status = interrupt.exit_code
        except BaseException:
            self.terminal.restore(reset=self._has_remote_terminal)
            self._close(path)
            raise
        self.terminal.restore(reset=self._has_remote_terminal)
        self._close(path, status)
        self._last_words()
        return status

    def _route(self) -> Route:
        # The session file must be right before the session's first program runs. If it has to change, a login first
        # writes it; the bridge would write it later.
        changed = bool(self.session_file) and self.host.session != remembered_hosts.checksum(self.session_file)
        return choose_route(
            self.request,
            wrapped=bool(self.config.mosh.command),
            proxied=self.target.proxied,
            on_terminal=self._interactive and os.isatty(1),
            login_first=changed or self._may_offer,
        )

    @property
    def _may_offer(self) -> bool:
        """Whether the user may be asked to install nssh: not in a script, and not before a single command."""
        known = self.host.version or self.host.go_shims or self.host.declined
        return self._interactive and not known and not self.request.ssh.command

    @property
    def _has_remote_terminal(self) -> bool:
        """Whether the session's programs may change the modes of the user's terminal."""
        return not self.request.ssh.command or "t" in self.request.ssh.letters or self.request.mode == "mosh"

    @property
    def _is_quiet(self) -> bool:
        """Whether the user wants no words that are no errors: ssh's `-q`, or a LogLevel of QUIET from anywhere."""
        return self.target.first("loglevel").upper() in {"QUIET", "SILENT"}  # ssh -G has the latter

    def _tell_start(self) -> None:
        """Tell the user which sessions were joined or replaced, also in a script, where nobody was asked."""
        if self.start is None or self._is_quiet:
            return
        if self.start.joined is not None:
            say(f"joining the session to {self.target.destination} (PID {self.start.joined.pid})")
        elif pids := sorted(self.start.replaced):
            sessions, name = ("session", "PID") if len(pids) == 1 else ("sessions", "PIDs")
            say(f"replacing the {sessions} to {self.target.destination} ({name} {', '.join(map(str, pids))})")

    def _tell_transport(self, transport: str, why: str) -> None:
        """Tell the user, right before the session's program starts, which one it is. A script is not told."""
        if self._interactive and self._has_remote_terminal and not self._is_quiet:
            say(f"using {transport}: {why}")

    def _run(self, route: Route, path: str) -> int:
        self._tell_start()
        if route.login_first:
            return self._run_login_first(route, path)
        # The user's ssh starts first; everything else happens during its handshake.
        if route.wrapper:
            argv = [*self.config.mosh.command, f"--ssh={_join([*self.target.ssh, *self.target.options])}"]
            argv += [self.target.destination, *(["--", *self.request.ssh.command] if self.request.ssh.command else [])]
        else:
            argv = self._ssh(path)
        transport = "mosh" if route.wrapper else "ssh"
        self._tell_transport(transport, route.why)
        self.foreground.start(argv, socket=path)
        self._start_bridge(route, path, transport)
        return self._watch()

    def _ssh(self, path: str) -> list[str]:
        target = self.target
        options = [*login.control_options(target, path), *target.options]
        return [*target.ssh, *options, "--", target.destination, *self.request.ssh.command]

    def _run_login_first(self, route: Route, path: str) -> int:
        # A mosh-server waits for its client for a minute; the user may think longer about a question.
        later = route.mosh and self._may_offer
        session_file = "" if self._is_prepared else self.session_file
        opened = "" if self.start is None else prepare_remote.session_open(self.config.server, self.target.destination)
        started = self._start_login(route, path, session_file, opened, mosh=route.mosh and not later)
        self._start_bridge(route, path, "")
        answer = self._await_login(started)
        if answer is None:
            status = self._watch()
            # 255 is a failure of ssh, which has told the user; 128 and more is the end by a signal. Anything else is a
            # remote that accepted the login and does not run scripts (a router, a git server): start its session.
            if status >= 128 or self.request.mode == "mosh":
                if status < 128:
                    say(f"{self.target.destination}: its shell did not run our script: {started.noise or 'no output'}")
                return status or 1
            self.host = self.host._replace(session=remembered_hosts.checksum(self.session_file))
            self._remember()
            self._tell_transport("ssh", f"{self.target.destination} runs no scripts" if route.mosh else route.why)
            self._begin(self._ssh(path), socket=path)
            return self._watch()
        self.foreground.leave()
        prepared = prepare_remote.read(answer)
        self._learn(prepared)
        if self._may_offer:
            self._offer_install(path, hidden=route.mosh)
        if later:
            answer = self._await_login(self._start_login(route, path, "", "", mosh=True))
            if answer is None:
                return self._watch() or 1
            self.foreground.leave()
            prepared = prepare_remote.read(answer)
        return self._enter(route, path, prepared)

    def _start_login(self, route: Route, path: str, session_file: str, opened: str, *, mosh: bool) -> login.Login:
        """Start an ssh that prepares the remote and, with `mosh`, starts mosh-server. It uses a live connection."""
        arguments = prepare_remote.mosh_arguments(colors(), self.request.ssh.command) if mosh else ()
        timeouts = (self.config.mosh.network_timeout, self.config.mosh.signal_timeout)
        script = prepare_remote.script(session_file, opened=opened, mosh=arguments, mosh_timeouts=timeouts)
        started = login.Login(self.target, script, login.control_options(self.target, path, keep_alive=route.mosh))
        self.foreground.adopt(started.pid)
        return started

    def _await_login(self, started: login.Login) -> Answer | None:
        """Wait for the login's answer, passing signals on to ssh; return None if ssh ends without an answer."""
        # Imported now, during ssh's handshake, so that it costs no time after it.
        from nssh.ssh import server_address  # noqa: F401

        try:
            while True:
                if not self.foreground.wait_for([started.fileno()], self._tick()):
                    continue
                if (answer := started.read()) is not None:
                    return answer
        except EOFError:
            return None
        finally:
            started.close()

    def _enter(self, route: Route, path: str, prepared: prepare_remote.PreparedRemote) -> int:
        """Start the session's own program after the login: mosh-client, or ssh over the same connection."""
        environ = None
        transport, why = "ssh", route.why
        if prepared.mosh_port:
            transport = "mosh"
            address = self._address(path) or prepared.server_address or self.target.hostname
            argv = ["mosh-client", "-#", f"{self.target.destination} ", address, prepared.mosh_port]
            environ = {**os.environ, "MOSH_KEY": prepared.mosh_key}
        elif self.request.mode == "mosh":
            reason = prepared.mosh_error or "mosh-server is not there: install mosh on it, or use --ssh"
            say(f"{self.target.destination}: {reason}")
            return 1
        else:
            if route.mosh:
                why = prepared.mosh_error or f"mosh is not on {self.target.destination}"
            argv = self._ssh(path)
        self._tell_transport(transport, why)
        self._begin(argv, environ, socket="" if environ else path)
        return self._watch()

    def _begin(self, argv: list[str], environ: dict[str, str] | None = None, *, socket: str) -> None:
        """Start a program as the session's own, and tell the bridge."""
        self.foreground.start(argv, environ, socket=socket)
        if environ is not None:
            self._early_resizes.plan()
        if self.bridge is not None:
            self.bridge.tell(
                child=self.foreground.child,
                prepared=True,
                transport="mosh" if environ else "ssh",
                version=self.host.version,
            )

    def _learn(self, prepared: prepare_remote.PreparedRemote) -> None:
        """Remember what the login told about the remote, and tell the user what is wrong."""
        destination = self.target.destination
        if prepared.problem:
            self._told = True
            say(f"{destination}: {prepared.problem}; {_WITHOUT}")
        written = self.host.session if prepared.problem else remembered_hosts.checksum(self.session_file)
        self.host = self.host._replace(version=prepared.version, session=written, go_shims=prepared.go_shims)
        self._remember()
        if prepared.go_shims:
            note = self._go_shims_problem()
            self._told = self._told or bool(note)
        else:
            note = remembered_hosts.difference(destination, prepared.version)
        if note:
            say(note)

    def _go_shims_problem(self) -> str:
        """Return why the Go program's shims on the remote can't reach the bus; empty if they can, or in a script."""
        if not self._interactive:
            return ""
        config = self.config
        credentials = bool(config.token or config.user)
        return remembered_hosts.go_shims_problem(self.target.destination, config.server, credentials=credentials)

    def _offer_install(self, path: str, *, hidden: bool) -> None:
        from nssh.launch.offer_install import offer_install

        path = self.target.control_path or path
        self.host = offer_install(
            self.target, path, self.foreground, tick=self._tick, say=say, host=self.host, hidden=hidden
        )
        self._remember()

    def _remember(self) -> None:
        try:
            remembered_hosts.write(self.target.key, self.host)
        except OSError as error:
            self._unwritable(error)

    def _unwritable(self, error: OSError) -> None:
        """Tell the user, once, that the state directory can't be written."""
        if not self._told_unwritable:
            self._told_unwritable = True
            say(f"can't write {error.filename or files.state_dir()}: {error.strerror}; {_WITHOUT}")

    def _address(self, path: str) -> str:
        """Return the server's address of the ssh connection, for mosh's UDP; empty behind a jump host."""
        if self.target.proxied:
            return ""
        from nssh.ssh import server_address

        return server_address.address(self.target, self.target.control_path or path)

    def _settle(self) -> SessionStart | None:
        """Join or replace other sessions. Return None, for no bridge, if the state directory can't be written."""
        # A single command is not delayed by a question: it joins, as a script does.
        interactive = self._interactive and self._has_remote_terminal
        try:
            return SessionStarter(self.target, self.config, interactive=interactive, say=say).settle(
                self.request.collision
            )
        except OSError as error:
            self._unwritable(error)
            return None

    @property
    def _is_prepared(self) -> bool:
        """Whether the session that was joined has already written this session file on the remote."""
        joined = self.start.joined if self.start is not None else None
        return (
            joined is not None
            and not joined.foreign
            and self.host.session == remembered_hosts.checksum(self.session_file)
        )

    def _session_file(self) -> str:
        config = self.config
        if self.start is None:
            return ""
        # `user:password` may stand in the token's place: tokens of ntfy have no colon.
        token = config.token or (f"{config.user}:{config.password}" if config.user else "")
        limit = config.clipboard.copy_limit
        # By the serial, a shim knows a session file of this laptop's from another laptop's (nssh/remote/shim.py).
        features = [*FEATURES, f"serial={self.start.topic.serial}"]
        # A shim refuses larger content itself, instead of sending it in vain.
        features += [] if limit == CONTENT_LIMIT else [f"copy-limit={limit}"]
        return session_file.render(session_file.Session(config.server, self.start.topic.name, tuple(features), token))

    def _start_bridge(self, route: Route, path: str, transport: str) -> None:
        """Start the bridge. Without a topic (the state directory can't be written) the session goes on without one."""
        if self.start is None:
            return
        record, topic, joined, replaced, takeover, unasked = self.start
        behind = joined if joined is not None and joined.foreign else None
        session = SessionInfo(
            pid=record.pid,
            birth=record.birth,
            started=record.started,
            target=self.target,
            key=record.key,
            server=record.server,
            topic=topic.name,
            serial=topic.serial,
            ledger=topic.ledger,
            lease=topic.lease,
            log=record.log,
            session_file=self.session_file,
            leader_file=self._leader_file,
            # The ssh of the mosh wrapper creates no control socket.
            control_path="" if route.wrapper else self.target.control_path or path,
            own_control=not self.target.control_path,
            login_first=route.login_first,
            transport=transport,
            joined=joined.pid if joined is not None else 0,
            behind=process.birth(behind.pid) if behind is not None else "",
            takeover=takeover,
            replaced=replaced,
            prepared=self._is_prepared,
            version=self.host.version if self._is_prepared else "",
            child=self.foreground.child,
        )
        try:
            from nssh.launch.bridge import Bridge
        except Exception as error:  # noqa: BLE001 - a damaged installation, or another package named `actors` before ours
            self._no_bridge = f"the bridge can't be started ({type(error).__name__}: {error}): install nssh anew"
            return
        self.bridge = Bridge(session)
        self.bridge.start()
        if unasked:
            self._doubt = JoinedSessionCheck(unasked, self.config, self.target.destination)

    def _tick(self) -> float | None:
        waits = [
            self._early_resizes.tick(self.foreground.child),
            self.bridge.tick() if self.bridge is not None else None,
        ]
        return min((wait for wait in waits if wait is not None), default=None)

    def _watch(self) -> int:
        return self.foreground.wait(self._tick)

    def _child_ended(self, pid: int, status: int) -> None:
        if self.bridge is not None:
            self.bridge.ended(pid, status)

    def _close(self, path: str, status: int | None = None) -> None:
        """Let the bridge deliver what has arrived, and end. If it has ended, remove the record and end the master."""
        if self.bridge is not None:
            self._record = session_records.read(session_records.path_of(os.getpid()))
            self.bridge.tell(exit=status)
            self.bridge.close()
            # Wait only while the bus is up. Otherwise the bridge delivers by itself, after this process has ended.
            up = self._record is not None and self._record.bus == "up"
            deadline = time.monotonic() + (_LAST_DELIVERY if up else 0.0)
            try:
                while self.bridge.running and (left := deadline - time.monotonic()) > 0:
                    self.foreground.wait_for((), left)
            except InterruptedBySignal:
                pass  # the user is in a hurry: the bridge ends by itself
            if self.bridge.running:
                self.bridge.claim_record()
                return
        session_records.remove(os.getpid())
        if path and os.path.exists(path):
            from nssh.ssh import master

            master.end(path)

    def _last_words(self) -> None:
        """Tell the user, once the terminal is free, why the session was replaced or its bridge did not work."""
        if self._record is not None and self._record.replaced_by:
            say(f"{self.target.destination}: replaced by the nssh of pid {self._record.replaced_by}")
            return
        if self._doubt is not None:
            try:
                text = self._doubt.text(lambda seconds: self.foreground.wait_for((), seconds))
            except InterruptedBySignal:
                return  # the user is in a hurry
            if text:
                say(text)
        bridge, record = self.bridge, self._record
        if bridge is not None and bridge.gave_up:
            say(bridge.last_words)
        elif self._no_bridge:
            if self._interactive:
                say(self._no_bridge)
        elif record is not None and record.problem and not self._told and self._interactive:
            host = remembered_hosts.read(self.target.key)
            destination = self.target.destination
            if host.go_shims and (problem := self._go_shims_problem()):
                say(problem)
            elif host.version or host.go_shims:
                named = destination in record.problem
                say(record.problem if named else f"{destination}: {record.problem}")
            elif not host.declined:
                say(f"no nssh on {destination}: run nssh infect {destination}")


def _join(words: list[str]) -> str:
    from shlex import join

    return join(words)
