"""What is measured of real files: of every kind, good ones and bad ones."""

import struct
import subprocess
import sys
import tracemalloc
import zlib

import pytest
from looked_at import encode, plant, sixteen_bits, take
from PIL import Image

from plantimager.timelapse.relay.look.look_picture import measure_picture
from plantimager.timelapse.relay.look.verdict import BLURRED_BELOW, PictureMeasures

PLACE = PictureMeasures("camera_0", "3", "images/camera_0-00003.jpg")


def measured(picture, encoding="JPEG", **options):
    """Return what is measured of a picture as a file."""
    return measure_picture(PLACE, encode(picture, encoding, **options))


def plain(shade, size=(640, 480)):
    """Return a picture of one shade."""
    return Image.new("RGB", size, (shade,) * 3)


@pytest.mark.parametrize("noise", [0, 2, 6])
@pytest.mark.parametrize("exposure", [0.15, 0.5, 1.0, 1.6])
def test_a_plant_is_ordinary_however_it_is_exposed(noise, exposure):
    """Dim is not dark, as long as a person sees something."""
    assert measured(take(noise=noise, exposure=exposure)).verdict == ""


@pytest.mark.parametrize("tint", [(255, 60, 60), (60, 255, 60), (90, 90, 255)])
def test_growth_lights_of_one_colour_are_ordinary(tint):
    """Red and blue lamps are the rule in growth chambers."""
    bands = zip(take().split(), tint, strict=True)
    picture = Image.merge("RGB", [band.point(lambda value, part=part: value * part // 255) for band, part in bands])
    assert measured(picture).verdict == ""


@pytest.mark.parametrize(
    ("picture", "look"),
    [
        (plain(0), "dark"),
        (take(plain(8), noise=5), "dark"),
        (take(exposure=0.06), "dark"),  # its structure is there, but nobody sees it
        (plain(255), "bright"),
        (take(plain(253), noise=1), "bright"),
        (plain(128), "flat"),
        (take(plain(128, (1280, 960)), noise=3), "flat"),
    ],
    ids=["black", "dark with noise", "dark with structure", "white", "nearly white", "grey", "grey with noise"],
)
@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
def test_nothing_to_be_seen_has_a_name(picture, look, encoding):
    """In every kind of file."""
    assert measured(picture, encoding).verdict == look


def test_a_status_light_makes_no_day():
    """Nor do some dead pixels."""
    picture = plain(0)
    picture.paste((255, 255, 255), (10, 10, 40, 40))
    assert measured(picture).verdict == "dark"


def test_night_with_a_window_is_ordinary():
    """A twentieth of the picture is enough to see something."""
    picture = take(plain(4))
    picture.paste((200, 200, 200), (0, 0, 160, 100))
    assert measured(picture).verdict == ""


def test_sharpness_falls_with_blur_and_not_with_exposure_or_quality():
    """It is the lens that is judged."""
    scene = plant(1280)
    sharp = measured(take(scene)).sharpness
    by_degrees = [measured(take(scene, blur=radius)).sharpness / sharp for radius in (1, 2, 4, 8, 16)]
    assert by_degrees == sorted(by_degrees, reverse=True)
    assert by_degrees[0] > BLURRED_BELOW * 2  # a hardly visible one is none
    assert by_degrees[-2] < BLURRED_BELOW
    others = [take(scene, exposure=exposure) for exposure in (0.5, 0.8, 1.3)]
    assert all(0.8 < measured(other).sharpness / sharp < 1.3 for other in others)
    assert all(0.8 < measured(take(scene), quality=quality).sharpness / sharp < 1.3 for quality in (30, 60, 95))


@pytest.mark.parametrize("noise", [0.7, 2.0, 8.0])
@pytest.mark.parametrize("width", [640, 1280])
def test_two_pictures_of_the_same_scene_are_never_the_same(noise, width):
    """Their noise is seen, also where a large one is decoded at a part of its size."""
    digests = {measured(take(plant(width), noise=noise), quality=75).digest for _ in range(3)}
    assert len(digests) == 3


def test_the_same_pixels_are_the_same_whatever_the_metadata():
    """A camera that hangs delivers them with a new time."""
    picture, exif = take(), Image.Exif()
    exif[0x0132] = "2026:06:22 10:00:00"
    assert measured(picture).digest == measured(picture, exif=exif).digest


@pytest.mark.parametrize("top", [1023, 4095, 16383, 65535])
@pytest.mark.parametrize("encoding", ["TIFF", "PNG"])
def test_sixteen_bits_are_read_by_what_the_sensor_has(top, encoding):
    """A camera of 12 bits fills a sixteenth of them, and isn't dark for that."""
    found = measured(sixteen_bits(take(plant(640)), top), encoding)
    assert found.verdict == ""
    assert found.sharpness > 0.1


def test_the_noise_of_the_lower_bits_makes_a_difference():
    """Though it isn't seen in 256 shades."""
    first, second = (sixteen_bits(plant(640)) for _ in range(2))
    second.putpixel((100, 100), second.getpixel((100, 100)) ^ 1)
    assert measured(first, "TIFF").digest != measured(second, "TIFF").digest


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA", "CMYK", "YCbCr", "I"])
def test_every_mode_that_has_shades_is_judged(mode):
    """By its brightness."""
    picture = take(plant(640)).convert("RGBA" if mode in {"LA", "PA"} else "RGB").convert(mode)
    assert measured(picture, "TIFF").verdict == ""


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_a_mode_without_a_white_is_not_judged(mode):
    """It is no fault of the picture."""
    source = take(plant(640)).convert("L" if mode == "F" else "RGB")
    picture = source.convert("F") if mode == "F" else Image.frombytes("LAB", source.size, source.tobytes())
    assert measured(picture, "TIFF") is None


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_file_that_is_cut_off_or_none_is_unreadable(encoding):
    """Wherever it ends."""
    whole = encode(take(plant(640)), encoding)
    for part in (0, 1, 100, len(whole) // 2):
        assert measure_picture(PLACE, whole[:part]).verdict == "unreadable"
    assert measure_picture(PLACE, b"<html>not found</html>").verdict == "unreadable"


def test_a_tiny_picture_is_not_judged():
    """Its few pixels may well be the same."""
    assert measured(plain(0, (63, 640))) is None
    assert measured(plain(0, (64, 640))).verdict == "dark"


@pytest.mark.parametrize("size", [(16384, 64), (8192, 64), (64, 13000)])
def test_a_stripe_is_not_judged(size):
    """Nothing of its shorter side is left where its longer one is small."""
    assert measured(take(plant(640).resize(size)), "PNG") is None


@pytest.mark.parametrize("mode", ["I;16", "RGB"])
def test_a_large_picture_is_copied_in_grey_alone(mode):
    """Pillow's own memory, of a process that did nothing else."""
    program = (
        "import io, pathlib, re, sys\n"
        "from PIL import Image\n"
        "from plantimager.timelapse.relay.look.look_picture import measure_picture\n"
        "from plantimager.timelapse.relay.look.verdict import PictureMeasures\n"
        "content, place = sys.stdin.buffer.read(), PictureMeasures('c', '1', 'a.png')\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', status.read_text())[1])\n"
        "Image.open(io.BytesIO(content)).load()\n"
        "before = peak()\n"
        "assert measure_picture(place, content).sharpness\n"
        "print(peak() - before)\n"
    )
    large = plant(640).resize((4000, 3000))
    content = encode(sixteen_bits(large) if mode == "I;16" else large, "PNG", compress_level=1)
    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=True)
    assert int(done.stdout) < 12_000_000 * 2.5 / 1024


def test_a_large_jpeg_takes_little_memory():
    """It is decoded at a part of its size. Pillow's own memory isn't seen here, its copies are."""
    content = encode(plant(640).resize((6000, 4000)), quality=60)
    tracemalloc.start()
    try:
        assert measure_picture(PLACE, content).verdict == ""
        assert tracemalloc.get_traced_memory()[1] < 8_000_000 + len(content)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("side", [9000, 20_000])
def test_a_picture_of_absurd_size_is_not_decoded(side):
    """A bomb is no doubt, and takes no memory."""
    small = encode(Image.new("1", (64, 64)), "PNG")
    header = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
    bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
    assert measure_picture(PLACE, bomb) is None
