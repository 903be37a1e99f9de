"""PlantDB's own file system database reads the datasets of the drivers."""

import contextlib
import json
from datetime import datetime

import pytest
from plant_database import open_database

from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request


@pytest.fixture
def request_(tmp_path):
    """Return a request whose dataset is in a directory for a database."""
    (tmp_path / "db").mkdir()
    return make_request(tmp_path / "db")


@pytest.fixture
def database(request_):
    """Return a function that opens the database."""
    with contextlib.ExitStack() as databases:
        yield lambda: databases.enter_context(open_database(request_.dataset_dir.parent))


def scan(request, **options):
    """Scan with the simulated rig."""
    return SimulatedDriver({"time_per_position": 0, "image_width": 80, **options}).scan(request, RecordingMonitor())


def test_pictures_and_poses_are_read_back(request_, database):
    """Every picture is the same byte by byte, with the pose of its camera."""
    scan(request_)
    images = database().get_scan("col0_0").get_fileset("images")
    files = {file.id: file for file in images.get_files()}
    assert sorted(files) == [f"top-{shot:05d}" for shot in range(4)]
    poses = [files[name].get_metadata("approximate_pose") for name in sorted(files)]
    assert [tuple(round(at) for at in pose) for pose in poses] == [
        (25, 375, -100, 0, 0), (375, 25, -100, 90, 0), (725, 375, -100, 180, 0), (375, 725, -100, 270, 0),
    ]  # fmt: skip
    for name, file in files.items():
        assert file.read_raw() == (request_.dataset_dir / "images" / f"{name}.jpg").read_bytes()
        assert file.get_metadata("camera_name") == "top"
        assert file.get_metadata("channel") == "rgb"


def test_metadata_of_the_scan_is_read_back(request_, database):
    """Timelapse, slot, times, attempt, software and configuration."""
    scan(request_)
    about = database().get_scan("col0_0").get_metadata()
    assert about["object"] == {"species": "Arabidopsis thaliana"}
    ours = about["timelapsed"]
    assert {key: ours[key] for key in ("timelapse_id", "index", "attempt", "scheduled", "started")} == {
        "timelapse_id": "col0",
        "index": 0,
        "attempt": 1,
        "scheduled": "2026-06-22T08:00:00+00:00",
        "started": "2026-06-22T08:00:01+00:00",
    }
    assert ours["configuration"]["ScanPath"]["class_name"] == "Circle"
    last = max(path.stat().st_mtime for path in (request_.dataset_dir / "images").iterdir())
    assert datetime.fromisoformat(ours["finished"]).timestamp() == pytest.approx(last, abs=1)


def test_directory_of_a_failed_attempt_is_no_scan(request_, database):
    """Its pictures are kept in a hidden directory, which the database ignores."""
    with pytest.raises(Exception, match="as its options say"):
        scan(request_, fail=[0])
    assert [path.name for path in request_.dataset_dir.parent.glob(".col0_0.attempt-*")] == [".col0_0.attempt-1"]
    assert database().list_scans(owner_only=False) == []


def test_later_attempt_is_a_scan_and_the_failed_one_is_kept(request_, database):
    """Neither changes the other's pictures."""
    with pytest.raises(Exception, match="as its options say"):
        scan(request_, fail=[0])
    scan(make_request(request_.dataset_dir.parent, attempt=2))
    assert database().list_scans(owner_only=False) == ["col0_0"]
    kept = request_.dataset_dir.parent / ".col0_0.attempt-1" / "images"
    assert len([*kept.iterdir()]) == 2


def test_receipt_is_no_fileset(request_, database):
    """It is a file in the scan's directory, which PlantDB ignores."""
    scan(request_)
    assert json.loads((request_.dataset_dir / RECEIPT).read_text())["scan_id"] == "col0_0"
    assert [fileset.id for fileset in database().get_scan("col0_0").get_filesets()] == ["images"]
