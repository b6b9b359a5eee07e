"""The clipboard of an X server, by xclip or xsel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nssh.base.errors import ToolError
from nssh.local import clipboard_content, tool_runner
from nssh.local.clipboard_base import OfferingClipboard, ToolClipboard
from nssh.local.clipboard_content import ClipboardEmpty, Content
from nssh.wire import CONTENT_LIMIT, mimes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO

# Seconds after which the types are asked for again. An owner needs milliseconds to answer.
_UNANSWERED = 1.0
_SETTLE = 4.0
_SETTLE_READ = 2.0


class XclipClipboard(ToolClipboard, OfferingClipboard):
    """Text and images by xclip. Methods block for the timeouts at most; for any thread.

    An xclip that owns the clipboard answers any request with its content, even text as image/png. So the types are
    asked for before every read.
    """

    name = "xclip"

    def __init__(self, xclip: str, environ: Mapping[str, str], **timeouts: float) -> None:
        super().__init__(environ, **timeouts)
        self._xclip = xclip

    def _replace(self, mime: str, data: Content) -> None:
        target = "UTF8_STRING" if mime == clipboard_content.TEXT else mime
        argv = [self._xclip, "-selection", "clipboard", "-t", target, "-i"]
        tool_runner.run_writer(argv, stdin=data, timeout=self._write_timeout, environ=self._environ)
        _settle(data, lambda sink: self._ask(target, _SETTLE_READ, data.size, sink))

    def _offered(self, deadline: float) -> list[str]:
        try:
            try:
                names = self._names(min(_UNANSWERED, deadline - time.monotonic()))
            except tool_runner.ToolHungError:
                # An owner that is replaced at this moment may end without an answer: 8 of 16,000 times, with xclip and
                # xsel taking turns on a busy machine. The new owner answers at once.
                names = self._names(deadline - time.monotonic())
        except ClipboardEmpty:
            return []
        return names.read_all().decode("utf-8", "replace").splitlines()

    def _names(self, timeout: float) -> Content:
        names = Content()
        self._ask("TARGETS", max(0.0, timeout), 1 << 20, names)
        return names

    def _get(self, name: str, deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        data = Content()
        self._ask(name, max(0.0, deadline - time.monotonic()), limit, data, progress)
        return data

    def _ask(
        self,
        target: str,
        timeout: float,
        limit: int,
        output: tool_runner.Sink,
        progress: Callable[[], None] | None = None,
    ) -> None:
        argv = [self._xclip, "-selection", "clipboard", "-t", target, "-o"]
        try:
            tool_runner.run(argv, timeout=timeout, limit=limit, environ=self._environ, output=output, progress=progress)
        except tool_runner.ToolFailedError as error:
            # The clipboard has no owner, or another program took it since its types were asked for.
            if "not available" in error.stderr:
                raise ClipboardEmpty(target) from None
            raise


class _ContentComparison:
    """Compares a program's output with the expected content, piece by piece; true if they are equal."""

    def __init__(self, expected: Content) -> None:
        self._file: IO[bytes] = expected.open()
        self._left = expected.size
        self._same = True

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        self._same = self._same and self._file.read(len(data)) == data

    def __bool__(self) -> bool:
        return self._same and not self._left


def _settle(data: Content, read: Callable[[tool_runner.Sink], None]) -> None:
    """Wait until the clipboard has the content that was written.

    xclip and xsel return before their child owns the clipboard, and the child of xclip claims it twice (it inherits the
    request in an unflushed buffer). Measured with three displays a processor: of 100 writes that follow another at
    once, 2 are lost with xclip and 8 with xsel. Once the content was read back, it is not lost any more.

    Returns silently if there is other content after `_SETTLE` seconds: another program has replaced it.

    Args:
        data: The content.
        read: Reads the clipboard into a sink.

    Raises:
        ToolFailedError: The clipboard can't be read any more: the display is gone.
    """
    pause, end = 0.002, time.monotonic() + _SETTLE
    while True:
        failure = None
        same = _ContentComparison(data)
        try:
            read(same)
        except tool_runner.ToolFailedError as error:
            failure = error
        except ToolError:
            pass  # not there yet; or larger, so another program's; or xsel hung between two owners
        else:
            if same:
                return
        if time.monotonic() + pause >= end:
            break
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    if failure is not None:
        raise failure


class XselClipboard(ToolClipboard):
    """Text by xsel, which handles nothing else. Methods block for the timeouts at most; for any thread."""

    name = "xsel"

    def __init__(self, xsel: str, environ: Mapping[str, str], **timeouts: float) -> None:
        super().__init__(environ, **timeouts)
        self._xsel = xsel

    def targets(self) -> list[str]:
        """Return `text/plain` if there is text. Raises what `XclipClipboard.targets` raises."""
        return [clipboard_content.TEXT] if self._text(CONTENT_LIMIT, None).size else []

    def fetch(
        self, mime: str, limit: int = CONTENT_LIMIT, progress: Callable[[], None] | None = None
    ) -> tuple[str, Content]:
        """Return the clipboard's text. Empty text counts as none: xsel does not tell them apart.

        Raises what `Clipboard.fetch` raises, and ToolError for anything but text.
        """
        if mime == mimes.ANY_IMAGE:
            raise ClipboardEmpty(mime, self.targets())
        if mime != mimes.ANYTHING:
            self._refuse_all_but_text(mime)
        # Ask twice: on a busy machine xsel once printed nothing of the 8 MB that it had printed a moment before.
        data = self._text(limit, progress)
        data = data if data.size else self._text(limit, progress)
        if not data.size:
            raise ClipboardEmpty(clipboard_content.TEXT)
        return clipboard_content.TEXT, data

    def _replace(self, mime: str, data: Content) -> None:
        self._refuse_all_but_text(mime)
        if any(b"\0" in piece for piece in data.chunks()):
            raise ToolError("xsel would cut this text at its NUL character; install xclip")
        # Without --logfile, the xsel that keeps running writes to a file in the home directory.
        argv = [self._xsel, "--clipboard", "--input", "--logfile", "/dev/null"]
        tool_runner.run_writer(argv, stdin=data, timeout=self._write_timeout, environ=self._environ)
        _settle(data, lambda sink: self._ask(data.size, sink, None, _SETTLE_READ))

    def _text(self, limit: int, progress: Callable[[], None] | None) -> Content:
        data = Content()
        self._ask(limit, data, progress, self.read_timeout)
        return data

    def _ask(self, limit: int, output: tool_runner.Sink, progress: Callable[[], None] | None, timeout: float) -> None:
        argv = [self._xsel, "--clipboard", "--output", "--logfile", "/dev/null"]
        tool_runner.run(argv, timeout=timeout, limit=limit, environ=self._environ, output=output, progress=progress)

    def _refuse_all_but_text(self, mime: str) -> None:
        if clipboard_content.canonical(mime) != clipboard_content.TEXT:
            raise ToolError(f"xsel handles text only, not {clipboard_content.canonical(mime)}; install xclip")
