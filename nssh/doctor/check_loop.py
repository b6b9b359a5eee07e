"""Checks the shims on the remote: runs them as programs do, and waits for their messages on the laptop.

They publish on the doctor's own topic, which a session file in its private directory names. So no browser opens and no
clipboard changes, neither on the laptop nor in a live session.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import struct
import zlib
from typing import TYPE_CHECKING

from nssh.base.errors import RemoteError
from nssh.base.printable import printable
from nssh.doctor.remote_facts import number
from nssh.doctor.report import failed, ok, warning
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.doctor.report import Result
    from nssh.doctor.step_runner import Examination
    from nssh.doctor.topic_listener import Heard

_SLACK = 25.0  # seconds: a little more than the helper gives a shim
_IMAGE = 100_000  # bytes
_GO_READS = 3  # attempts
_FEATURES = ("types",)  # the features that `TopicListener` has; a real laptop has more


class _ShimRun:
    """The exit status, output and duration of a shim."""

    def __init__(self, answer: dict[str, object]) -> None:
        self.status = answer.get("status")
        self.seconds = number(answer, "ms") / 1000
        self.said = printable(str(answer.get("said", "")), 300)
        try:
            self.output = binascii.a2b_base64(str(answer.get("output", "")))
        except ValueError:
            self.output = b""


def session(exam: Examination) -> Result:
    """Write the doctor's own session file for the shims."""
    config = exam.config
    token = config.token or (f"{config.user}:{config.password}" if config.user else "")
    order = {
        "do": "session",
        "server": config.server,
        "topic": exam.topic,
        "token": token,
        "features": _FEATURES,
    }
    exam.helper.ask(order, exam.options.timeout)
    return ok("the shims have a session of the doctor's own")


def _shim(exam: Examination, persona: str, *arguments: str, stdin: bytes = b"") -> _ShimRun:
    order = {
        "do": "run",
        "persona": persona,
        "arguments": arguments,
        "input": binascii.b2a_base64(stdin).decode("ascii"),
    }
    ran = _ShimRun(exam.helper.ask(order, exam.options.timeout + _SLACK))
    if ran.status != 0:
        raise RemoteError(f"{persona} ended with status {ran.status}: {ran.said or 'without a word'}")
    return ran


def url(exam: Examination) -> Result:
    """Run xdg-open, and wait for its URL. No browser is opened."""
    sent = f"http://nssh-doctor.invalid/{os.urandom(8).hex()}"
    ran = _shim(exam, "xdg-open", sent)
    _await(exam, lambda one: one.envelope.kind == wire.KIND_OPEN and one.envelope.url == sent, "the URL")
    return ok("xdg-open there: the URL arrived here (no browser was opened)", ran.seconds)


def copy(exam: Examination) -> Result:
    """Run xclip with a text and wl-copy with an image, and wait for both."""
    text, image = _text(), _png()
    ran = _shim(exam, "xclip", "-selection", "clipboard", "-i", stdin=text)
    _await(exam, lambda one: one.envelope.kind == wire.KIND_CLIP_WRITE and one.envelope.body == text, "the text")
    large = _shim(exam, "wl-copy", "-t", "image/png", stdin=image)
    heard = _await(
        exam, lambda one: one.envelope.kind == wire.KIND_CLIP_WRITE and one.envelope.mime == "image/png", "the image"
    )
    if exam.client.download(heard.message.id, limit=2 * len(image)) != image:
        return failed("an image copied there arrived here changed")
    return ok(f"xclip there: a text arrived here, then {_large(large)} (your clipboard stays as it is)", ran.seconds)


def paste(exam: Examination) -> Result:
    """Run xclip and wl-paste to read a text and an image, which `TopicListener` answers from memory."""
    exam.listener.content = {"text/plain": _text(), "image/png": _png()}
    ran, lost = _read(exam, "xclip", "-selection", "clipboard", "-o")
    if ran.output != exam.listener.content["text/plain"]:
        return failed("a text pasted there is not the one that was sent from here")
    large, more = _read(exam, "wl-paste", "-n", "-t", "image/png")
    if large.output != exam.listener.content["image/png"]:
        return failed("an image pasted there is not the one that was sent from here")
    text = f"xclip -o there: a text came from here, then {_large(large)} (none of it yours)"
    if lost + more:
        advice = f"the Go program misses an answer now and then; nssh infect --force {exam.words} replaces it"
        return warning(f"{text}; reads without an answer before: {lost + more}", advice, ran.seconds)
    return ok(text, ran.seconds)


def _read(exam: Examination, persona: str, *arguments: str) -> tuple[_ShimRun, int]:
    """Run a shim that reads the clipboard; return also how often it failed before.

    The Go program's shims miss an answer now and then, so they get several attempts.
    """
    attempts = _GO_READS if exam.facts.nssh.go_shims else 1
    for failures in range(attempts - 1):
        with contextlib.suppress(RemoteError):
            return _shim(exam, persona, *arguments), failures
    return _shim(exam, persona, *arguments), attempts - 1


def _await(exam: Examination, wanted: Callable[[Heard], bool], what: str) -> Heard:
    return exam.listener.wait_for(wanted, exam.options.timeout, what)


def _large(ran: _ShimRun) -> str:
    return f"an image of {_IMAGE // 1000} kB in {ran.seconds * 1000:.0f} ms"


def _text() -> bytes:
    return f"nssh doctor was here: {os.urandom(8).hex()}\n\u00fc\n".encode()


def _png() -> bytes:
    """Return a PNG image of about `_IMAGE` bytes: noise, which does not compress."""
    width = 180

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + os.urandom(width * 3) for _ in range(_IMAGE // (width * 3)))
    head = struct.pack(">IIBBBBB", width, _IMAGE // (width * 3), 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")
