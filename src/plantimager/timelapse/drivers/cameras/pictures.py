"""Judging a camera's file: what it is, whether it is whole, and whether it is what was asked for."""

from __future__ import annotations

import codecs
import contextlib
import io
import re
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Final

from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from plantimager.timelapse.drivers.cameras import jpeg_file, tiff_file
from plantimager.timelapse.drivers.cameras.base import CameraFault
from plantimager.timelapse.drivers.cameras.picture_conversion import convert, is_misread, lost_bits

if TYPE_CHECKING:
    from plantimager.timelapse.drivers.cameras.base import Exposure

READ: Final = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP")
"""Formats that are read, by Pillow's names; those that run a program or that no camera writes are not."""

RAW_BEGINNINGS: Final = {
    b"FUJIFILMCCD-RAW": "RAF",
    b"II\x1a\0\0\0HEAPCCDR": "CRW",
    b"IIRO": "ORF",
    b"IIRS": "ORF",
    b"MMOR": "ORF",
    b"IIU\0": "RW2",
    b"FOVb": "X3F",
    b"\0MRM": "MRW",
}
"""Raw files that aren't TIFFs, by their first bytes."""

RAW_EXTENSIONS: Final = frozenset(
    ("dng", "nef", "nrw", "arw", "pef", "srw", "cr2", "cr3", "crw", "iiq", "raf", "orf", "rw2", "x3f", "mrw")
)
"""Extensions of files that `is_raw` recognises where they are whole; ``raw`` may be without any header."""

_OTHER_TIFFS: Final = "TIFF-based: NEF, ARW, PEF"

OTHER_BEGINNINGS: Final = {
    b"GIF8": "GIF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"BM": "BMP",
    b"%PDF": "PDF",
    b"RIFF": "WebP or AVI",
    b"\x1f\x8b": "gzip",
    b"PK\3\4": "ZIP",
    b"\x1aE\xdf\xa3": "Matroska",
    b"\xff\xd8": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
"""Files that can't be read, by their first bytes: others that people's programs write, and unusual JPEGs and TIFFs."""

_REDUCED, _PHOTOMETRIC, _DNG_VERSION, _CFA = 254, 262, 50706, 32803
"""TIFF tags: kind of the first image, its colours; and the value of colours as a sensor has them."""

_SAMPLES, _PLANES = 277, 284
"""TIFF tags: values of a pixel; 2 where there is a plane for each of them."""

_STRIP_LENGTHS, _TILE_LENGTHS = 279, 325
"""TIFF tags, one of the last in a directory."""

_PICTURE_BEGINNINGS: Final = (jpeg_file.BEGINS, b"\x89PNG\r\n\x1a\n", *tiff_file.BEGINNINGS)
"""Of JPEG, PNG and TIFF."""

_EMPTY_TAIL: Final = bytes(512)
"""So many zeros at the end of a JPEG are no padding of its segments."""

_ROTATIONS: Final = {3: 180, 6: 90, 8: 270}
"""Degrees clockwise, by the EXIF orientation."""


def judge(content: bytes, exposure: Exposure, way_out: str = "") -> tuple[bytes, dict[str, object]]:
    """Return a camera's picture in the encoding and size of the request, and its facts; unchanged if it is so already.

    A larger picture of the same proportions is scaled down; EXIF is kept. ``way_out`` is added to the cure where it
    is damaged.

    Raises
    ------
    CameraFault
        It is no whole picture, a raw file, or of another size than the request.
    """
    _refuse_what_is_no_picture(content)
    try:
        # Warnings are of odd EXIF and the like.
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(_in_one_plane(content)), formats=READ) as image,
        ):
            scale = _scale(image.size, exposure)
            wanted = exposure.encoding.upper()  # its name in Pillow
            size = (round(image.width * scale), round(image.height * scale))
            # MPO is a JPEG followed by a preview.
            is_jpeg = image.format in ("JPEG", "MPO")
            is_as_asked = scale == 1 and wanted == ("JPEG" if is_jpeg else image.format)
            lost = lost_bits(image)
            stored = _stored_tiff(image)
            if is_jpeg:
                jpeg_file.require_whole(content)
            if not (is_jpeg and is_as_asked):
                image.load()  # before anything else reads it: a reader that has failed once gives a part without a word
            _require_end(content, image)
            facts: dict[str, object] = {"size": list(size), "format": exposure.encoding, "rotation": _rotation(image)}
            if is_as_asked:
                return content, facts | stored
            if is_misread(image):
                raise CameraFault(_describe_other("TIFF"), is_lasting=True)
            if lost:
                facts["bits_lost"] = lost
            return convert(image, size, wanted, lost), facts
    except CameraFault:
        raise
    except Exception as unreadable:  # a damaged file may raise anything in Pillow's readers
        raise CameraFault(_describe_unreadable(content, unreadable, way_out)) from unreadable


def require_whole_raw(content: bytes) -> None:
    """Raise `CameraFault` for a raw file of which something is missing, as far as that can be seen.

    That is in no raw file, and in those that are TIFFs; only its makers know that of others.
    """
    name, problem = is_raw(content), ""
    if name is None:
        problem = "it is empty" if not content else "nothing in it says of which kind it is"
    elif name in ("DNG", _OTHER_TIFFS):
        try:
            tiff_file.require_data(content)
        except ValueError as fault:
            problem = str(fault)
    if problem:
        cure = "check its cable or network, and that nothing else writes the file"
        raise CameraFault(f"its raw file is incomplete ({len(content)} bytes: {problem}); {cure}")


def is_meant_as_raw(content: bytes, extension: str) -> bool:
    """Whether a file beside a picture is raw, or what is left of one: by its extension, or as a TIFF that was cut.

    A TIFF may have its directory, which says what it is, at its end.
    """
    if is_raw(content) is not None or extension in RAW_EXTENSIONS:
        return True
    return content[:4] in tiff_file.BEGINNINGS and not {_STRIP_LENGTHS, _TILE_LENGTHS} & {
        *tiff_file.first_tags(content)
    }


def is_raw(content: bytes) -> str | None:
    """Return the name of the raw format that a file has, None where it has none.

    Most raw files are TIFFs that begin with a thumbnail, which any reader of TIFF takes for the picture.
    """
    for beginning, name in RAW_BEGINNINGS.items():
        if content.startswith(beginning):
            return name
    if content[4:12] == b"ftypcrx ":
        return "CR3"
    if content[:4] not in tiff_file.BEGINNINGS:
        return None
    if content[8:10] == b"CR":
        return "CR2"
    if content[8:12] in (b"IIII", b"MMMM"):
        return "IIQ"
    tags = tiff_file.first_tags(content)
    if _DNG_VERSION in tags:
        return "DNG"
    if tags.get(_REDUCED, 0) & 1 or tiff_file.SUB_IFDS in tags or tags.get(_PHOTOMETRIC) == _CFA:
        return _OTHER_TIFFS
    return None


def raw_extension(content: bytes) -> str | None:
    """Return the extension of a raw file, ``raw`` where formats can't be told apart; None where it is none."""
    name = is_raw(content)
    return name if name is None else name.lower() if name.isalnum() else "raw"


def _in_one_plane(content: bytes) -> bytes:
    """Return a grey TIFF with a plane for each colour as what it is, one plane: Pillow misreads the former."""
    tags = tiff_file.first_tags(content) if content[:4] in tiff_file.BEGINNINGS else {}
    if tags.get(_SAMPLES, 1) != 1 or tags.get(_PLANES) != 2:
        return content
    order = tiff_file.order_of(content)
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    planes, plane = (struct.pack(f"{order}HHIHH", _PLANES, 3, 1, number, 0) for number in (2, 1))
    return content[:start] + content[start:].replace(planes, plane, 1)


def _refuse_what_is_no_picture(content: bytes) -> None:
    """Raise `CameraFault` for what a reader of pictures would mistake or not explain; say what it is."""
    if not content:
        cure = "check the card or disk that it is written to, and its network"
        raise CameraFault(f"its picture is empty (0 bytes); {cure}")
    raw = is_raw(content)
    if raw is not None:
        cure = "set the camera to JPEG, or to RAW+JPEG, where both are kept (gphoto2: imageformat or imagequality)"
        raise CameraFault(f"it gives raw files ({raw}), and no picture beside them; {cure}")


def _describe_unreadable(content: bytes, problem: Exception, way_out: str) -> str:
    """Return what a file is that isn't raw, and can't be decoded."""
    text = _text_of(content)
    if text is not None:
        return f"it gives a text and no picture: “{text}”; check the address, its login, and the program"
    is_jpeg = content.startswith(jpeg_file.BEGINS)
    if is_jpeg and content.endswith(_EMPTY_TAIL) and not content.rstrip(b"\0").endswith(jpeg_file.END):
        return "the end of its picture is empty; check the camera's card, and its cable or network"
    is_unknown = isinstance(problem, UnidentifiedImageError)
    if content.startswith(_PICTURE_BEGINNINGS) and not (is_unknown and _has_whole_header(content)):
        cure = "; ".join(filter(None, ("check its cable or network, and that nothing else writes the file", way_out)))
        said = "its beginning makes no sense" if is_unknown else " ".join(str(problem).split())
        return f"its picture is incomplete or damaged ({len(content)} bytes: {said}); {cure}"
    name = next((name for start, name in OTHER_BEGINNINGS.items() if content.startswith(start)), None)
    if content[4:8] == b"ftyp":
        name = f"{content[8:12].decode('ascii', 'replace').strip().upper()} (HEIC or video)"
    if name is not None:
        return _describe_other(name)
    return f"it gives {len(content)} bytes that are no picture, beginning with {content[:4].hex(' ')}; look at its file"


def _describe_other(name: str) -> str:
    return f"it gives a {name} file that can't be read; set it to JPEG, PNG or TIFF, of 8 bits a colour"


def _has_whole_header(content: bytes) -> bool:
    """Whether all that says of which kind a JPEG or TIFF is is there."""
    is_tiff = content[:4] in tiff_file.BEGINNINGS
    return _STRIP_LENGTHS in tiff_file.first_tags(content) if is_tiff else jpeg_file.has_whole_header(content)


def _rotation(image: Image.Image) -> int:
    """Return how the picture has to be turned to be upright, in degrees clockwise, as far as its EXIF says."""
    with contextlib.suppress(Exception):  # EXIF that is damaged may raise anything, and costs no picture
        return _ROTATIONS.get(image.getexif().get(Base.Orientation, 1), 0)
    return 0


def _stored_tiff(image: Image.Image) -> dict[str, object]:
    """Return size and rotation of a TIFF as its file has them, before Pillow turns it; empty for other pictures."""
    orientation = getattr(image, "tag_v2", {}).get(Base.Orientation, 1)
    is_on_its_side = orientation >= 5
    size = image.size[::-1] if is_on_its_side else image.size
    return {} if orientation == 1 else {"size": list(size), "rotation": _ROTATIONS.get(orientation, 0)}


def _require_end(content: bytes, image: Image.Image) -> None:
    """Raise `ValueError` for a PNG or a TIFF of which something is missing that Pillow does without."""
    if image.format == "PNG":
        at, name = 8, b""
        while name != b"IEND":
            if at + 8 > len(content):
                raise ValueError("its end is missing")
            length, name = struct.unpack_from(">I4s", content, at)
            end = at + 8 + length
            checksum = zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
            if name[:1].isupper() and checksum != content[end : end + 4]:  # the pixels don't need the others
                raise ValueError("its end is missing")
            at = end + 4
    if content[:4] in tiff_file.BEGINNINGS:
        order = tiff_file.order_of(content)
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (entries,) = struct.unpack_from(f"{order}H", content, start)
        if start + 2 + 12 * entries > len(content):
            raise ValueError("its end is missing")


def _text_of(content: bytes) -> str | None:
    """Return the beginning of a text, or the title of a page, on one line; None where it is no text."""
    is_page = content.lstrip().startswith(b"<")
    try:
        # A character may be cut off at the end.
        text = codecs.getincrementaldecoder("utf-8")("replace" if is_page else "strict").decode(content[:4096])
    except UnicodeDecodeError:
        return None
    if any(character < " " and not character.isspace() for character in text):
        return None
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    line = " ".join((title[1] if title else text).split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _scale(size: tuple[int, int], exposure: Exposure) -> float:
    """Return the scale at which a picture has the size of the request, at most 1: enlarging would invent pixels."""
    asked = (exposure.width, exposure.height)
    scale = max((want / have for want, have in zip(asked, size, strict=True) if want is not None), default=1.0)
    if scale <= 1 and all(want in (None, round(have * scale)) for want, have in zip(asked, size, strict=True)):
        return scale
    has, wanted = f"{size[0]} × {size[1]}", " × ".join("any" if want is None else str(want) for want in asked)
    cure = f"write res_x = {size[0]} and res_y = {size[1]} in its table of the definition, or leave both out"
    raise CameraFault(f"its picture has {has} pixels, asked were {wanted}; set the camera to that size, or {cure}")
