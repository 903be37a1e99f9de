"""A picture that was cut off anywhere is refused, also where something has put an end behind what is left."""

import io
import struct
import warnings
from random import Random

import pytest
from looked_at import encode
from PIL import Image, ImageChops
from raw_files import nef, tiled_tiff

from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.pictures import is_raw, judge, require_whole_raw

SIZE = (32, 32)


def noise(mode):
    """Return the same noise in each run, less of it in each further colour."""
    colours = [
        Image.frombytes("L", SIZE, Random(1).randbytes(32 * 32)).point(lambda value, part=part: 128 + value // part)
        for part in range(2, 2 + len(mode))
    ]
    return Image.merge(mode, colours)


COLOURS = noise("RGB")
GREY = noise("L")
SMALL, SMALL_GREY = (image.crop((0, 0, 16, 16)) for image in (COLOURS, GREY))
PLAIN = Image.new("RGB", SIZE, (90, 120, 30))

JPEGS = {
    "baseline": encode(COLOURS, "JPEG"),
    "fine": encode(COLOURS.crop((0, 0, 24, 24)), "JPEG", quality=98, subsampling=0),
    "optimised": encode(COLOURS, "JPEG", optimize=True),
    "with restarts": encode(COLOURS, "JPEG", restart_marker_blocks=2),
    "grey": encode(GREY, "JPEG"),
    "plain": encode(PLAIN, "JPEG", optimize=True),
    "inks": encode(COLOURS.crop((0, 0, 16, 16)).convert("CMYK"), "JPEG"),
    "progressive": encode(COLOURS, "JPEG", progressive=True),
    "progressive, grey": encode(GREY, "JPEG", progressive=True),
    "progressive, plain": encode(PLAIN, "JPEG", progressive=True),
    "progressive, with restarts": encode(COLOURS, "JPEG", progressive=True, restart_marker_blocks=3),
}

OTHERS = {
    "PNG": encode(SMALL, "PNG"),
    "PNG with a palette": encode(SMALL.quantize(), "PNG"),
    "BMP": encode(SMALL, "BMP"),
    "PPM": encode(SMALL, "PPM"),
    "GIF": encode(SMALL.quantize(), "GIF"),
    "WebP": encode(SMALL, "WEBP"),
    "WebP without loss": encode(SMALL, "WEBP", lossless=True),
    "TIFF": encode(SMALL, "TIFF"),
    "TIFF in strips": encode(SMALL, "TIFF", compression="tiff_lzw", tiffinfo={278: 4}),
    "TIFF of 16 bits": encode(SMALL_GREY.convert("I").convert("I;16"), "TIFF"),
    "TIFF as a fax": encode(SMALL_GREY.convert("1"), "TIFF", compression="group4"),
    "TIFF in tiles": tiled_tiff(COLOURS),
    "TIFF in grey tiles": tiled_tiff(GREY),
    "TIFF in deflated tiles": tiled_tiff(COLOURS, is_deflated=True),
    **{f"TIFF by {name}": encode(SMALL, "TIFF", compression=name) for name in ("tiff_adobe_deflate", "packbits")},
}

DNG = tiled_tiff(GREY, is_dng=True)

PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def decode(content):
    """Return a picture in colours; None where it can't be decoded."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")
    except Exception:  # noqa: BLE001 - Pillow's readers raise anything for what is damaged
        return None


def accepted_though_cut(whole, end, encoding):
    """Return where a picture was cut of which `judge` took what is left, and the box of the pixels that had changed."""
    asked = Exposure(None, None, encoding, {}, 20.0)
    judge(whole, asked)
    as_made, accepted = decode(whole), {}
    for cut in range(len(whole) - len(end)):
        left = whole[:cut] + end
        try:
            judge(left, asked)
        except CameraFault:
            continue
        changed = ImageChops.difference(decode(left), as_made).getbbox()
        if changed:
            accepted[cut] = changed
    return accepted


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_that_is_cut_at_any_byte_and_has_got_an_end_is_refused(name):
    """A decoder paints grey what is missing, and says nothing; a scan that is missing makes a picture less sharp."""
    assert accepted_though_cut(JPEGS[name], b"\xff\xd9", "jpeg") == {}


@pytest.mark.parametrize("name", JPEGS | OTHERS)
def test_picture_that_is_cut_at_any_byte_is_refused(name):
    """What is left is taken only where it has every pixel: the last bytes of some formats say nothing of them."""
    assert accepted_though_cut((JPEGS | OTHERS)[name], b"", "png") == {}


@pytest.mark.parametrize("name", [name for name in OTHERS if name.startswith("TIFF")])
def test_tiff_that_is_cut_and_stays_as_it_is_is_refused(name):
    """Where the camera gives what was asked for, nothing is made of its pixels."""
    assert accepted_though_cut(OTHERS[name], b"", "tiff") == {}


@pytest.mark.parametrize("name", ["PNG", "PNG with a palette"])
def test_png_that_is_cut_at_any_byte_and_has_got_an_end_is_refused(name):
    """Its last chunk alone makes no picture whole."""
    assert accepted_though_cut(OTHERS[name], PNG_END, "png") == {}


def test_jpeg_whose_end_cannot_be_seen_is_no_jpeg_for_a_camera():
    """Arithmetic coding leaves zeros out at its end, and no camera uses it."""
    arithmetic = JPEGS["baseline"].replace(b"\xff\xc0" + struct.pack(">H", 17), b"\xff\xc9" + struct.pack(">H", 17))
    with pytest.raises(CameraFault, match="it gives a JPEG file that can't be read; set it to JPEG"):
        judge(arithmetic, Exposure(None, None, "jpeg", {}, 20.0))


def test_dng_that_is_cut_at_any_byte_is_refused():
    """What its camera makes beside a picture is deleted from it, when it is on the disk of this host."""
    require_whole_raw(DNG)
    named = next(cut for cut in range(len(DNG)) if is_raw(DNG[:cut]) == "DNG")
    assert named < len(DNG) - 32 * 32
    for cut in range(named, len(DNG)):
        with pytest.raises(CameraFault, match=r"its raw file is incomplete \(\d+ bytes: .*\); check its cable"):
            require_whole_raw(DNG[:cut])


def test_dng_alone_is_a_raw_file_however_it_was_cut():
    """Nobody takes what is left of it for a picture."""
    for content in (DNG, DNG[:-1], DNG[: len(DNG) // 2]):
        with pytest.raises(CameraFault, match=r"it gives raw files \(DNG\), and no picture beside them"):
            judge(content, Exposure(None, None, "tiff", {}, 20.0))


@pytest.mark.parametrize("content", [nef(), nef(order=">"), b"IIU\0" + bytes(100)])
def test_whole_raw_file_of_another_kind_is_taken_as_it_is(content):
    """What else its directories say is its maker's secret."""
    require_whole_raw(content)


@pytest.mark.parametrize("lost", [1, 1000, 1_200_000])
def test_nef_that_is_cut_is_refused(lost):
    """It says where its data are, as a DNG does."""
    with pytest.raises(CameraFault, match="its raw file is incomplete"):
        require_whole_raw(nef(320, 240)[:-lost])


def of_a_maker(*entries, following=0):
    """Return a DNG of one strip, with further entries in its directory."""
    own = [(254, 4, 1, 0), (262, 3, 1, 32803), (279, 4, 1, 64), (50706, 1, 4, 0x401), *entries]
    at = 8 + 2 + 12 * (len(own) + 1) + 4
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted([*own, (273, 4, 1, at)]))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(own) + 1) + packed + struct.pack("<I", following) + bytes(64)


def test_tag_of_a_maker_may_say_anything():
    """Its number is no place in the file."""
    require_whole_raw(of_a_maker((60000, 4, 1000, 0x7FFFFFFF)))


def test_what_stands_behind_the_directory_of_a_further_image_may_be_anything():
    """Only the first directories make a chain."""
    first = of_a_maker((330, 4, 1, 10_000))
    require_whole_raw(first + bytes(10_000 - len(first)) + struct.pack("<HI", 0, 0xDEADBEEF))


def test_dng_that_contradicts_itself_is_refused_in_words():
    """A directory that names two places and one length can't be right."""
    with pytest.raises(CameraFault, match="more or fewer places than lengths of its data"):
        require_whole_raw(of_a_maker((324, 3, 2, 0), (325, 4, 1, 8)))


def test_dng_whose_directories_go_round_in_a_circle_has_an_end():
    """The file isn't trusted."""
    at_next = 8 + 2 + 12 * 11
    require_whole_raw(DNG[:at_next] + struct.pack("<I", 8) + DNG[at_next + 4 :])


def test_tiles_are_what_was_written():
    """The files of these tests are whole before they are cut."""
    for name, image in (("TIFF in tiles", COLOURS), ("TIFF in grey tiles", GREY), ("TIFF in deflated tiles", COLOURS)):
        assert decode(OTHERS[name]).tobytes() == image.convert("RGB").tobytes()
