"""The shells that a remote's `sh` may be, each with a userland."""

from __future__ import annotations

from nssh import framing

SHELLS = ["dash", "bash", "busybox sh"]


def bootstrap(shell: str) -> list[str]:
    """Return the command that runs a framed script on this machine with `shell` in the place of `sh`."""
    line = framing.BOOTSTRAP.removeprefix("exec sh -c ").strip("'")
    return [*shell.split(), "-c", line]
