"""A message has the doubtful picture with it, of whatever kind; what can't be shown costs the picture alone."""

import io

import pytest
from looked_at import NOON, encode, plant, put_files, sixteen_bits
from PIL import Image, ImageStat

from plantimager.timelapse.relay.look import look_picture
from plantimager.timelapse.relay.look.look_picture import SUFFIXES
from plantimager.timelapse.relay.look.verdict import PictureMeasures
from plantimager.timelapse.relay.notify.thumbnail import Thumbnailer


def thumbnail(datasets, name, content):
    """Return the thumbnail of a file of slot 0."""
    put_files(datasets, 0, {name: content, "another.jpg": encode(plant(640))}, NOON.isoformat())
    return Thumbnailer(lambda _: datasets).make((), f"tl_0/{name}")


@pytest.mark.parametrize(
    ("suffix", "wide"), [*((suffix, False) for suffix in sorted(SUFFIXES)), (".png", True), (".tif", True)]
)
def test_every_kind_that_is_judged_is_shown(tmp_path, suffix, wide):
    """In colours of 8 bits, or in 16, of which a sensor uses some."""
    picture = sixteen_bits(plant(1280), 4095) if wide else plant(1280)
    encoding = Image.registered_extensions()[suffix]
    with Image.open(io.BytesIO(thumbnail(tmp_path / "d", f"shot{suffix}", encode(picture, encoding)))) as shown:
        assert (shown.format, shown.size) == ("JPEG", (640, 480))
        difference = ImageStat.Stat(shown.convert("L")).mean[0] - ImageStat.Stat(plant(640).convert("L")).mean[0]
        assert abs(difference) < 5


@pytest.mark.parametrize("side", [10_000, 14_000])
def test_a_jpeg_of_any_size_is_judged_and_shown(tmp_path, side):
    """It is decoded small: sensors have a hundred megapixels, and Pillow's own limit is for the web."""
    content = encode(Image.linear_gradient("L").resize((side, side)), quality=10)
    with Image.open(io.BytesIO(thumbnail(tmp_path / "d", "large.jpg", content))) as shown:
        assert shown.size == (640, 640)
    assert look_picture.measure_picture(PictureMeasures("a", "0", "large.jpg"), content).shape


def test_a_picture_that_is_too_large_or_none_is_not_shown(tmp_path, monkeypatch):
    """The message goes without it."""
    monkeypatch.setattr(look_picture, "MAX_PIXELS", 1000)
    assert thumbnail(tmp_path / "d", "large.png", encode(plant(640), "PNG")) == b""
    assert thumbnail(tmp_path / "e", "none.png", b"?") == b""
