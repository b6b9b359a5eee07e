"""Find and run the real tool of a name, further down the PATH, for calls that are not for the laptop."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enum, 5 ms
import os

from nssh.remote import stub
from nssh.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_DEPTH = "NSSH_SHIM_DEPTH"
# A real xdg-open may run sensible-browser, which may run xdg-open: eight shims in a row are a loop.
_DEEPEST = 8


def find(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the first program called `name` on the PATH that is no shim of nssh; empty if there is none."""
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK) and not stub.is_ours(path):
            return path
    return ""


def run(path: str, argv: list[str], environ: MutableMapping[str, str] = os.environ) -> None:
    """Replace this process by the real tool, with the arguments as they were given.

    Raises:
        Failure: The tool can't be started, or shim and tool start each other in a loop.
    """
    depth = environ.get(_DEPTH, "")
    count = int(depth) if depth.isascii() and depth.isdigit() and len(depth) < 4 else 0
    if count >= _DEEPEST:
        raise Failure("this shim and %s start each other in a circle (is it set as $BROWSER?)" % path)
    environ[_DEPTH] = str(count + 1)
    # Python ignores these signals, and a new program would inherit that; the real tool expects to die of them.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(_signal, name):
            _signal.signal(getattr(_signal, name), _signal.SIG_DFL)
    try:
        os.execve(path, argv, dict(environ))  # noqa: S606 (no shell is meant)
    except OSError as error:
        raise Failure("can't start %s: %s" % (path, error.strerror)) from None
