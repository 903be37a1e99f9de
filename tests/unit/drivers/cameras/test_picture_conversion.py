"""A picture that is scaled or written in another format keeps its bits, its colours and what is written beside it."""

import io
import struct
import zlib
from datetime import UTC, datetime

import pytest
from looked_at import encode
from PIL import Image, ImageChops, ImageStat
from PIL.ExifTags import Base
from raw_files import deep_tiff

from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.exif import add_exif
from plantimager.timelapse.drivers.cameras.pictures import judge

SIZE = (64, 48)
HALF = (32, 24)
FORMATS = ("jpeg", "png", "tiff")


def exposure(encoding, size=(None, None)):
    """Return the request for a picture."""
    return Exposure(*size, encoding, {}, 20.0)


def decode(picture):
    """Return a picture of a file."""
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        return image


def gradient():
    """Return a picture in colours."""
    return Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * turn).resize(SIZE) for turn in range(3)])


def deep_png(samples, kind):
    """Return a PNG of 16 bits for each of so many samples; ``kind`` is PNG's number for what they are."""
    width, height = SIZE
    row = b"\0" + b"".join(struct.pack(">H", 97 * at % 65536) for at in range(width * samples))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * height)),
        (b"IEND", b""),
    ]
    packed = (struct.pack(">I", len(of)) + name + of + struct.pack(">I", zlib.crc32(name + of)) for name, of in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def deep_ppm(largest):
    """Return a PPM with values up to ``largest``, in two bytes each."""
    return b"P6 4 3 %d\n" % largest + b"\1\2" * (4 * 3 * 3)


DEEP = {
    "png": deep_png(3, 2),
    "png with transparency": deep_png(4, 6),
    "png, grey with transparency": deep_png(2, 4),
    "tiff": deep_tiff(),
    "tiff, big-endian": deep_tiff(order=">"),
    "tiff with transparency": deep_tiff(samples=4),
    "ppm": deep_ppm(65535),
    "ppm of 12 bits": deep_ppm(4095),
}
"""Pictures with more than 8 bits a colour, which Pillow reads as 8."""


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("part", [1, 2])
def test_colours_of_more_than_8_bits_are_kept_or_refused_or_said_to_be_lost(name, encoding, part):
    """As the file is, they are kept; a JPEG never has more, which its metadata says; else the request is refused."""
    picture = DEEP[name]
    asked = exposure(encoding, (decode(picture).width // part, None))
    if name.startswith(encoding) and part == 1:
        assert judge(picture, asked)[0] == picture
    elif encoding == "jpeg":
        assert judge(picture, asked)[1]["bits_lost"] == (4 if "12" in name else 8)
    else:
        with pytest.raises(CameraFault, match=r"have 1[26] bits a colour, .* set the camera to 8 bits") as caught:
            judge(picture, asked)
        assert caught.value.is_lasting


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB"])
@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("size", [SIZE, HALF])
def test_picture_of_any_colours_is_converted(mode, encoding, size):
    """Also scaled, between the colours of its palette; what the new format doesn't have is brought to its colours."""
    image = gradient().quantize().convert("PA") if mode == "PA" else gradient()
    image = Image.new("LAB", SIZE, (120, 10, 20)) if mode == "LAB" else image.convert(mode)
    made = decode(judge(encode(image, "TIFF"), exposure(encoding, size))[0])
    assert made.size == size
    wanted = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    differences = ImageStat.Stat(ImageChops.difference(made.convert("RGB"), wanted)).mean
    assert max(differences) < (40 if mode == "1" else 25)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "raw"])
@pytest.mark.parametrize("encoding", FORMATS)
def test_compressed_tiff_is_scaled(compression, encoding):
    """It isn't called damaged because its compression has no quality."""
    assert decode(judge(encode(gradient(), "TIFF", compression=compression), exposure(encoding, HALF))[0]).size == HALF


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("size", [SIZE, HALF])
def test_conversion_keeps_exif_and_the_colour_profile(name, encoding, size):
    """Without its profile a picture has other colours; what the camera says of itself is in no other place."""
    exif = Image.Exif()
    exif[Base.Model] = "Plantcam"
    made = decode(judge(encode(gradient(), name, exif=exif, icc_profile=b"Adobe RGB"), exposure(encoding, size))[0])
    assert (made.getexif()[Base.Model], made.info["icc_profile"]) == ("Plantcam", b"Adobe RGB")


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_colour_profile_goes_with_its_colours(encoding):
    """A profile of inks says nothing of a screen's colours."""
    picture = encode(gradient().convert("CMYK"), "JPEG", icc_profile=b"FOGRA39")
    assert "icc_profile" not in decode(judge(picture, exposure(encoding, HALF))[0]).info


@pytest.mark.parametrize("orientation", [(3, 180), (6, 90), (8, 270)])
def test_size_and_rotation_of_a_tiff_are_those_of_its_file(orientation):
    """Pillow turns it when it reads it; a file that isn't written again stays as it lies."""
    number, degrees = orientation
    exif = Image.Exif()
    exif[Base.Orientation] = number
    picture = encode(gradient(), "TIFF", exif=exif)
    same, facts = judge(picture, exposure("tiff"))
    assert (same, facts["size"], facts["rotation"]) == (picture, list(SIZE), degrees)
    turned, facts = judge(picture, exposure("png"))
    assert (facts["size"], facts["rotation"]) == (list(decode(turned).size), 0)
    assert decode(turned).size == (SIZE if degrees == 180 else SIZE[::-1])


def test_tiff_that_was_scaled_gets_its_exif_too():
    """What is written anew is a file that EXIF can be added to."""
    scaled = judge(encode(gradient(), "TIFF", compression="tiff_lzw"), exposure("tiff", HALF))[0]
    after = add_exif(scaled, "col0_5", datetime(2026, 6, 22, tzinfo=UTC))
    assert decode(after).getexif()[Base.ImageDescription] == "col0_5"
