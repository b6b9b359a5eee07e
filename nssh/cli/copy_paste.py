"""`nssh copy` and `nssh paste` with full nssh: the laptop's clipboard, if this is a remote, else this machine's."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nssh.base.errors import ArgumentError, NsshError, ToolError
from nssh.config import settings
from nssh.local.clipboard import ClipboardEmpty, MemoryClipboard, detect
from nssh.local.content import Content
from nssh.remote import own
from nssh.remote.failure import Failure
from nssh.remote.options import BadOption, Options, parse_gnu
from nssh.wire import mimes, session

if TYPE_CHECKING:
    from nssh.local.backend import Clipboard


def run(arguments: list[str]) -> int:
    """Copy or paste; return the exit status.

    Raises:
        ArgumentError: It does not take these arguments.
        NsshError: There is no clipboard, or nothing of the type on it.
    """
    if _is_remote():
        from nssh.remote.entry import main

        main(["nssh", *arguments])  # ends the process, as a shim does
    try:
        options = parse_gnu(arguments[1:], own.OPTIONS)
    except BadOption as error:
        raise ArgumentError(str(error)) from None
    copies = arguments[0] == "copy"
    if (options.words and not copies) or (copies and ("file" in options or "list" in options)):
        what = "--file or --list" if copies else options.words[0]
        raise ArgumentError(f"nssh {arguments[0]} does not take {what}")
    clipboard = detect(config=settings.load().clipboard)
    if isinstance(clipboard, MemoryClipboard):
        raise ToolError(f"this machine has no clipboard, and no laptop is connected to it ({clipboard.reason})")
    if copies:
        _copy(clipboard, options)
    else:
        _paste(clipboard, options)
    return 0


def _is_remote() -> bool:
    try:
        session.load()
    except session.SessionError:
        return False
    return True


def _copy(clipboard: Clipboard, options: Options) -> None:
    data = Content()
    for name in options.words or [""]:
        with open(name, "rb") if name else os.fdopen(os.dup(0), "rb") as file:
            while piece := file.read(256 << 10):
                data.write(piece)
    clipboard.store(options.get("type") or mimes.image_type(data.head(16)) or mimes.TEXT, data)


def _paste(clipboard: Clipboard, options: Options) -> None:
    if "list" in options:
        sys.stdout.write("".join(f"{mime}\n" for mime in clipboard.targets()))
        return
    wanted = options.get("type") or (mimes.ANY_IMAGE if "file" in options else mimes.ANYTHING)
    wanted = mimes.ANY_IMAGE if wanted == "image" else wanted
    try:
        mime, data = clipboard.fetch(wanted)
    except ClipboardEmpty:
        what = {mimes.ANY_IMAGE: "image", mimes.ANYTHING: "text or image"}.get(wanted, wanted)
        raise NsshError(f"the clipboard has no {what}") from None
    if "file" in options:
        try:
            path = own.keep(data.chunks(), mime)
        except Failure as failure:
            raise NsshError(str(failure)) from None
        print(path)
        return
    sys.stdout.flush()
    for piece in data.chunks():
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
