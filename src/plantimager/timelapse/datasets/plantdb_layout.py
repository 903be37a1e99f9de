"""The layout of a scan's pictures and metadata that PlantDB's file system database reads, and its server shows."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.datasets.plantdb_metadata import (
    FILESET,
    FILESET_METADATA,
    OURS,
    picture_metadata,
    scan_metadata,
)
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.distribution import DISTRIBUTION, installed_version
from plantimager.timelapse.support.durable import read_regular, write_durably
from plantimager.timelapse.support.file_system import describe_disk_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.scan.pose import Pose
    from plantimager.timelapse.scan.request import ScanRequest

MAX_METADATA_BYTES: Final = 1 << 26
"""Of a scan; they have the whole configuration, which is at most that of the store."""


class PlantDbLayout:
    """Writer of one dataset in PlantDB's layout: `add` every picture, then `complete` it.

    ``images/`` holds the pictures, ``metadata/`` the metadata of each picture and of the scan, and ``files.json`` lists
    the pictures. `plantdb_metadata` says what the metadata have; our own are under the key ``timelapsed``.
    """

    def __init__(self, directory: Path, request: ScanRequest) -> None:
        self._directory, self._request = directory, request
        self._files: list[dict[str, str]] = []
        self._last_written: datetime | None = None
        self._metadata = directory / "metadata"
        (self._metadata / FILESET).mkdir(parents=True)
        (directory / FILESET).mkdir()

    @property
    def pictures(self) -> int:
        """Number of pictures so far."""
        return len(self._files)

    def add(
        self, camera: Camera, shot: int, pose: Pose, picture: bytes, facts: Mapping[str, Any] | None = None
    ) -> Path:
        """Write an encoded picture and its metadata; return the picture's path. Any thread.

        ``shot`` is its number (from 0) among those of its camera, ``pose`` that of the arm when it was taken. ``facts``
        are what else is known of it, JSON values.

        Raises
        ------
        OSError
            The disk refuses it.
        """
        file_id = f"{camera.name}-{shot:05d}"
        name = f"{file_id}.{camera.extension}"
        path = self._directory / FILESET / name
        path.write_bytes(picture)
        # The file's own time: drivers don't read the clock, which belongs to the daemon.
        self._last_written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        about = {
            "approximate_pose": list(pose.shifted(camera.offset)),
            "camera_name": camera.name,
            "shot_id": shot,
            **(facts or {}),
        }
        self._write_metadata(f"{FILESET}/{file_id}.json", picture_metadata(about, camera, io.BytesIO(picture)))
        self._files.append({"id": file_id, "file": name})
        return path

    def complete(self) -> None:
        """Write the metadata of the scan, and the list of its files, which makes the directory a scan for PlantDB.

        Raises
        ------
        OSError
            The disk refuses it, or a picture is not there any more.
        """
        for file in self._files:
            (self._directory / FILESET / file["file"]).stat()
        self._write_metadata("metadata.json", self._scan_metadata())
        self._write_metadata(f"{FILESET}.json", FILESET_METADATA)
        # Several threads add pictures.
        files = sorted(self._files, key=lambda file: (int(file["id"].rpartition("-")[2]), file["id"]))
        filesets = {"filesets": [{"id": FILESET, "files": files}]}
        (self._directory / "files.json").write_bytes(json_text.dumps(filesets))

    def _scan_metadata(self) -> dict[str, Any]:
        request = self._request
        ours = {
            "timelapse_id": request.timelapse_id,
            "index": request.index,
            "attempt": request.attempt,
            "scheduled": request.scheduled_at.isoformat(),
            "started": request.started_at and request.started_at.isoformat(),
            "finished": self._last_written and self._last_written.isoformat(timespec="seconds"),
            "software": f"{DISTRIBUTION} {installed_version()}",
            "configuration": request.configuration,
        }
        return scan_metadata({OURS: ours})

    def _write_metadata(self, name: str, metadata: Mapping[str, Any]) -> None:
        (self._metadata / name).write_bytes(json_text.dumps(metadata))


def add_observed(directory: Path, values: Mapping[str, Any]) -> str:
    """Add what was observed beside a scan to its metadata, if they are ours; return a note where the disk refuses it.

    The metadata are replaced as a whole, so that they are as they were then.
    """
    path = directory / "metadata" / "metadata.json"
    try:
        metadata = json_text.loads(read_regular(path, MAX_METADATA_BYTES))
        metadata[OURS]["observed"] = values
        text = json_text.dumps(metadata)
    except (OSError, ValueError, KeyError, TypeError):  # a program's own files are as it likes
        return ""
    if path.is_symlink():
        return ""
    try:
        write_durably(path, text)
    except OSError as problem:
        return f"what was observed is not in {path.name}: {describe_disk_error(problem)}"
    return ""
