"""Converting a camera's picture to the encoding and the size of the request, with all its bits and colours."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

from PIL import Image
from PIL.ExifTags import Base

from plantimager.timelapse.drivers.cameras.base import CameraFault
from plantimager.timelapse.drivers.cameras.exif import exif_of_picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import ImageFile

_TOO_DEEP: Final = {"JPEG": ("I", "F", "I;16", "I;16B"), "PNG": ("I", "F"), "TIFF": ()}
"""Pillow's modes of pictures with more bits a pixel than the format has; converted, they would be all white."""

_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "JPEG": {"quality": 95},  # above it files grow without better pictures
    "PNG": {},
    "TIFF": {"compression": "raw"},  # else as the file before, with options that fit that format
}

_OF_A_PNG: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Pillow's modes of pictures that a PNG can have; others of 8 bits are those of other colours."""

_PLANAR: Final = 2

_SIXTEEN_BITS: Final = re.compile(";16[BLN]")
"""In Pillow's names of how a file's pixels are stored: 16 bits a colour, in some byte order."""


def lost_bits(image: ImageFile.ImageFile) -> int:
    """Return how many bits of each colour Pillow will leave out of a picture that isn't loaded yet."""
    if image.mode.startswith(("I", "F")):  # grey, as deep as its file
        return 0
    stored = [tile[3] for tile in image.tile]
    if image.format == "PPM":  # ("RGB", the largest value)
        return max((args[1].bit_length() - 8 for args in stored if isinstance(args, tuple)), default=0)
    return 8 * any(_SIXTEEN_BITS.search(str(args)) for args in stored)


def is_misread(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow takes other pixels from a file than it has: from a TIFF of 16 bits, one colour after the other."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags.get(Base.PlanarConfiguration) == _PLANAR and max(tags.get(Base.BitsPerSample, (1,))) > 8


def convert(image: Image.Image, size: tuple[int, int], wanted: str, lost: int) -> bytes:
    """Return a loaded picture as a file of the format ``wanted``, with its EXIF and its colour profile.

    A JPEG has 8 bits a colour, whatever the camera's picture has. In the other formats a picture that has lost bits
    is refused, as is one whose grey values the format can't have.

    Raises
    ------
    CameraFault
        The result would be worse than the request.
    """
    if lost and wanted != "JPEG":
        cure = "set the camera to 8 bits, or let it give this format, and leave res_x and res_y out"
        problem = f"its pictures have {8 + lost} bits a colour, of which scaling and converting keep 8; {cure}"
        raise CameraFault(problem, is_lasting=True)
    if image.mode in _TOO_DEEP[wanted]:
        cure = 'write encoding = "tiff" in the camera\'s table of the scan configuration'
        problem = f"its pictures have too many bits a pixel for a {wanted} (mode {image.mode}); {cure}"
        raise CameraFault(problem, is_lasting=True)
    is_scaled = size != image.size
    converted = image.convert(_mode(image, wanted, is_scaled=is_scaled))
    if image.mode == "I;16B":  # Pillow scales and writes 16 bits only in the byte order of this machine
        converted = converted.convert("I;16")
    if is_scaled:
        converted = converted.resize(size, Image.Resampling.LANCZOS)
    has_other_colours = image.mode not in (*_OF_A_PNG, converted.mode)
    profile = None if has_other_colours else image.info.get("icc_profile")
    file = io.BytesIO()
    converted.save(file, wanted, exif=exif_of_picture(image), icc_profile=profile, **_OPTIONS[wanted])
    return file.getvalue()


def _mode(image: Image.Image, wanted: str, *, is_scaled: bool) -> str:
    """Return the mode in which Pillow can scale and write a picture without loss."""
    if wanted == "JPEG":
        return "RGB"
    if image.mode == "I;16B":
        return "I"
    if image.mode in ("P", "PA") and (is_scaled or image.mode == "PA"):  # between the colours of a palette is none
        return "RGBA" if image.has_transparency_data else "RGB"
    if image.mode == "1" and is_scaled:
        return "L"
    return "RGB" if wanted == "PNG" and image.mode not in _OF_A_PNG else image.mode
