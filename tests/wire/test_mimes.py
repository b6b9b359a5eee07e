from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.wire import mimes

HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xdb\0",
    "image/gif": b"GIF89a\1\0",
    "image/webp": b"RIFF\x10\0\0\0WEBP",
    "image/bmp": b"BM\x46\0\0\0\0\0\0\0",
    "image/tiff": b"II*\0\x08\0\0\0",
}


@pytest.mark.parametrize("mime", HEADS)
def test_an_image_is_what_its_first_bytes_say(mime: str) -> None:
    for name, head in HEADS.items():
        assert mimes.may_be_image(mime, head, text_images=True) is (mime == name)
        assert mimes.may_be_image("image/unheard-of", head, text_images=False)


@given(
    text=st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\t\n\r\x1b")),
    mime=st.sampled_from([*HEADS, "image/avif", "image/x-icon"]),
)
def test_text_is_no_image(text: str, mime: str) -> None:
    assert not mimes.may_be_image(mime, text.encode()[:512], text_images=True)


def test_images_that_are_text_are_believed_where_they_can_be_meant() -> None:
    assert mimes.may_be_image("image/svg+xml", b"<svg/>", text_images=True)
    assert not mimes.may_be_image("image/svg+xml", b"<svg/>", text_images=False)
