"""MIAPPE's tables of a scan configuration: what PlantDB's explorer shows of a plant. The older form is ``object``.

A definition has them at its top level, or in ``Metadata``, or only the table ``Metadata.object`` of before MIAPPE.
PlantDB refuses a scan in which a known field has another type than it expects; so these are brought to it.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.support.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TEXT: Final = str
_SHAPES: Final[Mapping[str, Any]] = {
    "investigation": {"identifier": _TEXT, "title": _TEXT, "description": _TEXT},
    "study": {
        **dict.fromkeys(("identifier", "title", "startDate", "endDate"), _TEXT),
        "growthFacility": {"name": _TEXT, "country": _TEXT},
        "environment": {"photoperiod": _TEXT},
        "experimentalDesign": {"type": _TEXT},
        "experimentalFactors": {"treatment": _TEXT},
    },
    "biologicalMaterial": {
        "biologicalMaterialId": _TEXT,
        "organism": {"genus": _TEXT, "species": _TEXT},
        "materialSource": {"id": _TEXT, "name": _TEXT},
        "ageDays": float,
        "sample": _TEXT,
    },
    "observedVariable": {"trait": _TEXT, "method": _TEXT, "scale": _TEXT},
}
"""The fields that PlantDB knows; a table may have any others."""

MIAPPE_TABLES: Final = tuple(_SHAPES)

_OF_OBJECT: Final = {
    "dataset_id": "investigation.identifier",
    "experiment_id": "study.identifier",
    "environment": "study.growthFacility.name",
    "growth_environment": "study.growthFacility.name",
    "growth_conditions": "study.environment.photoperiod",
    "treatment": "study.experimentalFactors.treatment",
    "object_id": "biologicalMaterial.biologicalMaterialId",
    "plant_id": "biologicalMaterial.biologicalMaterialId",
    "species": "biologicalMaterial.organism.species",
    "seed_stock": "biologicalMaterial.materialSource.name",
    "DAG": "biologicalMaterial.ageDays",
    "sample": "biologicalMaterial.sample",
}
"""The fields of the older table; of two for the same the later counts."""


def miappe_tables(configuration: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tables of a configuration that aren't empty; the older ``object`` fills what they leave out."""
    metadata = as_table(configuration.get("Metadata"))
    older = _from_object(as_table(metadata.get("object")) or as_table(configuration.get("object")))
    found = {}
    for name, shape in _SHAPES.items():
        table = _conform(configuration.get(name), shape)
        for more in (metadata.get(name), older.get(name)):
            table = _merged(_conform(more, shape), table)
        if table:
            found[name] = table
    return found


def as_table(value: object) -> dict[str, Any]:
    """Return a value if it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def find_misshapen(tables: object, name: str = "", shapes: Mapping[str, Any] = _SHAPES) -> Iterator[Fault]:
    """Yield a fault for each value in ``tables``, which are the table ``name``, where PlantDB needs a table."""
    for key, shape in shapes.items():
        if isinstance(shape, dict) and key in as_table(tables):
            value, dotted = as_table(tables)[key], ".".join(filter(None, (name, key)))
            if isinstance(value, dict):
                yield from find_misshapen(value, dotted, shape)
            elif name:  # a value in no table at all is reported anyway
                yield Fault(name, key, value, f"write a table, [{dotted}]")


def _from_object(older: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, path in _OF_OBJECT.items():
        if older.get(key) not in (None, ""):
            *tables, field = path.split(".")
            table = tree
            for name in tables:
                table = table.setdefault(name, {})
            table[field] = int(age) if key == "DAG" and (age := _number(older[key])) is not None else older[key]
            if key == "species" and isinstance(older[key], str) and len(words := older[key].split()) > 1:
                table["genus"] = words[0]
    return tree


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two tables as one; where both have a value, that of ``above`` counts. An organism is one thing."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict) and key != "organism":
            merged[key] = _merged(below[key], above[key])
    return merged


def _conform(value: object, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table in which each known field has its type; one that can't have it, or is empty, is left out."""
    table = {}
    for key, item in as_table(value).items():
        known = shape.get(key)
        conformed: Any = item
        if isinstance(known, dict):
            conformed = _conform(item, known) or None
        elif known is _TEXT:
            conformed = _text(item)
        elif known is float:
            conformed = _number(item)
        if conformed is not None or known is None:
            table[key] = conformed
    return table


def _text(value: object) -> str | None:
    if isinstance(value, list):
        texts = [_text(item) for item in value]
        return ", ".join(text for text in texts if text) or None
    return None if value is None or value == "" or isinstance(value, dict) else str(value)


def _number(value: Any) -> float | int | None:
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    with suppress(TypeError, ValueError):
        return int(value)
    return None
