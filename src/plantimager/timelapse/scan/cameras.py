"""The cameras of a scan configuration: every table but ``ScanPath``, ``Metadata`` and ``timelapse``."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.scan.pose import AXES, HOME, Pose, coordinate
from plantimager.timelapse.support.faults import MISSING, Fault, Table, one_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_CAMERAS: Final = ("ScanPath", "Metadata", "timelapse")
"""The tables of a scan configuration that are not a camera's."""

EXTENSIONS: Final = MappingProxyType({"jpeg": "jpg", "jpg": "jpg", "png": "png", "tiff": "tif", "tif": "tif"})
"""Encoding to the file name extension that PlantDB takes."""

MAX_SIDE: Final = 20_000
"""Pixels of a picture's side; a larger number is a typing error."""

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""Pictures are named after their camera, and PlantDB takes no other ids."""


class Camera(Struct, frozen=True):
    """One camera of the rig."""

    name: str
    res_x: int = 2000
    """Width of its pictures, pixels."""
    res_y: int = 1500
    """Height of its pictures, pixels."""
    encoding: str = "jpeg"
    """A key of `EXTENSIONS`."""
    config: Mapping[str, Any] = {}
    """The camera's own settings, for its driver to read."""
    offset: Pose = HOME
    """Where the camera sits on the arm; added to the arm's pose."""

    @property
    def extension(self) -> str:
        """The extension of its files, without the dot."""
        return EXTENSIONS[self.encoding]


DEFAULT_CAMERAS: Final = (Camera(name="picamera"), Camera(name="picamera2", offset=Pose(0.0, 0.0, -100.0, 0.0, 0.0)))
"""The usual pair, the second 100 mm lower, for a scan whose configuration names none."""


def read_cameras(configuration: Mapping[str, Any], faults: list[Fault]) -> tuple[Camera, ...]:
    """Return the cameras of a configuration, in its order, and add the faults of their tables to ``faults``.

    A value at fault is replaced by its default: a picture of the wrong size is better than none.
    Top-level values that are no tables are skipped: `configuration.read_scan_configuration` reports them.
    """
    cameras = []
    for name, values in configuration.items():
        if name in NOT_CAMERAS or not isinstance(values, dict):
            continue
        meant = _similar_table(name)
        if meant is not None:
            faults.append(Fault("", name, MISSING, f"unknown table; did you mean [{meant}]?"))
        elif not re.fullmatch(_NAME, name):
            problem = "not a camera's name; write letters, digits, _ and -, at most 64"
            faults.append(Fault("", name, MISSING, problem))
        else:
            cameras.append(_read_camera(name, values, faults))
    return tuple(cameras)


def _similar_table(name: str) -> str | None:
    """Return the table that a misspelt name may stand for."""
    import difflib  # noqa: PLC0415 - takes time at every start, but is needed only for a misspelt name

    known = {table.casefold(): table for table in NOT_CAMERAS}
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.8)
    return known[near[0]] if near else None


def _read_camera(name: str, values: dict[str, Any], faults: list[Fault]) -> Camera:
    table = Table(values, name, faults)
    default = Camera(name=name)
    camera = Camera(
        name=name,
        res_x=table.take("res_x", whole_number(1, MAX_SIDE), default.res_x),
        res_y=table.take("res_y", whole_number(1, MAX_SIDE), default.res_y),
        encoding=table.take("encoding", one_of(*EXTENSIONS), default.encoding),
        config=table.subtable("config").rest(),
        offset=_read_offset(table.subtable("offset")),
    )
    table.finish()
    return camera


def _read_offset(table: Table) -> Pose:
    offset = Pose(**{axis: table.take(axis, coordinate, 0.0) for axis in AXES})
    table.finish()
    return offset
