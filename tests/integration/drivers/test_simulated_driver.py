"""The simulated driver: its pictures, and how it fails, stalls and is absent."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from PIL import Image
from PIL.ExifTags import IFD, Base

from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.testing import CONFIGURATION, RecordingMonitor, make_request
from plantimager.timelapse.scan.request import ScanResult
from plantimager.timelapse.support.errors import FaultsFound, ScanCancelled, ScanFailed, ScannerNotReady

FAST = {"time_per_position": 0, "image_width": 80}


def scan(request, **options):
    """Scan without waiting."""
    driver = SimulatedDriver({**FAST, **options})
    return driver.scan(request, RecordingMonitor())


def pixels(request, name="top-00000.jpg"):
    """Return the pixels of a picture."""
    with Image.open(request.dataset_dir / "images" / name) as picture:
        return picture.convert("RGB").tobytes()


def test_each_camera_takes_a_real_picture_at_each_position(tmp_path):
    """In its resolution, scaled down, and in its encoding."""
    cameras = {
        "left": {"res_x": 2000, "res_y": 1500, "encoding": "jpeg"},
        "right": {"res_x": 40, "res_y": 40, "encoding": "png"},
        "top": {"res_x": 800, "res_y": 400, "encoding": "tiff"},
    }
    request = make_request(tmp_path, configuration={"ScanPath": CONFIGURATION["ScanPath"], **cameras})
    assert scan(request) == ScanResult(pictures=12)
    found = {}
    for path in (request.dataset_dir / "images").iterdir():
        with Image.open(path) as picture:
            picture.load()
            found[path.name] = (picture.format, picture.size)
    assert len(found) == 12
    assert found["left-00003.jpg"] == ("JPEG", (80, 60))
    assert found["right-00000.png"] == ("PNG", (40, 40))
    assert found["top-00001.tif"] == ("TIFF", (80, 40))


def test_without_a_configuration_the_usual_rig_is_simulated(tmp_path):
    """36 positions and two cameras; the oldest stores have no configuration."""
    monitor = RecordingMonitor()
    request = make_request(tmp_path, configuration={})
    result = SimulatedDriver({**FAST, "image_width": 16}).scan(request, monitor)
    assert result == ScanResult(pictures=72)
    assert (72, 72, "picture 72 of 72") in monitor.recorded
    assert (72, 72, "putting file 147 of 147 on disk") in monitor.recorded
    assert (72, 72, "putting the receipt on disk") in monitor.recorded


def test_plant_grows_and_turns(tmp_path):
    """Pictures differ by age and by position, and are the same for the same of both."""

    def taken(index, **changes):
        request = make_request(tmp_path, index=index, **changes)
        scan(request, days_per_slot=5)
        return request

    young, old = taken(0), taken(3)
    assert pixels(young) != pixels(old)
    assert pixels(old) != pixels(old, "top-00001.jpg")
    assert pixels(old) == pixels(taken(3, dataset_dir=tmp_path / "again"))


@pytest.mark.parametrize(
    ("options", "timelapse", "days"),
    [
        ({}, {"start_at": "2026-06-20T20:00:00+00:00"}, 1.5),
        ({}, {"start_at": "2026-06-20T22:00:00+02:00"}, 1.5),
        ({}, {"start_at": "2030-01-01T00:00:00+00:00"}, 0),
        ({"days_per_slot": 0.5}, {"start_at": "2026-06-20T20:00:00+00:00"}, 2),
        ({}, {"start_at": "2026-06-20T20:00:00"}, 4),
        ({}, {"start_at": "soon"}, 4),
        ({}, {"start_at": 3}, 4),
        ({}, {}, 4),
        ({}, "never", 4),
    ],
)
def test_age_of_the_plant_is_that_of_the_timelapse(tmp_path, options, timelapse, days):
    """Since the start in the configuration, else by the number of the slot."""
    request = make_request(tmp_path, index=4, configuration={"timelapse": timelapse})
    assert SimulatedDriver(options)._age(request) == timedelta(days=days)


def test_driver_waits_only_at_the_monitor(tmp_path):
    """So a test decides how long that takes, and a cancelled scan ends at once."""

    class Hurried(RecordingMonitor):
        waited = ()

        def wait(self, seconds):
            self.waited += (seconds,)
            return self.cancelled

    monitor = Hurried()
    SimulatedDriver({"image_width": 16, "time_per_position": "2h"}).scan(make_request(tmp_path), monitor)
    assert monitor.waited == (7200,) * 4


def test_slot_fails_as_often_as_the_options_say(tmp_path):
    """Half-way, and its pictures are kept; a later attempt succeeds."""
    request = make_request(tmp_path, index=2)
    for attempt in (1, 2):
        with pytest.raises(ScanFailed, match="slot 2"):
            scan(replace(request, attempt=attempt), fail=[2, 5], fail_attempts=2)
    assert scan(replace(request, attempt=3), fail=[2, 5], fail_attempts=2) == ScanResult(pictures=4)
    assert len([*(tmp_path / ".col0_2.attempt-1" / "images").iterdir()]) == 2


def test_slot_stalls_until_it_is_cancelled(tmp_path):
    """It reports nothing more, as a camera that hangs."""
    monitor, request = RecordingMonitor(cancel_after=2), make_request(tmp_path)
    with pytest.raises(ScanCancelled, match="stalled"):
        SimulatedDriver({**FAST, "stall": [0]}).scan(request, monitor)
    assert len(monitor.recorded) == 2
    assert scan(replace(request, attempt=2), stall=[0], stall_attempts=1) == ScanResult(pictures=4)


def test_deaf_stall_can_not_be_cancelled(tmp_path):
    """Only the end of the process ends it; here, `close`."""

    class Closed(threading.Event):
        waited_at = threading.Event()

        def wait(self, timeout=None):
            self.waited_at.set()
            return super().wait(timeout)

    driver, monitor = SimulatedDriver({**FAST, "stall": [0], "deaf": True}), RecordingMonitor(cancel_after=2)
    driver._closed = Closed()
    outcome = []

    def rig_thread():
        try:
            driver.scan(make_request(tmp_path), monitor)
        except ScanCancelled as cancelled:
            outcome.append(cancelled)

    thread = threading.Thread(target=rig_thread, daemon=True)
    thread.start()
    assert Closed.waited_at.wait(60)
    assert monitor.cancelled
    assert outcome == []
    driver.close()
    thread.join(60)
    assert len(outcome) == 1


def test_rig_can_be_absent_at_the_start(tmp_path):
    """As one that is still booting; the wall clock doesn't matter."""
    driver = SimulatedDriver({**FAST, "absent_for": "1h"})
    with pytest.raises(ScannerNotReady):
        driver.prepare()
    with pytest.raises(ScannerNotReady):
        driver.scan(make_request(tmp_path), RecordingMonitor())
    driver._arrival.function()  # the hour is over
    driver.prepare()
    driver.close()


def test_faulty_path_fails_the_scan(tmp_path):
    """With the faults that a check of the definition reports."""
    request = make_request(tmp_path, configuration={"ScanPath": {"class_name": "Circle", "kwargs": {"radius": -1}}})
    with pytest.raises(ScanFailed, match=r"\[ScanPath.kwargs\] center_x: required.*; .*radius = -1"):
        scan(request)


def test_check_uses_the_reach_of_the_usual_gantry():
    """A first definition is checked against the reach of most rigs."""
    far = {"class_name": "Line", "kwargs": dict.fromkeys(("x_0", "y_0", "z_0", "y_1", "z_1", "pan", "tilt"), 0)}
    far["kwargs"] |= {"x_1": 800, "n_points": 2}
    (fault,) = SimulatedDriver({}).check({"ScanPath": far})
    assert "leaves the gantry's 0-740 mm" in str(fault)
    assert list(SimulatedDriver({}).check({})) == []


def test_all_faults_of_the_options_are_reported():
    """With key, value and what is allowed."""
    options = {
        "time_per_position": "1 sec", "image_width": -1, "days_per_slot": 5000, "fail": 3, "fail_attempts": 0,
        "stall": ["3"], "deaf": 1, "absent": [True], "absent_for": -1, "imagewidth": 3,
    }  # fmt: skip
    with pytest.raises(FaultsFound) as caught:
        SimulatedDriver(options)
    assert {fault.key for fault in caught.value.faults} == set(options)


def test_captions_have_slot_age_camera_and_pose(tmp_path, monkeypatch):
    """A picture that was copied elsewhere still says what it is."""
    from plantimager.timelapse.drivers import painted_plant  # noqa: PLC0415 - what the driver imports late

    captions = []
    monkeypatch.setattr(painted_plant, "paint", lambda *asked: captions.append(asked[2]) or b"a picture")
    scan(make_request(tmp_path, index=3, scheduled_at=datetime(2026, 6, 24, 20, tzinfo=UTC)))
    assert captions[1] == (
        "col0   slot 3   day 2.5   2026-06-24 20:00:00 UTC",
        "top   x 375  y 25  z -100  pan 90°  tilt 0°",
    )


@pytest.mark.parametrize("encoding", ["jpeg", "png", "tiff"])
def test_each_picture_knows_when_and_where_it_was_taken(tmp_path, encoding):
    """In its metadata, and the essentials in its EXIF, as with a real rig."""
    top = {"res_x": 64, "res_y": 48, "encoding": encoding, "config": {"iso": 100}}
    request = make_request(tmp_path, configuration={"ScanPath": CONFIGURATION["ScanPath"], "top": top}, attempt=2)
    request = replace(request, started_at=datetime(2026, 6, 22, 8, 0, 1, tzinfo=UTC))
    scan(request)
    facts = json.loads((request.dataset_dir / "metadata" / "images" / "top-00001.json").read_text())["timelapsed"]
    assert (facts["attempt"], facts["retries"], facts["rotation"], facts["size"]) == (2, 0, 0, [64, 48])
    assert (facts["settings_asked"], len(facts["arm_pose"])) == ({"iso": 100}, 5)
    assert timedelta(0) <= datetime.fromisoformat(facts["taken_at"]) - request.started_at < timedelta(hours=1)
    (picture,) = (request.dataset_dir / "images").glob("top-00001.*")
    with Image.open(picture) as image:
        exif, times = image.getexif(), image.getexif().get_ifd(IFD.Exif)
    assert exif[Base.ImageDescription].startswith(f"{request.scan_id} top 00001, attempt 2; x ")
    assert times[Base.DateTimeOriginal].startswith("2026:06:22 ")
