"""The community's scan configuration: ``[ScanPath]``, ``[Metadata.*]``, MIAPPE's tables, one for each camera.

It is kept whole, as it was written, because it goes into the store and to the driver. The keys of the metadata are
not checked: laboratories have their own. Faults that would cost a timelapse are found before it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from plantimager.timelapse.scan.cameras import read_cameras
from plantimager.timelapse.scan.miappe import as_table, find_misshapen
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
    _check_metadata(values, found)
    read_cameras(values, found)
    faults.extend(replace(fault, table=".".join(filter(None, (name, fault.table)))) for fault in found)
    return {key: jsonable(table) for key, table in values.items()}


def _check_metadata(configuration: Mapping[str, Any], faults: list[Fault]) -> None:
    """Add the faults of what PlantDB would refuse or misread."""
    metadata = as_table(configuration.get("Metadata"))
    faults.extend(
        Fault("Metadata", key, metadata[key], f"write a table, [Metadata.{key}]")
        for key in ("object", "hardware")
        if key in metadata and not isinstance(metadata[key], dict)
    )
    faults.extend([*find_misshapen(metadata, "Metadata"), *find_misshapen(configuration)])
