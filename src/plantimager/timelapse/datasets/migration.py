"""The migration of datasets of earlier layouts to the present one. No picture is touched.

A dataset is made anew in a hidden directory beside it, with hard links to all that stays, and takes the place of the
old one by two renames. A kill leaves one of them in the place, or none, and hidden directories: `finish_interrupted`
puts that right.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISREG
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.datasets.contents import NO_DIGESTS, find_differences
from plantimager.timelapse.datasets.plantdb_layout import MAX_METADATA_BYTES
from plantimager.timelapse.datasets.plantdb_metadata import FILESET, OURS, cameras_of, picture_metadata, scan_metadata
from plantimager.timelapse.datasets.receipt import ALL_FILES, FILES, RECEIPT, load_receipt, other_owner, receipt_text
from plantimager.timelapse.scan.miappe import as_table
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import read_regular, sync_directory
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.file_system import describe_disk_error, is_there, names_in, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.scan.request import Owner

_NEW: Final = "migrated"
_OLD: Final = "before-migration"


class NotMigrated(TimelapsedError):
    """A dataset stays as it is: it is damaged, or the disk refuses something."""


class ForeignDataset(NotMigrated):
    """It is another rig's, or no dataset at all."""


def migrate_dataset(dataset: Path, owner: Owner | None, *, dry_run: bool = False) -> bool:
    """Bring a dataset of ``owner`` to the present layout; return whether there was something to do.

    With ``dry_run`` nothing is changed. Where something is to do all pictures are read, for the digests.

    Raises
    ------
    NotMigrated
        With the reason.
    """
    try:
        receipt = load_receipt(dataset)
    except (FileNotFoundError, NotADirectoryError):
        raise ForeignDataset("it has no receipt") from None
    except OSError as problem:
        raise NotMigrated(f"its receipt can't be read: {describe_disk_error(problem)}") from None
    except ValueError as problem:
        raise NotMigrated(f"its receipt can't be read: {problem}") from None
    other = other_owner(receipt, owner)
    if other is not None:
        raise ForeignDataset(f"it is a dataset of {other}")
    try:
        texts = _changed_texts(dataset)
        if texts:
            _check_undamaged(dataset)
            if not dry_run:
                _replace(dataset, receipt, texts)
    except OSError as problem:
        raise NotMigrated(f"{problem.filename or dataset}: {describe_disk_error(problem)}") from None
    return bool(texts)


def finish_interrupted(datasets: Path) -> None:
    """Put right what killed migrations in a directory have left; for one process alone.

    Raises
    ------
    OSError
        The disk refuses it.
    """
    names = names_in(datasets)
    for old in (datasets / name for name in names if name.startswith(".") and name.endswith(f".{_OLD}")):
        dataset = datasets / old.name[1:].removesuffix(f".{_OLD}")
        if not is_there(dataset):
            old.rename(dataset)
            sync_directory(datasets)
        elif not is_there(old / RECEIPT) or _has_same_receipt(old, dataset):
            shutil.rmtree(old)  # else somebody has put another dataset there meanwhile
    for new in (name for name in names if name.startswith(".") and name.endswith(f".{_NEW}")):
        shutil.rmtree(datasets / new)


def _has_same_receipt(old: Path, dataset: Path) -> bool:
    """Return whether both have the same receipt but for the digests; not where one can't be read."""
    receipt = _receipt_without_digests(old)
    return receipt is not None and receipt == _receipt_without_digests(dataset)


def _receipt_without_digests(dataset: Path) -> Mapping[str, Any] | None:
    with suppress(OSError, ValueError):
        return {key: value for key, value in load_receipt(dataset).items() if key not in (FILES, ALL_FILES)}
    return None


# --- what changes -------------------------------------------------------------------------------------------


def _changed_texts(dataset: Path) -> dict[str, bytes]:
    """Return the metadata that are not in the present layout, as they are in it, by their paths in the dataset.

    None where they are no metadata of ours: an operator's own program writes what it likes.
    """
    scan, pictures = Path("metadata", "metadata.json"), Path("metadata", FILESET)
    for name in (scan, pictures, *scan.parents, Path(FILESET)):
        if (dataset / name).is_symlink():
            raise NotMigrated(f"{name} is a link")
    about = _read_object(dataset, scan)
    if "timelapse_id" not in as_table(about.get(OURS)):
        return {}
    made = {scan: (about, scan_metadata(about))}
    cameras = cameras_of(about)
    taken = {path.stem: path for path in _files_in(dataset / FILESET) if not path.is_symlink()}
    for path in (path for path in _files_in(dataset / pictures) if path.suffix == ".json"):
        name = pictures / path.name
        about = _read_object(dataset, name)
        camera = cameras.get(str(about.get("camera_name")))
        made[name] = (about, picture_metadata(about, camera, taken.get(path.stem)))
    texts = {str(name): (json_text.dumps(before), json_text.dumps(now)) for name, (before, now) in made.items()}
    return {name: now for name, (before, now) in texts.items() if now != before}


def _files_in(directory: Path) -> list[Path]:
    return [directory / name for name in names_in(directory) if "." in name]


def _read_object(dataset: Path, name: Path) -> dict[str, Any]:
    try:
        value = json_text.loads(read_regular(dataset / name, MAX_METADATA_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as problem:
        raise NotMigrated(f"{name} can't be read: {problem}") from None
    if not isinstance(value, dict):
        raise NotMigrated(f"{name} can't be read: not an object")
    return value


def _check_undamaged(dataset: Path) -> None:
    differences = [words for words in find_differences(dataset, also_added=False) if words != NO_DIGESTS]
    if differences:
        more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
        raise NotMigrated(f"{differences[0]}{more}")


# --- on disk ------------------------------------------------------------------------------------------------


def _replace(dataset: Path, receipt: Mapping[str, Any], texts: Mapping[str, bytes]) -> None:
    new, old = (dataset.with_name(f".{dataset.name}.{way}") for way in (_NEW, _OLD))
    digests = receipt.get(FILES)
    if isinstance(digests, dict):
        renewed = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items() if name in digests}
        receipt = {**receipt, FILES: {**digests, **renewed}}
    receipt = {key: value for key, value in receipt.items() if key != ALL_FILES}  # which it would no longer be
    try:
        _make_anew(dataset, new, {**texts, RECEIPT: receipt_text(receipt)})
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        raise
    dataset.rename(old)
    new.rename(dataset)
    sync_directory(dataset.parent)
    shutil.rmtree(old)


def _make_anew(dataset: Path, new: Path, texts: Mapping[str, bytes]) -> None:
    """Make a directory with everything of a dataset, where ``texts`` replace the content of some files."""
    for source, folders, names in walk(dataset):
        target = new / source.relative_to(dataset)
        target.mkdir()
        for name in (*names, *(name for name in folders if (source / name).is_symlink())):
            text = texts.get(str((source / name).relative_to(dataset)))
            if text is None:
                _link(source / name, target / name)
            else:
                _write(target / name, text)
                _be_like(target / name, source / name)
        _be_like(target, source)
        sync_directory(target)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; where the disk has no hard links, or lets us make none, copy it."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        if not S_ISREG(source.lstat().st_mode):
            raise
        shutil.copy2(source, target)
        _sync(target)


def _write(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _be_like(path: Path, original: Path) -> None:
    """Give a file the owner and the mode of another one."""
    status = original.stat()
    if (path.stat().st_uid, path.stat().st_gid) != (status.st_uid, status.st_gid):
        with suppress(PermissionError):  # root alone may; the mode is what lets the group read it
            os.chown(path, status.st_uid, status.st_gid)
    path.chmod(S_IMODE(status.st_mode))
