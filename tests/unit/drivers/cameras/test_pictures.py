"""A picture is what was asked for: whole, of the right kind and size; and it knows when it was taken."""

import contextlib
import io
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from looked_at import encode
from PIL import Image
from PIL.ExifTags import IFD, Base
from raw_files import deep_tiff, nef

from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.exif import add_exif, has_capture_time
from plantimager.timelapse.drivers.cameras.pictures import is_raw, judge

TAKEN_AT = datetime(2026, 6, 22, 8, 0, 1, 250_000, tzinfo=UTC)


def exposure(width=None, height=None, encoding="jpeg"):
    """Return the request for a picture."""
    return Exposure(width, height, encoding, {}, 20.0)


def format_and_size(picture):
    """Return format and size of a picture."""
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        return image.format, image.size


def photograph(size=(640, 480), name="JPEG", **options):
    """Return a picture with EXIF."""
    exif = Image.Exif()
    exif[Base.Model] = "Plantcam"
    return encode(Image.radial_gradient("L").resize(size).convert("RGB"), name, **{"exif": exif, **options})


def grey(mode):
    """Return a picture of 64 × 48 with more grey tones than 256."""
    image = Image.new("I", (64, 48))
    image.putdata([number * 20 for number in range(64 * 48)])
    return image.convert(mode)


# --- as it was asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(None, None), (640, 480), (640, None), (None, 480)])
def test_picture_as_requested_is_not_changed(size):
    """Byte by byte: encoding it again would make it worse."""
    assert judge(photograph(), exposure(*size))[0] == photograph()


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        (exposure(320, 240), ("JPEG", (320, 240))),
        (exposure(width=320), ("JPEG", (320, 240))),
        (exposure(213, 160), ("JPEG", (213, 160))),
        (exposure(encoding="png"), ("PNG", (640, 480))),
        (exposure(64, 48, "tiff"), ("TIFF", (64, 48))),
    ],
)
def test_picture_is_converted_to_the_request(wanted, made):
    """Scaled down in its proportions, in the encoding of the request, with its EXIF; its facts are the result's."""
    picture, facts = judge(photograph(), wanted)
    assert format_and_size(picture) == made
    assert (facts["size"], facts["format"]) == (list(made[1]), wanted.encoding)
    with Image.open(io.BytesIO(picture)) as image:
        assert image.getexif()[Base.Model] == "Plantcam"


@pytest.mark.parametrize("asked", [(2000, 1500), (320, 320), (1280, None), (640, 481)])
def test_picture_of_another_size_is_refused(asked):
    """As of a webcam that fell back to 640 × 480; the words name both sizes, and the keys."""
    with pytest.raises(CameraFault, match=r"has 640 × 480 pixels, asked were .* write res_x = 640 and res_y = 480"):
        judge(photograph(), exposure(*asked))


@pytest.mark.parametrize(("orientation", "rotation"), [(1, 0), (3, 180), (6, 90), (8, 270)])
def test_rotation_is_what_the_camera_noted(orientation, rotation):
    """In degrees clockwise; the pixels stay as they are."""
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    assert judge(photograph(exif=exif), exposure())[1]["rotation"] == rotation


def test_jpeg_that_is_followed_by_a_preview_is_not_changed():
    """Cameras write it, and Pillow calls it MPO."""
    picture = encode(Image.new("RGB", (64, 48)), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 12))])
    assert format_and_size(picture) == ("MPO", (64, 48))
    assert judge(picture, exposure())[0] == picture
    assert format_and_size(judge(picture, exposure(32, 24))[0]) == ("JPEG", (32, 24))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_picture_with_too_many_bits_for_a_jpeg_is_refused(mode):
    """Converted, it would be all white, for weeks."""
    with pytest.raises(CameraFault, match=r'too many bits a pixel for a JPEG .*; write encoding = "tiff"'):
        judge(encode(grey(mode), "TIFF"), exposure())


@pytest.mark.parametrize("wanted", [exposure(), exposure(encoding="png"), exposure(2, None, "tiff")])
def test_picture_that_pillow_misreads_is_refused_where_it_would_be_converted(wanted):
    """Of a TIFF with 16 bits, one colour after the other, it reads the first colour alone, and that wrongly."""
    picture = deep_tiff(is_planar=True)
    with pytest.raises(CameraFault, match="a TIFF file that can't be read"):
        judge(picture, wanted)
    assert judge(picture, exposure(encoding="tiff"))[0] == picture
    assert judge(deep_tiff(bits=8, is_planar=True), exposure(encoding="png"))[0]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits"])
@pytest.mark.parametrize(
    ("mode", "white"),
    [("1", 0), ("1", 1), ("L", 0), ("L", 1), ("I;16", 0), ("I;16", 1), ("I;16B", 1), ("I", 1), ("F", 0), ("F", 1)],
)
def test_grey_tiff_is_read_alike_whether_it_says_that_colours_come_one_after_the_other_or_not(mode, compression, white):
    """It has one value a pixel, of any depth; ``white`` is which number means white."""
    pixels = Image.radial_gradient("L").resize((64, 48)).convert(mode) if mode in "1L" else grey(mode)
    plain, planar = (
        encode(pixels, "TIFF", compression=compression, tiffinfo={Base.PhotometricInterpretation: white, **tag})
        for tag in ({}, {Base.PlanarConfiguration: 2})
    )
    for wanted in (exposure(32, 24, "tiff"), exposure(encoding="png" if mode in "1L" else "tiff")):
        with (
            Image.open(io.BytesIO(judge(plain, wanted)[0])) as one,
            Image.open(io.BytesIO(judge(planar, wanted)[0])) as other,
        ):
            assert (one.mode, one.size) == (other.mode, other.size)
            assert (wanted.width is None and wanted.encoding == "tiff") or one.tobytes() == other.tobytes()
    assert judge(planar, exposure(encoding="tiff"))[0] == planar


@pytest.mark.parametrize("mode", ["I", "F"])
def test_picture_with_too_many_bits_for_a_png_is_refused(mode):
    """A PNG has 16 bits."""
    with pytest.raises(CameraFault, match="too many bits a pixel for a PNG"):
        judge(encode(grey(mode), "TIFF"), exposure(encoding="png"))


@pytest.mark.parametrize("size", [(64, 48), (32, 24)])
@pytest.mark.parametrize(
    ("mode", "encoding"),
    [("I;16", "png"), ("I;16", "tiff"), ("I", "tiff"), ("F", "tiff"), ("I;16B", "png"), ("I;16B", "tiff")],
)
def test_picture_keeps_its_bits_a_pixel(mode, encoding, size):
    """Scaled or not, in either byte order."""
    picture = encode(grey(mode), "TIFF")
    with Image.open(io.BytesIO(picture)) as image:
        assert image.mode == mode
    with Image.open(io.BytesIO(judge(picture, exposure(*size, encoding))[0])) as image:
        assert (image.mode.removesuffix("B"), image.size) == (mode.removesuffix("B"), size)
        assert image.convert("F").getextrema()[1] == pytest.approx(64 * 48 * 20, rel=0.02)


# --- what is none ----------------------------------------------------------------------------------

PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not\n Found</title></head><body>no</body></html>"
NOISE = Image.effect_noise((640, 480), 100).convert("RGB")
NOISY = encode(NOISE, "JPEG")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"is empty \(0 bytes\); check the card"),
        (PAGE, "a text and no picture: “404 Not Found”; check the address"),
        (b'{"error": "busy"}\n', 'a text and no picture: “{"error": "busy"}”'),
        ("zu spät".encode() * 2000, "a text and no picture: “zu spät.*…”"),
        ("<html><title>Gerät</title>".encode("latin-1"), "a text and no picture: “Ger.t”"),
        (nef(), "it gives raw files .*, and no picture beside them; set the camera to JPEG, or to RAW"),
        (nef(order=">"), "it gives raw files"),
        (b"II*\0\x10\0\0\0CR\2\0", r"it gives raw files \(CR2\)"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", r"it gives raw files \(CR3\)"),
        (b"FUJIFILMCCD-RAW 0201", r"it gives raw files \(RAF\)"),
        (b"II\x1a\0\0\0HEAPCCDR\2\0", r"it gives raw files \(CRW\)"),
        (b"II*\0\x10\0\0\0IIII\2\0", r"it gives raw files \(IIQ\)"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "it gives a JPEG 2000 file that can't be read; set it"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it gives a HEIC .* file that can't be read; set it"),
        (b"RIFF\0\0\0\0WEBPVP8 \xff\0", "it gives a WebP or AVI file that can't be read"),
        (b"\x89\x01\x02\x03" * 9, "36 bytes that are no picture, beginning with 89 01 02 03"),
        (b"II*\0 raw", "incomplete or damaged"),
        (b"\xff\xd8\xff\xe0 half", "incomplete or damaged"),
        (NOISY[:1000] + bytes(len(NOISY) - 1000), "the end of its picture is empty; check the camera's card"),
        (NOISY[:-200] + bytes(200), "its end is missing"),
        (b"\xff\x0a\0\0", "it gives a JPEG XL file that can't be read"),
        (deep_tiff(bits=12), "it gives a TIFF file that can't be read; set it to .* of 8 bits a colour"),
        (deep_tiff(samples=1, bits=14), "it gives a TIFF file that can't be read"),
        (NOISY.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "it gives a JPEG file that can't be read"),
        (deep_tiff()[:60], "its beginning makes no sense"),
    ],
)
def test_what_is_no_picture_is_refused_in_its_own_words(content, said):
    """At once, and not after the experiment; with the cure for that cause."""
    with pytest.raises(CameraFault, match=said) as caught:
        judge(content, exposure())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.98])
@pytest.mark.parametrize("wanted", [exposure(), exposure(64, 48), exposure(encoding="png")])
def test_jpeg_that_is_cut_off_anywhere_is_refused(part, wanted, options):
    """Whether it has to be converted or not: every byte of it is read."""
    whole = encode(NOISE, "JPEG", **options)
    judge(whole, wanted)
    with pytest.raises(CameraFault, match="incomplete or damaged"):
        judge(whole[: int(len(whole) * part)], wanted)


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 4}, {"subsampling": 0}])
@pytest.mark.parametrize("wanted", [exposure(), exposure(64, 48)])
@pytest.mark.parametrize("tail", [b"\xff\xd9", b"\xff\xd9" + bytes(2048)])
def test_jpeg_that_lost_bytes_before_its_end_is_refused(options, wanted, tail):
    """As of a packet that was lost, or a server that ends what it could not read: a decoder paints the rest grey."""
    whole = encode(NOISE, "JPEG", **options)
    half = len(whole) // 2
    judge(whole[:-2] + tail, wanted)
    for damaged in (
        whole[:half] + tail,
        whole[:half] + whole[half + 4096 : -2] + tail,
        whole[: -len(whole) // 50] + tail,
    ):
        with pytest.raises(CameraFault, match="incomplete or damaged"):
            judge(damaged, wanted)


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_picture_without_its_end_is_refused(name):
    """As of a card that is full."""
    whole = photograph(name=name)
    with pytest.raises(CameraFault, match="incomplete or damaged"):
        judge(whole[: len(whole) // 2], exposure(encoding=name.lower()))


@pytest.mark.parametrize("lost", [1, 12, 13])
@pytest.mark.parametrize("wanted", [exposure(encoding="png"), exposure(320, 240, "png"), exposure()])
def test_png_without_its_last_chunk_is_refused(lost, wanted):
    """Pillow reads it, but other programs call it damaged."""
    with pytest.raises(CameraFault, match="incomplete or damaged"):
        judge(photograph(name="PNG")[:-lost], wanted)


def test_png_without_its_end_is_told_in_words():
    """Not in those of a library."""
    whole = photograph(name="PNG")
    with pytest.raises(CameraFault, match="its end is missing"):
        judge(whole[: whole.index(b"IEND") - 4], exposure(encoding="png"))


def test_png_whose_text_has_a_wrong_checksum_is_whole():
    """Behind the pixels: every program reads it. What the pixels need has to be right."""
    whole = photograph(name="PNG")
    end = whole.index(b"IEND") - 4
    text = b"\0\0\0\3tEXta\0b" + b"\1\2\3\4"
    assert judge(whole[:end] + text + whole[end:], exposure(encoding="png"))[0]
    for damaged in (whole[:-1] + b"\0", whole[: end - 1] + bytes([whole[end - 1] ^ 1]) + whole[end:]):
        with pytest.raises(CameraFault, match="incomplete or damaged"):
            judge(damaged, exposure(encoding="png"))


@pytest.mark.parametrize("left", [0, 2])
def test_tiff_that_ends_with_its_last_tag_is_whole(left):
    """Some programs leave out that no other picture follows."""
    tags = [(256, 32), (257, 32), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 32), (279, 1024)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    tiff = b"II*\0" + struct.pack("<I", 8 + 1024) + bytes(1024) + struct.pack("<H", len(tags)) + entries + bytes(left)
    assert judge(tiff, exposure(encoding="tiff"))[0] == tiff
    with pytest.raises(CameraFault, match="incomplete or damaged"):
        judge(tiff[: -left - 1], exposure(encoding="tiff"))


def test_jpeg_with_what_its_maker_has_put_behind_it_is_whole():
    """Also where that ends with zeros."""
    assert judge(photograph() + b"SAMSUNG" * 30 + bytes(600), exposure())[0]


@pytest.mark.parametrize("colour", ["white", "black"])
def test_picture_is_no_text_whatever_its_bytes(colour):
    """A PPM begins with words, and its pixels may be anything."""
    assert judge(encode(Image.new("RGB", (64, 48), colour), "PPM"), exposure())[0]


def test_file_that_pillow_would_give_to_another_program_is_not_opened():
    """A PostScript file is one: Ghostscript would run it."""
    with pytest.raises(CameraFault, match="no picture"):
        judge(
            b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 30, 90, 0, 0, 0, 0) + b"\xff\xff%!PS-Adobe-3.0 EPSF-3.0\n"
            b"%%BoundingBox: 0 0 4 4\n%%EndComments\n" + bytes(90),
            exposure(),
        )


@pytest.mark.parametrize("name", ["BMP", "PPM", "WEBP", "GIF"])
def test_picture_of_another_format_is_converted(name):
    """Some programs write these, and they are decoded as whole as any."""
    picture, facts = judge(encode(Image.new("RGB", (64, 48), "red"), name), exposure())
    assert format_and_size(picture) == ("JPEG", (64, 48))
    assert facts["size"] == [64, 48]


def test_damaged_exif_costs_no_picture():
    """Where the picture needs no conversion, it stays as it is."""
    picture = encode(Image.new("RGB", (64, 48)), "JPEG", exif=b"Exif\0\0MM\0*\0\0")
    assert judge(picture, exposure()) == (picture, {"size": [64, 48], "format": "jpeg", "rotation": 0})


def test_jpeg_that_is_padded_with_zeros_is_whole():
    """Some cameras fill up a sector."""
    assert judge(photograph() + bytes(2048), exposure())[0]


def test_picture_with_damaged_exif_is_refused():
    """Pillow raises an error of its own kind."""
    with pytest.raises(CameraFault, match="incomplete or damaged"):
        judge(encode(Image.new("RGB", (64, 48)), "JPEG", exif=b"Exif\0\0MM\0*\0\0"), exposure(encoding="tiff"))


@pytest.mark.parametrize(
    "content", [photograph(name="TIFF"), encode(grey("I;16"), "TIFF"), photograph(), b"", b"II*\0"]
)
def test_picture_is_no_raw_file(content):
    """A TIFF that somebody's program writes is a picture."""
    assert is_raw(content) is None


# --- EXIF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("has_exif", [True, False])
def test_exif_says_what_and_when_and_keeps_what_the_camera_wrote(name, has_exif):
    """The time is UTC and has its fraction."""
    before = photograph(name=name, **({} if has_exif else {"exif": b""}))
    with Image.open(io.BytesIO(add_exif(before, "col0_5 top 00003", TAKEN_AT))) as image:
        image.load()
        exif = image.getexif()
    times = exif.get_ifd(IFD.Exif)
    assert (exif[Base.ImageDescription], exif.get(Base.Model)) == ("col0_5 top 00003", "Plantcam" if has_exif else None)
    assert times[Base.DateTimeOriginal] == "2026:06:22 08:00:01"
    assert (times[Base.SubsecTimeOriginal], times[Base.OffsetTimeOriginal]) == ("250000", "+00:00")


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_exif_leaves_every_pixel(name):
    """The image is not encoded again."""
    before = photograph(name=name)
    after = add_exif(before, "col0_5", TAKEN_AT)
    start = b"\xff\xda" if name == "JPEG" else b"IDAT"
    assert after[after.index(start) :] == before[before.index(start) :]


@pytest.mark.parametrize(
    ("said", "has"),
    [("    :  :     :  :  ", False), ("", False), ("0000:00:00 00:00:00", False), ("2026:06:22 04:00:00", True)],
)
def test_capture_time_of_a_camera_without_a_clock_is_none(said, has):
    """Two exposures with a blank time may be the same, byte by byte."""
    file, exif = io.BytesIO(), Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = said
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    assert has_capture_time(file.getvalue()) == has


def test_exif_of_a_jpeg_takes_no_decoding():
    """It was decoded to judge it."""
    half = photograph()[:-1000]
    with pytest.raises(CameraFault):
        judge(half, exposure())
    assert b"col0_5 top 00003" in add_exif(half, "col0_5 top 00003", TAKEN_AT)


def test_exif_keeps_the_note_of_the_camera_maker():
    """It is the only place of much that the camera knows."""
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[0x927C] = b"Nikon\0\2\x10\0\0" + bytes(range(200))
    after = add_exif(photograph(exif=exif), "col0_5", TAKEN_AT)
    assert b"Nikon\0\2\x10\0\0" + bytes(range(200)) in after


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "I", "F", "CMYK", "LA"])
def test_exif_leaves_every_pixel_of_a_tiff(mode):
    """In each mode that a camera has; the layout of the file may be another one."""
    before = encode(grey(mode) if mode in ("I;16", "I", "F") else Image.radial_gradient("L").convert(mode), "TIFF")
    after = add_exif(before, "col0_5", TAKEN_AT)
    assert after != before
    with Image.open(io.BytesIO(before)) as old, Image.open(io.BytesIO(after)) as new:
        assert (new.mode, new.tobytes()) == (old.mode, old.tobytes())


def test_exif_comes_into_a_tiff_of_8_bits_a_colour():
    """By any program, not by Pillow alone."""
    after = add_exif(deep_tiff(bits=8), "col0_5", TAKEN_AT)
    with Image.open(io.BytesIO(after)) as image:
        assert image.getexif()[Base.ImageDescription] == "col0_5"


def turned_exif():
    """Return the EXIF of a picture that lies on its side."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    return exif


SEVERAL = {"save_all": True, "append_images": [Image.new("RGB", (8, 8))]}


@pytest.mark.parametrize(
    "content",
    [
        photograph(name="TIFF", compression="tiff_lzw"),
        photograph(name="TIFF", exif=turned_exif()),
        photograph(name="TIFF", **SEVERAL),
        deep_tiff(order="<"),
        deep_tiff(order=">"),
        deep_tiff(samples=4, bits=8),
        b"",
    ],
)
def test_other_pictures_stay_as_they_are(content):
    """The metadata of the dataset has it all. Pillow reads 16 bits a colour as 8, and leaves out a fourth sample."""
    assert add_exif(content, "col0_5", TAKEN_AT) == content


SMALL = encode(Image.radial_gradient("L").resize((32, 24)).convert("RGB"), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
CHANGES = st.lists(st.tuples(st.integers(0, len(SMALL)), st.integers(0, 3), st.binary(max_size=4)), max_size=4)


@example([(41, 0, b"\0")], encode(Image.new("L", (8, 8)), "PNG"))
@given(CHANGES, st.sampled_from([SMALL, encode(Image.new("L", (8, 8)), "PNG"), nef(4, 3)]))
@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_damaged_file_is_refused_or_is_a_picture_that_exif_leaves_as_it_is(changes, content):
    """Wherever bytes are lost, changed or added; nothing but a fault worded for a person comes out."""
    for at, lost, added in changes:
        content = content[:at] + added + content[at + lost :]
    is_png = content.startswith(b"\x89PNG")
    try:
        picture, _ = judge(content, exposure(encoding="png" if is_png else "jpeg"))
    except CameraFault:
        return
    after = picture
    with contextlib.suppress(Exception):  # as its caller does
        after = add_exif(picture, "col0_5", TAKEN_AT)
    with Image.open(io.BytesIO(picture)) as before, Image.open(io.BytesIO(after)) as image:
        assert image.tobytes() == before.tobytes()
