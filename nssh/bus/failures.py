"""Turn exceptions and refusals into `BusError`: one line for the user, without topic, token or payload.

The texts of requests' and urllib3's exceptions are never quoted, because they hold the URL and so the topic. Nor is the
text that a server sends, which may be anything.
"""

from __future__ import annotations

import email.utils
import http.client
import math
import socket
import ssl
import time
from typing import Final

import requests
import urllib3

from nssh.base.errors import BusError, NsshError

# A longer time would let a single answer of a server switch the bus off.
_MAX_RETRY_AFTER: Final = 3600.0

# OpenSSL's codes: self-signed, self-signed in its chain, issuer unknown, first one can't be verified.
_UNKNOWN_AUTHORITY: Final = {18, 19, 20, 21}
_ADD_AUTHORITY: Final = (
    "; add the authority that signed it to those of this machine, or name its file in $REQUESTS_CA_BUNDLE"
)

# ntfy's own codes (docs/ntfy.md, "Errors"); for other codes the HTTP status decides.
_CODES: Final = {
    40010: "does not allow this topic's name: choose another one",
    40014: "has no attachments (attachment-cache-dir is not set there): large texts and images can't be sent",
    40401: "does not know this page or topic name: check `server` in config.toml",
    42901: "says that there are too many requests",
    42903: "says that there are too many subscriptions from this address",
    42904: "says that it has too many topics",
    42905: "says that this address has used up its bandwidth for files",
    42908: "says that this address has used up its messages for today",
    42909: "says that this address gave wrong credentials too often: check token in config.toml",
    42911: "says that this address made too many new topics",
}


def from_exception(error: BaseException, where: str, stderr_line: str = "") -> BusError:
    """Return the error for an exception of the network or of the HTTP library.

    Args:
        error: The exception.
        where: The server's name for the user.
        stderr_line: The last line that the command behind a dialled stream wrote to stderr; it explains more than a
            connection that ends early. Empty if there is none.
    """
    # An error of ours is already a line for the user; the system's error below it may be about another file.
    causes = sorted(_causes(error), key=lambda cause: not isinstance(cause, NsshError))
    if any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes):
        where = f"the proxy on the way to {where}"
    for cause in causes:
        if isinstance(cause, BusError):
            return BusError(str(cause), cause.kind, cause.retry_after)
        text = _explain(cause, where)
        if text:
            explained = stderr_line and isinstance(cause, ConnectionError)
            return BusError(f"{where} can't be reached: {stderr_line}" if explained else text, "unreachable")
        if isinstance(cause, http.client.HTTPException):
            return BusError(f"{where} does not speak HTTP: check `server` in config.toml", "server")
    return BusError(f"{where} can't be reached: the connection broke ({type(error).__name__})", "unreachable")


def is_early_close(error: BaseException) -> bool:
    """Return whether the server closed or reset the connection before it answered."""
    return any(isinstance(cause, (ConnectionResetError, BrokenPipeError)) for cause in _causes(error))


def _explain(cause: BaseException, where: str) -> str:  # noqa: PLR0911  (one line a case)
    if isinstance(cause, NsshError):
        return str(cause)
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = _ADD_AUTHORITY if cause.verify_code in _UNKNOWN_AUTHORITY else ""
        return f"the certificate of {where} can't be trusted: {cause.verify_message}{advice}"
    if isinstance(cause, ssl.SSLError):
        return f"{where} can't be reached: TLS failed ({cause.reason or 'no reason given'}); is it https there?"
    if isinstance(cause, socket.gaierror):
        return f"{where} can't be reached: its name does not resolve; is `server` in config.toml right?"
    if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)):
        return f"{where} does not answer"
    if isinstance(cause, ConnectionRefusedError):
        return f"{where} can't be reached: connection refused; is it running?"
    if isinstance(cause, (ConnectionError, http.client.IncompleteRead)):
        return f"{where} closed the connection early"
    if isinstance(cause, FileNotFoundError):
        return f"{where} can't be reached: its socket does not exist; is it running?"
    if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
        return f"{where} can't be reached: {cause.strerror.lower()}"
    return ""


def _causes(error: BaseException) -> list[BaseException]:
    """Return `error` and all exceptions inside it (chained, in `reason` or in `args`), innermost first."""
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo and len(found) < 20:
        item = todo.pop(0)
        if isinstance(item, BaseException) and not any(item is other for other in found):
            found.append(item)
            todo += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return found[::-1]


def from_status(status: int, code: int, retry_after: float | None, where: str, *, credentials: bool) -> BusError:  # noqa: PLR0911  (one line a case)
    """Return the error for an answer with a status other than 200; `code` is ntfy's own, 0 if it sent none."""
    if status == 401:
        return BusError(f"{where} refuses these credentials: check token in config.toml", "auth", retry_after)
    if status == 403:
        what = "does not let these credentials use this topic" if credentials else "wants credentials for this topic"
        return BusError(f"{where} {what}: check token in config.toml", "auth", retry_after)
    if status == 413:
        return BusError(f"{where} does not take files of this size (or its space is used up)", "size", retry_after)
    if status == 429:
        return BusError(f"{where} {_CODES.get(code, _CODES[42901])}", "limit", retry_after)
    if 300 <= status < 400:
        return BusError(f"{where} redirects elsewhere: set `server` in config.toml to its real address", "request")
    if status == 407:
        return BusError(f"the proxy on the way to {where} wants credentials: set them in https_proxy", "request")
    if 400 <= status < 500:
        return BusError(f"{where} {_CODES.get(code, f'refused the request (HTTP {status})')}", "request", retry_after)
    return BusError(f"{where} failed (HTTP {status})", "server", retry_after)


def nonsense(where: str) -> BusError:
    """Return the error for an answer that is not of the ntfy API, such as a web page."""
    return BusError(f"{where} does not answer like an ntfy server: check `server` in config.toml", "server")


def retry_after(value: str | None, server_now: float | None) -> float | None:
    """Return the seconds from now that a Retry-After header asks for, at most an hour; None if absent or malformed.

    Args:
        value: The header: seconds or a date.
        server_now: The Date of the answer, to compare a date with; None for this machine's clock.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        when = http_date(value)
        if when is None:
            return None
        seconds = when - (time.time() if server_now is None else server_now)
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def http_date(value: str | None) -> float | None:
    """Return an HTTP date as seconds since the epoch; None if absent or malformed."""
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, OverflowError, TypeError):
        return None
