"""The Go program's files and its bus, for both roles of its stand-in (`tests.go`)."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import sys
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEFAULT_SERVER = "https://ntfy.sh"
_INLINE_LIMIT = 3072


def say(text: str) -> None:
    print(f"nssh: {text}", file=sys.stderr, flush=True)


def _directory(variable: str, default: str) -> str:
    return os.path.join(os.environ.get(variable) or os.path.join(os.environ["HOME"], default), "nssh")


def state_dir() -> str:
    return _directory("XDG_STATE_HOME", ".local/state")


def read_toml(path: str) -> dict[str, str]:
    """Return all `key = "value"` of a file, whatever section they stand in."""
    found = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        for line in map(str.strip, file):
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                found[key.strip()] = value.strip().strip('"')
    return found


def configuration(*, session: bool) -> tuple[str, str]:
    """Return server and topic, the latter empty if none is configured; the session file is for the remote side."""
    server, topic = _DEFAULT_SERVER, ""
    paths = [os.path.join(_directory("XDG_CONFIG_HOME", ".config"), "config.toml")]
    if session:
        paths.insert(0, os.path.join(state_dir(), "session"))
    for values in map(read_toml, paths):
        server, topic = values.get("server") or server, values.get("topic") or topic
    return os.environ.get("NSSH_NTFY_BASE") or server, topic


class BusError(Exception):
    pass


def _connect(url: str, timeout: float) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection to a URL's server and what to ask for there. Raises BusError."""
    parts = urllib.parse.urlsplit(url)
    kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}.get(parts.scheme)
    if kind is None:
        raise BusError(f'unsupported protocol scheme "{parts.scheme}"')
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return kind(parts.netloc, timeout=timeout), path


def request(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    """Send one request on a connection of its own; return the answer's body. Raises BusError."""
    connection, path = _connect(url, 60.0)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        if answer.status >= 400:
            raise BusError(f"{answer.status} {answer.reason}")
        return answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BusError(str(error)) from None
    finally:
        connection.close()


def publish(topic_url: str, envelope: dict[str, str], data: bytes | None = None) -> None:
    """Publish an envelope, its payload in it or, if that is long or an image, as a file beside it. Raises BusError."""
    image = envelope.get("mime", "").startswith("image/")
    inline = not image and len(data or b"") <= _INLINE_LIMIT
    if inline and data:
        envelope = {**envelope, "body": base64.b64encode(data).decode()}
    order = ("kind", "url", "mime", "body", "id")
    text = json.dumps(
        {key: envelope[key] for key in order if envelope.get(key)}, separators=(",", ":"), ensure_ascii=False
    )
    for character in "<>&":  # as that language's encoder writes them
        text = text.replace(character, f"\\u{ord(character):04x}")
    if inline:
        request("POST", topic_url, text.encode(), {"Content-Type": "text/plain"})
    else:
        name = "clip.png" if envelope["mime"].startswith("image/png") else "clip.dat"
        request("PUT", topic_url, data, {"Filename": name, "X-Message": text})


def parse(text: str) -> dict[str, str] | None:
    """Return an envelope, or None if it is none."""
    with contextlib.suppress(ValueError):
        envelope = json.loads(text)
        if isinstance(envelope, dict) and isinstance(envelope.get("kind"), str) and envelope["kind"]:
            return envelope
    return None


def messages(
    url: str, silence: float, end: float | None = None, on_open: Callable[[], object] | None = None
) -> Iterator[dict[str, Any]]:
    """Follow a stream, and yield its messages until it ends. Raises OSError and HTTPException, for a silence, too.

    Args:
        url: With `since`, if that is wanted.
        silence: Seconds without a byte after which the connection counts as dead.
        end: When to stop, of the monotonic clock.
        on_open: Called when the server has begun to answer.
    """
    connection, path = _connect(url, silence)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if on_open is not None:
            on_open()
        while True:
            if end is not None and connection.sock is not None:
                connection.sock.settimeout(max(0.001, end - time.monotonic()))
            line = answer.readline()
            if not line:
                return
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event") == "message":
                    yield event
    finally:
        connection.close()
