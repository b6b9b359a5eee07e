"""Where a shim's time goes, on each interpreter of this machine, and what other ways of installing it would cost."""

from __future__ import annotations

import compileall
import re
import shutil
import statistics
import subprocess
import time
import zipfile
from typing import TYPE_CHECKING

from nssh.install import deploy
from nssh.remote import stub
from nssh.wire.http import Client
from tests.bench.rows import Row, Section, interleaved, minus, progress
from tests.bench.shims import Shims
from tests.wire.interpreters import INTERPRETERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.place import Lab
    from tests.bench.scale import Scale

_NAMES = ("xdg-open", "xclip")
_LOADED = re.compile(rb"import time:\s+\d+ \|\s+\d+ \|\s+(\S+)")


class Installed:
    """The shims of one interpreter, installed in one way, in directories of their own."""

    def __init__(self, directory: Path, python: str, version: str) -> None:
        self.python = python
        self.version = version
        self._root = directory
        self._lib = directory / "lib"

    def compiled(self) -> Path:
        """As `nssh infect` does it: a stub that runs `-I -S`, and compiled files."""
        self._sources(self._lib, compiled=True)
        return self._stubs("stub", stub.render(self.python, str(self._lib)))

    def uncompiled(self) -> Path:
        """Sources alone, which are never compiled for good."""
        lib = self._root / "sources"
        self._sources(lib, compiled=False)
        return self._stubs("bare", stub.render(self.python, str(lib)).replace(b" -IS\n", b" -ISB\n", 1))

    def with_site(self) -> Path:
        """As `compiled`, but the interpreter loads `site`."""
        return self._stubs("site", stub.render(self.python, str(self._lib)).replace(b" -IS\n", b" -I\n", 1))

    def zipped(self) -> Path:
        """One archive of compiled files."""
        archive = self._root / "lib.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(self._lib.rglob("*.pyc")):
                package = path.parent.parent.relative_to(self._lib)
                file.write(path, f"{package}/{path.name.partition('.')[0]}.pyc")
        return self._stubs("zip", stub.render(self.python, str(archive)))

    def _sources(self, lib: Path, *, compiled: bool) -> None:
        for name, text in deploy.payload().files.items():
            path = lib / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if compiled:
            subprocess.run([self.python, "-m", compileall.__name__, "-q", str(lib)], check=True)

    def _stubs(self, name: str, content: bytes) -> Path:
        directory = self._root / name
        directory.mkdir(exist_ok=True)
        for persona in _NAMES:
            path = directory / persona
            path.write_bytes(content)
            path.chmod(0o755)
        return directory


def measure(lab: Lab, scale: Scale) -> list[Section]:
    """Call the shims on the relay, over loopback: what crosses a link is the same for all of them."""
    root = lab.client.directory / "interpreters"
    root.mkdir(exist_ok=True)
    try:
        with lab.session("direct") as record:
            found = [_installed(root, python) for python in INTERPRETERS]
            Shims(lab).copy()
            return [
                _where_it_goes(lab, scale, _installed(root, "/usr/bin/python3", "default"), record.topic),
                _ways(lab, scale, [_installed(root, python, f"ways{i}") for i, python in enumerate(INTERPRETERS)]),
                _interpreters(lab, scale, found),
            ]
    finally:
        shutil.rmtree(root)


def _installed(root: Path, python: str, name: str = "") -> Installed:
    words = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    directory = root / (name or version)
    directory.mkdir()
    return Installed(directory, python, version)


def _where_it_goes(lab: Lab, scale: Scale, installed: Installed, topic: str) -> Section:
    directory = installed.compiled()
    shims = Shims(lab, str(directory), f"{installed.python} -IS -c 0")
    server = f"unix:{lab.remote.state}/nssh/relay.sock"

    def exchange() -> float:
        begun = time.monotonic()
        with Client(server) as client:
            # A ping of the kind that nobody answers: the cost is the socket's and the relay's.
            client.request("POST", f"/{topic}", (("Content-Type", "text/plain"),), b'{"kind":"pong","id":"bench"}')
        return time.monotonic() - begun

    rows = []
    for what, call, words in (
        ("xdg-open", shims.open, "xdg-open https://example.com/imports"),
        ("xclip -i", shims.copy, "xclip -selection clipboard"),
        ("xclip -o", shims.paste, "xclip -selection clipboard -o"),
    ):
        modules = _modules(lab, installed, directory, words)
        line = f"import sys; sys.path.insert(0, '{directory.parent / 'lib'}'); import {', '.join(modules)}"
        importing = f'{installed.python} -IS -c "{line}"'
        times = interleaved(
            scale.runs,
            {
                "bare": shims.bare,
                "imports": lambda command=importing: lab.shell.run(command).seconds,  # type: ignore[misc]
                "exchange": exchange,
                what: call,
            },
        )
        imports = minus(times["imports"], times["bare"])
        waits = ": waiting for the laptop" if what == "xclip -o" else ""
        rest = minus(
            times[what], (sum(statistics.median(each) for each in (times["bare"], imports, times["exchange"])),)
        )
        rows += [
            Row(f"{what}, whole process", times[what]),
            Row("— the interpreter", times["bare"], "ms", times[what], "the whole"),
            Row(f"— {len(modules)} imports", imports, "ms", times[what], "the whole"),
            Row("— one exchange with the relay", times["exchange"], "ms", times[what], "the whole"),
            Row(f"— what is left{waits}", rest, "ms", times[what], "the whole"),
        ]  # fmt: skip
    text = f"Python {installed.version}, on loopback. Each part was measured by itself, in turn with the whole."
    return Section("Where a shim's time goes", rows, text)


def _modules(lab: Lab, installed: Installed, directory: Path, words: str) -> list[str]:
    told = lab.shell.run(f"{installed.python} -ISX importtime {directory}/{words}", stdin="text").output
    start = lab.shell.run(f"{installed.python} -ISX importtime -c 0").output
    before = set(_LOADED.findall(start))
    return [name.decode() for name in _LOADED.findall(told) if name not in before and b"__main__" not in name]


def _ways(lab: Lab, scale: Scale, found: list[Installed]) -> Section:
    rows = []
    for installed in found:
        directories = {
            "-I -S, compiled (as installed)": installed.compiled(),
            "-I, compiled": installed.with_site(),
            "-I -S, zip of compiled files": installed.zipped(),
            "-I -S, sources only": installed.uncompiled(),
        }
        bare = f"{installed.python} -IS -c 0"
        ways: dict[str, Callable[[], float]] = {"bare": Shims(lab, bare=bare).bare}
        ways |= {name: Shims(lab, str(directory)).copy for name, directory in directories.items()}
        # They differ by less than a millisecond, so by less than a few runs are apart.
        times = interleaved(scale.runs if scale.quick else 3 * scale.runs, ways)
        label = f"Python {installed.version}"
        rows += [Row(f"{label}, {name}", times[name], "ms", times["bare"], "bare python -IS") for name in directories]
    return Section("Ways to install a shim: xclip -i", rows, "On loopback, on the relay.")


def _interpreters(lab: Lab, scale: Scale, found: list[Installed]) -> Section:
    rows = []
    for installed in found:
        shims = Shims(lab, str(installed.compiled()), f"{installed.python} -IS -c 0")
        ways = {"bare": shims.bare, "xdg-open": shims.open, "xclip -i": shims.copy, "xclip -o": shims.paste}
        times = interleaved(scale.runs, ways)
        name = f"Python {installed.version}"
        rows += [
            Row(f"{what}, {name}", times[what], "ms", times["bare"], "bare python -IS", 0.045)
            for what in ("xdg-open", "xclip -i", "xclip -o")
        ]
        progress(name)
        # The bridge opens twenty URLs in ten seconds at most; what is beyond waits for the user.
        time.sleep(10.0 if scale.runs > 3 else 0.0)
    return Section("The shims on each interpreter", rows, "On loopback, on the relay.")
