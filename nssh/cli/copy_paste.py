"""Runs `nssh copy` and `nssh paste`: on the laptop's clipboard, if this machine is a remote, otherwise on its own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nssh.base.errors import NsshError, ToolError
from nssh.cli.command_options import parse_copy, parse_paste
from nssh.config import settings
from nssh.local.clipboard import ClipboardEmpty, MemoryClipboard, detect
from nssh.local.clipboard_content import Content
from nssh.remote import nssh_copy_paste
from nssh.remote.failure import Failure
from nssh.wire import mimes, session_file

if TYPE_CHECKING:
    from nssh.cli.command_options import ClipOptions
    from nssh.local.clipboard_base import Clipboard


def run(arguments: list[str]) -> int:
    """Copy or paste; return the exit status.

    Raises:
        ArgumentError: It does not take these arguments.
        NsshError: There is no clipboard, or it has no content of the type.
    """
    if _is_remote():
        from nssh.remote.entry import main

        main(["nssh", *arguments])  # ends the process, as a shim does
    copies = arguments[0] == "copy"
    options = parse_copy(arguments[1:]) if copies else parse_paste(arguments[1:])
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
        session_file.load()
    except session_file.SessionError:
        return False
    return True


def _copy(clipboard: Clipboard, options: ClipOptions) -> None:
    data = Content()
    for name in options.files or [""]:
        with open(name, "rb") if name else os.fdopen(os.dup(0), "rb") as file:
            while piece := file.read(256 << 10):
                data.write(piece)
    clipboard.store(options.type or mimes.image_type(data.head(16)) or mimes.TEXT, data)


def _paste(clipboard: Clipboard, options: ClipOptions) -> None:
    if options.list:
        sys.stdout.write("".join(f"{mime}\n" for mime in clipboard.targets()))
        return
    wanted = options.type or (mimes.ANY_IMAGE if options.file else mimes.ANYTHING)
    wanted = mimes.ANY_IMAGE if wanted == "image" else wanted
    try:
        mime, data = clipboard.fetch(wanted)
    except ClipboardEmpty:
        what = {mimes.ANY_IMAGE: "image", mimes.ANYTHING: "text or image"}.get(wanted, wanted)
        raise NsshError(f"the clipboard has no {what}") from None
    if options.file:
        try:
            path = nssh_copy_paste.keep(data.chunks(), mime)
        except Failure as failure:
            raise NsshError(str(failure)) from None
        print(path)
        return
    sys.stdout.flush()
    for piece in data.chunks():
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
