"""A dataset on disk: made beside its place, moved there when whole, recognised afterwards.

An attempt fills a hidden directory of its own beside ``dataset_dir``, so that it never meets
another attempt's files. When all is taken, three steps make it the dataset:

1. a receipt is put into it. From here on a kill of the daemon undoes nothing, because what was
   written is the kernel's to keep: `find_whole` takes the steps that are left;
2. everything in it is put on disk for good;
3. it is renamed to ``dataset_dir``. From here on a power cut undoes nothing.

The receipt names the boot under which it was written: after a power cut between 1 and 3 nobody
knows which pictures the disk has, and the attempt was interrupted. Its pictures stay aside.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.controller.scanner import json_text
from plantimager.controller.scanner.drivers.base import ScanResult
from plantimager.controller.scanner.durable import read_regular, sync_directory, write_durably
from plantimager.controller.scanner.errors import ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plantimager.controller.scanner.cameras import Camera
    from plantimager.controller.scanner.drivers.base import ScanRequest
    from plantimager.controller.scanner.paths import Pose

RECEIPT: Final = "timelapsed.json"
"""The file that makes a directory a whole dataset; it says of which slot."""

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

LARGEST_RECEIPT: Final = 1 << 20
"""Bytes; ours have some hundred."""

MOST_ATTEMPTS: Final = 1_000
"""Of one number at one dataset; each but the first means a store that was not saved."""

DISTRIBUTION: Final = "plantimager-timelapse"


class Attempt:
    """One attempt's directory, which becomes the dataset when it is finished."""

    def __init__(self, request: ScanRequest, directory: Path) -> None:
        self.request, self.directory = request, directory
        self._sealed = False

    def seal(self, result: ScanResult) -> None:
        """Say that everything is taken; where more is to be done before `finish`, a kill meanwhile undoes nothing.

        Raises
        ------
        OSError
            The disk refuses; nothing is sealed.

        """
        if not os.access(self.directory, os.W_OK):  # a program has write-protected what it took
            self.directory.chmod(stat.S_IMODE(self.directory.stat().st_mode) | stat.S_IRWXU)
        write_durably(self.directory / RECEIPT, json_text.dumps(_receipt(self.request, result)))
        self._sealed = True

    def finish(self, result: ScanResult) -> ScanResult:
        """Put everything on disk for good and in its place; return ``result``.

        Raises
        ------
        OSError
            The disk refuses; the dataset isn't in its place.

        """
        if not self._sealed:
            self.seal(result)
        _put_on_disk(self.directory)
        _put_in_place(self.directory, self.request.dataset_dir)
        return result


@contextmanager
def attempt(request: ScanRequest) -> Iterator[Attempt]:
    """Make the directory of an attempt; afterwards it has become the dataset, stands aside, or is gone if empty.

    Raises
    ------
    ScannerNotReady
        The disk takes no directory: it is read-only, full, not mounted. Nothing has been begun; a person may mend it.
    ScanFailed
        The disk refuses what comes later.

    """
    try:
        directory = _make_directory(request)
    except OSError as problem:
        raise ScannerNotReady(_refusal(request, problem)) from problem
    try:
        try:
            yield Attempt(request, directory)
        finally:
            _remove_if_empty(directory)
    except OSError as problem:
        raise ScanFailed(_refusal(request, problem)) from problem


def _refusal(request: ScanRequest, problem: OSError) -> str:
    return f"{problem.filename or request.dataset_dir.parent}: {problem.strerror or problem}"


def find_whole(request: ScanRequest) -> ScanResult | None:
    """Return the result of the attempt that finished this slot's dataset, if one did.

    A dataset of the same name that belongs to another experiment is not it: name, slot and
    scheduled time have to be those of ``request``. Ends a `Attempt.finish` that was cut off.
    """
    receipt = _read_receipt(request.dataset_dir, request)
    if receipt is not None:
        return _result(receipt)
    for directory in left_aside(request):
        receipt = _read_receipt(directory, request)
        if receipt is not None and receipt.get("boot") == _boot() is not None:
            with contextlib.suppress(OSError):  # else nobody would find it, in a hidden directory
                _put_on_disk(directory)
                _put_in_place(directory, request.dataset_dir)
                return _result(receipt)
    return None


def left_aside(request: ScanRequest, number: int | None = None) -> list[Path]:
    """Return the directories of this dataset's unfinished attempts, or of those of one ``number``, oldest first."""
    with contextlib.suppress(OSError):
        found = [path for path in request.dataset_dir.parent.iterdir() if is_attempt(request, path, number)]
        return sorted(found, key=lambda path: tuple(map(int, path.name.rpartition("-")[2].split("."))))
    return []


def is_attempt(request: ScanRequest, directory: Path, number: int | None = None) -> bool:
    """Whether `attempt` made ``directory`` for this dataset, under ``number`` or any."""
    name = re.escape(_attempt_name(request, "")) + (r"\d+" if number is None else str(number)) + r"(\.\d+)?"
    return directory.parent == request.dataset_dir.parent and re.fullmatch(name, directory.name, re.ASCII) is not None


def _attempt_name(request: ScanRequest, number: str) -> str:
    # Hidden, so that a database that reads the datasets' directory passes it by.
    return f".{request.dataset_dir.name}.attempt-{number}"


def _make_directory(request: ScanRequest) -> Path:
    """Make a directory that no attempt ever had, not even one whose number was lost with an unsaved store."""
    for again in range(1, MOST_ATTEMPTS + 1):
        number = f"{request.attempt}.{again}" if again > 1 else f"{request.attempt}"
        directory = request.dataset_dir.with_name(_attempt_name(request, number))
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            return directory
    raise ScanFailed(f"{directory.parent}: {MOST_ATTEMPTS} attempts at {request.scan_id} stand aside; move them away")


def _remove_if_empty(directory: Path) -> None:
    for folder, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 - os.walk gives str


def _put_in_place(directory: Path, dataset_dir: Path) -> None:
    """Rename a whole dataset to its place; what stands there (an earlier experiment's) is kept as ``.earlier-N``."""
    number = 1
    while os.path.lexists(dataset_dir):
        earlier = dataset_dir.with_name(f"{dataset_dir.name}.earlier-{number}")
        if not os.path.lexists(earlier):
            dataset_dir.rename(earlier)
        number += 1
    directory.rename(dataset_dir)
    sync_directory(dataset_dir.parent)


def _put_on_disk(directory: Path) -> None:
    """Put a sealed attempt on disk for good; it is sealed no more where that fails, for a second fsync wouldn't."""
    try:
        _sync_tree(directory)
    except OSError:
        with contextlib.suppress(OSError):
            (directory / RECEIPT).unlink()
        raise


def _sync_tree(directory: Path) -> None:
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            _sync_file(os.path.join(folder, name))  # noqa: PTH118 - os.walk gives str
        sync_directory(Path(folder))


def _sync_file(path: str) -> None:
    """Put a regular file on disk; a link or a FIFO that a program left there is none of ours."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return
    with contextlib.suppress(PermissionError):  # a file that nobody may read needn't outlive a power cut
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _receipt(request: ScanRequest, result: ScanResult) -> dict[str, Any]:
    return {
        "version": 1,
        "scan_id": request.scan_id,
        "timelapse_id": request.timelapse_id,
        "index": request.index,
        "attempt": request.attempt,
        "scheduled_at": request.scheduled_at.isoformat(),
        "pictures": result.pictures,
        "note": result.note,
        "boot": _boot(),
    }


def _read_receipt(directory: Path, request: ScanRequest) -> dict[str, Any] | None:
    """Return a directory's receipt, if it has one and it is of this request's slot."""
    try:
        receipt: dict[str, Any] = json_text.loads(read_regular(directory / RECEIPT, LARGEST_RECEIPT))
        of = (receipt["timelapse_id"], receipt["index"], datetime.fromisoformat(receipt["scheduled_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return receipt if of == (request.timelapse_id, request.index, request.scheduled_at) else None


def _result(receipt: Mapping[str, Any]) -> ScanResult:
    pictures, note = receipt.get("pictures"), receipt.get("note")
    return ScanResult(
        pictures=pictures if isinstance(pictures, int) else None, note=note if isinstance(note, str) else ""
    )


def _boot() -> str | None:
    """Return the kernel's name for this boot, None where it doesn't tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return None


class PlantScan:
    """Pictures and metadata laid out as PlantDB's file system database reads a scan.

    ``images/`` holds the pictures, ``metadata/`` what is known of each and of the scan, and
    ``files.json`` lists them. What is ours in the scan's metadata stands under ``timelapsed``: PlantDB
    looks for a scan whose metadata has a ``timelapse`` in a directory of that name.
    """

    FILESET = "images"

    def __init__(self, directory: Path, request: ScanRequest) -> None:
        self._directory, self._request = directory, request
        self._files: list[dict[str, str]] = []
        self._finished: datetime | None = None
        self._metadata = directory / "metadata"
        (self._metadata / self.FILESET).mkdir(parents=True)
        (directory / self.FILESET).mkdir()

    @property
    def pictures(self) -> int:
        """How many pictures there are by now."""
        return len(self._files)

    def add(self, camera: Camera, shot: int, pose: Pose, picture: bytes) -> None:
        """Add an encoded picture, the ``shot``-th (from 0) of its camera, taken with the arm at ``pose``."""
        file_id = f"{camera.name}-{shot:05d}"
        name = f"{file_id}.{camera.extension}"
        path = self._directory / self.FILESET / name
        path.write_bytes(picture)
        # Its file knows when the last picture was there: the daemon's clock isn't asked by drivers.
        self._finished = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        known = {
            "approximate_pose": list(pose.shifted(camera.offset)),
            "camera_name": camera.name,
            "channel": "rgb",
            "shot_id": f"{shot:05d}",
        }
        self._write(f"{self.FILESET}/{file_id}.json", known)
        self._files.append({"id": file_id, "file": name})

    def complete(self) -> None:
        """Write what is known of the whole scan, and the list of files that makes it one."""
        request, configuration = self._request, as_json(self._request.configuration)
        about = configuration.get("Metadata")
        about = about if isinstance(about, dict) else {}
        started = request.started_at or request.scheduled_at
        scan = {
            "object": about.get("object", {}),
            "hardware": about.get("hardware", {}),
            "acquisition_date": started.isoformat(),
            "timelapsed": {
                "timelapse_id": request.timelapse_id,
                "index": request.index,
                "attempt": request.attempt,
                "scheduled": request.scheduled_at.isoformat(),
                "started": request.started_at and request.started_at.isoformat(),
                "finished": self._finished and self._finished.isoformat(timespec="seconds"),
                "software": f"{DISTRIBUTION} {_version()}",
                "configuration": configuration,
            },
        }
        self._write("metadata.json", scan)
        self._write(f"{self.FILESET}.json", {"channels": ["rgb"]})
        filesets = {"filesets": [{"id": self.FILESET, "files": self._files}]}
        (self._directory / "files.json").write_bytes(json_text.dumps(filesets))

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        (self._metadata / name).write_bytes(json_text.dumps(value))


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a source tree
        return "of unknown version"


def as_json(value: Any) -> Any:
    """Return a configuration as JSON can hold it: TOML has dates as well."""
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, datetime | date | time) else value
