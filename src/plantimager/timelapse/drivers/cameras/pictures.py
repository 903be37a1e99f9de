"""Making a camera's picture the one that was asked for: its encoding, and no larger than asked."""

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
"""Pillow's modes of pictures with more bits a pixel than fit; what they would be made is all white."""

QUALITY: Final = 95
"""Of a JPEG that had to be encoded again: beyond it files grow and pictures don't get better."""


def fit(picture: bytes, exposure: Exposure) -> bytes:
    """Return a picture in the encoding and no larger than the size that were asked for; untouched where it is so.

    A smaller one stays as it is: pixels that the camera did not see are not made up. EXIF is kept.

    Raises
    ------
    CameraFault
        It is no picture, or one that can't be read (a raw one).

    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(picture)) as image:  # of odd EXIF, for one
            image.load()  # a file that was cut off is noticed here, and not in three weeks' time
            wanted = PILLOW_NAMES[exposure.encoding]
            scale = min(exposure.width / image.width, exposure.height / image.height)
            # MPO is a JPEG, with a preview behind it.
            if scale >= 1 and wanted == ("JPEG" if image.format == "MPO" else image.format):
                return picture
            made = _converted(image, wanted)
            if scale < 1:
                size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
                made = made.resize(size, Image.Resampling.LANCZOS)
            file = io.BytesIO()
            made.save(file, wanted, quality=QUALITY, exif=image.info.get("exif", b""))
            return file.getvalue()
    except CameraFault:
        raise
    except Exception as unreadable:  # a damaged file makes Pillow's readers stumble over anything
        start = picture[:4].hex(" ") if picture else "nothing"
        problem = f"what came is no whole JPEG, PNG or TIFF ({len(picture)} bytes, beginning with {start})"
        raise CameraFault(f"{problem}; has the camera been set to a raw format?") from unreadable


def _converted(image: Image.Image, wanted: str) -> Image.Image:
    """Return a picture in a mode that Pillow can scale and write."""
    if image.mode in TOO_DEEP[wanted]:
        cure = 'write encoding = "tiff" in the camera\'s table of the scan configuration'
        raise CameraFault(f"its pictures have too many bits a pixel for a {wanted} (mode {image.mode}); {cure}")
    if wanted == "JPEG":
        return image.convert("RGB")
    # Of 16 bits it scales and writes those in this machine's order alone.
    return image.convert("I").convert("I;16") if image.mode == "I;16B" else image.copy()
