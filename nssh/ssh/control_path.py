"""Choose where the private control socket of a session is. Standard library only, on the way to ssh."""

from __future__ import annotations

import os

from nssh.wire import files

# sun_path is 104 bytes on macOS and BSD, 108 on Linux, and ssh appends a dot and 16 characters for a moment.
_LONGEST = 104 - 17 - 1


def choose(pid: int) -> str:
    """Return a path for the control socket of the session `pid`; empty if no directory is both private and short."""
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
    """Return the paths that the control socket of a session may have: in the runtime or state directory, or in /tmp."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    directories = [files.state_dir(), _last_resort()]
    # After sudo the runtime directory may be another user's, who could replace a directory that we make in it.
    if runtime.startswith("/") and _is_ours(runtime):
        directories.insert(0, os.path.join(runtime, "nssh"))
    return [os.path.join(directory, f"c{pid}") for directory in directories]


def end_abandoned(pid: int) -> None:
    """End the ssh master of a session whose launcher (`pid`) and bridge are gone, and remove its socket.

    When launcher and bridge are killed together, their ssh stays: its master may go on reading the terminal, and takes
    keys away from the user's shell.
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
    """Remove a socket that a dead session with the same PID has left: ssh would try to use it."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
