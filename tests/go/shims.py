"""The stand-in's role on the remote: `xdg-open`, `sensible-browser`, `xclip`, `wl-copy` and `wl-paste`."""

from __future__ import annotations

import base64
import contextlib
import http.client
import subprocess
import sys
import time
from typing import Any

from tests.go.wire import BusError, configuration, messages, parse, publish, request, say

PERSONAS = ("xdg-open", "sensible-browser", "xclip", "wl-copy", "wl-paste")

TARGETS = "TARGETS\nimage/png\ntext/plain\nUTF8_STRING\nSTRING\n"
"""What it says is on the clipboard, without asking."""

_READ_TIMEOUT = 5.0


class FailedError(Exception):
    pass


def run(persona: str, words: list[str]) -> int:
    try:
        if persona in ("xdg-open", "sensible-browser"):
            return open_url(persona, words)
        return clipboard(persona, words)
    except FailedError as error:
        say(str(error))
        return 1


def fallback(persona: str, words: list[str]) -> int:
    path = f"/usr/bin/{persona}"
    try:
        return subprocess.run([path, *words], check=False).returncode
    except OSError as error:
        say(f"fallback {path}: {error.strerror}")
        return 1


def topic_url() -> str:
    server, topic = configuration(session=True)
    if not topic:
        raise FailedError("no topic configured (not inside an nssh session?)")
    return f"{server.rstrip('/')}/{topic}"


def open_url(persona: str, words: list[str]) -> int:
    if not words or not words[0].startswith(("http://", "https://")):
        return fallback(persona, words)
    url = topic_url()
    try:
        publish(url, {"kind": "open", "url": words[0]})
    except BusError as error:
        say(f"publish failed: {error}")
        return fallback(persona, words)
    return 0


def clipboard(persona: str, words: list[str]) -> int:
    reads, mime, selection = persona == "wl-paste", "text/plain", ""
    rest = iter(words)
    for word in rest:
        if word in ("-t", "-target", "--type"):
            mime = next(rest, mime)
        elif persona == "xclip" and word in ("-o", "-out"):
            reads = True
        elif persona == "xclip" and word in ("-i", "-in", "-f", "-filter"):
            reads = False
        elif persona == "xclip" and word == "-selection":
            selection = next(rest, "")
    if selection not in ("", "clipboard"):
        return fallback(persona, words)
    if persona == "xclip" and reads and mime == "TARGETS":
        sys.stdout.write(TARGETS)
        return 0
    url = topic_url()
    if reads:
        return paste(url, mime)
    data = sys.stdin.buffer.read()
    if data:  # of nothing it tells nobody
        try:
            publish(url, {"kind": "clip-write", "mime": mime}, data)
        except BusError as error:
            raise FailedError(f"ntfy publish: {error}") from None
    return 0


def paste(url: str, mime: str) -> int:
    """Ask, and only then follow the topic from that second on; what ends up between replay and live is missed."""
    own, since, end = str(time.time_ns()), int(time.time()), time.monotonic() + _READ_TIMEOUT
    try:
        publish(url, {"kind": "clip-read-request", "id": own, "mime": mime})
    except BusError as error:
        raise FailedError(f"publish read request: {error}") from None
    with contextlib.suppress(OSError, http.client.HTTPException):
        for message in messages(f"{url}/json?since={since}", _READ_TIMEOUT, end):
            answer = parse(message.get("message", ""))
            if answer and answer["kind"] == "clip-read-response" and answer.get("id") == own:
                return take_answer(answer, message)
    raise FailedError("clipboard read timed out")


def take_answer(answer: dict[str, str], message: dict[str, Any]) -> int:
    data = base64.b64decode(answer.get("body", ""))
    if data.startswith(b"ERROR: "):
        sys.stderr.write(data.decode("utf-8", "replace") + "\n")
        return 1
    if not data and message.get("attachment"):
        try:
            data = request("GET", message["attachment"]["url"])
        except BusError as error:
            raise FailedError(f"fetch attachment: {error}") from None
    sys.stdout.buffer.write(data)
    return 0
