"""Making a camera's picture the one that was asked for: its encoding, and no larger than asked."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Final

from PIL import Image

from plantimager.controller.scanner.drivers.cameras.base import CameraFault

if TYPE_CHECKING:
    from plantimager.controller.scanner.drivers.cameras.base import Exposure

PILLOW_NAMES: Final = {"jpeg": "JPEG", "png": "PNG", "tiff": "TIFF"}

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
            if scale >= 1 and image.format == wanted:
                return picture
            made = image.convert("RGB") if wanted == "JPEG" else image.copy()
            if scale < 1:
                size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
                made = made.resize(size, Image.Resampling.LANCZOS)
            file = io.BytesIO()
            made.save(file, wanted, quality=QUALITY, exif=image.info.get("exif", b""))
            return file.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as unreadable:
        start = picture[:4].hex(" ") if picture else "nothing"
        problem = f"what came is no whole JPEG, PNG or TIFF ({len(picture)} bytes, beginning with {start})"
        raise CameraFault(f"{problem}; has the camera been set to a raw format?") from unreadable
