"""Puts the remote side of nssh in place on the machine it runs on, and takes it away again.

Runs on the remote, from memory, with the interpreter that will run the shims (`deploy` sends it there); the laptop
uses it for `infect self` too. Nothing is written through a symlink, nothing of anybody else's is destroyed, and what
is on disk is, at any moment, a whole old version or a whole new one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import py_compile
import shutil
import sys
import tempfile

from nssh.remote import desktop, path_check, stop, stub
from nssh.wire import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SAVED = ".nssh-saved"
"""What is appended to the name of a file of somebody else's that `--force` moved out of the way."""

_MADE = "made-directories"


class InstallError(Exception):
    """It can't be done; the text is one line for the user."""


class Places:
    """Where things go for the calling user."""

    def __init__(self) -> None:
        home = os.environ.get("HOME") or os.path.expanduser("~")
        if not os.path.isabs(home) or not os.path.isdir(home):
            raise InstallError("the home directory %s does not exist" % home)
        self.home = home
        self.data = files.data_dir()
        self.state = files.state_dir()
        self.bin = os.path.join(home, ".local", "bin")
        self.version = os.path.join(self.data, "version")
        self.command = os.path.join(self.data, stub.COMMAND)
        names = stub.PERSONAS + (stub.MAC_PERSONAS if sys.platform == "darwin" else ())
        self.shims = [os.path.join(self.bin, name) for name in names]
        # Somebody's own nssh may live there: it stays, and `nssh copy` is what it says.
        own = os.path.join(self.bin, stub.OWN)
        if not _foreign(own):
            self.shims.append(own)


def run(request: dict[str, object], say: Callable[[str, str], None]) -> int:
    """Do what `request` asks for (`action` install or remove, `force`, `version`, `digest`, `files`).

    `say` gets pairs of a key and one line of text: `error`, `warning`, `changed` (0 or 1), `version`, `python`.

    Returns:
        The exit status: 0, or 1 after an `error`.
    """
    try:
        places = Places()
        removing = request["action"] == "remove"
        changed = remove(places, say) if removing else install(places, request, say)
    except InstallError as error:
        say("error", str(error))
        return 1
    except OSError as error:
        say("error", _explain(error))
        return 1
    say("changed", "1" if changed else "0")
    return 0


def install(places: Places, request: dict[str, object], say: Callable[[str, str], None]) -> bool:
    """Install or repair; return whether anything had to be changed.

    Raises:
        InstallError: This is a desktop, or a file of somebody else's is in the way (neither with `force`).
        OSError: The disk is full, a directory is not writable. What was there before still works.
    """
    force = bool(request["force"])
    why = "" if force else desktop.reason()
    if why:
        raise InstallError(
            "this looks like a desktop (%s): nssh would hide its own clipboard and browser; use --force if you mean it"
            % why
        )
    made: list[str] = []
    try:
        _make_directories(places, made)
        return _install(places, request, say, made)
    except (InstallError, OSError):
        for directory in reversed(made):
            _rmdir_if_empty(directory)
        raise


def _install(places: Places, request: dict[str, object], say: Callable[[str, str], None], made: list[str]) -> bool:
    force = bool(request["force"])
    with _Lock(places.data):
        blocked = [path for path in places.shims if _foreign(path)]
        if blocked and not force:
            kind = "a link" if os.path.islink(blocked[0]) else "a program"
            raise InstallError(
                "%s is %s of yours; use --force to have it kept as %s" % (blocked[0], kind, _saved(blocked[0]))
            )
        for path in blocked:
            if os.path.lexists(_saved(path)):
                raise InstallError("%s is there from an earlier time; move it away, or %s" % (_saved(path), path))
        version, digest = str(request["version"]), str(request["digest"])
        python = _interpreter()
        lib = os.path.join(places.data, "lib-%s-%s" % (version, digest))
        try:
            content = stub.render(python, lib)
        except ValueError as error:
            raise InstallError("python3 at %s can't be used: %s" % (ascii(python), error)) from error
        sources = request["files"]
        assert isinstance(sources, dict)  # noqa: S101 (for the type checker)
        changed = _write_library(lib, {str(name): str(text).encode() for name, text in sources.items()})
        _remember(places, made)  # before anything else can fail: a removal is to find it
        for path in [places.command, *places.shims]:
            changed = _put_stub(path, content, keep=path in blocked) or changed
        previous = _read(places.version).decode("utf-8", "replace").split(" ")
        # Written last: who reads it may rely on all the rest. One line: version, digest, interpreter.
        line = "%s %s %s\n" % (version, digest, python)
        changed = _replace(places.version, os.fsencode(line), 0o644) or changed
        keep = [os.path.basename(lib)]
        if len(previous) > 1 and "lib-%s-%s" % (previous[0], previous[1]) != keep[0]:
            keep.append("lib-%s-%s" % (previous[0], previous[1]))  # a shim or relay of it may be running
        _sweep_libraries(places.data, keep, fresh=changed)
    if changed:
        stop.relay(places.state)  # the next to need it starts the new one; its spool stays
    say("version", version)
    say("python", python)
    for warning in path_check.warnings(places.bin):
        say("warning", warning)
    return changed


def remove(places: Places, say: Callable[[str, str], None]) -> bool:
    """Take everything away that `install` and the shims have put there; return whether there was anything.

    Raises:
        OSError: Something can't be removed.
    """
    changed = stop.relay(places.state)
    for path in places.shims:
        if os.path.lexists(path) and not _foreign(path):
            os.unlink(path)
            changed = True
        if os.path.lexists(_saved(path)):
            if os.path.lexists(path):
                say("warning", "%s is in the way of what nssh had kept as %s; both are left" % (path, _saved(path)))
                continue
            os.rename(_saved(path), path)
            changed = True
    changed = stop.forget(places.state) or changed
    made = [os.fsdecode(line) for line in _read(os.path.join(places.data, _MADE)).splitlines()]
    if os.path.isdir(places.data):
        _sweep_libraries(places.data, [], fresh=True)
        for name in ("version", stub.COMMAND, _MADE):
            changed = _unlink(os.path.join(places.data, name)) or changed
    for directory in reversed(made):
        _rmdir_if_empty(directory)
    return changed


class _Lock:
    """Holds off a second installer; on a file system without locks there is none, and the atomic renames must do."""

    def __init__(self, directory: str) -> None:
        self._fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF):
                raise

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _interpreter() -> str:
    """Return the interpreter that stubs shall name: this one, or the one that its virtual environment was made from."""
    python = sys.executable
    if not os.path.isabs(python):
        raise InstallError("python3 does not know its own path")
    # Links are followed no further than out of the environment: /usr/bin/python3 outlives its python3.11.
    while os.path.exists(os.path.join(os.path.dirname(python), "..", "pyvenv.cfg")) and os.path.islink(python):
        python = os.path.normpath(os.path.join(os.path.dirname(python), os.readlink(python)))
    return python


def _make_directories(places: Places, made: list[str]) -> None:
    """Make what is missing on the way to the data and bin directories; note in `made` what was, outermost first."""
    for target in (places.data, places.bin):
        missing = []
        directory = target
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for directory in reversed(missing):
            try:
                os.mkdir(directory, 0o700)
            except FileExistsError:  # noqa: PERF203 (a handful of them)
                # Another installer was quicker, and notes it as its own.
                if not os.path.isdir(directory):
                    raise
            else:
                made.append(directory)


def _remember(places: Places, made: list[str]) -> None:
    """Note which directories are ours to remove; earlier notes stay."""
    path = os.path.join(places.data, _MADE)
    known = _read(path)
    new = b"".join(os.fsencode(directory) + b"\n" for directory in made if "\n" not in directory)
    if new:
        _replace(path, known + new, 0o644)


def _foreign(path: str) -> bool:
    """Whether something stands at `path` that is not a stub of ours: a link counts, wherever it leads."""
    return os.path.lexists(path) and (os.path.islink(path) or not stub.is_ours(path))


def _saved(path: str) -> str:
    return path + SAVED


def _put_stub(path: str, content: bytes, *, keep: bool) -> bool:
    """Write a stub, after moving aside what somebody else has there; if that fails it is put back."""
    if keep:
        os.rename(path, _saved(path))
    try:
        return _replace(path, content, 0o755)
    except OSError:
        if keep:
            os.rename(_saved(path), path)
        raise


def _write_library(lib: str, sources: dict[str, bytes]) -> bool:
    """Put the package tree at `lib` unless it is there already, whole (a crash may have left empty files)."""
    if os.path.isdir(lib) and all(_read(os.path.join(lib, name)) == text for name, text in sources.items()):
        return False
    temporary = tempfile.mkdtemp(prefix=".lib-", dir=os.path.dirname(lib))
    try:
        os.chmod(temporary, 0o755)  # noqa: S103 (the data directory guards it; mkdtemp made it 0700)
        for name, text in sources.items():
            path = os.path.join(temporary, *_parts(name))
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            _write(path, text, 0o644)
            # No time stamps in it: copies and backups of a home directory change them.
            py_compile.compile(
                path,
                dfile=os.path.join(lib, name),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        if os.path.lexists(lib):
            os.rename(lib, temporary + ".damaged")
        os.rename(temporary, lib)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return True


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise InstallError("the payload names a file that is not below its directory")
    return parts


def _sweep_libraries(data: str, keep: list[str], *, fresh: bool) -> None:
    """Remove library directories that no stub uses any more, and what interrupted installs left."""
    for name in os.listdir(data):
        stale = name.startswith(".lib-") or (fresh and name.startswith("lib-") and name not in keep)
        path = os.path.join(data, name)
        if stale and os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)


def _write(path: str, content: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fchmod(fd, mode)  # whatever the umask says
    finally:
        os.close(fd)


def _replace(path: str, content: bytes, mode: int) -> bool:
    """Make `path` a file of this content, in one step; return whether it was not already."""
    try:
        info = os.lstat(path)
        if (info.st_mode & 0o177777) == (0o100000 | mode) and _read(path) == content:
            return False
    except FileNotFoundError:
        pass
    temporary = "%s.%d.nssh-new" % (path, os.getpid())
    try:
        _write(temporary, content, mode)
        os.rename(temporary, path)  # replaces a link itself, not what it leads to
    except OSError:
        _unlink(temporary)
        raise
    return True


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except (FileNotFoundError, NotADirectoryError):
        return b""


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _rmdir_if_empty(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:
        return  # something of somebody else's is in it by now, or it is gone


def _explain(error: OSError) -> str:
    where = str(error.filename or "the home directory")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left to install nssh in %s: free some space, then run it again" % where
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "can't write %s (%s): make it writable, then run it again" % (where, error.strerror)
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "%s must be a directory, and is none: move it away, then run it again" % where
    return "%s: %s" % (where, error.strerror or error)
