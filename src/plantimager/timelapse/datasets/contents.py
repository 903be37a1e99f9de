"""What is in a dataset: the evidence that a scan was taken, and its comparison with the receipt."""

from __future__ import annotations

import hashlib
import stat
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.datasets.receipt import (
    BYTES,
    FILES,
    RECEIPT,
    digest_of_all,
    load_receipt,
    other_owner,
    result_from_receipt,
)
from plantimager.timelapse.datasets.syncing import forget_cached, sync_tree
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.errors import ScanFailed
from plantimager.timelapse.support.file_system import is_there, walk

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

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

    Its receipt names timelapse, slot, attempt and owner. Where that isn't this rig, it is this rig before its store was
    moved: of the same name, on this machine, with a store that isn't there any more, and in ``boot``, when the attempt
    began. All files are read, which takes its time, and are on disk afterwards.
    """
    directory, owner = request.dataset_dir, request.owner
    try:
        receipt = load_receipt(directory)
        other = other_owner(receipt, owner)
        attempt = (receipt["timelapse_id"], receipt["index"], receipt["attempt"])
        is_named = attempt == (request.timelapse_id, request.index, request.attempt)
        is_whole = datetime.fromisoformat(receipt["scheduled_at"]) == request.scheduled_at
        is_whole &= is_named and isinstance(receipt["owner"], dict) and receipt[BYTES] == total_bytes(directory)
        if other is not None and owner is not None:
            is_whole &= boot is not None and receipt.get("boot") == boot and other.rig == owner.rig
            is_whole &= other.machine == owner.machine != "" and not is_there(Path(other.store))
        result = result_from_receipt(receipt)
        if not is_whole:
            return None
        _put_moved_on_disk(directory, result.pictures, digest_of_all(receipt), _stamps(directory))
    except (OSError, ValueError, KeyError, TypeError, ScanFailed):
        return None
    return result


@lru_cache(maxsize=8)
def _put_moved_on_disk(directory: Path, claimed: int | None, digest: str | None, stamps: Hashable) -> None:  # noqa: ARG001 - stamps are of the key
    """Sync a moved dataset, and check that it has its pictures, and the files of which its receipt has the digest.

    Who asks may give up before the end: what was done then counts for the next question about files with these
    ``stamps``.

    Raises
    ------
    ScanFailed
        It has other files.
    OSError
        The disk refuses something.
    """
    sync_tree(directory, lambda _: None)
    sync_directory(directory.parent)
    forget_cached(directory)
    check_contents(directory, claimed)
    if digest is None:
        return
    digests = {str(path.relative_to(directory)): _digest(path) for path in dataset_files(directory)}
    if digest_of_all({FILES: digests}) != digest:
        raise ScanFailed(f"{directory} has other files than its receipt says")


def _stamps(directory: Path) -> Hashable:
    """Return what tells the files of a dataset from others of the same names."""
    found = ((path, path.lstat()) for path in dataset_files(directory))
    return frozenset((path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) for path, status in found)


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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(name: str, path: Path, digests: Mapping[str, object]) -> str | None:
    """Return how one file differs from its digest, None where it doesn't."""
    try:
        digest = _digest(path)
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
