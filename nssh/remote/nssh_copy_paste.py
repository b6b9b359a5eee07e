"""`nssh copy` and `nssh paste`: the laptop's clipboard for scripts, whatever tools are installed."""

from __future__ import annotations

import os
import time

from nssh.remote import usage
from nssh.remote.failure import Failure, ToolExit
from nssh.remote.options import BadOption, parse_gnu
from nssh.remote.shim import TEXT, Unavailable, write_all, write_payload
from nssh.wire import mimes
from nssh.wire.files import make_private_dir, state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from nssh.remote.shim import Shim

USAGE = """\
usage: nssh copy [-t TYPE] [FILE…]
       nssh paste [-t TYPE] [--file] [--list]
"""

KEPT = 24 * 3600.0
"""Seconds after which a file of `nssh paste --file` may be removed."""

OPTIONS = {"type": "t:", "file": "f", "list": "l", "help": "h"}
_SUFFIXES = {TEXT: ".txt", mimes.HTML: ".html", "image/jpeg": ".jpg", "image/svg+xml": ".svg"}


def run(shim: Shim, arguments: list[str]) -> int:
    """Run `nssh copy` or `nssh paste`, which is the first of the arguments. Raises Failure."""
    try:
        options = parse_gnu(arguments[1:], OPTIONS, ("help",))
    except BadOption as error:
        raise ToolExit("nssh: %s\n%s" % (error, USAGE), 2) from None
    if "help" in options:
        raise ToolExit("", 0, usage.text(arguments[0]))
    copies = arguments[0] == "copy"
    if (options.words and not copies) or (copies and ("file" in options or "list" in options)):
        raise ToolExit("nssh: %s does not take that\n%s" % (arguments[0], USAGE), 2)
    mime = options.get("type")
    if mime not in ("", "image") and not mimes.canonical(mime):
        raise Failure("the clipboard takes text and images here, not this type")
    shim.start(options, mime)
    if copies:
        _copy(shim, mime, options.words)
    elif "list" in options:
        write_all("".join(name + "\n" for name in shim.targets()).encode())
    else:
        _paste(shim, mime, as_file="file" in options)
    return 0


def _copy(shim: Shim, mime: str, names: list[str]) -> None:
    data = shim.input()
    for name in names:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Failure("%s: %s" % (name, error.strerror)) from None
        try:
            data.read_from(fd)
        finally:
            os.close(fd)
    if not names:
        data.read_from(0)
    shim.copy(data, mime or mimes.image_type(data.head(16)) or TEXT)


def _paste(shim: Shim, mime: str, *, as_file: bool) -> None:
    # Programs ask for a file to get an image by its path; they read text from our output.
    wanted = mime or (mimes.ANY_IMAGE if as_file else mimes.ANYTHING)
    wanted = mimes.ANY_IMAGE if wanted == "image" else wanted
    try:
        got, data = shim.paste(wanted)
    except Unavailable as error:
        name = {mimes.ANY_IMAGE: "image", mimes.ANYTHING: "text or image"}.get(wanted, wanted)
        empty = "nothing is on the laptop's clipboard"
        raise Failure(empty if error.is_empty else "the laptop's clipboard has no %s" % name) from None
    if as_file:
        write_all(os.fsencode(keep(data.pieces(), got)) + b"\n")
    else:
        write_payload(data)


def keep(pieces: Iterable[bytes], mime: str) -> str:
    """Write content to a new file that only the user can read; return its path. Raises Failure."""
    suffix = _SUFFIXES.get(mime, "." + mime.partition("/")[2])
    directory = os.path.join(state_dir(), "pasted")
    try:
        make_private_dir(directory)
        _sweep(directory)
        path = os.path.join(directory, "clip-%s%s" % (os.urandom(6).hex(), suffix))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
    except OSError as error:
        raise Failure("can't write to %s: %s" % (directory, error.strerror)) from None
    return path


def _sweep(directory: str) -> None:
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        try:
            if name.startswith("clip-") and os.lstat(path).st_mtime < time.time() - KEPT:
                os.unlink(path)
        except OSError:
            continue  # another process has just removed it
