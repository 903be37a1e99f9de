"""What is in a dataset: the evidence that a scan was taken, and its comparison with the receipt."""

from __future__ import annotations

import hashlib
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.datasets.receipt import (
    BYTES,
    FILES,
    RECEIPT,
    load_receipt,
    other_owner,
    result_from_receipt,
)
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.errors import ScanFailed
from plantimager.timelapse.support.file_system import is_there, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plantimager.timelapse.scan.request import ScanRequest, ScanResult

LIST_OF_FILES: Final = "files.json"
"""The file in which PlantDB looks for the pictures of a dataset."""

NO_DIGESTS: Final = "its receipt has no digests, as those of earlier versions, full disks and very many files"

PICTURE_SUFFIXES: Final = frozenset(
    ".arw .bmp .cr2 .cr3 .dng .heic .jpeg .jpg .nef .png .raw .rw2 .tif .tiff .webp".split()  # noqa: SIM905 - fifteen lines
)

DATA_SUFFIX: Final = ".json"
"""Of metadata and lists, never of a picture."""

TEXT_SUFFIXES: Final = frozenset(f"{DATA_SUFFIX} .csv .htm .html .ini .log .md .toml .txt .xml .xmp .yaml .yml".split())
"""Of what programs write beside their pictures. A file with a suffix that nobody knows may well be a picture."""


def check_contents(directory: Path, claimed: int | None = None, least: int = 1, source: str = "the driver") -> None:
    """Check before a dataset is made of ``directory`` that it has the pictures that ``source`` says it has taken.

    Files without content don't count, and neither do links. Files of text are no pictures, unless only such are there:
    a program may call its spectra pictures.

    Raises
    ------
    ScanFailed
        There are no files, fewer than ``claimed`` or than ``least``, or one that `LIST_OF_FILES` has is not there.
    OSError
        The directory can't be read.
    """
    suffixes = [path.suffix.lower() for path in dataset_files(directory) if path.lstat().st_size]
    there = len(suffixes)
    if not there:
        raise ScanFailed(f"{source} left no file")
    pictures = sum(1 for suffix in suffixes if suffix not in TEXT_SUFFIXES) or there - suffixes.count(DATA_SUFFIX)
    if claimed is not None and claimed > pictures:
        left = _count(there, "file") if pictures == there else f"{_count(pictures, 'picture')} among {there} files"
        raise ScanFailed(f"{source} says that it took {_count(claimed, 'picture')}, and left {left}")
    if there < least:
        raise ScanFailed(f"{source} left {_count(there, 'file')}, {least} are expected")
    for name in _listed_files(directory):
        if not (directory / name).is_file():
            raise ScanFailed(f"{source} lists {name} in {LIST_OF_FILES}, which is not there")


def dataset_files(directory: Path) -> Iterator[Path]:
    """Yield every regular file of a dataset but its receipt."""
    for folder, _, names in walk(directory):
        for name in names:
            path = folder / name
            if path != directory / RECEIPT and stat.S_ISREG(path.lstat().st_mode):
                yield path


def total_bytes(directory: Path) -> int:
    """Return the size of all files of a dataset together."""
    return sum(path.lstat().st_size for path in dataset_files(directory))


def last_change(directory: Path) -> datetime | None:
    """Return when the last file of a dataset was written; ``None`` where that can't be known."""
    try:
        newest = max((path.lstat().st_mtime for path in dataset_files(directory)), default=None)
        return None if newest is None else datetime.fromtimestamp(newest, UTC)
    except (OSError, OverflowError, ValueError):  # a program may have given its files any time
        return None


def has_all_bytes(directory: Path, receipt: Mapping[str, object]) -> bool:
    """Return whether the files of an attempt that was not put on disk yet are as large as its receipt says.

    They aren't where the disk was pulled before they were on it. The receipts of earlier versions say nothing.

    Raises
    ------
    OSError
        The directory can't be read.
    """
    return receipt.get(BYTES) in (None, total_bytes(directory))


def find_moved(request: ScanRequest, boot: str | None) -> ScanResult | None:
    """Return the result of an attempt whose dataset was moved to ``dataset_dir``, None where that isn't certain.

    Its receipt names timelapse, slot and attempt. Where the owner isn't this rig, it is this rig before its store was
    moved: of the same name, with a store that isn't there any more, and in ``boot``, when the attempt began.
    """
    directory, owner = request.dataset_dir, request.owner
    try:
        receipt = load_receipt(directory)
        other = other_owner(receipt, owner)
        attempt = (receipt["timelapse_id"], receipt["index"], receipt["attempt"])
        is_named = attempt == (request.timelapse_id, request.index, request.attempt)
        is_whole = datetime.fromisoformat(receipt["scheduled_at"]) == request.scheduled_at
        is_whole &= is_named and has_all_bytes(directory, receipt)
        if other is not None and owner is not None:
            is_whole &= boot is not None and receipt.get("boot") == boot and other.rig == owner.rig
            is_whole &= other.store == owner.store or not is_there(Path(other.store))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result_from_receipt(receipt) if is_whole else None


def count_pictures(directory: Path) -> int | None:
    """Return the number of files that are pictures by their names, None where none is."""
    return sum(1 for path in dataset_files(directory) if path.suffix.lower() in PICTURE_SUFFIXES) or None


def find_differences(directory: Path, *, also_added: bool = True) -> list[str]:
    """Return how the files of a dataset differ from its receipt, a sentence each; empty where nothing does.

    Without ``also_added`` what somebody put beside them later is left out.

    Raises
    ------
    OSError, ValueError
        There is no receipt, or it can't be read.
    """
    receipt = load_receipt(directory)
    digests = receipt.get(FILES)
    if not isinstance(digests, dict):
        return [NO_DIGESTS]
    there = {str(path.relative_to(directory)): path for path in dataset_files(directory)}
    missing = [f"{name} is missing" for name in digests if name not in there]
    return missing + [
        difference
        for name, path in sorted(there.items())
        if (also_added or name in digests) and (difference := _difference(name, path, digests))
    ]


def _difference(name: str, path: Path, digests: Mapping[str, object]) -> str | None:
    """Return how one file differs from its digest, None where it doesn't."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        return f"{name} can't be read: {problem.strerror or problem}"
    if name not in digests:
        return f"{name} was added after the scan"
    return None if digests[name] == digest else f"{name} has changed"


def _listed_files(directory: Path) -> Iterator[str]:
    """Yield the paths of the files that a list of PlantDB's form names; of any other form none."""
    try:
        filesets = json_text.loads((directory / LIST_OF_FILES).read_bytes())["filesets"]
        listed = [f"{fileset['id']}/{file['file']}" for fileset in filesets for file in fileset["files"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return
    yield from listed


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
