"""Where nssh keeps its files, and how it writes them: private from creation, atomically.

Standard library only, Python 3.8+: shipped to the remote, and used by the laptop's side too.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> str:
    # The XDG specification says that a relative path is to be ignored.
    base = environ.get(variable, "")
    if not base.startswith("/"):
        base = os.path.join(environ.get("HOME") or os.path.expanduser("~"), fallback)
    return os.path.join(base, "nssh")


def state_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Return `$XDG_STATE_HOME/nssh` (session file, records, sockets, logs); it is not created here."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state")


def config_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Return `$XDG_CONFIG_HOME/nssh`, where `config.toml` lives; it is not created here."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config")


def data_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Return `$XDG_DATA_HOME/nssh`, where `nssh infect` puts the remote side; it is not created here."""
    return _xdg(environ, "XDG_DATA_HOME", ".local/share")


def make_private_dir(path: str) -> str:
    """Create `path` (0700, parents too) or check that it is ours, and return it.

    Raises:
        OSError: It can't be made, is a symlink or no directory, or belongs to somebody else.
    """
    _make_dirs(path)
    info = os.lstat(path)
    if (info.st_mode & 0o170000) != 0o040000 or info.st_uid != os.geteuid():
        raise PermissionError(13, "not a directory of your own", path)
    if info.st_mode & 0o077:
        os.chmod(path, 0o700)
    return path


def _make_dirs(path: str) -> None:
    """As `os.makedirs`, which gives only the last directory the mode it is told."""
    try:
        _make_dir(path)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent in ("", path):
            raise  # the current directory is gone
        _make_dirs(parent)
        _make_dir(path)  # and no further: below a dangling symlink nothing can be made


def _make_dir(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def write_private(path: str, data: bytes) -> None:
    """Replace `path` by a 0600 file with `data`, atomically: readers see the old content or the new, never a part.

    Raises:
        OSError: The directory is missing, read-only or full; the old content is untouched then.
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
        error.filename = error.filename or path  # a write that finds no space does not say where
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
