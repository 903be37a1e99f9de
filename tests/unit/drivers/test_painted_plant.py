"""The painted plant."""

import io

import pytest
from PIL import Image

from plantimager.timelapse.drivers.painted_plant import View, paint

VIEW = View(width=160, height=120, pan=0, elevation=32)


def green_of(age, view=VIEW):
    """Return the number of green pixels in a picture."""
    with Image.open(io.BytesIO(paint(view, age, (), "PNG"))) as picture:
        shades = picture.convert("RGB").getcolors(1 << 16)
    return sum(count for count, (red, green, blue) in shades if green > red + 15 and green > blue + 15)


def test_plant_grows():
    """An older plant has more green, from a seedling on."""
    areas = [green_of(age) for age in (0, 5, 10, 20)]
    assert areas == sorted(set(areas))
    assert areas[0] > 0


@pytest.mark.parametrize("age", [0, 0.001, 30, 1000, 1e6])
@pytest.mark.parametrize("elevation", [0, 45, 80])
def test_any_age_and_any_view_can_be_painted(age, elevation):
    """A timelapse may run for years."""
    assert green_of(age, View(width=40, height=30, pan=725.5, elevation=elevation)) > 0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (300, 2), (2, 300)])
def test_any_shape_can_be_painted(width, height):
    """Some cameras have only a narrow strip."""
    encoded = paint(View(width=width, height=height, pan=0, elevation=32), 10, ("a caption",), "JPEG")
    with Image.open(io.BytesIO(encoded)) as picture:
        assert picture.size == (width, height)
