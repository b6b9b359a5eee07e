"""The two sides: a real tool on a real display, and the shim with a small laptop; each tells how one case ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from nssh.local.clipboard import ClipboardEmpty, MemoryClipboard
from nssh.local.clipboard_content import Content
from nssh.local.clipboard_wayland import WaylandClipboard
from nssh.local.clipboard_x11 import XclipClipboard
from nssh.local.tool_runner import ToolHungError
from nssh.wire import envelope as wire
from nssh.wire import mimes
from nssh.wire.http import Client
from tests.lab.system import require
from tests.lab.waiting import until
from tests.lab.x11 import wayland, xvfb
from tests.remote.support import TOPIC, Home, Laptop

if TYPE_CHECKING:
    from nssh.local.clipboard_base import Clipboard
    from tests.remote.differential.cases import Case

PATIENCE = 60.0


class Outcome(NamedTuple):
    status: int | None
    stdout: bytes
    stderr: bytes
    clipboard: tuple[str, bytes] | None
    blocks: bool


def content_of(clipboard: Clipboard) -> tuple[str, bytes] | None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            mime, data = clipboard.fetch(mimes.ANYTHING)
        except ClipboardEmpty:
            return None
        except ToolHungError:
            # Real owners that are replaced just then may end with a question unanswered.
            if time.monotonic() > end:
                raise
        else:
            return mime, data.read_all()


def files(directory: Path) -> None:
    (directory / "one").write_bytes(b"1\n")
    (directory / "two").write_bytes(b"2\n")
    (directory / "big").write_bytes(b"z" * 300_000)


def openers(directory: Path) -> Path:
    """Make a PATH with xdg-open and sensible-browser, what they are made of, and none of this machine's browsers."""
    path = directory / "bin"
    path.mkdir()
    for tool in ("xdg-open", "xdg-mime", "sh", "basename", "cat", "cut", "dirname", "egrep", "file", "grep", "head",
                 "readlink", "sed", "tr", "uname", "which"):  # fmt: skip
        if found := shutil.which(tool, path="/usr/bin:/bin"):
            (path / tool).symlink_to(found)
    # Debian's looks for some browsers in one directory, whatever the PATH is.
    script = Path("/usr/bin/sensible-browser").read_text()
    (path / "sensible-browser").write_text(script.replace("/usr/bin/", f"{path}/"))
    (path / "sensible-browser").chmod(0o755)
    return path


class Real:
    """The tools of this machine, on a display of their own."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        require("xclip", "xsel", "wl-copy", "wl-paste", "xdg-open")
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp")))
        files(self._directory)
        common = {"HOME": str(self._directory), "LC_ALL": "C.UTF-8"}
        self._base = {"PATH": "/usr/bin:/bin", **common}
        self._without_browsers = {"PATH": os.fspath(openers(self._directory)), **common}
        display = self._stack.enter_context(wayland() if self._kind == "wayland" else xvfb())
        self._environ = {**self._base, **display}
        self._clipboard: Clipboard
        if self._kind == "wayland":
            self._clipboard = WaylandClipboard(
                "/usr/bin/wl-copy", "/usr/bin/wl-paste", self._environ, read_timeout=PATIENCE, write_timeout=PATIENCE
            )
        else:
            self._clipboard = XclipClipboard("/usr/bin/xclip", self._environ, write_timeout=PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, case: Case) -> Outcome:
        if case.display:
            self._prepare(case)
        opens = case.argv[0] in {"xdg-open", "sensible-browser"}
        environ = self._environ if case.display else self._without_browsers if opens else self._base
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            stdin.write(case.stdin)
            stdin.seek(0)
            process = subprocess.Popen(
                case.argv, stdin=stdin, stdout=out, stderr=err, env=environ, cwd=self._directory, start_new_session=True
            )
            status = None
            try:
                if not case.blocks:
                    status = process.wait(PATIENCE)
                elif case.stdin:
                    until(lambda: content_of(self._clipboard) != case.before, PATIENCE)
                else:
                    time.sleep(0.3)  # nothing to be seen from outside: it must be there still
                blocks = process.poll() is None
                clipboard = self._settled(case) if case.display else None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            out.seek(0)
            err.seek(0)
            return Outcome(status, out.read(), err.read(), clipboard, blocks)

    def becomes(self, wanted: tuple[str, bytes] | None) -> tuple[str, bytes] | None:
        """Wait some seconds for this to be on the clipboard; return what is."""
        end = time.monotonic() + 5.0
        while (seen := content_of(self._clipboard)) != wanted and time.monotonic() < end:
            time.sleep(0.05)
        return seen

    def _prepare(self, case: Case) -> None:
        if case.before is None and self._kind == "wayland":
            self._clipboard.clear()
        elif case.before is None:
            subprocess.run(["/usr/bin/xsel", "-b", "-c"], env=self._environ, check=True, stdin=subprocess.DEVNULL)
        else:
            self._clipboard.store(case.before[0], Content(case.before[1]))
        wanted = case.before
        if wanted is None:
            until(lambda: content_of(self._clipboard) is None, PATIENCE)
        else:
            until(lambda: self._clipboard.read(wanted[0]) == wanted[1], PATIENCE)

    def _settled(self, case: Case) -> tuple[str, bytes] | None:
        """Return what is on the clipboard; the child that xclip and wl-copy leave behind may be a moment late."""
        seen = content_of(self._clipboard)
        if case.differs == "once":
            until(lambda: content_of(self._clipboard) is None, PATIENCE)
            return None
        end = time.monotonic() + 0.15
        while seen == case.before and time.monotonic() < end:
            time.sleep(0.01)
            seen = content_of(self._clipboard)
        # Types and content are two questions; between them the clipboard may have passed from one owner to the other.
        while (again := content_of(self._clipboard)) != seen:
            seen = again
        return seen


class _Memory(Laptop):
    """A laptop that keeps a clipboard and answers as the bridge does."""

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self.memory = MemoryClipboard()
        self._address = server

    def _take(self, event: dict[str, object]) -> None:
        super()._take(event)
        while self.received:
            message, data = self.received.pop(0)
            if message.kind != wire.KIND_CLIP_WRITE:
                continue
            if message.mime or data:
                self.memory.store(message.mime, Content(data))
            else:
                self.memory.clear()

    def _answer(self, request: wire.Envelope) -> None:
        answer = wire.Envelope(wire.KIND_CLIP_READ_RESPONSE, mime="text/plain", id=request.id)
        try:
            if request.mime == "TARGETS":
                data = "\n".join(self.memory.targets()).encode()
            else:
                answer.mime, content = self.memory.fetch(request.mime)
                data = content.read_all()
        except ClipboardEmpty as error:
            answer.mime, data = (error.others or [""])[0], b""
        headers: list[tuple[str, str]] = []
        body = data
        if data and wire.wants_attachment(answer.mime, len(data)):
            headers = [("Filename", "clip.dat"), ("X-Message", wire.encode(answer))]
        else:
            answer.body = data
            body = wire.encode(answer).encode()
        done = Client(self._address).request("PUT" if headers else "POST", f"/{TOPIC}", headers, body)
        assert done.status == 200, done.body

    def content(self) -> tuple[str, bytes] | None:
        return content_of(self.memory)


class Shims:
    """The shims in a home of their own, without any of the real tools, and a laptop at the other end of the relay."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._home = self._stack.enter_context(Home())
        self._home.infect()
        address = self._home.connect(features=("targets", "types"))
        assert self._home.run("nssh-remote", "relay", "start").status == 0
        files(self._home.path)
        self._laptop = self._stack.enter_context(_Memory(address))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, case: Case) -> Outcome:
        if case.before is None:
            self._laptop.memory.clear()
        else:
            self._laptop.memory.store(case.before[0], Content(case.before[1]))
        done = self._home.run(*case.argv, stdin=case.stdin)
        # The laptop has dealt with everything once it answers a read: the bus keeps the order.
        self._home.run("xsel", "-b", "-o")
        clipboard = self._laptop.content() if case.display else None
        return Outcome(done.status, done.out, done.err.encode(), clipboard, blocks=False)
