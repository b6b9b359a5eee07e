"""The Python interpreters of this machine that the remote side has to run on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def _find() -> list[str]:
    """Return one interpreter for each minor version from 3.8 on, the running one among them."""
    candidates = [sys.executable, "/usr/bin/python3", *map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3"))]
    found: dict[tuple[int, int], str] = {}
    for candidate in candidates:
        if not Path(candidate).exists():
            continue
        result = subprocess.run(
            [candidate, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        major, minor = map(int, result.stdout.split())
        if (major, minor) >= (3, 8):
            found.setdefault((major, minor), candidate)
    return [found[version] for version in sorted(found)]


INTERPRETERS = _find()
