"""Find nssh's directories, and write files that are private from their creation, atomically.

Standard library only, Python 3.8+: shipped to the remote, and used on the laptop, too.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> str:
    # The XDG specification demands that a relative path is ignored.
    base = environ.get(variable, "")
    if not base.startswith("/"):
        base = os.path.join(environ.get("HOME") or os.path.expanduser("~"), fallback)
    return os.path.join(base, "nssh")


def state_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Return `$XDG_STATE_HOME/nssh` (session file, records, sockets, logs), without creating it."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state")


def config_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Return `$XDG_CONFIG_HOME/nssh`, which holds `config.toml`, without creating it."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config")


def data_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Return `$XDG_DATA_HOME/nssh`, where `nssh infect` installs the remote side, without creating it."""
    return _xdg(environ, "XDG_DATA_HOME", ".local/share")


def make_private_dir(path: str) -> str:
    """Create a directory (0700, and so its missing parents), or make sure that it is ours and private; return `path`.

    Raises:
        OSError: It can't be created, is a symlink or no directory, or belongs to another user.
    """
    _make_dirs(path)
    info = os.lstat(path)
    if (info.st_mode & 0o170000) != 0o040000 or info.st_uid != os.geteuid():
        raise PermissionError(13, "not a directory of your own", path)
    if info.st_mode & 0o077:
        os.chmod(path, 0o700)
    return path


def _make_dirs(path: str) -> None:
    """Create a directory and its missing parents, all 0700; `os.makedirs` would give only the last one that mode."""
    try:
        _make_dir(path)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent in ("", path):
            raise  # the current directory was removed
        _make_dirs(parent)
        _make_dir(path)  # fails below a dangling symlink


def _make_dir(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def write_private(path: str, data: bytes) -> None:
    """Replace `path` by a 0600 file with `data`, atomically: a reader sees all of the old content or of the new.

    Raises:
        OSError: The directory is missing or read-only, or the disk is full; the old file stays as it was.
    """
    temporary = "%s.%d.tmp" % (path, os.getpid())
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or path  # an error of `write` has no file name
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
