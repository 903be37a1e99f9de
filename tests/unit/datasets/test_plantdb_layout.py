"""The layout that PlantDB reads."""

import json
from datetime import date

from plantimager.timelapse.datasets.attempt import begin_attempt
from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
from plantimager.timelapse.drivers.testing import make_request
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.scan.request import ScanResult


def test_pictures_list_and_metadata_have_the_places_where_plantdb_looks(tmp_path):
    """``files.json`` lists the pictures; scan, fileset and files have a metadata file each."""
    request = make_request(
        tmp_path,
        configuration={"Metadata": {"object": {"sown": date(2026, 4, 1)}, "hardware": {"frame": "a table"}}},
    )
    camera = Camera(name="top", encoding="png", offset=Pose(0, 0, -100, 0, 0))
    with begin_attempt(request) as attempt:
        scan = PlantDbLayout(attempt.directory, request)
        scan.add(camera, 0, Pose(25, 375, 0, 0, 0), b"a picture")
        scan.add(camera, 1, Pose(25, None, 0, 10.5, 0), b"another")
        scan.complete()
        attempt.finish(ScanResult(pictures=scan.pictures))

    def read(name):
        return json.loads((request.dataset_dir / name).read_text())

    assert read("files.json") == {
        "filesets": [
            {
                "id": "images",
                "files": [{"id": "top-00000", "file": "top-00000.png"}, {"id": "top-00001", "file": "top-00001.png"}],
            }
        ]
    }
    assert (request.dataset_dir / "images" / "top-00001.png").read_bytes() == b"another"
    assert read("metadata/images/top-00001.json") == {
        "approximate_pose": [25, None, -100, 10.5, 0],
        "camera_name": "top",
        "channel": "rgb",
        "shot_id": "00001",
    }
    metadata = read("metadata/metadata.json")
    assert metadata["object"] == {"sown": "2026-04-01"}
    assert metadata["acquisition_date"] == "2026-06-22T08:00:01+00:00"
    # For a scan with a `timelapse` PlantDB looks in a directory of that name.
    assert "timelapse" not in metadata
    assert metadata["timelapsed"]["scheduled"] == "2026-06-22T08:00:00+00:00"
    assert metadata["timelapsed"]["software"].startswith("plantimager-timelapse ")
