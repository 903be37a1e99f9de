"""Converting a camera's picture to the encoding and the size of the request."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Final

from PIL import Image

from plantimager.timelapse.drivers.cameras.base import CameraFault

if TYPE_CHECKING:
    from plantimager.timelapse.drivers.cameras.base import Exposure

PILLOW_NAMES: Final = {"jpeg": "JPEG", "png": "PNG", "tiff": "TIFF"}

TOO_DEEP: Final = {"JPEG": ("I", "F", "I;16", "I;16B"), "PNG": ("I", "F"), "TIFF": ()}
"""Pillow's modes of pictures with more bits a pixel than the format has; converted, they would be all white."""

JPEG_QUALITY: Final = 95
"""The quality of a picture that is encoded again; above it files grow without better pictures."""


def fit(picture: bytes, exposure: Exposure) -> bytes:
    """Return a picture in the encoding of the request, and at most of its size; unchanged if it is so already.

    A smaller one is not enlarged: that would invent pixels. EXIF is kept.

    Raises
    ------
    CameraFault
        It is no picture, or can't be read (as a raw one).

    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(picture)) as image:  # such as of odd EXIF
            image.load()  # an incomplete file is noticed now, and not after three weeks
            wanted = PILLOW_NAMES[exposure.encoding]
            scale = min(exposure.width / image.width, exposure.height / image.height)
            # MPO is a JPEG followed by a preview.
            if scale >= 1 and wanted == ("JPEG" if image.format == "MPO" else image.format):
                return picture
            converted = _convert(image, wanted)
            if scale < 1:
                size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
                converted = converted.resize(size, Image.Resampling.LANCZOS)
            file = io.BytesIO()
            converted.save(file, wanted, quality=JPEG_QUALITY, exif=image.info.get("exif", b""))
            return file.getvalue()
    except CameraFault:
        raise
    except Exception as unreadable:  # a damaged file may raise anything in Pillow's readers
        start = picture[:4].hex(" ") if picture else "nothing"
        problem = f"what came is no whole JPEG, PNG or TIFF ({len(picture)} bytes, beginning with {start})"
        raise CameraFault(f"{problem}; has the camera been set to a raw format?") from unreadable


def _convert(image: Image.Image, wanted: str) -> Image.Image:
    """Return a picture in a mode that Pillow can scale and write."""
    if image.mode in TOO_DEEP[wanted]:
        cure = 'write encoding = "tiff" in the camera\'s table of the scan configuration'
        raise CameraFault(f"its pictures have too many bits a pixel for a {wanted} (mode {image.mode}); {cure}")
    if wanted == "JPEG":
        return image.convert("RGB")
    # Pillow scales and writes 16 bits only in the byte order of this machine.
    return image.convert("I").convert("I;16") if image.mode == "I;16B" else image.copy()
