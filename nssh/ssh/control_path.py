"""Where the private control socket of a session lives. Standard library only, on the way to ssh."""

from __future__ import annotations

import os

from nssh.wire import files

# sun_path is 104 bytes on macOS and BSD, 108 on Linux, and ssh appends a dot and 16 characters for a moment.
_LONGEST = 104 - 17 - 1


def choose(pid: int) -> str:
    """Return a path for the control socket of the session `pid`, or `` if no directory is both private and short."""
    for path in candidates(pid):
        if len(os.fsencode(path)) > _LONGEST:
            continue
        try:
            files.make_private_dir(os.path.dirname(path))
            _unlink_stale(path)
        except OSError:
            continue
        return path
    return ""


def candidates(pid: int) -> list[str]:
    """Return where the control socket of a session may be: in the runtime directory, the state directory, or /tmp."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    directories = [files.state_dir(), _last_resort()]
    # After sudo it may be another user's, who could put another directory in place of one that we make there.
    if runtime.startswith("/") and _is_ours(runtime):
        directories.insert(0, os.path.join(runtime, "nssh"))
    return [os.path.join(directory, f"c{pid}") for directory in directories]


def end_abandoned(pid: int) -> None:
    """End what is left of the connection of a session whose every process is gone; `pid` was its launcher's.

    A launcher and a bridge that were killed together leave their ssh: with nobody to give it a terminal, and its master
    at that terminal, taking keys away from the user's shell. A socket at which nobody listens is removed.
    """
    for path in candidates(pid):
        if os.path.lexists(path):
            from nssh.ssh import master

            master.end(path, only_here=True)


def _last_resort() -> str:
    return f"/tmp/nssh-{os.geteuid()}"  # noqa: S108 - checked to be ours and made 0700 before it is used


def _is_ours(directory: str) -> bool:
    try:
        return os.stat(directory).st_uid == os.geteuid()
    except OSError:
        return False


def _unlink_stale(path: str) -> None:
    """A socket left by a dead session whose PID is ours by chance would make ssh talk to nobody."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
