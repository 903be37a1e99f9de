"""The community's scan configuration: ``[ScanPath]``, ``[Metadata.*]`` and a table for each camera.

It is kept whole, as it was written, because it goes into the store and to the driver. The keys of the metadata are
not checked: laboratories have their own. Faults that would cost a timelapse are found before it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from plantimager.timelapse.scan.cameras import read_cameras
from plantimager.timelapse.scan.paths import read_path
from plantimager.timelapse.support.faults import Fault
from plantimager.timelapse.support.json_text import jsonable

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_scan_configuration(values: Mapping[str, Any], name: str, faults: list[Fault]) -> dict[str, Any]:
    """Return a scan configuration as JSON values, and add its faults to ``faults``.

    ``name`` is the dotted name of the table that holds it, empty for the top level of a file.
    """
    found: list[Fault] = []
    for key, table in values.items():
        if not isinstance(table, dict):
            found.append(
                Fault("", key, table, "stands in no table; those here are ScanPath, Metadata and the cameras'")
            )
    if isinstance(values.get("ScanPath"), dict):
        read_path(values["ScanPath"], found)
    _check_metadata(values.get("Metadata"), found)
    read_cameras(values, found)
    faults.extend(replace(fault, table=".".join(filter(None, (name, fault.table)))) for fault in found)
    return {key: jsonable(table) for key, table in values.items()}


def _check_metadata(metadata: object, faults: list[Fault]) -> None:
    tables = (
        {key: metadata[key] for key in ("object", "hardware") if key in metadata} if isinstance(metadata, dict) else {}
    )
    faults.extend(
        Fault("Metadata", key, value, f"write a table, [Metadata.{key}]")
        for key, value in tables.items()
        if not isinstance(value, dict)
    )
