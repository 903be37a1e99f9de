"""A scan's pictures and metadata laid out as PlantDB's file system database reads a scan."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.support import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.scan.pose import Pose
    from plantimager.timelapse.scan.request import ScanRequest

DISTRIBUTION: Final = "plantimager-timelapse"


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
        request, configuration = self._request, json_text.jsonable(self._request.configuration)
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
