"""The envelope codec: round trips, compatibility with the Go program's JSON, and everything that must be refused."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nssh.wire import envelope
from nssh.wire.envelope import Envelope, EnvelopeError, decode, encode

envelopes = st.builds(
    Envelope,
    kind=st.text(min_size=1),
    url=st.text(),
    mime=st.text(),
    body=st.binary(max_size=4000),
    id=st.text(),
)


@given(envelopes)
def test_decoding_undoes_encoding(original: Envelope) -> None:
    assert decode(encode(original)) == original


@given(envelopes)
def test_the_text_is_ascii_json_without_zero_fields(original: Envelope) -> None:
    text = encode(original)
    assert text.isascii()
    assert text.isprintable()
    fields = json.loads(text)
    assert all(fields.values())
    assert fields["kind"] == original.kind
    assert base64.b64decode(fields.get("body", ""), validate=True) == original.body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["kind", "url", "mime", "body", "id", "later"]), json_values) | json_values)
def test_any_json_gives_an_envelope_or_an_envelope_error(value: object) -> None:
    try:
        result = decode(json.dumps(value))
    except EnvelopeError:
        return
    assert isinstance(value, dict)
    assert result.kind == value["kind"]
    assert all(value.get(name) is None or isinstance(value[name], str) for name in ("url", "mime", "body", "id"))


@given(st.text())
@example("[" * 200_000)
@example('{"kind":"open"}x')
@example('{"kind":"open","url":"\\ud800"}')
@example("9" * 100_000)
def test_any_text_gives_an_envelope_or_an_envelope_error(text: str) -> None:
    shown = ""
    try:
        assert decode(text).kind
    except EnvelopeError as error:
        shown = str(error)
    assert len(shown) < 100
    assert "\n" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"open"',
        "{}",
        '{"kind":""}',
        '{"kind":7}',
        '{"kind":null}',
        '{"kind":"open","url":["x"]}',
        '{"kind":"clip-write","body":"a"}',
        '{"kind":"clip-write","body":"YQ"}',
        '{"kind":"clip-write","body":"YQ==\\n"}',
        '{"kind":"clip-write","body":"Y-_="}',
        '{"kind":"clip-write","body":"é"}',
        '{"kind":"open"} {}',
        '{"kind":"open","x":' + '"' + "x" * envelope.MAX_TEXT + '"}',
    ],
)
def test_what_is_no_envelope_is_refused(text: str) -> None:
    with pytest.raises(EnvelopeError):
        decode(text)


def test_unknown_fields_and_kinds_and_null_fields_are_accepted() -> None:
    text = ' {"kind":"later","n":1.5e3,"o":{"a":[true,NaN]},"url":null,"id":"7"}\n'
    assert decode(text) == Envelope("later", id="7")


def test_text_that_is_not_unicode_is_refused_when_encoding() -> None:
    with pytest.raises(EnvelopeError):
        encode(Envelope("open", url="https://x/\udcff"))
    with pytest.raises(EnvelopeError):
        encode(Envelope(""))


def test_the_repr_shows_no_secret() -> None:
    shown = repr(Envelope("open", url="https://u:pw@host/secret?code=42", body=b"hidden"))
    assert "https://host" in shown
    for secret in ("pw", "secret", "42", "hidden"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("mime", "size", "expected"),
    [("text/plain", 3072, False), ("text/plain", 3073, True), ("image/png", 1, True), ("", 0, False)],
)
def test_large_payloads_and_images_travel_as_attachments(mime: str, size: int, *, expected: bool) -> None:
    assert envelope.wants_attachment(mime, size) is expected


def test_attachment_names_are_those_of_the_go_program() -> None:
    assert envelope.attachment_name("image/png") == "clip.png"
    assert envelope.attachment_name("text/plain") == "clip.dat"


def test_ids_differ() -> None:
    assert len({envelope.new_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com/a?b#c", "https://example.com"),
        ("HTTPS://user:pa@ss@Example.com:8443/x", "https://example.com:8443"),
        ("http://[::1]:80?secret", "http://[::1]:80"),
        ("https://host\\@evil/x", "https://host"),
        ("https://ho st/x", "https://"),
        ("javascript:alert(1)", ""),
        ("plain secret", ""),
        ("://x", ""),
        ("a secret://x", ""),
        ("", ""),
    ],
)
def test_redaction_keeps_scheme_and_host_only(url: str, expected: str) -> None:
    assert envelope.redact(url) == expected


@given(st.text(), st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x4FFF), min_size=1))
def test_redaction_is_safe_for_any_junk(junk: str, secret: str) -> None:
    for url in (junk, "https://host/" + junk + secret, "https://" + secret + "@" + junk, "https://h?" + secret):
        shown = envelope.redact(url)
        assert shown.isascii()
        assert shown == "" or shown.isprintable()
        assert secret not in shown
