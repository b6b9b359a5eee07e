"""The clipboard of an X server, through xclip or xsel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nssh.errors import ToolError
from nssh.local import content, tools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SETTLE = 4.0
_SETTLE_READ = 2.0


class XclipClipboard:
    """Text and images through xclip. Methods block for the timeouts at most; for any thread.

    An xclip that owns the clipboard answers any request with what it has, text asked as image/png included: so the
    types offered are asked for before every read.
    """

    name = "xclip"

    def __init__(
        self,
        xclip: str,
        environ: Mapping[str, str],
        *,
        read_timeout: float = content.READ_TIMEOUT,
        write_timeout: float = content.WRITE_TIMEOUT,
    ) -> None:
        self._xclip = xclip
        self._environ = environ
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout

    def targets(self) -> list[str]:
        """Return the types there are; none for an empty clipboard.

        Raises:
            ToolError: The tool failed or hung: the display is gone, or the owner of the clipboard does not answer.
        """
        return content.canonical_targets(self._offered(time.monotonic() + self._read_timeout))

    def read(self, mime: str) -> bytes:
        """Return the clipboard as `mime`.

        Raises:
            ClipboardEmpty: There is nothing of that type.
            ToolError: The tool failed or hung, or there is more than `content.SIZE_LIMIT`.
        """
        mime = content.canonical(mime)
        deadline = time.monotonic() + self._read_timeout
        name = content.offered_name(mime, self._offered(deadline))
        try:
            return content.text_of(self._ask(name, deadline, content.SIZE_LIMIT), name)
        except _NotAvailableError:
            raise content.ClipboardEmpty(mime) from None  # another program took the clipboard in between

    def write(self, mime: str, data: bytes) -> None:
        """Replace the clipboard's content; an xclip stays behind to serve it until somebody else replaces it.

        Raises:
            ToolError: The tool failed or hung, or the data or type is refused.
        """
        mime = content.canonical(mime)
        content.check_size(data)
        target = "UTF8_STRING" if mime == content.TEXT else mime
        argv = [self._xclip, "-selection", "clipboard", "-t", target, "-i"]
        deadline = time.monotonic() + self._write_timeout
        tools.run_writer(argv, stdin=data, timeout=self._write_timeout, environ=self._environ)
        _settle(data, deadline, lambda end: self._ask(target, end, content.SIZE_LIMIT))

    def _offered(self, deadline: float) -> list[str]:
        try:
            return self._ask("TARGETS", deadline, 1 << 20).decode("utf-8", "replace").splitlines()
        except _NotAvailableError:
            return []

    def _ask(self, target: str, deadline: float, limit: int) -> bytes:
        argv = [self._xclip, "-selection", "clipboard", "-t", target, "-o"]
        timeout = max(0.0, deadline - time.monotonic())
        try:
            return tools.run(argv, timeout=timeout, limit=limit, environ=self._environ)
        except tools.ToolFailedError as error:
            if "not available" in error.stderr:
                raise _NotAvailableError(error.stderr) from None
            raise


class _NotAvailableError(ToolError):
    """Nobody owns the clipboard, or its owner does not have what was asked."""


def _settle(data: bytes, deadline: float, read: Callable[[float], bytes]) -> None:
    """Wait until the clipboard has what was written.

    xclip and xsel return before the child that they leave behind owns the clipboard, and the child of xclip claims it
    twice (it inherits the request in an unflushed buffer). Measured with three displays a processor: 2 of 100 writes
    that follow another at once are lost with xclip, 8 with xsel. A child that was read from is past that.

    Returns without a word if something else is there after `_SETTLE` seconds: then another program has replaced it.

    Raises:
        ToolFailedError: Nothing can be read any more: the display is gone.
    """
    pause, end = 0.002, min(deadline, time.monotonic() + _SETTLE)
    while True:
        failure = None
        try:
            if read(min(end, time.monotonic() + _SETTLE_READ)) == data:
                return
        except tools.ToolFailedError as error:
            failure = error
        except ToolError:
            pass  # not there yet, larger (so another one's), or an xsel that lost its way between two owners
        if time.monotonic() + pause >= end:
            break
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    if failure is not None:
        raise failure


class XselClipboard:
    """Text through xsel, which can do nothing else. Methods block for the timeouts at most; for any thread."""

    name = "xsel"

    def __init__(
        self,
        xsel: str,
        environ: Mapping[str, str],
        *,
        read_timeout: float = content.READ_TIMEOUT,
        write_timeout: float = content.WRITE_TIMEOUT,
    ) -> None:
        self._xsel = xsel
        self._environ = environ
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout

    def targets(self) -> list[str]:
        """Return `text/plain` if there is any; raises what `XclipClipboard.targets` raises."""
        return [content.TEXT] if self._text(time.monotonic() + self._read_timeout) else []

    def read(self, mime: str) -> bytes:
        """Return the clipboard's text; xsel can't tell empty text from none, and both count as none.

        Raises what `XclipClipboard.read` raises, and ToolError for anything but text.
        """
        self._refuse_all_but_text(mime)
        deadline = time.monotonic() + self._read_timeout
        # On a busy machine xsel was once seen to print nothing of the 8 MB that it had printed a moment before.
        data = self._text(deadline) or self._text(deadline)
        if not data:
            raise content.ClipboardEmpty(content.TEXT)
        return data

    def write(self, mime: str, data: bytes) -> None:
        """Replace the clipboard's content.

        Raises what `XclipClipboard.write` raises, and ToolError for anything but text.
        """
        self._refuse_all_but_text(mime)
        content.check_size(data)
        if b"\0" in data:
            raise ToolError("xsel would cut this text at its NUL character; install xclip")
        # Without --logfile an xsel that stays behind writes to a file in the home directory.
        argv = [self._xsel, "--clipboard", "--input", "--logfile", "/dev/null"]
        deadline = time.monotonic() + self._write_timeout
        tools.run_writer(argv, stdin=data, timeout=self._write_timeout, environ=self._environ)
        _settle(data, deadline, self._text)

    def _text(self, deadline: float) -> bytes:
        argv = [self._xsel, "--clipboard", "--output", "--logfile", "/dev/null"]
        timeout = max(0.0, deadline - time.monotonic())
        return tools.run(argv, timeout=timeout, limit=content.SIZE_LIMIT, environ=self._environ)

    def _refuse_all_but_text(self, mime: str) -> None:
        if content.canonical(mime) != content.TEXT:
            raise ToolError(f"xsel handles text only, not {content.canonical(mime)}; install xclip")
