"""JPEGs that are unusual but whole count: a camera that makes such would lose every slot, and no retry helps."""

import struct

import pytest
from looked_at import encode
from PIL import Image

from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.jpeg_file import complete_frame
from plantimager.timelapse.drivers.cameras.pictures import judge

ASKED = Exposure(None, None, "jpeg", {}, 20.0)
NOISE = Image.effect_noise((96, 80), 60)
COLOURS = Image.merge("RGB", (NOISE, NOISE.rotate(90).resize(NOISE.size), NOISE.rotate(180)))
WHOLE = encode(COLOURS, "JPEG", quality=90)
END = b"\xff\xd9"


def before_scan(jpeg, added):
    """Return a JPEG with some bytes before the header of its scan."""
    scan = jpeg.index(b"\xff\xda")
    return jpeg[:scan] + added + jpeg[scan:]


def with_zeros_in_scan_header(jpeg):
    """Return a baseline JPEG as some encoders write it: what only progressive ones need is zero."""
    scan = jpeg.index(b"\xff\xda")
    end = scan + 2 + struct.unpack_from(">H", jpeg, scan + 2)[0]
    return jpeg[: end - 3] + bytes(3) + jpeg[end:]


def with_colours_named(jpeg, names):
    """Return a JPEG without JFIF, whose components have these names."""
    length = struct.unpack_from(">H", jpeg, 4)[0]
    changed = bytearray(jpeg[:2] + jpeg[4 + length :])
    frame, scan = changed.index(b"\xff\xc0"), changed.index(b"\xff\xda")
    for number, name in enumerate(names):
        changed[frame + 10 + 3 * number] = changed[scan + 5 + 2 * number] = name
    return bytes(changed)


ADOBE_RGB = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
UNUSUAL = {
    "fill byte before the end": WHOLE[:-2] + b"\xff" + END,
    "fill bytes before the end": WHOLE[:-2] + b"\xff" * 5 + END,
    "fill bytes before the scan": before_scan(WHOLE, b"\xff" * 5),
    "zeros in the scan's header": with_zeros_in_scan_header(WHOLE),
    "zeros in the scan's header, grey": with_zeros_in_scan_header(encode(NOISE, "JPEG")),
    "RGB by its names": with_colours_named(WHOLE, b"RGB"),
    "RGB by Adobe's segment": with_colours_named(WHOLE[:2] + b"\xff\xe0\0\2" + ADOBE_RGB + WHOLE[20:], b"\1\2\3"),
    "RGB as Pillow writes it": encode(COLOURS, "JPEG", keep_rgb=True),
    "RGB in several scans": encode(COLOURS, "JPEG", keep_rgb=True, progressive=True),
    "RGB by its names, but JFIF": WHOLE.replace(b"\1\x22\0\2\x11\1\3\x11\1", b"R\x22\0G\x11\1B\x11\1").replace(
        b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11", b"\xff\xda\0\x0c\3R\0G\x11B\x11"
    ),
    "names that count from zero": with_colours_named(WHOLE, b"\0\1\2"),
    **{f"{count} zeros between segments": before_scan(WHOLE, bytes(count)) for count in (1, 2, 3, 8)},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_jpeg_is_taken_as_it_is(name):
    """Every decoder reads it."""
    assert judge(UNUSUAL[name], ASKED)[0] == UNUSUAL[name]


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_jpeg_that_is_cut_is_refused(name):
    """Also with an end behind what is left."""
    for cut in range(len(UNUSUAL[name]) * 9 // 10, len(UNUSUAL[name]) - 12, 7):
        with pytest.raises(CameraFault, match="incomplete or damaged"):
            judge(UNUSUAL[name][:cut] + END, ASKED)


def test_baseline_jpeg_whose_last_scan_is_missing_is_refused():
    """One may have a scan for each colour."""
    grey = encode(NOISE, "JPEG")
    frame = b"\xff\xc0\0%c\x08\0\x50\0\x60%c\1\x11\0"
    whole = grey.replace(frame % (11, 1), frame % (17, 3) + b"\2\x11\0\3\x11\0")
    assert whole != grey
    with pytest.raises(CameraFault, match="incomplete or damaged"):
        judge(whole, ASKED)


def test_jpeg_that_has_lost_a_table_is_refused():
    """No decoder reads it."""
    table = WHOLE.index(b"\xff\xdb")
    with pytest.raises(CameraFault, match="a part of its data is missing"):
        judge(WHOLE[:table] + WHOLE[table + 69 :], ASKED)


@pytest.mark.parametrize("padding", [0, 1, 4, 4000])
def test_frame_of_a_webcam_without_its_end_is_completed(padding):
    """As some drivers hand it out: with zeros up to the end of their buffer, or none."""
    completed = complete_frame(WHOLE[:-2] + bytes(padding))
    assert judge(completed, ASKED)[0] == completed
    assert completed[: len(WHOLE) - 2] == WHOLE[:-2]
    assert complete_frame(WHOLE + bytes(padding)) == WHOLE + bytes(padding)


@pytest.mark.parametrize("padding", [0, 1, 4, 4000])
def test_frame_of_a_webcam_that_lost_data_stays_damaged(padding):
    """Zeros are data, too: with enough of them behind it any picture has its last pixel."""
    for cut in range(len(WHOLE) // 2, len(WHOLE) - 12, 97):
        with pytest.raises(CameraFault, match="incomplete or damaged"):
            judge(complete_frame(WHOLE[:cut] + bytes(padding)), ASKED)


@pytest.mark.parametrize("frame", [b"", b"\xff\xd8", WHOLE[:300], WHOLE[:300] + bytes(9)])
def test_frame_of_a_webcam_that_is_no_picture_stays_as_it_is(frame):
    """Its fault is told of what came."""
    assert complete_frame(frame) == frame


def test_refused_frame_of_a_webcam_names_the_way_out():
    """OpenCV makes a picture of any: who has no better webcam may have that."""
    with pytest.raises(CameraFault, match=r"incomplete or damaged .*; check its cable .*; or write it"):
        judge(WHOLE[:2000], ASKED, "or write it")
