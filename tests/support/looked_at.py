"""Pictures as cameras take them, good and bad, and what a relay makes of them."""

from __future__ import annotations

import functools
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from plantimager.timelapse.channel.doubt import Doubt
from plantimager.timelapse.datasets.attempt import begin_attempt
from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
from plantimager.timelapse.drivers.painted_plant import View, paint
from plantimager.timelapse.drivers.testing import make_request
from plantimager.timelapse.scan.cameras import DEFAULT_CAMERAS
from plantimager.timelapse.scan.pose import HOME
from plantimager.timelapse.scan.request import ScanResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from plantimager.timelapse.scan.request import ScanRequest

NOON = datetime(2026, 6, 22, 12, tzinfo=UTC)


@functools.cache
def plant(width: int = 640, age: float = 14.0, pan: float = 30.0) -> Image.Image:
    """Return the picture of a plant, without any noise."""
    painted = paint(View(width, width * 3 // 4, pan, 32.0), age, ("a caption",), "PNG")
    return Image.open(io.BytesIO(painted)).convert("RGB")


def take(
    scene: Image.Image | None = None, *, noise: float = 2.0, exposure: float = 1.0, blur: float = 0.0
) -> Image.Image:
    """Return a picture of a scene as a camera takes it: no two are the same, as long as there is any noise."""
    picture = plant() if scene is None else scene
    if blur:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    picture = ImageEnhance.Brightness(picture).enhance(exposure)
    if not noise:
        return picture
    grain = Image.effect_noise(picture.size, noise)
    return ImageChops.add(picture, Image.merge("RGB", (grain,) * 3), 1, -128)


def encode(picture: Image.Image, encoding: str = "JPEG", **options: Any) -> bytes:
    """Return the file of a picture."""
    file = io.BytesIO()
    picture.save(file, encoding, **options)
    return file.getvalue()


def sixteen_bits(picture: Image.Image, top: int = 65535) -> Image.Image:
    """Return a picture in shades of 16 bits, of which a sensor uses those up to ``top``."""
    shades, values = picture.convert("L").tobytes(), [value * top // 255 for value in range(256)]
    content = bytearray(2 * len(shades))
    content[::2] = shades.translate(bytes(value & 0xFF for value in values))
    content[1::2] = shades.translate(bytes(value >> 8 for value in values))
    return Image.frombytes("I;16", picture.size, bytes(content))


def doubt(camera: str = "camera_0", positions: Iterable[str] = ("0",), **changes: Any) -> Doubt:
    """Return a doubt about one picture of slot 2, and with ``changes``."""
    named = tuple(positions)
    values = {"timelapse": "tl", "verdict": "dark", "since": NOON, "until": NOON, "slot": 2, "slots": 1, "pictures": 1}
    values |= {"n_positions": len(named), "of_positions": 36, "file": f"tl_2/images/{camera}-00000.jpg"}
    return Doubt(**{**values, "camera": camera, "positions": named, **changes})


def put_dataset(datasets: Path, slot: int, pictures: Mapping[tuple[str, int], bytes], scheduled_at: str) -> None:
    """Put a dataset of the timelapse ``tl`` in place as a driver does, with pictures by camera and shot."""
    request = _request(datasets, slot, scheduled_at)
    with begin_attempt(request, lambda _: None) as attempt:
        layout = PlantDbLayout(attempt.directory, request)
        for (camera, shot), picture in pictures.items():
            layout.add(replace(DEFAULT_CAMERAS[0], name=camera), shot, HOME, picture)
        layout.complete()
        attempt.finish(ScanResult(pictures=layout.pictures))


def put_files(datasets: Path, slot: int, files: Mapping[str, bytes], scheduled_at: str) -> None:
    """Put a dataset in place as a program of the operator fills it."""
    with begin_attempt(_request(datasets, slot, scheduled_at), lambda _: None) as attempt:
        for name, content in files.items():
            (attempt.directory / name).write_bytes(content)
        attempt.finish(ScanResult())


def _request(datasets: Path, slot: int, scheduled_at: str) -> ScanRequest:
    datasets.mkdir(exist_ok=True)
    directory = datasets / f"tl_{slot}"
    about = {"scan_id": directory.name, "timelapse_id": "tl", "dataset_dir": directory}
    return make_request(datasets, index=slot, scheduled_at=datetime.fromisoformat(scheduled_at), **about)
