"""The metadata of a dataset as PlantDB's server lists and shows it, made from what the dataset says of itself.

What is in this layout already stays as it is. So one conversion serves the writer of new datasets, the migration of
earlier ones, and the relay, which sends the datasets of an operator's own program, too.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

from plantimager.timelapse.scan.cameras import read_cameras
from plantimager.timelapse.scan.miappe import MIAPPE_TABLES, as_table, miappe_tables
from plantimager.timelapse.scan.secrets import without_secrets
from plantimager.timelapse.support import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plantimager.timelapse.scan.cameras import Camera

FILESET: Final = "images"
"""The fileset without which PlantDB's list of all scans fails."""

FILESET_METADATA: Final = {"channels": ["rgb"]}
"""What PlantDB keeps of a fileset."""
OURS: Final = "timelapsed"
"""The key of our own metadata, of a scan and of a picture."""

_SERVERS_OWN: Final = ("created", "created_by", "last_modified", "owner", "sharing", "timelapse", "workspace")
"""Keys that mean something to the server: a camera's table there is left out.

For a scan with the key ``timelapse`` it looks in a directory of that name, and doesn't start again.
"""


def scan_metadata(about: Mapping[str, Any], slot: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the metadata of a scan, made from that of its dataset; ``slot`` replaces keys of our own part.

    The tables of the configuration stand at the top level, where the community's controller writes them, with MIAPPE's
    beside the older ``object``. The date has a blank and no zone, since the server splits it there; it is UTC.
    """
    ours = {**as_table(about.get(OURS)), **(slot or {})}
    configuration = as_table(ours.get("configuration"))
    tables = {name: table for name, table in configuration.items() if isinstance(table, dict)}
    merged = {name: table for name, table in tables.items() if name not in _SERVERS_OWN} | {**about}
    plant = as_table(merged.get("Metadata"))
    found = {name: as_table(merged.get(name)) or as_table(plant.get(name)) for name in ("object", "hardware")}
    found |= miappe_tables({**merged, "object": found["object"]})
    for name in ("timelapse", *MIAPPE_TABLES):
        merged.pop(name, None)
    if not _has_workspace(merged.get("ScanPath")):
        merged.pop("ScanPath", None)
    merged |= {**found, OURS: ours, "acquisition_date": _date_of(about, ours)}
    result: dict[str, Any] = without_secrets(json_text.jsonable(merged))
    return result


def _has_workspace(path: object) -> bool:
    """Whether the server can show where a path is: with centres that are no numbers its list of all scans fails."""
    kwargs = path.get("kwargs", {}) if isinstance(path, dict) else None
    if not isinstance(kwargs, dict):
        return False
    centres = [kwargs.get(axis, 0) for axis in ("center_x", "center_y")]
    return all(isinstance(at, int | float) and math.isfinite(at) for at in centres)


def _date_of(about: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    for text in (about.get("acquisition_date"), ours.get("started"), ours.get("scheduled")):
        with suppress(ValueError, OverflowError):
            at = datetime.fromisoformat(str(text))
            return (at.astimezone(UTC) if at.tzinfo else at).strftime("%Y-%m-%d %H:%M:%S")
    return "1970-01-01 00:00:00"


def picture_metadata(
    about: Mapping[str, Any], camera: Camera | None = None, picture: Path | IO[bytes] | None = None
) -> dict[str, Any]:
    """Return the metadata of a picture: with what was asked of its camera, and the shape that its file has.

    ``shot_id`` is a number, and without ``channel`` the server wouldn't count it.
    """
    result = {"channel": "rgb", **_settings(camera), **about}
    if camera is not None and picture is not None:
        ours = as_table(about.get(OURS))
        shape = {"format": ours.get("format", camera.encoding), "rotation": ours.get("rotation", 0)}
        shape["size"] = _shape_of(picture)
        result = {**{key: value for key, value in shape.items() if value is not None}, **result}
    shot = result.get("shot_id")
    if isinstance(shot, str) and shot.isdecimal():
        result["shot_id"] = int(shot)
    converted: dict[str, Any] = without_secrets(json_text.jsonable(result))
    return converted


def cameras_of(about: Mapping[str, Any]) -> dict[str, Camera]:
    """Return the cameras of a scan by their names, from its metadata."""
    return {
        camera.name: camera for camera in read_cameras(as_table(as_table(about.get(OURS)).get("configuration")), [])
    }


def _settings(camera: Camera | None) -> dict[str, Any]:
    if camera is None:
        return {}
    sides = {"res_x": camera.res_x, "res_y": camera.res_y}
    known = {key: pixels for key, pixels in sides.items() if pixels is not None}
    return {**known, "encoding": camera.encoding, "config": dict(camera.config), "offset": camera.offset._asdict()}


def _shape_of(picture: Path | IO[bytes]) -> list[int] | None:
    """Return height, width and channels of a picture, as its file says; None where it doesn't say it."""
    from PIL import Image  # noqa: PLC0415 - the operator's own programs need no Pillow in the daemon

    with suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError), Image.open(picture) as image:
        return [image.height, image.width, len(image.getbands())]
    return None
