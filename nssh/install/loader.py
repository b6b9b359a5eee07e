"""Runs on the remote: imports our package from a request that it reads on stdin, and runs one of its modules.

It is sent as text (`nssh.install.deploy.script`), for Python 3.8 or newer. The request is a line with its size, then
JSON: the sources by path, the module, and what its `run` is to do. What follows on stdin is left for that to read.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class Sources:
    """Imports modules from sources in memory; an entry of `sys.meta_path`."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        """Describe a module; None if it is not among the sources. Python chooses the arguments."""
        stem = name.replace(".", "/")
        for file, package in ((stem + "/__init__.py", True), (stem + ".py", False)):
            if file in self._files:
                # It has the methods of a loader that are called; importlib.abc would cost its import.
                return ModuleSpec(name, self, origin=file, is_package=package)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let Python make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's source."""
        origin = str(module.__spec__ and module.__spec__.origin)
        exec(compile(self._files[origin], "<nssh>/" + origin, "exec"), module.__dict__)  # noqa: S102 - it is our own


def say(key: str, text: str) -> None:
    """Tell the laptop something, as a line that can't steer a terminal."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    sys.stdout.buffer.write(("%s %s\n" % (key, text)).encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def main() -> None:
    """Read the request, and do it."""
    size = int(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read(size)
    if len(data) != size:
        say("error", "the connection broke while nssh was sent")
        sys.exit(1)
    request = json.loads(data.decode())
    sys.meta_path.insert(0, Sources(request["files"]))
    sys.exit(import_module(request["module"]).run(request, say))


if __name__ == "__main__":
    main()
