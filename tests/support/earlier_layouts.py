"""Datasets of the layouts that earlier versions wrote, made from those that the present one writes.

A picture's number was a text, the date had an ISO ``T``, and the configuration stood in our own part alone. The first
version put secrets into it, named no owner and took no digests; the second did, and later ones had more of a picture.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

EARLIER_LAYOUTS: Final = ("first", "with digests", "with facts")


def bring_to_earlier_layout(dataset: Path, layout: str) -> Path:
    """Bring a dataset to one of `EARLIER_LAYOUTS`, as if that version had written it; return it."""
    about = _read(dataset / "metadata" / "metadata.json")
    ours, plant = about["timelapsed"], about["timelapsed"]["configuration"].get("Metadata", {})
    if layout == "first":
        ours["configuration"]["scanner"] = {"api_token": "s3cret"}
    earlier = {
        "acquisition_date": ours["started"] or ours["scheduled"],
        "hardware": plant.get("hardware", {}),
        "object": plant.get("object", {}),
        "timelapsed": ours,
    }
    _write(dataset / "metadata" / "metadata.json", earlier)
    for path in (dataset / "metadata" / "images").iterdir():
        picture = _read(path)
        kept = ("approximate_pose", "camera_name", "channel", *(("timelapsed",) * (layout == "with facts")))
        known = {key: picture[key] for key in kept if key in picture}
        _write(path, {**known, "shot_id": f"{picture['shot_id']:05d}"})
    receipt = _read(dataset / "timelapsed.json")
    if layout == "first":
        receipt.pop("files", None)
        receipt.pop("owner", None)
    else:
        names = [name for name in receipt["files"] if (dataset / name).exists()]
        receipt["files"] = {name: hashlib.sha256((dataset / name).read_bytes()).hexdigest() for name in names}
    _write(dataset / "timelapsed.json", receipt)
    return dataset


def known_to(layout: str, picture: dict[str, Any]) -> dict[str, Any]:
    """Return what a version knew of a picture, of what the present one writes: the first ones had no facts."""
    return {key: value for key, value in picture.items() if key != "timelapsed" or layout == "with facts"}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True))
