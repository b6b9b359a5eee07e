"""Encode and decode envelopes, the JSON objects that nssh's messages are (docs/protocol.md, "Envelopes")."""

from __future__ import annotations

import binascii
import os

from nssh.wire.quickjson import loads, quote

INLINE_LIMIT = 3072
"""Bytes of payload that may travel inside the envelope; a larger payload becomes an attachment."""

MAX_TEXT = 256 * 1024
"""Characters of an encoded envelope that `decode` accepts."""

KIND_OPEN = "open"
KIND_CLIP_WRITE = "clip-write"
KIND_CLIP_READ_REQUEST = "clip-read-request"
KIND_CLIP_READ_RESPONSE = "clip-read-response"
KIND_CLIP_READ_PENDING = "clip-read-pending"
KIND_PING = "ping"
KIND_PONG = "pong"

_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")
_SCHEME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.")


class EnvelopeError(ValueError):
    """A text is no envelope, or an envelope can't be encoded; the message never quotes the content."""


class Envelope:
    """One message of nssh; `body` is the decoded payload, empty if that is an attachment."""

    __slots__ = ("body", "id", "kind", "mime", "url")

    def __init__(self, kind: str, url: str = "", mime: str = "", body: bytes = b"", id: str = "") -> None:  # noqa: A002  (the wire's name)
        self.kind = kind
        self.url = url
        self.mime = mime
        self.body = body
        self.id = id

    def _key(self) -> tuple[str, str, str, bytes, str]:
        return (self.kind, self.url, self.mime, self.body, self.id)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Envelope) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return "Envelope(kind=%r, url=%r, mime=%r, body=<%d bytes>, id=%r)" % (
            self.kind,
            redact(self.url),
            self.mime,
            len(self.body),
            self.id,
        )


def encode(envelope: Envelope) -> str:
    """Return the envelope as ASCII JSON without its empty fields.

    Raises:
        EnvelopeError: The kind is empty, or a field is not Unicode text (it came from an argument in another encoding).
    """
    if not envelope.kind:
        raise EnvelopeError("an envelope needs a kind")
    parts = []
    for key in ("kind", "url", "mime"):
        value = getattr(envelope, key)
        if value:
            parts.append('"%s":%s' % (key, _quote(value)))
    if envelope.body:
        parts.append('"body":"%s"' % binascii.b2a_base64(envelope.body, newline=False).decode("ascii"))
    if envelope.id:
        parts.append('"id":%s' % _quote(envelope.id))
    return "{%s}" % ",".join(parts)


def _quote(value: str) -> str:
    _check_text(value)
    return quote(value)


def _check_text(value: str) -> None:
    # Lone surrogates come from "\ud800" in JSON and from undecodable arguments, and can't be written as UTF-8.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise EnvelopeError("an envelope's text must be Unicode") from None


def decode(text: str) -> Envelope:
    """Parse an envelope; unknown fields are ignored, and unknown kinds are no error.

    Raises:
        EnvelopeError: The text is longer than MAX_TEXT or no JSON object, the kind is missing, a field is no string, or
            the body is no base64.
    """
    if len(text) > MAX_TEXT:
        raise EnvelopeError("an envelope of %d characters is too large" % len(text))
    try:
        fields = loads(text)
    except ValueError:
        raise EnvelopeError("not JSON") from None
    if not isinstance(fields, dict):
        raise EnvelopeError("not a JSON object")
    values = {}
    for key in ("kind", "url", "mime", "body", "id"):
        value = fields.get(key)
        if value is None:  # absent, or null, which Go reads as the zero value
            value = ""
        if not isinstance(value, str):
            raise EnvelopeError("the field %s is not a string" % key)
        _check_text(value)
        values[key] = value
    if not values["kind"]:
        raise EnvelopeError("an envelope needs a kind")
    return Envelope(values["kind"], values["url"], values["mime"], _decode_body(values["body"]), values["id"])


def _decode_body(text: str) -> bytes:
    try:
        body = binascii.a2b_base64(text)
    except ValueError:  # includes binascii.Error, and text that is not ASCII
        raise EnvelopeError("the body is not base64") from None
    # a2b_base64 skips characters that are not base64: only canonical base64 encodes to the same text again.
    if binascii.b2a_base64(body, newline=False).decode("ascii") != text:
        raise EnvelopeError("the body is not base64")
    return body


def wants_attachment(mime: str, size: int) -> bool:
    """Return whether a payload of `size` bytes travels as an attachment rather than inside the envelope."""
    return size > INLINE_LIMIT or mime.startswith("image/")


def attachment_name(mime: str) -> str:
    """Return the `Filename` header for a payload, as the Go program names it."""
    return "clip.png" if mime == "image/png" else "clip.dat"


def new_id() -> str:
    """Return 16 random hexadecimal digits, as the id of a request and its answer."""
    return os.urandom(8).hex()


def redact(url: str) -> str:
    """Return scheme, host and port of `url`, which is all of it that a log may hold; empty if it is no URL.

    User, password, path, query and fragment may be secrets (OAuth codes are). If no host name follows the scheme, only
    `scheme://` is returned.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme or len(scheme) > 16 or not _SCHEME_CHARACTERS.issuperset(scheme):
        return ""
    for delimiter in "/?#\\":
        rest = rest.partition(delimiter)[0]
    host = rest.rpartition("@")[2]
    if len(host) > 261 or not _HOST_CHARACTERS.issuperset(host):
        host = ""
    return "%s://%s" % (scheme.lower(), host.lower())
