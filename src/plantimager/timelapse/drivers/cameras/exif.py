"""The essentials of a picture in its EXIF, without encoding the picture again."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Final

from PIL import Image
from PIL.ExifTags import IFD, Base

if TYPE_CHECKING:
    from datetime import datetime

_MAX_SEGMENT: Final = 65_533
"""Bytes of content of a JPEG's segment."""

_HEADER: Final = b"Exif\0\0"

_APP0, _APP1, _SCAN_BEGINS, _IMAGE_BEGINS = 0xE0, 0xE1, 0xDA, b"\xff\xd8"

_PNG_BEGINS: Final = b"\x89PNG\r\n\x1a\n"


def add_exif(content: bytes, description: str, taken_at: datetime, software: str) -> bytes:
    """Return a JPEG or PNG with these entries in its EXIF, which keeps what the camera wrote there.

    Any other picture is returned as it is, and so is one whose EXIF has no space for them.
    """
    if not content.startswith((_IMAGE_BEGINS, _PNG_BEGINS)):
        return content
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
    exif[Base.ImageDescription] = description.encode("ascii", "replace").decode("ascii")
    exif[Base.Software] = software
    times = exif.get_ifd(IFD.Exif)
    times[Base.DateTimeOriginal] = f"{taken_at:%Y:%m:%d %H:%M:%S}"
    times[Base.SubsecTimeOriginal] = f"{taken_at:%f}"
    times[Base.OffsetTimeOriginal] = "+00:00"
    block = exif.tobytes().removeprefix(_HEADER)
    if content.startswith(_PNG_BEGINS):
        return _with_png_chunk(content, block)
    block = _HEADER + block
    return _with_segment(content, block) if len(block) <= _MAX_SEGMENT else content


def _with_segment(jpeg: bytes, block: bytes) -> bytes:
    """Return a JPEG whose EXIF segment is ``block``. Its other segments, and its image, stay byte by byte."""
    kept, at = [_IMAGE_BEGINS], 2
    written = False
    new = struct.pack(">BBH", 0xFF, _APP1, len(block) + 2) + block
    while jpeg[at + 1] != _SCAN_BEGINS:
        if jpeg[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        segment = jpeg[at : at + 2 + length]
        if not written and segment[1] != _APP0:  # after JFIF's own, which has to be the first
            kept.append(new)
            written = True
        if not (segment[1] == _APP1 and segment[4:10] == _HEADER):
            kept.append(segment)
        at += len(segment)
    return b"".join([*kept, jpeg[at:]])


def _with_png_chunk(png: bytes, block: bytes) -> bytes:
    """Return a PNG whose chunk eXIf is ``block``, as the first after the header."""
    kept, at = [_PNG_BEGINS], len(_PNG_BEGINS)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        chunk = png[at : at + 12 + length]
        if chunk[4:8] != b"eXIf":
            kept.append(chunk)
        if chunk[4:8] == b"IHDR":
            body = b"eXIf" + block
            kept.append(struct.pack(">I", len(block)) + body + struct.pack(">I", zlib.crc32(body)))
        at += len(chunk)
    return b"".join(kept)
