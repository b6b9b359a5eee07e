"""Install the remote side of nssh on the machine that this runs on, and remove it.

`nssh.install.deploy` runs it on the remote, from memory, with the interpreter that will run the shims; and on the
laptop for `infect self`. Nothing is written through a symlink, and no file of another program is destroyed. At any
moment there is a program under each name: the old one or the new one, and where a file was moved aside, both.
"""

from __future__ import annotations

import errno
import fcntl
import os
import py_compile
import shutil
import sys
import tempfile

from nssh.remote import desktop, go_program, path_check, stop, stub
from nssh.wire import files, session_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SAVED = ".nssh-saved"
"""The suffix of a foreign file that `--force` has moved aside."""

_MADE = "made-directories"
_TEMPORARY = ".nssh-new"


class InstallError(Exception):
    """The installation or removal failed; the text is one line for the user."""


class InstallPaths:
    """The paths of an installation for the calling user."""

    def __init__(self) -> None:
        home = os.environ.get("HOME") or os.path.expanduser("~")
        if not os.path.isabs(home) or not os.path.isdir(home):
            raise InstallError("the home directory %s does not exist" % home)
        self.data = files.data_dir()
        self.state = files.state_dir()
        self.bin = os.path.join(home, ".local", "bin")
        self.version = os.path.join(self.data, "version")
        self.command = os.path.join(self.data, stub.COMMAND)
        names = stub.PERSONAS + (stub.MAC_PERSONAS if sys.platform == "darwin" else ())
        self.shims = [os.path.join(self.bin, name) for name in names]
        self.go = [path for path in self.shims if go_program.is_shim(path, SAVED)]
        """The links of the Go program among them."""
        # A foreign program called nssh stays; our commands are then those of `nssh-remote`. The Go program goes with
        # its links. It is the last to be replaced, so that an interrupted installation is recognised and continued.
        own = os.path.join(self.bin, stub.OWN)
        kept = any(go_program.is_shim(_saved(path), SAVED) for path in self.shims)
        if not _foreign(own) or ((self.go or kept) and go_program.is_binary(own)):
            self.shims.append(own)


def run(request: dict[str, object], say: Callable[[str, str], None]) -> int:
    """Install or remove.

    Args:
        request: Has `action` (install or remove), and for install `force`, `version`, `digest` and `files`.
        say: Called with a key and one line of text: `error`, `warning`, `changed` (0 or 1), `version`, `python`.

    Returns:
        The exit status: 0, or 1 after an `error`.
    """
    try:
        places = InstallPaths()
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


def install(places: InstallPaths, request: dict[str, object], say: Callable[[str, str], None]) -> bool:
    """Install or repair; return whether anything was changed.

    Raises:
        InstallError: Without `force`: this is a desktop, or a foreign file is in the way.
        OSError: The disk is full, or a directory is not writable; an earlier version still works.
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


def _install(
    places: InstallPaths, request: dict[str, object], say: Callable[[str, str], None], made: list[str]
) -> bool:
    force = bool(request["force"])
    with _Lock(places.data):
        blocked = [path for path in places.shims if _foreign(path)]
        if places.go and not force:
            raise InstallError(_go_is_there(places))
        if blocked and not force:
            kind = "a link" if os.path.islink(blocked[0]) else "a program"
            raise InstallError(
                "%s is %s of yours; use --force to have it kept as %s" % (blocked[0], kind, _saved(blocked[0]))
            )
        for path in blocked:
            if os.path.lexists(_saved(path)) and not _is_later(path, _saved(path)):
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
        _remember(places, made)  # before anything else can fail, so that a removal finds it
        changed = _put_stubs([places.command, *places.shims], content, blocked) or changed
        previous = _read(places.version).decode("utf-8", "replace").split(" ")
        # One line: version, digest, interpreter. Written last, so that its readers can rely on all the rest.
        line = "%s %s %s\n" % (version, digest, python)
        changed = _replace(places.version, os.fsencode(line), 0o644) or changed
        keep = [os.path.basename(lib)]
        if len(previous) > 1 and "lib-%s-%s" % (previous[0], previous[1]) != keep[0]:
            keep.append("lib-%s-%s" % (previous[0], previous[1]))  # a shim or relay of that version may be running
        _sweep_libraries(places.data, keep, fresh=changed)
    if changed:
        stop.relay(places.state)  # the spool stays, and whoever needs the relay next starts the new version
    say("version", version)
    say("python", python)
    for warning in path_check.warnings(places.bin):
        say("warning", warning)
    return changed


def remove(places: InstallPaths, say: Callable[[str, str], None]) -> bool:
    """Remove everything that `install` and the shims have created; return whether there was anything.

    A session file stays if the Go program's shims come back and can use it.

    Raises:
        OSError: A file can't be removed.
    """
    changed = _unlink(places.command)  # with it, a laptop that is connected would start the next relay at once
    changed = stop.relay(places.state) or changed
    _sweep_temporaries(places)
    own = os.path.join(places.bin, stub.OWN)
    for path in places.shims if own in places.shims else [*places.shims, own]:
        changed = _take_away(path, say) or changed
    changed = stop.forget(places.state, ("session",) if _serves_go(places) else ()) or changed
    made = [os.fsdecode(line) for line in _read(os.path.join(places.data, _MADE)).splitlines()]
    if os.path.isdir(places.data):
        _sweep_libraries(places.data, [], fresh=True)
        for name in ("version", stub.COMMAND, _MADE):
            changed = _unlink(os.path.join(places.data, name)) or changed
    for directory in reversed(made):
        _rmdir_if_empty(directory)
    return changed


def _take_away(path: str, say: Callable[[str, str], None]) -> bool:
    """Remove a stub, and bring back what was moved aside for it; return whether there was anything."""
    saved, foreign = _saved(path), _foreign(path)
    if not os.path.lexists(saved):
        return not foreign and _unlink(path)
    if not foreign:
        os.rename(saved, path)  # in the place of the stub
    elif _is_later(path, saved):
        os.unlink(saved)
    else:
        say("warning", "%s is in the way of what nssh had kept as %s; both are left" % (path, saved))
        return False
    return True


def _serves_go(places: InstallPaths) -> bool:
    """Return whether the Go program's shims are there, and the session file names a bus that they can reach."""
    if not any(go_program.is_shim(path) for path in places.shims):
        return False
    try:
        session = session_file.parse(_read(os.path.join(places.state, "session")).decode("utf-8", "replace"))
    except session_file.SessionError:
        return False
    return session.server != session_file.RELAY and not session.server.startswith("unix:") and not session.token


class _Lock:
    """Keeps a second installer waiting; on a file system without locks, only the atomic renames protect."""

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
    """Return the interpreter for the stubs: this one, or the one that its virtual environment was made from."""
    python = sys.executable
    if not os.path.isabs(python):
        raise InstallError("python3 does not know its own path")
    # Links are followed only out of the environment: /usr/bin/python3 outlives the python3.11 it leads to.
    while os.path.exists(os.path.join(os.path.dirname(python), "..", "pyvenv.cfg")) and os.path.islink(python):
        python = os.path.normpath(os.path.join(os.path.dirname(python), os.readlink(python)))
    return python


def _make_directories(places: InstallPaths, made: list[str]) -> None:
    """Create the data and bin directories and their parents; append what was missing to `made`, outermost first."""
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
                # Another installer has created it, and records it.
                if not os.path.isdir(directory):
                    raise
            else:
                made.append(directory)


def _remember(places: InstallPaths, made: list[str]) -> None:
    """Record the directories that a removal has to remove, beside those recorded before."""
    path = os.path.join(places.data, _MADE)
    known = _read(path)
    new = b"".join(os.fsencode(directory) + b"\n" for directory in made if "\n" not in directory)
    if new:
        _replace(path, known + new, 0o644)


def _foreign(path: str) -> bool:
    """Return whether a file that is no stub of ours is at `path`; a link counts, wherever it leads."""
    return os.path.lexists(path) and (os.path.islink(path) or not stub.is_ours(path))


def _saved(path: str) -> str:
    return path + SAVED


def _is_later(path: str, saved: str) -> bool:
    """Return whether `path` is the same program as `saved`, so that this may go: the same file, or a Go program's."""
    if os.path.samestat(os.lstat(path), os.lstat(saved)):
        return True  # an installation was interrupted between `_keep` and the stub
    if go_program.is_binary(saved) or go_program.is_shim(saved, SAVED):
        return go_program.is_binary(path)
    return os.path.islink(path) and os.path.islink(saved) and os.readlink(path) == os.readlink(saved)


def _go_is_there(places: InstallPaths) -> str:
    known = go_program.version(places.go[0])
    return "%s is Go's nssh%s, which works over an ntfy server only; use --force to have it replaced, and kept" % (
        places.go[0],
        " " + known if known else "",
    )


def _put_stubs(paths: list[str], content: bytes, blocked: list[str]) -> bool:
    """Write a stub to each path; first move aside what is in the way of those in `blocked`.

    Everything that needs space comes first. If that fails, nothing has changed.
    """
    new: list[tuple[str, str]] = []
    try:
        for path in paths:
            if not _is_file(path, content, 0o755):
                new.append((_temporary(path), path))
                _write(new[-1][0], content, 0o755)
        for path in blocked:
            _keep(path)
        for temporary, path in new:
            if path in blocked and not _is_kept(path):
                os.rename(path, _saved(path))
            os.rename(temporary, path)
    except OSError:
        for temporary, _ in new:
            _unlink(temporary)
        for path in blocked:
            if _is_kept(path):
                _unlink(_saved(path))
            elif not os.path.lexists(path) and os.path.lexists(_saved(path)):
                os.rename(_saved(path), path)
        raise
    return bool(new)


def _keep(path: str) -> None:
    """Give a file or link its second name, under which it stays as it is; without hard links, do nothing."""
    temporary = _temporary(_saved(path))
    try:
        os.link(path, temporary, follow_symlinks=False)
    except (OSError, NotImplementedError):
        return
    os.rename(temporary, _saved(path))
    _unlink(temporary)  # where both names were the same file, renaming did nothing


def _is_kept(path: str) -> bool:
    """Return whether `path` has its second name, and is still there under its own."""
    try:
        return os.path.samestat(os.lstat(path), os.lstat(_saved(path)))
    except FileNotFoundError:
        return False


def _write_library(lib: str, sources: dict[str, bytes]) -> bool:
    """Write the package tree to `lib`, unless it is complete already; return whether it was written."""
    if os.path.isdir(lib) and all(_read(os.path.join(lib, name)) == text for name, text in sources.items()):
        return False
    temporary = tempfile.mkdtemp(prefix=".lib-", dir=os.path.dirname(lib))
    try:
        os.chmod(temporary, 0o755)  # noqa: S103 (the data directory guards it; mkdtemp made it 0700)
        for name, text in sources.items():
            path = os.path.join(temporary, *_parts(name))
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            _write(path, text, 0o644)
            if not name.endswith(".py"):
                continue
            # Without time stamps, which change when a home directory is copied or restored.
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
    """Remove library directories that no stub uses any more, and those of interrupted installations."""
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
        os.fchmod(fd, mode)  # the umask does not apply
    finally:
        os.close(fd)


def _replace(path: str, content: bytes, mode: int) -> bool:
    """Make `path` a file with this content and mode, atomically; return whether it had to be changed."""
    if _is_file(path, content, mode):
        return False
    temporary = _temporary(path)
    try:
        _write(temporary, content, mode)
        os.rename(temporary, path)  # replaces a link, not the file it leads to
    except OSError:
        _unlink(temporary)
        raise
    return True


def _is_file(path: str, content: bytes, mode: int) -> bool:
    try:
        return (os.lstat(path).st_mode & 0o177777) == (0o100000 | mode) and _read(path) == content
    except FileNotFoundError:
        return False


def _temporary(path: str) -> str:
    return "%s.%d%s" % (path, os.getpid(), _TEMPORARY)


def _sweep_temporaries(places: InstallPaths) -> None:
    """Remove what an interrupted installation has left."""
    ours = [os.path.basename(path) + "." for path in (*places.shims, places.command, places.version)]
    ours += [stub.OWN + ".", _MADE + "."]
    for directory in (places.bin, places.data):
        for name in os.listdir(directory) if os.path.isdir(directory) else ():
            if name.endswith(_TEMPORARY) and name.startswith(tuple(ours)):
                _unlink(os.path.join(directory, name))


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
        return  # it holds files of others by now, or is gone


def _explain(error: OSError) -> str:
    where = str(error.filename or "the home directory")
    if where.endswith((_TEMPORARY, SAVED)):
        where = os.path.dirname(where)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left to install nssh in %s: free some space, then run it again" % where
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "can't write %s (%s): make it writable, then run it again" % (where, error.strerror)
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "%s must be a directory, and is none: move it away, then run it again" % where
    return "%s: %s" % (where, error.strerror or error)
