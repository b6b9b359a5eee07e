"""The stand-in as one program that is told by its name which role to play, like the one that it stands for."""

from __future__ import annotations

import os

from tests.go import laptop, shims

_VERSION_TEXT = f"nssh {laptop.VERSION}\n  go      go1.26.1\n  OS      linux\n  arch    amd64"


def main(argv: list[str]) -> int:
    """Play the role of `argv[0]`; return the exit status."""
    persona, words = os.path.basename(argv[0]), argv[1:]
    if persona in shims.PERSONAS:
        return shims.run(persona, words)
    if words[:1] in (["-v"], ["--version"]):
        print(_VERSION_TEXT)
        return 0
    choice = ""
    while words and words[0] in ("--ssh", "--join", "--replace", "--new"):
        choice = choice if words[0] == "--ssh" else words[0][2:]
        words = words[1:]
    return laptop.Session(choice, words).run()
