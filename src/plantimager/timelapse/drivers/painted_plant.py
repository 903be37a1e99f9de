"""The picture of a plant, for the simulated rig: a rosette that grows with its age and turns with the camera.

The same age and pose always give the same picture. Lengths are those of a model that is 1.0 wide; x goes right, y away
from the viewer, z up.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw, ImageFont

from plantimager.timelapse.drivers.cameras.base import describe_picture, facts_for_metadata
from plantimager.timelapse.drivers.cameras.exif import add_exif

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.scan.pose import Pose
    from plantimager.timelapse.scan.request import ScanRequest

GOLDEN_ANGLE: Final = math.radians(137.508)
"""From one leaf to the next, as in most rosettes."""

FIRST_LEAF: Final = -6.0
"""Day on which the first leaf appears: a timelapse begins with a seedling, not with bare soil."""

DAYS_PER_LEAF: Final = 1.1
MAX_LEAVES: Final = 40
BOLTING_DAY: Final = 24.0
"""Day on which the stem begins to rise."""

OVERSAMPLING: Final = 2
"""The picture is painted that many times larger and then shrunk, which smooths its edges."""

_SKY: Final = ((226, 233, 236), (246, 247, 245))
_POT, _RIM, _SOIL = (176, 98, 66), (194, 114, 80), (72, 54, 44)
_STALK: Final = (98, 140, 70)
_INK: Final = (40, 46, 44)


@dataclass(frozen=True, slots=True)
class View:
    """The camera's view of the plant."""

    width: int
    """Pixels of the finished picture."""
    height: int
    pan: float
    """The camera's angle around the plant, degrees."""
    elevation: float
    """The angle by which it looks down, degrees."""

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return where a point of the model is in the enlarged picture, pixels."""
        turn, down = math.radians(self.pan), math.radians(self.elevation)
        across = x * math.cos(turn) - y * math.sin(turn)
        away = x * math.sin(turn) + y * math.cos(turn)
        scale = 0.9 * OVERSAMPLING * min(self.width, self.height * 4 / 3)
        return (
            OVERSAMPLING * self.width / 2 + scale * across,
            OVERSAMPLING * self.height * 0.62 - scale * (away * math.sin(down) + z * math.cos(down)),
        )

    def distance(self, x: float, y: float) -> float:
        """Return how far away a point is, in lengths of the model; farther parts are painted first."""
        turn = math.radians(self.pan)
        return x * math.sin(turn) + y * math.cos(turn)


def paint(view: View, age: float, captions: Sequence[str], encoding: str) -> bytes:
    """Return the encoded picture (``JPEG``, ``PNG``, ``TIFF``) of a plant that is ``age`` days old, with captions."""
    picture = Image.new("RGB", (OVERSAMPLING * view.width, OVERSAMPLING * view.height))
    brush = ImageDraw.Draw(picture)
    _paint_background(brush, picture.size)
    _paint_pot(brush, view)
    for leaf in sorted(_leaves(age), key=lambda leaf: -view.distance(*leaf.tip[:2])):
        _paint_leaf(brush, view, leaf)
    _paint_stem(brush, view, age)
    picture = picture.resize((view.width, view.height), Image.Resampling.BOX)
    _write(picture, captions)
    encoded = io.BytesIO()
    picture.save(encoded, encoding, **({"quality": 88} if encoding == "JPEG" else {}))
    return encoded.getvalue()


@dataclass(frozen=True, slots=True)
class _Leaf:
    azimuth: float
    """Radians."""
    length: float
    rise: float
    """Its angle above the ground, radians; large for young leaves, small for old ones."""
    freshness: float
    """From 0, old and dark, to 1, young and light."""

    @property
    def tip(self) -> tuple[float, float, float]:
        return self.at(1.0, 0.0)

    def at(self, along: float, aside: float) -> tuple[float, float, float]:
        """Return a point of the leaf: ``along`` its middle from 0 to 1, ``aside`` from it in lengths of the model."""
        out = self.length * along
        bend = self.rise * (1 - 0.55 * along)  # the tip hangs a little
        reach, height = out * math.cos(bend), out * math.sin(bend)
        cos, sin = math.cos(self.azimuth), math.sin(self.azimuth)
        return reach * cos - aside * sin, reach * sin + aside * cos, height


def _leaves(age: float) -> Iterator[_Leaf]:
    for number in range(MAX_LEAVES):
        leaf_age = age - FIRST_LEAF - number * DAYS_PER_LEAF
        if leaf_age <= 0:
            return
        grown = 1 / (1 + math.exp(-(leaf_age - 7) / 2.2))
        largest = (0.10 if number < 2 else min(0.13 + 0.016 * number, 0.30)) * (1 - max(0, number - 20) * 0.02)
        yield _Leaf(
            azimuth=number * GOLDEN_ANGLE,
            length=max(0.012, largest * grown),
            rise=math.radians(18 + 52 * math.exp(-leaf_age / 6)),
            freshness=math.exp(-leaf_age / 9),
        )


def _paint_leaf(brush: ImageDraw.ImageDraw, view: View, leaf: _Leaf) -> None:
    steps = 12
    edge = []
    for side in (1, -1):
        for step in range(steps + 1)[::side]:
            along = step / steps
            blade = max(0.0, (along - 0.28) / 0.72)  # a stalk first, then the blade
            half_width = leaf.length * (0.018 + 0.30 * math.sin(math.pi * blade**0.85) * (blade > 0))
            edge.append(view.project(*leaf.at(along, side * half_width)))
    light = 0.86 + 0.14 * math.cos(leaf.azimuth + math.radians(view.pan) - 0.8)
    green = [(45, 92), (104, 168), (44, 66)]
    colour = tuple(round(light * (old + (young - old) * leaf.freshness)) for old, young in green)
    brush.polygon(edge, fill=colour, outline=tuple(round(part * 0.78) for part in colour))
    middle = [view.project(*leaf.at(along, 0.0)) for along in (0.05, 0.5, 0.92)]
    brush.line(middle, fill=tuple(min(255, part + 28) for part in colour), width=OVERSAMPLING)


def _paint_stem(brush: ImageDraw.ImageDraw, view: View, age: float) -> None:
    if age <= BOLTING_DAY:
        return
    height = 0.55 * (1 - math.exp(-(age - BOLTING_DAY) / 6))
    brush.line([view.project(0, 0, 0), view.project(0.01, 0, height)], fill=_STALK, width=3 * OVERSAMPLING)
    for number in range(int(height / 0.05)):
        up, azimuth = height * (1 - 0.07 * number), number * GOLDEN_ANGLE
        x, y = (0.012 + 0.008 * number) * math.cos(azimuth), (0.012 + 0.008 * number) * math.sin(azimuth)
        across, down = view.project(x, y, up)
        brush.line([view.project(0.01, 0, up - 0.03), (across, down)], fill=_STALK, width=OVERSAMPLING)
        petal = view.width * OVERSAMPLING / 160
        brush.ellipse((across - petal, down - petal, across + petal, down + petal), fill=(250, 250, 252))


def _paint_background(brush: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    width, height = size
    top, bottom = _SKY
    for row in range(height):
        share = row / height
        brush.line(
            [(0, row), (width, row)], fill=tuple(round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        )


def _paint_pot(brush: ImageDraw.ImageDraw, view: View) -> None:
    def ring(radius: float, z: float) -> list[tuple[float, float]]:
        turn = [math.radians(angle - view.pan) for angle in range(0, 360, 6)]
        return [view.project(radius * math.cos(angle), radius * math.sin(angle), z) for angle in turn]

    upper, lower = ring(0.19, -0.03), ring(0.14, -0.30)
    half = len(upper) // 2
    brush.polygon(lower, fill=_POT)
    brush.polygon([*upper[half:], upper[0], lower[0], *reversed(lower[half:])], fill=_POT)
    brush.polygon(ring(0.205, -0.045), fill=_RIM)
    brush.polygon(ring(0.205, -0.015), fill=_RIM)
    brush.polygon(ring(0.18, -0.012), fill=_SOIL)


def _write(picture: Image.Image, captions: Sequence[str]) -> None:
    brush = ImageDraw.Draw(picture)
    size = max(9, picture.width // 42)
    font = ImageFont.load_default(size)
    brush.rectangle((0, picture.height - size * (1.35 * len(captions) + 0.5), *picture.size), fill=_SKY[1])
    for line, caption in enumerate(reversed(captions), start=1):
        brush.text((size, picture.height - line * size * 1.35), caption, fill=_INK, font=font)


# --- what is known of a picture --------------------------------------------------------------------


def facts_of(request: ScanRequest, camera: Camera, arm: Pose, taken_at: datetime) -> dict[str, Any]:
    """Return what is known of a painted picture, as real cameras have it in their metadata."""
    size = [camera.res_x, camera.res_y]
    facts = {"taken_at": taken_at.isoformat(), "size": size, "format": camera.encoding, "rotation": 0}
    return facts_for_metadata(request, camera, arm, {**facts, "settings_reported": {}})


def with_exif(picture: bytes, request: ScanRequest, camera: Camera, shot: int, arm: Pose, taken_at: datetime) -> bytes:
    """Return a painted picture with the essentials in its EXIF."""
    return add_exif(picture, describe_picture(request, camera, shot, arm), taken_at.astimezone(UTC))
