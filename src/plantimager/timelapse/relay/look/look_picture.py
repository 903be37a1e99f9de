"""What is measured of one picture: read small, in bounded memory, by Pillow alone."""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from msgspec.structs import replace
from PIL import Image, ImageFilter, ImageStat, JpegImagePlugin

from plantimager.timelapse.settings.relay_config import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plantimager.timelapse.relay.look.verdict import PictureMeasures

SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Pictures that are looked at, and shown in messages. Raw files aren't: of some Pillow takes the small one for all."""
LEAST_SIDE: Final = 64
"""Pixels of the shorter side: of a smaller picture too little is left to judge by."""
SIDE: Final = 256
"""Pixels of the longer side, about, at which a picture is judged: its noise is averaged, its things are still there."""
LEAST_SMALL: Final = 8
"""Pixels of the shorter side of what is judged: a stripe has none of the structure of a picture."""
MAX_PIXELS: Final = 64_000_000
"""What is decoded; more would take more memory than a small computer has. A JPEG is decoded small, and has no limit."""
DARK_LEVEL: Final = 24
"""Of 255: 1 % of full light. A picture is dark where 99 % of it are below; a person sees black."""
BRIGHT_LEVEL: Final = 245
"""Of 255. A picture is bright where 99 % of it are above: nothing stands out from the white."""
FEW: Final = 0.01
"""The part of a picture that may be otherwise: a status light, a dead pixel."""
FLAT_CONTRAST: Final = 2.0
"""Levels of 255, a standard deviation. Even a bare wall has more, by its shades."""

_WIDE_MODES: Final = ("I", "I;16", "I;16L", "I;16B", "I;16N")
"""Whole numbers of 16 bits, as Pillow has them."""
_FULL_SCALES: Final = (255, 1023, 4095, 16383, 65535)
"""The highest values of sensors of 8 to 16 bits; the lowest that a picture fits into is taken for its own."""
_STRIP: Final = 64
"""Lines that are copied at once."""
_LAPLACE: Final = ImageFilter.Kernel((3, 3), (0, -1, 0, -1, 4, -1, 0, -1, 0), scale=1, offset=128)
"""What is left of a picture is its fine structure: edges as sharp as the lens."""


def measure_picture(picture: PictureMeasures, content: bytes) -> PictureMeasures | None:
    """Return a picture with what was measured of its file; ``None`` where it isn't judged: too small, too large."""
    with warnings.catch_warnings(action="ignore"):  # such as of odd metadata
        try:
            image = _decode(content)
        except (MemoryError, Image.DecompressionBombError):
            return None
        except Exception:  # noqa: BLE001 - a damaged file makes Pillow raise anything
            return replace(picture, verdict=Verdict.UNREADABLE)
        return None if image is None else _measure(picture, image)


def open_picture(file: BinaryIO) -> Image.Image:
    """Open a picture. Pillow's own limit isn't for JPEGs, which are decoded small."""
    try:
        return JpegImagePlugin.JpegImageFile(file)
    except SyntaxError:  # of another kind
        file.seek(0)
        return Image.open(file)


def _decode(content: bytes) -> Image.Image | None:
    """Return the pixels of a file; ``None`` where there are too few or too many of them."""
    image = open_picture(io.BytesIO(content))
    if min(image.size) < LEAST_SIDE:
        return None
    image.draft("L", (SIDE, SIDE))
    if image.width * image.height > MAX_PIXELS:
        return None
    image.load()
    return image


def _measure(picture: PictureMeasures, image: Image.Image) -> PictureMeasures | None:
    try:
        small = _shrink(image)
    except ValueError:  # of numbers or colours that have no shades of grey
        return None
    if min(small.size) < LEAST_SMALL:
        return None
    picture, digest = replace(picture, shape=f"{image.width}x{image.height}"), _digest_of(image)
    contrast = ImageStat.Stat(small).stddev[0]
    if verdict := _verdict_of(small, contrast):
        return replace(picture, verdict=verdict, digest=digest)
    # The filter leaves the outermost pixels as they are.
    edges = small.filter(_LAPLACE).crop((1, 1, small.width - 1, small.height - 1))
    sharpness = round(ImageStat.Stat(edges).stddev[0] / contrast, 4)
    return replace(picture, sharpness=sharpness, digest=digest)


def narrow(image: Image.Image) -> Image.Image:
    """Return a picture in 16 bits as one in 8, any other as it is."""
    if image.mode not in _WIDE_MODES:
        return image
    top = max(cast("tuple[int, int]", strip.convert("I").getextrema())[1] for _, strip in _strips(image))
    scale = 255 / next((full for full in _FULL_SCALES if top <= full), top)
    grey = Image.new("L", image.size)
    for line, strip in _strips(image):
        grey.paste(strip.convert("I").point(lambda value: value * scale).convert("L"), (0, line))
    return grey


def _shrink(image: Image.Image) -> Image.Image:
    """Return a small version in 256 shades of grey."""
    if image.mode == "F":
        raise ValueError("nobody knows what is white")
    grey = narrow(image).convert("L")
    return grey.reduce(max(1, round(max(grey.size) / SIDE)))


def _verdict_of(small: Image.Image, contrast: float) -> str:
    shades, n_pixels = small.histogram(), small.width * small.height
    if sum(shades[DARK_LEVEL:]) < FEW * n_pixels:
        return Verdict.DARK
    if sum(shades[:BRIGHT_LEVEL]) < FEW * n_pixels:
        return Verdict.BRIGHT
    return Verdict.FLAT if contrast < FLAT_CONTRAST else ""


def _digest_of(image: Image.Image) -> str:
    """Return a digest of all pixels as they were decoded: a real picture always differs from another by its noise."""
    digest = hashlib.sha256()
    for _, strip in _strips(image):
        digest.update(strip.tobytes())
    return digest.hexdigest()[:16]


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield a picture in parts, so that no copy of it is large; each by its first line."""
    for top in range(0, image.height, _STRIP):
        yield top, image.crop((0, top, image.width, min(top + _STRIP, image.height)))
