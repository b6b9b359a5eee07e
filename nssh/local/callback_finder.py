"""Finds callbacks in a URL from a remote: loopback addresses on which a program there waits for the browser.

An OAuth login (RFC 8252) sends the browser to a provider. The URL contains a redirect URI to which the provider sends
the browser back, such as `http://127.0.0.1:41673/callback`: in a parameter, percent-encoded once or more, or inside a
`state` of JSON and base64. All functions are pure, and the text may be hostile.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import NamedTuple
from urllib.parse import unquote

MOST_CALLBACKS = 4
"""Callbacks of one URL; further ones are ignored."""

_BUDGET = 1 << 16  # characters that are searched, all layers together: eight times the longest URL
_SHORTEST = len("http://[::1]")
_DEPTH = 6  # layers of encoding
_MOST_STRINGS = 256  # of one JSON text

# The forms of a loopback address that programs write in redirect URIs. Browsers understand more (127.1, 0x7f000001,
# 2130706433, `localhost.`, anything.localhost), which no redirect URI uses.
_AUTHORITY = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(?::([0-9]{0,5}))?", re.IGNORECASE | re.ASCII)
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")


class Callback(NamedTuple):
    """An address on the remote to which a browser will be sent."""

    host: str
    """`localhost`, `127.0.0.1` or `::1`."""
    port: int
    path: str
    """Percent-decoded, at least `/`, without the query. Empty if the callback is the URL's own address: then the login
    starts on the remote's own page, and its callback has an unknown path."""
    secure: bool = False
    """Whether it is https."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that the host can mean on the remote, in the order to try."""
        return ("127.0.0.1", "::1") if self.host == "localhost" else (self.host,)


def find_callbacks(url: str) -> tuple[Callback, ...]:
    """Return the callbacks in a URL, its own address included, in the order of their appearance, each once.

    It searches the parameters of query and fragment, URLs inside of them, percent-encoding, base64 and JSON. The time
    is bounded for any text.
    """
    search = _Search()
    search.look(url, _DEPTH)
    return tuple(search.found)


class _Search:
    def __init__(self) -> None:
        self.found: dict[Callback, None] = {}
        self._budget = _BUDGET

    def look(self, text: str, depth: int) -> None:
        """Search one string, as a URL, as JSON, as parameters or decoded, whichever it is."""
        self._budget -= len(text)
        text = text.strip()
        if depth < 0 or self._budget < 0 or len(self.found) >= MOST_CALLBACKS or len(text) < _SHORTEST:
            return
        match = _URL.fullmatch(text)
        if match is not None:
            self._url(match, depth)
        elif text[0] in '{["':
            self._json(text, depth)
        elif "=" in text.rstrip("=") and not text.lower().startswith("http%3a"):
            self._parameters(text, depth)
        elif "%" in text:
            # Decode one layer at a time: a path may contain a character that is encoded for a reason of its own.
            if (plain := unquote(text)) != text:
                self.look(plain, depth - 1)
        else:
            for part in text.split(".")[:3]:  # a JSON web token has three
                self._base64(part, depth)

    def _url(self, match: re.Match[str], depth: int) -> None:
        scheme, authority, path, rest = match.groups()
        address = _AUTHORITY.fullmatch(authority)
        if address is not None and not any(c.isspace() or not c.isprintable() or c == "\\" for c in path):
            secure = scheme.lower() == "https"
            port = int(address[2] or (443 if secure else 80))
            if 0 < port < 1 << 16:
                host = address[1].lower().strip("[]")
                self.found[Callback(host, port, "" if depth == _DEPTH else unquote(path) or "/", secure)] = None
        self._parameters(rest, depth)

    def _parameters(self, text: str, depth: int) -> None:
        for parameter in re.split(r"[?&#]", text):
            name, _, value = parameter.partition("=")
            self.look(unquote(value or name), depth - 1)

    def _json(self, text: str, depth: int) -> None:
        try:
            waiting = [json.loads(text)]
        except (ValueError, RecursionError):
            return
        for _ in range(_MOST_STRINGS):
            if not waiting:
                return
            value = waiting.pop()
            if isinstance(value, str):
                self.look(value, depth - 1)
            elif isinstance(value, dict):
                waiting += reversed(value.values())
            elif isinstance(value, list):
                waiting += reversed(value)

    def _base64(self, text: str, depth: int) -> None:
        if not _BASE64.fullmatch(text):
            return
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            decoded = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
        except (binascii.Error, ValueError):
            return
        if decoded.isprintable():
            self.look(decoded, depth - 1)
