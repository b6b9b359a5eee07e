"""The sources that make up the remote side: read from wherever they are installed, and known by a digest."""

from __future__ import annotations

import hashlib
import json
import os

PACKAGES = ("mosh", "relay", "remote", "wire")
"""Folders of the package that belong to it as a whole."""

PARTS = ("__init__.py", "base/__init__.py", "base/durations.py", "base/printable.py")
"""Files beside them."""


def read(root: str) -> dict[str, str]:
    """Return the source text of each path, such as `nssh/wire/files.py`.

    Args:
        root: The package's directory.

    Raises:
        OSError: A file can't be read.
        UnicodeDecodeError: A file is damaged.
    """
    names = list(PARTS)
    for package in PACKAGES:
        found = sorted(os.listdir(os.path.join(root, package)))
        names += ["%s/%s" % (package, name) for name in found if name.endswith((".py", ".sh"))]
    files = {}
    for name in names:
        with open(os.path.join(root, *name.split("/")), "rb") as file:
            files["nssh/" + name] = file.read().decode("utf-8")
    return files


def digest(files: dict[str, str]) -> str:
    """Return 12 hexadecimal digits, a hash of all files, which tells two builds of one version apart."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
