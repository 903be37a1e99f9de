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
        "shot_id": 1,
        "encoding": "png",
        "config": {},
        "offset": {"x": 0, "y": 0, "z": -100, "pan": 0, "tilt": 0},
        "format": "png",
        "rotation": 0,
    }
    metadata = read("metadata/metadata.json")
    assert metadata["object"] == {"sown": "2026-04-01"}
    assert metadata["Metadata"] == {"object": {"sown": "2026-04-01"}, "hardware": {"frame": "a table"}}
    assert metadata["acquisition_date"] == "2026-06-22 08:00:01"
    # For a scan with a `timelapse` PlantDB looks in a directory of that name.
    assert "timelapse" not in metadata
    assert metadata["timelapsed"]["scheduled"] == "2026-06-22T08:00:00+00:00"
    assert metadata["timelapsed"]["software"].startswith("plantimager-timelapse ")


def test_secrets_stay_out_of_the_dataset_at_any_depth(tmp_path):
    """Datasets are delivered and shared; what is no secret stays, whatever it is called."""
    secrets = {"api_token": "s3cret", "Password": "s3cret", "camera-token": {"a": "s3cret"}, "API-Key": ["s3cret"]}
    harmless = {"secretary": "ann", "tokens": 3, "passage": 2, "keys": [1]}
    metadata = {"object": {"beds": [{**secrets, **harmless}], **secrets}, "hardware": [[secrets, {"a": [secrets]}]]}
    configuration = {"Metadata": metadata, "top": {"config": {"url": "rtsp://rig", "password": "s3cret"}}}
    request = make_request(tmp_path, configuration=configuration)
    with begin_attempt(request) as attempt:
        layout = PlantDbLayout(attempt.directory, request)
        layout.add(Camera(name="top"), 0, Pose(), b"a picture")
        layout.complete()
        attempt.finish(ScanResult())
    text = b"".join(path.read_bytes() for path in request.dataset_dir.rglob("*") if path.is_file())
    assert b"s3cret" not in text
    assert json.loads((request.dataset_dir / "metadata" / "metadata.json").read_bytes())["object"] == {
        "beds": [harmless]
    }
