"""Run the remote half of `nssh doctor`: inspect the host, and try the shims on a topic of their own.

It is run from memory (`deploy.script`). It reads orders from stdin, one JSON object a line, and answers each with one.
At the end of stdin, which is also the end of the connection, it removes all that it created.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time

from nssh.remote import desktop, fallback, go_program, path_check, stop, stub
from nssh.wire import files, session_file
from nssh.wire.http import Client, HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PREFIX = "doctor-"
"""The beginning of our directory's name in the state directory; the laptop chooses the rest."""

_SILENCE = 120  # seconds without an order after which we end
_STALE = 3600.0  # seconds after which such a directory was left by a doctor that was killed
_OUTPUT = 256 << 10
_HEALTH = 5.0

# Variables that could lead a shim to the user's own topic, or to a display of the remote.
_WITHOUT = ("NSSH_NTFY_BASE", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "NSSH_SHIM_DEPTH")


def run(request: dict[str, Any], say: Callable[[str, str], None]) -> int:
    """Take orders until the end of stdin, and return the exit status; `request` has the `name` of our directory."""
    private = Private(files.state_dir(), str(request["name"]))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _leave)
    try:
        say("ready", "1")
        while True:
            signal.alarm(_SILENCE)
            line = sys.stdin.buffer.readline()
            if not line:
                return 0
            say("answer", json.dumps(_obey(json.loads(line.decode()), private)))
    except (BrokenPipeError, SystemExit):
        return 1
    finally:
        signal.alarm(0)
        private.remove()


def _leave(*_: object) -> None:
    raise SystemExit(1)


def _obey(order: dict[str, Any], private: Private) -> dict[str, Any]:
    try:
        return {"facts": facts, "reach": reach, "session": session, "run": shim}[order["do"]](order, private)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return {"error": _reason(error)}


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, HttpError):
        return "%s: %s" % (error.filename, error.strerror) if error.filename else error.strerror
    return str(error) or type(error).__name__


class Private:
    """A directory of our own in the state directory."""

    def __init__(self, state: str, name: str) -> None:
        self.state = state
        self.path = os.path.join(state, name)
        self._made: list[str] = []

    def make(self) -> None:
        """Create the directory and its missing parents. Raises OSError if that fails."""
        self._sweep()
        missing = []
        directory = self.state
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for directory in [*reversed(missing), self.path, os.path.join(self.path, "nssh")]:
            os.mkdir(directory, 0o700)
            self._made.append(directory)
        # On a full disk directories and empty files can still be created.
        files.write_private(os.path.join(self.path, "probe"), b"x" * 4096)

    def _sweep(self) -> None:
        """Remove directories that doctors have left which were killed."""
        try:
            names = os.listdir(self.state)
        except OSError:
            return
        for name in names:
            path = os.path.join(self.state, name)
            ours = name.startswith(PREFIX) and os.path.isdir(path) and not os.path.islink(path)
            if ours and time.time() - os.lstat(path).st_mtime > _STALE:
                stop.relay(path)
                shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        """End the relay in the directory, and remove all that `make` created."""
        if self.path in self._made:
            stop.relay(self.path)
            shutil.rmtree(self.path, ignore_errors=True)
        try:
            for directory in reversed([made for made in self._made if os.path.isdir(made)]):
                os.rmdir(directory)
        except OSError:
            pass  # another program uses it by now, and so its parents


def facts(order: dict[str, Any], private: Private) -> dict[str, Any]:
    """Return all that can be found out without changing anything."""
    home = os.environ.get("HOME") or os.path.expanduser("~")
    bin_dir = os.path.join(home, ".local", "bin")
    return {
        "python": sys.executable,
        "python_version": "%d.%d.%d" % sys.version_info[:3],
        "on_path": path_check.which("python3", os.environ.get("PATH", os.defpath)),
        "shell": pwd.getpwuid(os.geteuid()).pw_shell or "/bin/sh",
        "desktop": desktop.reason(),
        "nssh": _installed(bin_dir),
        "paths": _paths(bin_dir),
        "state": _state(private),
        "session": _session(str(order["salt"])),
        "relay": _relay(private.state),
    }


def _installed(bin_dir: str) -> dict[str, Any]:
    """Return what `nssh infect` has installed here, and whether it runs."""
    shims = [os.path.join(bin_dir, name) for name in stub.PERSONAS]
    go = [path for path in shims if go_program.is_shim(path)]
    others = [path for path in shims if path not in go and not stub.is_ours(path)]
    found: dict[str, Any] = {
        "line": "",
        "go_shims": [os.path.basename(path) for path in go],
        "go_version": go_program.version(go[0]) if go else "",
        "foreign": [path for path in others if os.path.lexists(path)],
        "lacking": [os.path.basename(path) for path in others if not os.path.lexists(path)],
    }
    data = files.data_dir()
    try:
        with open(os.path.join(data, "version"), encoding="utf-8", errors="replace") as file:
            found["line"] = file.readline(400).strip()
    except FileNotFoundError:
        return found
    command = os.path.join(data, stub.COMMAND)
    started = time.monotonic()
    try:
        done = _run([command, "version"], b"", dict(os.environ), 10.0)
    except OSError as error:
        return {**found, "problem": _reason(error)}
    milliseconds = (time.monotonic() - started) * 1000
    said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().split("\n")[-1]
    problem = "" if done.returncode == 0 else "%s: status %d: %s" % (command, done.returncode, said[:200])
    return {**found, "problem": problem, "ms": milliseconds}


def _paths(bin_dir: str) -> list[dict[str, Any]]:
    """Return what each shell finds on its PATH: as a login shell, for a command, and in a window of a login."""
    shells = path_check.shells()
    first = path_check.ask([(shell, way, "") for shell in shells for way in (path_check.LOGIN, path_check.COMMAND)])
    # The shell in a window inherits the PATH of the login that opened the window.
    login = next((probe.path for probe in first if probe.login), "")
    later = path_check.ask([(shell, path_check.INTERACTIVE, login) for shell in shells])
    ours = [name for name in stub.PERSONAS if path_check.is_shim(os.path.join(bin_dir, name))]
    own = shells[0] if shells else ""
    return [_judge(probe, ours, own) for probe in [*first, *later]]


def _judge(probe: path_check.ShellProbe, ours: list[str], own: str) -> dict[str, Any]:
    way = path_check.LOGIN if probe.login else path_check.INTERACTIVE
    way = way if probe.interactive else path_check.COMMAND
    shadows, missing, behind = {}, [], {}
    for name in ours:
        found = path_check.which(name, probe.path)
        if not found:
            missing.append(name)
        elif not path_check.is_shim(found):
            shadows[name] = found
        elif stub.is_ours(found):
            real = fallback.find(name, {"PATH": probe.path})
            if real:
                behind[name] = real
    return {
        "shell": probe.name,
        "own": probe.shell == own,
        "way": way,
        "answered": bool(probe.path),
        "shadows": shadows,
        "missing": missing,
        "behind": behind,
        "advice": path_check.advice_for(probe),
    }


def _state(private: Private) -> dict[str, Any]:
    found: dict[str, Any] = {"path": private.state, "problem": "", "mode": 0}
    try:
        found["mode"] = os.stat(private.state).st_mode & 0o777
    except OSError:
        pass  # `make` fails, too, with a reason
    try:
        private.make()
    except OSError as error:
        found["problem"] = _reason(error)
    return found


def _session(salt: str) -> dict[str, Any]:
    """Return what the session file holds; of the topic only a salted hash, by which two topics can be compared."""
    path = os.path.join(files.state_dir(), "session")
    found: dict[str, Any] = {"path": path, "there": False, "problem": "", "overridden": "", "unusable": ""}
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return found
    except OSError as error:
        return {**found, "problem": _reason(error)}
    found.update(
        there=True, mode=info.st_mode & 0o777, mine=info.st_uid == os.geteuid(), age=time.time() - info.st_mtime
    )
    if not stat.S_ISREG(info.st_mode):
        return {**found, "problem": "%s is not a regular file" % path}
    try:
        with open(path, "rb") as file:
            own = session_file.parse(file.read(session_file.MAX_SIZE).decode("utf-8"))
    except (OSError, ValueError) as error:
        return {**found, "problem": "%s: %s" % (path, getattr(error, "strerror", None) or error)}
    try:
        used = session_file.load()
    except ValueError as error:
        return {**found, "unusable": "$NSSH_NTFY_BASE: %s" % error if os.environ.get("NSSH_NTFY_BASE") else str(error)}
    found.update(server=own.server, topic=hashlib.sha256((salt + own.topic).encode()).hexdigest())
    if os.environ.get("NSSH_NTFY_BASE"):
        found["overridden"] = "$NSSH_NTFY_BASE"
    elif used.topic != own.topic or (own.server != session_file.RELAY and used.server != own.server.rstrip("/")):
        found["overridden"] = os.path.join(files.config_dir(), "config.toml")
    return found


def _relay(state: str) -> str:
    """Return the state of the user's own relay: `none`, `healthy`, or what is wrong with it."""
    path = os.path.join(state, "relay.sock")
    if not os.path.exists(path):
        return "none"
    try:
        return _health("unix:" + path)
    except HttpError as error:
        # A relay that was killed leaves its socket, which the next one replaces.
        return "none" if "refused" in str(error).lower() else str(error)


def _health(server: str) -> str:
    answer = Client(server, "", _HEALTH).request("GET", "/v1/health", deadline=time.monotonic() + _HEALTH)
    if answer.status != 200 or b'"healthy":true' not in answer.body.replace(b" ", b""):
        return "it does not say that it is healthy (status %d)" % answer.status
    return "healthy"


def reach(order: dict[str, Any], private: Private) -> dict[str, Any]:
    """Return whether a server can be reached from here, and in how many milliseconds."""
    del private
    started = time.monotonic()
    said = _health(str(order["server"]))
    return {"said": said, "ms": (time.monotonic() - started) * 1000}


def session(order: dict[str, Any], private: Private) -> dict[str, Any]:
    """Write the session file that `shim` uses; the server `relay` is one in our directory."""
    server = str(order["server"])
    if server == session_file.RELAY:
        server = "unix:" + os.path.join(private.path, "relay.sock")
    text = session_file.render(
        session_file.Session(server, str(order["topic"]), tuple(order["features"]), str(order["token"]))
    )
    files.write_private(os.path.join(private.path, "nssh", "session"), text.encode())
    return {}


def shim(order: dict[str, Any], private: Private) -> dict[str, Any]:
    """Run an installed shim in our own session; return its status, its output, and its milliseconds."""
    persona = str(order["persona"])
    home = os.environ.get("HOME") or os.path.expanduser("~")
    path = os.path.join(home, ".local", "bin", persona)
    if persona not in stub.PERSONAS:
        return {"error": "%s is no shim" % persona}
    if not path_check.is_shim(path):
        return {"error": "%s is %s" % (path, "not nssh's" if os.path.lexists(path) else "missing")}
    environ = {name: value for name, value in os.environ.items() if name not in _WITHOUT}
    environ.update(XDG_STATE_HOME=private.path, XDG_CONFIG_HOME=os.path.join(private.path, "config"), NSSH_TIMEOUT="5")
    started = time.monotonic()
    done = _run([path, *order["arguments"]], binascii.a2b_base64(order["input"]), environ, 20.0)
    return {
        "status": done.returncode,
        "ms": (time.monotonic() - started) * 1000,
        "output": binascii.b2a_base64(done.stdout[:_OUTPUT], newline=False).decode("ascii"),
        "said": done.stderr.decode("utf-8", "replace").strip()[-300:],
    }


def _run(argv: list[str], stdin: bytes, environ: dict[str, str], timeout: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError("%s did not end within %g s" % (os.path.basename(argv[0]), timeout)) from None
