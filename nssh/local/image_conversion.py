"""Converts an image to another type, as a process: `python -m nssh.local.image_conversion image/png < in > out`.

In a process of its own, its memory is freed at its end, a decoder that crashes harms nothing else, and the bridge does
not import Pillow.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

MAX_PIXELS = 64_000_000
"""Two 8K screens. A larger image is a decompression bomb rather than a screenshot."""

FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/bmp": "BMP",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/tiff": "TIFF",
}
"""The types that can be converted to one another, and Pillow's names for them."""

_MEMORY = 2 << 30
_CPU = 30


def main(mime: str) -> str:
    """Convert the image on stdin to the type `mime` on stdout; return what went wrong, empty if nothing did."""
    _limit_ourselves()
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return "Pillow is not installed"
    Image.MAX_IMAGE_PIXELS = None  # Pillow would only warn; `MAX_PIXELS` is an error
    try:
        with Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=sorted(FORMATS.values())) as image:
            if image.width * image.height > MAX_PIXELS:
                return f"the image has {image.width} x {image.height} pixels, too many to convert"
            upright = ImageOps.exif_transpose(image)
            if mime == "image/jpeg":
                _without_alpha(upright).save(sys.stdout.buffer, "JPEG", quality=92)
            elif mime == "image/png":
                # Speed matters more than size: a program waits for the image.
                (upright if upright.mode != "CMYK" else upright.convert("RGB")).save(
                    sys.stdout.buffer, "PNG", compress_level=1
                )
            else:
                upright.convert("RGB").save(sys.stdout.buffer, FORMATS[mime])
        sys.stdout.buffer.flush()
    except MemoryError:
        return "the image needs too much memory"
    except (OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError) as error:
        return f"the image can't be read ({type(error).__name__})"
    return ""


def _without_alpha(image: PIL.Image.Image) -> PIL.Image.Image:
    """Put a transparent image on a white ground: JPEG has no transparency, and black text needs a light ground."""
    from PIL import Image

    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        picture = image.convert("RGBA")
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        return ground
    return image.convert("RGB")


def _limit_ourselves() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU, _CPU))
    except (ImportError, OSError, ValueError):
        return  # the limit of pixels remains


if __name__ == "__main__":
    problem = main(sys.argv[1]) if sys.argv[1:2] and sys.argv[1] in FORMATS else "no such type"
    if problem:
        sys.exit(problem)
