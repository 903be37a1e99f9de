"""The cameras of a scan configuration: every table but ``ScanPath``, ``timelapse`` and those of its metadata."""

# Annotations are evaluated here, since `Camera` declares keys.

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Struct
from msgspec.structs import astuple

from plantimager.timelapse.scan.miappe import MIAPPE_TABLES
from plantimager.timelapse.scan.pose import HOME, Pose
from plantimager.timelapse.scan.values import coordinate
from plantimager.timelapse.support.faults import MISSING, Fault, Table, one_of, whole_number
from plantimager.timelapse.support.keys import Key, read_keys, read_table

NOT_CAMERAS: Final = ("ScanPath", "Metadata", "timelapse", "object", "hardware", *MIAPPE_TABLES)
"""The tables of a scan configuration that are not a camera's."""

EXTENSIONS: Final = MappingProxyType({"jpeg": "jpg", "jpg": "jpg", "png": "png", "tiff": "tif", "tif": "tif"})
"""Encoding to the file name extension that PlantDB takes."""

FORMATS: Final = MappingProxyType({"jpg": "jpeg", "png": "png", "tif": "tiff"})
"""Extension to the name of the format."""

FULL_SIZE: Final = (4000, 3000)
"""Pixels of a camera that is only simulated and whose size the definition doesn't name."""

_OWN: Final = "the camera's own full size"

MAX_SIDE_PIXELS: Final = 20_000
"""Pixels of a side; a larger number is a typing error."""

CAMERA_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""Pictures are named after their camera, and PlantDB takes no other ids."""


class Offset(Struct, frozen=True):
    """The table ``[CAMERA.offset]``."""

    x: Annotated[float, Key(coordinate, "mm")] = 0.0
    y: Annotated[float, Key(coordinate, "mm")] = 0.0
    z: Annotated[float, Key(coordinate, "mm")] = 0.0
    """Where the camera sits on the arm: added to the arm's position."""
    pan: Annotated[float, Key(coordinate, "degrees")] = 0.0
    tilt: Annotated[float, Key(coordinate, "degrees")] = 0.0
    """How the camera is turned on the arm: added to the arm's angles."""


class Camera(Struct, frozen=True):
    """One camera of the rig."""

    name: str
    res_x: Annotated[int | None, Key(whole_number(1, MAX_SIDE_PIXELS), "pixels", _OWN)] = None
    """How wide its pictures are, 1 to 20000."""
    res_y: Annotated[int | None, Key(whole_number(1, MAX_SIDE_PIXELS), "pixels", _OWN)] = None
    """How high its pictures are, 1 to 20000. A picture of another size counts as failed."""
    encoding: Annotated[str, Key(one_of(*EXTENSIONS))] = "jpeg"
    """The format of its pictures: "jpeg" (or "jpg"), "png", "tiff" (or "tif")."""
    config: Mapping[str, Any] = {}
    """The camera's own settings, which its driver reads."""
    offset: Pose = HOME
    """Where the camera sits on the arm; added to the arm's pose."""

    @property
    def extension(self) -> str:
        """The extension of its files, without the dot."""
        return EXTENSIONS[self.encoding]

    @property
    def format(self) -> str:
        """The name of their format: its encoding, of two spellings one."""
        return FORMATS[self.extension]


DEFAULT_CAMERAS: Final = (Camera(name="picamera"), Camera(name="picamera2", offset=Pose(0.0, 0.0, -100.0, 0.0, 0.0)))
"""The usual pair, the second 100 mm lower, for a scan whose configuration names none."""


def read_cameras(configuration: Mapping[str, Any], faults: list[Fault]) -> tuple[Camera, ...]:
    """Return the cameras of a configuration, in its order, and add the faults of their tables to ``faults``.

    A faulty value is replaced by its default: a picture of the wrong size is better than none.
    Top-level values that are no tables are skipped; `configuration.read_scan_configuration` reports them.
    """
    cameras = []
    for name, values in configuration.items():
        if name in NOT_CAMERAS or not isinstance(values, dict):
            continue
        closest = _closest_table(name)
        if closest is not None:
            faults.append(Fault("", name, MISSING, f"unknown table; did you mean [{closest}]?"))
        elif not re.fullmatch(CAMERA_NAME, name):
            problem = "not a camera's name; write letters, digits, _ and -, at most 64"
            faults.append(Fault("", name, MISSING, problem))
        else:
            cameras.append(_read_camera(name, values, faults))
    return tuple(cameras)


def _closest_table(name: str) -> str | None:
    known = {table.casefold(): table for table in NOT_CAMERAS}
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.8)
    return known[near[0]] if near else None


def _read_camera(name: str, values: dict[str, Any], faults: list[Fault]) -> Camera:
    table = Table(values, name, faults)
    camera = Camera(
        name=name,
        **read_keys(Camera, table),
        config=table.subtable("config").rest(),
        offset=Pose(*astuple(read_table(Offset, table.subtable("offset")))),
    )
    table.finish()
    return camera
