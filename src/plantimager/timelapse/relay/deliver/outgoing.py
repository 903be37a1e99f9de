"""A dataset as it goes out: its pictures, checked, and its metadata as they are.

Those of earlier versions and of an operator's own program are brought to PlantDB's layout on the way.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from PIL import Image

from plantimager.timelapse.datasets.contents import LIST_OF_FILES, PICTURE_SUFFIXES
from plantimager.timelapse.datasets.plantdb_layout import MAX_METADATA_BYTES
from plantimager.timelapse.datasets.plantdb_metadata import (
    FILESET,
    FILESET_METADATA,
    OURS,
    cameras_of,
    picture_metadata,
    scan_metadata,
)
from plantimager.timelapse.datasets.receipt import OBSERVED
from plantimager.timelapse.relay.sealed_dataset import DatasetRefused, read_sealed
from plantimager.timelapse.scan.miappe import as_table
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.file_system import may_come_back

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plantimager.timelapse.relay.taken_scans import TakenScan
    from plantimager.timelapse.scan.cameras import Camera

TAKEN_TYPES: Final = {".jpg": "jpg", ".jpeg": "jpeg", ".png": "png", ".tif": "tif", ".tiff": "tif"}
"""The pictures that PlantDB takes, by their suffixes, with the extension that it knows."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A file id; PlantDB refuses others, and answers a dot with an error of its own."""
_SCAN_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9_.-]+")
"""A scan's; PlantDB refuses others, and in its addresses some would mean another scan."""
_SCAN_FILE: Final = "metadata/metadata.json"
_FILESET_FILE: Final = f"metadata/{FILESET}.json"


class OutgoingFile(Struct, frozen=True):
    """One picture."""

    file_id: str
    path: Path
    extension: str
    size: int
    digest: str
    """SHA-256."""
    metadata: Mapping[str, Any]


class OutgoingDataset(Struct, frozen=True):
    """One scan."""

    scan_id: str
    metadata: Mapping[str, Any]
    files: tuple[OutgoingFile, ...]
    digest: str
    """That of the sealed dataset."""
    left: int
    """Files that PlantDB doesn't take, also of metadata: they stay here alone."""

    @property
    def bytes(self) -> int:
        """The size of all pictures."""
        return sum(file.size for file in self.files)


def prepare_dataset(directory: Path, scan: TakenScan) -> OutgoingDataset:
    """Return the dataset of a scan, compared with its receipt, its pictures decoded.

    Raises
    ------
    DatasetRefused
        It has something that PlantDB doesn't take.
    DatasetGone, DatasetRefused, OSError
        See `sealed_dataset.read_sealed`.
    """
    if not _SCAN_ID.fullmatch(scan.scan_id):
        raise DatasetRefused("PlantDB takes names of letters, digits, _, . and - only")
    sealed = read_sealed(directory, scan)
    receipt, digests = sealed.receipt, sealed.files
    pictures = [path for path in digests if path.suffix.lower() in PICTURE_SUFFIXES]
    taken = {path.stem for path in pictures if path.suffix.lower() in TAKEN_TYPES}
    # The raw file beside a picture stays here: PlantDB takes none.
    pictures = [path for path in pictures if path.suffix.lower() in TAKEN_TYPES or path.stem not in taken]
    if not pictures:
        raise DatasetRefused("it has no picture")
    about = _read_object(directory / _SCAN_FILE)
    if OBSERVED in receipt:  # a program of the operator writes no metadata of ours to hold it
        about[OURS] = {**as_table(about.get(OURS)), OBSERVED: receipt[OBSERVED]}
    cameras = cameras_of(about)
    files = tuple(_outgoing_file(directory, path, digests[path], cameras) for path in pictures)
    ids = Counter(file.file_id for file in files)
    if twice := next((file_id for file_id, count in ids.items() if count > 1), None):
        raise DatasetRefused(f"two of its pictures are called {twice}, and PlantDB keeps one of a name")
    slot = {"timelapse_id": scan.timelapse_id, "index": scan.slot, "scheduled": scan.scheduled_at.isoformat()}
    sent = {*pictures, directory / LIST_OF_FILES, directory / _SCAN_FILE, *(_about(directory, file) for file in ids)}
    if _read_object(directory / _FILESET_FILE) == FILESET_METADATA:
        sent.add(directory / _FILESET_FILE)
    left = sum(path not in sent for path in digests)
    return OutgoingDataset(scan.scan_id, scan_metadata(about, slot), files, sealed.digest, left)


def _outgoing_file(directory: Path, path: Path, digest: str, cameras: Mapping[str, Camera]) -> OutgoingFile:
    name = path.relative_to(directory)
    if path.suffix.lower() not in TAKEN_TYPES:
        raise DatasetRefused(f"{name}: PlantDB takes no {path.suffix} files")
    file_id = path.stem
    if not _ID.fullmatch(file_id):
        raise DatasetRefused(f"{name}: PlantDB takes names of letters, digits, _ and - only")
    try:
        with Image.open(path) as picture:
            picture.draft("L", (1, 1))  # a JPEG is decoded whole, but kept at an eighth of its size
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        if may_come_back(problem):
            raise
        raise DatasetRefused(f"{name} can't be decoded: {problem}") from None
    about = _read_object(_about(directory, file_id))
    metadata = picture_metadata(about, cameras.get(str(about.get("camera_name"))), path)
    return OutgoingFile(file_id, path, TAKEN_TYPES[path.suffix.lower()], path.stat().st_size, digest, metadata)


def _about(directory: Path, file_id: str) -> Path:
    return directory / "metadata" / FILESET / f"{file_id}.json"


def _read_object(path: Path) -> dict[str, Any]:
    """Return a file of metadata; empty where there is none, as in datasets of an operator's own program."""
    try:
        value = json_text.loads(read_regular(path, MAX_METADATA_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as problem:
        if may_come_back(problem):
            raise
        raise DatasetRefused(f"{path.name} can't be read: {problem}") from None
    if not isinstance(value, dict):
        raise DatasetRefused(f"{path.name} can't be read: not an object")
    return value
