"""A window with the program of these tests in it, and its screen."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from tests.lab.screen import Screen
from tests.lab.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a user with an ordinary terminal; an empty value removes a variable."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    environ = {**kept, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **changes}
    return {name: value for name, value in environ.items() if value}


@contextlib.contextmanager
def asking(
    ask: str,
    *arguments: Any,
    rows: int = 24,
    columns: int = 80,
    environ: dict[str, str] | None = None,
    redirect: dict[int, int] | None = None,
    reflows: bool = False,
    **wish: Any,
) -> Iterator[Screen]:
    """Have a program ask a question in a window; see `tests.tui.program`."""
    words = [sys.executable, "-P", "-m", "tests.tui.program", json.dumps({"ask": ask, "arguments": arguments, **wish})]
    environ = environment() if environ is None else environ
    environ["PYTHONPATH"] = os.pathsep.join([ROOT, *filter(None, [environ.get("PYTHONPATH")])])
    with Terminal(words, environ, rows=rows, columns=columns, directory=ROOT, redirect=redirect) as window:
        yield Screen(window, rows=rows, columns=columns, reflows=reflows)
