"""A real ntfy server for tests: finds or fetches the binary, and runs private servers on loopback.

`python -m tests.lab.ntfy` prints the path of the binary. Where the system's own release has no package `ntfy`, that one
package is taken from a newer suite of the same archive, with apt's own signature checks, in private directories under
`.lab/`: nothing of the system's sources or packages changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import pytest
import requests

from tests.lab.ports import free_port
from tests.lab.system import check_marked

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "ntfy"
SUITES = ("trixie", "sid")
LAB = Path(__file__).resolve().parents[2] / ".lab"
_CACHED = LAB / "ntfy" / "usr" / "bin" / "ntfy"


class NtfyMissingError(Exception):
    """No ntfy binary is here and none can be had; the text says why."""


def ensure_ntfy() -> Path:
    """Return the path of a working ntfy binary: on the PATH, cached, or fetched now (safe in parallel).

    Raises:
        NtfyMissingError: There is none.
    """
    for candidate in (shutil.which("ntfy"), str(_CACHED)):
        if candidate and _works(candidate):
            return Path(candidate)
    LAB.mkdir(exist_ok=True)
    with (LAB / "ntfy.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _works(str(_CACHED)):
            _fetch()
    return _CACHED


def _works(path: str) -> bool:
    # The client half of the package is enough to pass for ntfy, but only the server half knows `serve`.
    try:
        return subprocess.run([path, "serve", "--help"], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _fetch() -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise NtfyMissingError(f"package {PACKAGE}: there is no apt here, and no ntfy on the PATH")
    archive = _archive()
    reasons = []
    for suite in SUITES:
        with tempfile.TemporaryDirectory(prefix="apt-", dir=LAB) as work:
            try:
                _unpack_from(archive, suite, Path(work))
            except (subprocess.SubprocessError, OSError) as error:
                reasons.append(f"{suite}: {_reason(error)}")
            else:
                return
    raise NtfyMissingError(f"package {PACKAGE} can't be had ({'; '.join(reasons)})")


def _reason(error: BaseException) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or b"").decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else str(error)
    return str(error)


class _Archive(NamedTuple):
    uri: str
    options: str


def _archive() -> _Archive:
    """Return the archive of this system's own release, as its sources name it: never a host of our choosing."""
    codename = ""
    with contextlib.suppress(OSError):
        found = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.MULTILINE)
        codename = found.group(1) if found else ""
    for path in sorted(Path("/etc/apt").glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if codename in fields.get("Suites", "").split() and fields.get("URIs"):
                key = fields.get("Signed-By", "")
                return _Archive(fields["URIs"].split()[0], f"[signed-by={key}]" if key.startswith("/") else "")
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt").glob("sources.list.d/*.list"))):
        with contextlib.suppress(OSError):
            for options, uri, suite in re.findall(
                r"^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+.*\bmain\b", path.read_text(), re.MULTILINE
            ):
                if suite == codename:
                    return _Archive(uri, options.strip())
    raise NtfyMissingError(f"package {PACKAGE}: the apt sources name no archive of this release ({codename or '?'})")


def _unpack_from(archive: _Archive, suite: str, work: Path) -> None:
    for name in ("lists/partial", "cache/archives/partial", "etc", "unpacked"):
        (work / name).mkdir(parents=True)
    sources = work / "etc" / "sources.list"
    sources.write_text(f"deb {archive.options} {archive.uri} {suite} main\n")
    settings = {
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "APT::Sandbox::User": "",  # the directories are ours, not the sandbox user's
        "Debug::NoLocking": "true",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    for words in (["update", "-q", "--error-on=any"], ["download", "-q", PACKAGE]):
        subprocess.run(["apt-get", *options, *words], cwd=work, check=True, capture_output=True, timeout=300)
    (package,) = work.glob(f"{PACKAGE}_*.deb")
    subprocess.run(["dpkg", "-x", package, work / "unpacked"], check=True, capture_output=True, timeout=60)
    binary = work / "unpacked" / "usr" / "bin" / "ntfy"
    if not _works(str(binary)):
        raise OSError("its binary does not run here")
    # Moved into place whole, so that another process never sees half of it.
    shutil.rmtree(LAB / "ntfy", ignore_errors=True)
    (work / "unpacked").rename(LAB / "ntfy")


def require_ntfy() -> Path:
    """Return the binary for a test; skip it where there is none, but fail in CI (CI=true)."""
    check_marked("ntfy")
    try:
        return ensure_ntfy()
    except NtfyMissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have ntfy: {error}")
        pytest.skip(str(error))


# What a test may do in seconds, a stock server spreads over hours.
_GENEROUS = """\
visitor-request-limit-burst: 1000000
visitor-request-limit-replenish: "1ms"
visitor-message-daily-limit: 1000000
visitor-subscription-limit: 1000
visitor-topic-creation-limit-burst: 1000000
visitor-topic-creation-limit-replenish: "1ms"
visitor-attachment-total-size-limit: "4G"
visitor-attachment-daily-bandwidth-limit: "10G"
"""

_TIGHT = """\
visitor-request-limit-burst: 5
visitor-request-limit-replenish: "1h"
"""

USER, PASSWORD = "nssh", "a password: ü"


class NtfyServer:
    """A private ntfy server on a loopback port; `stop`, `kill` and `start` again keep port and messages.

    ntfy 2.11 panics (`bufio.(*Writer).Flush` below `handleSubscribeHTTP`) where a subscriber goes away just when a
    message is handed out; on loopback, with thousands of messages a minute, now and then one does. As a service manager
    would, we start it again then.
    """

    def __init__(
        self,
        directory: Path,
        *,
        auth: bool = False,
        tight: bool = False,
        keepalive: str = "45s",
        file_limit: str = "64M",
    ) -> None:
        """Write the configuration; nothing runs yet.

        Args:
            directory: An empty directory of its own.
            auth: Deny everything but the user USER on `nssh_*`; see `token`.
            tight: Five requests, then 429.
            file_limit: The largest attachment; a stock server takes 15M.
            keepalive: Interval of keepalive events, 5 s at least.
        """
        self._directory = directory
        self._binary = require_ntfy()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # over `_process`
        self.panics = 0
        self._auth = auth
        self.token = ""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = directory / "server.yml"
        lines = [
            f'listen-http: "127.0.0.1:{self.port}"',
            f'base-url: "{self.url}"',
            f'cache-file: "{directory}/cache.db"',
            # Write-ahead logging, as the stock configuration suggests: publishing is twice as fast.
            'cache-startup-queries: "pragma journal_mode = WAL; pragma synchronous = normal;"',
            f'attachment-cache-dir: "{directory}/attachments"',
            f'keepalive-interval: "{keepalive}"',
            f'attachment-file-size-limit: "{file_limit}"',
        ]
        if auth:
            lines += [f'auth-file: "{directory}/auth.db"', 'auth-default-access: "deny-all"']
        self._config.write_text("\n".join(lines) + "\n" + (_TIGHT if tight else _GENEROUS))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        process = self._launch()
        deadline, pause = time.monotonic() + 30, 0.005
        while not self.healthy():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"ntfy did not start: {self._said()}")
            time.sleep(pause)
            pause = min(pause * 2, 0.1)
        # The server creates the user database; changes act at once.
        if self._auth and not self.token:
            self._add_user()

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self._directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [self._binary, "serve", "--config", self._config], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._process = process
        threading.Thread(target=self._revive, args=(process,), daemon=True).start()
        return process

    def _revive(self, process: subprocess.Popen[bytes]) -> None:
        """Start it again if it panics; whoever ends it takes it out of our hands first."""
        process.wait()
        with self._lock:
            if self._process is process and "panic: runtime error" in self._said():
                self.panics += 1
                self._launch()

    def _said(self) -> str:
        return (self._directory / "log").read_text(errors="replace")[-4000:]

    def healthy(self) -> bool:
        """Return whether it answers that it is healthy."""
        try:
            answer = requests.get(f"{self.url}/v1/health", timeout=5)
        except requests.RequestException:
            return False
        return answer.status_code == 200 and answer.text.strip() == '{"healthy":true}'

    def stop(self) -> None:
        """End it with SIGTERM, and SIGKILL if it does not go; it may be started again."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL; it may be started again."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing comes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # when all of its threads have stopped

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        status = process.poll()
        if status is not None and "panic: runtime error" not in self._said():
            pytest.fail(f"ntfy ended by itself with {status}: {self._said()}")
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _add_user(self) -> None:
        environ = {**os.environ, "NTFY_PASSWORD": PASSWORD}
        config = ["--config", str(self._config)]
        for words in (["user", *config, "add", USER], ["access", *config, USER, "nssh_*", "rw"]):
            subprocess.run([self._binary, *words], env=environ, check=True, capture_output=True, timeout=60)
        words = ["token", *config, "add", USER]
        done = subprocess.run([self._binary, *words], check=True, capture_output=True, timeout=60)
        found = re.search(rb"\btk_\w+", done.stdout + done.stderr)
        assert found is not None
        self.token = found.group().decode()


@contextlib.contextmanager
def running(
    *, auth: bool = False, tight: bool = False, keepalive: str = "45s", file_limit: str = "64M"
) -> Iterator[NtfyServer]:
    """Run a server in a directory of its own for the time of the context."""
    with (
        tempfile.TemporaryDirectory(prefix="nssh-ntfy-") as directory,
        NtfyServer(Path(directory), auth=auth, tight=tight, keepalive=keepalive, file_limit=file_limit) as server,
    ):
        yield server


if __name__ == "__main__":
    try:
        print(ensure_ntfy())
    except NtfyMissingError as error:
        sys.exit(str(error))
