"""A dataset as it goes out: its pictures, checked, and its metadata as they are.

Those of earlier versions and of an operator's own program are brought to PlantDB's layout on the way.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from PIL import Image

from plantimager.timelapse.datasets.contents import PICTURE_SUFFIXES, dataset_files
from plantimager.timelapse.datasets.plantdb_layout import MAX_METADATA_BYTES
from plantimager.timelapse.datasets.plantdb_metadata import FILESET, OURS, cameras_of, picture_metadata, scan_metadata
from plantimager.timelapse.datasets.receipt import FILES, OBSERVED, load_receipt
from plantimager.timelapse.scan.miappe import as_table
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plantimager.timelapse.relay.taken_scans import TakenScan
    from plantimager.timelapse.scan.cameras import Camera

EXTENSIONS: Final = {".jpg": "jpg", ".jpeg": "jpeg", ".png": "png", ".tif": "tif", ".tiff": "tif"}
"""The pictures that PlantDB takes, by their suffixes, with the extension that it knows."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A file id; PlantDB refuses others, and answers a dot with an error of its own."""


class DatasetGone(TimelapsedError):
    """There is no whole dataset of a scan here, now."""


class DatasetRefused(TimelapsedError):
    """A dataset can't be delivered as it is."""


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

    @property
    def bytes(self) -> int:
        """The size of all pictures."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 of all names and digests."""
        listing = "".join(f"{file.file_id} {file.digest}\n" for file in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()


def prepare_dataset(directory: Path, scan: TakenScan) -> OutgoingDataset:
    """Return the dataset of a scan, compared with its receipt, its pictures decoded.

    Raises
    ------
    DatasetGone
        It isn't there, or not whole, or that of another scan.
    DatasetRefused
        It has changed since the scan, or has something that PlantDB doesn't take.
    OSError
        It can't be read.

    """
    receipt = _receipt_of(directory, scan)
    try:
        return _outgoing_dataset(directory, receipt, scan)
    except DatasetRefused:
        if _receipt_of(directory, scan) != receipt:
            raise DatasetGone(f"{directory} was migrated meanwhile") from None
        raise


def _outgoing_dataset(directory: Path, receipt: Mapping[str, Any], scan: TakenScan) -> OutgoingDataset:
    digests = _checked_digests(directory, receipt.get(FILES))
    pictures = [path for path in digests if path.suffix.lower() in PICTURE_SUFFIXES]
    taken = {path.stem for path in pictures if path.suffix.lower() in EXTENSIONS}
    # The raw file beside a picture stays here: PlantDB takes none.
    pictures = [path for path in pictures if path.suffix.lower() in EXTENSIONS or path.stem not in taken]
    if not pictures:
        raise DatasetRefused("it has no picture")
    about = _read_object(directory / "metadata/metadata.json")
    if OBSERVED in receipt:  # a program of the operator writes no metadata of ours to hold it
        about[OURS] = {**as_table(about.get(OURS)), OBSERVED: receipt[OBSERVED]}
    cameras = cameras_of(about)
    files = tuple(_outgoing_file(directory, path, digests[path], cameras) for path in pictures)
    ids = [file.file_id for file in files]
    if len(set(ids)) < len(ids):
        twice = next(file_id for file_id in ids if ids.count(file_id) > 1)
        raise DatasetRefused(f"two of its pictures are called {twice}, and PlantDB keeps one of a name")
    slot = {"timelapse_id": scan.timelapse_id, "index": scan.slot, "scheduled": scan.scheduled_at.isoformat()}
    return OutgoingDataset(scan.scan_id, scan_metadata(about, slot), files)


def _receipt_of(directory: Path, scan: TakenScan) -> Mapping[str, Any]:
    try:
        receipt = load_receipt(directory)
        slot = (receipt["timelapse_id"], receipt["index"], datetime.fromisoformat(receipt["scheduled_at"]))
    except FileNotFoundError:
        raise DatasetGone(f"{directory} is not there, or has no receipt") from None
    except (ValueError, KeyError, TypeError) as problem:
        raise DatasetGone(f"{directory}: its receipt can't be read ({problem})") from None
    if slot != (scan.timelapse_id, scan.slot, scan.scheduled_at):
        raise DatasetGone(f"{directory} belongs to another scan")
    return receipt


def _checked_digests(directory: Path, claimed: object) -> Mapping[Path, str]:
    """Return the SHA-256 of each file that the receipt claims, in order; of every file where it claims none.

    What somebody has added since the scan is not of the scan.
    """
    there = {str(path.relative_to(directory)): path for path in dataset_files(directory)}
    names = claimed if isinstance(claimed, dict) else there
    digests = {}
    for name in sorted(names):
        if name not in there:
            raise DatasetRefused(f"{name} is missing")
        with there[name].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if isinstance(claimed, dict) and digest != claimed[name]:
            raise DatasetRefused(f"{name} has changed")
        digests[there[name]] = digest
    return digests


def _outgoing_file(directory: Path, path: Path, digest: str, cameras: Mapping[str, Camera]) -> OutgoingFile:
    name = path.relative_to(directory)
    if path.suffix.lower() not in EXTENSIONS:
        raise DatasetRefused(f"{name}: PlantDB takes no {path.suffix} files")
    file_id = path.stem
    if not _ID.fullmatch(file_id):
        raise DatasetRefused(f"{name}: PlantDB takes names of letters, digits, _ and - only")
    try:
        with Image.open(path) as picture:
            picture.draft("L", (1, 1))  # a JPEG is decoded whole, but kept at an eighth of its size
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise DatasetRefused(f"{name} can't be decoded: {problem}") from None
    about = _read_object(directory / "metadata" / FILESET / f"{file_id}.json")
    metadata = picture_metadata(about, cameras.get(str(about.get("camera_name"))), path)
    return OutgoingFile(file_id, path, EXTENSIONS[path.suffix.lower()], path.stat().st_size, digest, metadata)


def _read_object(path: Path) -> dict[str, Any]:
    """Return a file of metadata; empty where there is none, as in datasets of an operator's own program."""
    try:
        value = json_text.loads(read_regular(path, MAX_METADATA_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as problem:
        raise DatasetRefused(f"{path.name} can't be read: {problem}") from None
    return value if isinstance(value, dict) else {}
