"""The essentials of a picture in its EXIF, without encoding the picture again."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import TYPE_CHECKING, Final

from PIL import Image
from PIL.ExifTags import IFD, Base

from plantimager.timelapse.drivers.cameras import tiff_file
from plantimager.timelapse.drivers.cameras.jpeg_file import BEGINS, header_segments
from plantimager.timelapse.support.distribution import DISTRIBUTION, installed_version

if TYPE_CHECKING:
    from datetime import datetime

_MAX_SEGMENT: Final = 65_533
"""Bytes of content of a JPEG's segment."""

_HEADER: Final = b"Exif\0\0"

_APP0, _APP1 = 0xE0, 0xE1

_PNG_BEGINS: Final = b"\x89PNG\r\n\x1a\n"

_KEPT: Final = frozenset({Base.Make, Base.Model, Base.DateTime, Base.Artist, Base.Copyright})
"""Of a TIFF, whose other tags are those of its file."""

_DEPTHS: Final = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16}
"""Bits of a sample in Pillow's modes; 8 in the others."""


def add_exif(content: bytes, description: str, taken_at: datetime) -> bytes:
    """Return a JPEG, PNG or TIFF with these entries, and ours, in its EXIF, which keeps what the camera wrote there.

    A TIFF of one upright image that isn't compressed is written again, pixel by pixel the same. Any other picture is
    returned as it is, such as one with 48 bits a pixel, and so is one whose EXIF has no space for them.
    """
    if not content.startswith((BEGINS, _PNG_BEGINS, *tiff_file.BEGINNINGS)):
        return content
    with Image.open(io.BytesIO(content)) as image:
        is_tiff, before = image.format == "TIFF", image.getexif()
        if is_tiff and not _can_be_rewritten(image, before):
            return content
        exif = _without_layout(before) if is_tiff else before
        if is_tiff:  # it is written again; any other has been decoded once, to judge it
            image.load()
    exif[Base.ImageDescription] = description.encode("ascii", "replace").decode("ascii")
    exif[Base.Software] = f"{DISTRIBUTION} {installed_version()}"
    times = exif.get_ifd(IFD.Exif)
    times[Base.DateTimeOriginal] = f"{taken_at:%Y:%m:%d %H:%M:%S}"
    times[Base.SubsecTimeOriginal] = f"{taken_at:%f}"
    times[Base.OffsetTimeOriginal] = "+00:00"
    if is_tiff:
        file = io.BytesIO()
        exif[IFD.Exif] = times  # else it is left out of a TIFF
        image.save(file, "TIFF", exif=exif)
        return file.getvalue()
    block = exif.tobytes().removeprefix(_HEADER)
    if content.startswith(_PNG_BEGINS):
        return _with_png_chunk(content, block)
    block = _HEADER + block
    return _with_segment(content, block) if len(block) <= _MAX_SEGMENT else content


def has_capture_time(content: bytes) -> bool:
    """Whether a picture's own EXIF says when it was taken; a clock that isn't set is blank or zero."""
    with contextlib.suppress(Exception), Image.open(io.BytesIO(content)) as image:  # damaged EXIF may raise anything
        taken_at = image.getexif().get_ifd(IFD.Exif).get(Base.DateTimeOriginal, "")
        return not set("123456789").isdisjoint(str(taken_at))
    return False


def exif_of_picture(image: Image.Image) -> bytes | Image.Exif:
    """Return the EXIF of a loaded picture, for the same picture in another file: a TIFF was turned upright."""
    return _without_layout(image.getexif()) if image.format == "TIFF" else image.info.get("exif", b"")


def _can_be_rewritten(tiff: Image.Image, tags: Image.Exif) -> bool:
    """Whether Pillow writes a TIFF as it is, with EXIF: it turns what isn't upright, and compresses none with it."""
    if getattr(tiff, "n_frames", 1) != 1 or not _is_read_in_full(tiff, tags):
        return False
    return tiff.info.get("compression") == "raw" and tags.get(Base.Orientation, 1) == 1


def _is_read_in_full(tiff: Image.Image, tags: Image.Exif) -> bool:
    """Whether Pillow's mode has every sample of a TIFF with all its bits: it reads 16 bits a colour as 8."""
    depths = tags.get(Base.BitsPerSample, 1)
    depths = depths if isinstance(depths, tuple) else (depths,)
    return depths == (_DEPTHS.get(tiff.mode, 8),) * len(tiff.getbands())


def _without_layout(tags: Image.Exif) -> Image.Exif:
    """Return what a TIFF says of its picture, without how the picture is laid out in the file."""
    exif = Image.Exif()
    for tag in _KEPT & tags.keys():
        exif[tag] = tags[tag]
    exif.get_ifd(IFD.Exif).update(tags.get_ifd(IFD.Exif))
    return exif


def _with_segment(jpeg: bytes, block: bytes) -> bytes:
    """Return a JPEG whose EXIF segment is ``block``. Its other segments, and its image, stay byte by byte."""
    kept, header_end = list[bytes](), len(BEGINS)
    for start, header_end in header_segments(jpeg):
        if jpeg[start + 1] != _APP1 or jpeg[start + 4 : start + 10] != _HEADER:
            kept.append(jpeg[start:header_end])
    jfif = next((number for number, segment in enumerate(kept) if segment[1] != _APP0), len(kept))
    new = struct.pack(">BBH", 0xFF, _APP1, len(block) + 2) + block
    return b"".join([BEGINS, *kept[:jfif], new, *kept[jfif:], jpeg[header_end:]])  # JFIF's own has to be the first


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
