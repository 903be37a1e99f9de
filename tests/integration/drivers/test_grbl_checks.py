"""A picture's check goes on behind the next exposure, where it isn't over by then, and costs no other picture.

`faulty_gphoto2` holds a check until the camera is asked for the next exposure; so a driver that waited for the check
would wait in vain.
"""

import io
import json
import threading

import pytest
from grbl_scans import facts_of, log_of, recorded_poses
from PIL import Image
from PIL.ExifTags import IFD, Base
from raw_files import nef, tiled_tiff

from plantimager.timelapse.drivers.cameras import process
from plantimager.timelapse.drivers.cameras.base import CameraFault, CameraPicture, Exposure
from plantimager.timelapse.drivers.cameras.pictures import judge
from plantimager.timelapse.drivers.grbl.tries import Tries
from plantimager.timelapse.drivers.testing import CONFIGURATION, RecordingMonitor, make_request
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.support.errors import ScanFailed

TOP = {"cameras": {"top": {"kind": "gphoto2"}}}


@pytest.fixture(autouse=True)
def no_check_hangs_for_long(monkeypatch):
    """Have a driver that waits in vain fail soon."""
    monkeypatch.setattr(process, "JUDGE_TIMEOUT", process.timedelta(seconds=30))


def retries(request):
    """Return how often each picture was repeated."""
    return [facts["retries"] for facts in facts_of(request)]


def test_next_exposure_does_not_wait_for_a_check(rig, faults, request_):
    """Four of four, none repeated, each counted once it is kept."""
    (faults / "check").write_text("1 2 3")
    driver, board = rig(**TOP)
    monitor = RecordingMonitor()
    assert driver.scan(request_, monitor).note == ""
    assert retries(request_) == [0, 0, 0, 0]
    assert len(board.goals) == 4
    assert [done for done, _, note in monitor.recorded if note.startswith("picture")] == [1, 2, 3, 4]


def test_one_picture_of_a_camera_at_most_is_left_in_its_check(rig, faults, request_):
    """No exposure begins before the check of the last but one is over."""
    (faults / "check").write_text("1 2 3")
    driver, _ = rig(**TOP)
    driver.scan(request_, RecordingMonitor())
    steps = [line for line in (faults / "log").read_text().splitlines() if line in ("exposure", "checked")]
    for at, step in enumerate(steps):
        if step == "exposure":
            assert steps[:at].count("exposure") - steps[:at].count("checked") <= 1


@pytest.mark.parametrize("fault", ["short", "small"])
def test_arm_stays_where_a_check_has_failed_behind_the_exposure(rig, faults, tmp_path, fault):
    """At the next position, whether it is known in the process of the camera or only by the picture before."""
    (tmp_path / "datasets").mkdir()
    request = make_request(tmp_path / "datasets", configuration={**CONFIGURATION, "top": {}})
    (faults / "check").write_text("2")
    (faults / "long").write_text("3")
    (faults / fault).write_text("2")
    Image.new("RGB", (320, 240)).save(faults / "small.jpg")
    driver, board = rig(**TOP)
    assert driver.scan(request, RecordingMonitor()).pictures == 4
    first, second, third, *_, fourth = board.goals
    assert board.goals == [first, second, third, second, fourth]
    assert retries(request) == [0, 1, 0, 0]


def test_arm_stays_where_the_check_of_one_of_two_cameras_has_failed(rig, faults, tmp_path):
    """The other camera's picture of that position is kept, and none is taken twice."""
    (tmp_path / "datasets").mkdir()
    request = make_request(tmp_path / "datasets", configuration={**CONFIGURATION, "side": {}})
    (faults / "check").write_text("2")
    (faults / "long").write_text("3")
    (faults / "short").write_text("2")
    argv = ["cp", str(tmp_path / "picture.jpg"), "{output}"]
    driver, board = rig(cameras={**TOP["cameras"], "side": {"kind": "command", "argv": argv}})
    assert driver.scan(request, RecordingMonitor()).pictures == 8
    assert board.goals == [*board.goals[:3], board.goals[1], board.goals[-1]]
    metadata = {file.stem: json.loads(file.read_text()) for file in (request.dataset_dir / "metadata/images").iterdir()}
    assert {name for name, about in metadata.items() if about["timelapsed"]["retries"]} == {"top-00001"}


def test_arm_goes_back_where_a_check_fails_when_it_has_left_the_next_position(rig, faults, request_):
    """From the position after that, the first after the fault is known, and the scan goes on where it was."""
    (faults / "check long").write_text("2")
    (faults / "short").write_text("2")
    driver, board = rig(**TOP)
    monitor = RecordingMonitor()

    is_over = threading.Event()

    def end_check():
        while len(board.goals) < 4 and not is_over.wait(0.01):
            pass
        (faults / "check go").touch()

    watcher = threading.Thread(target=end_check)
    watcher.start()
    try:
        assert driver.scan(request_, monitor).pictures == 4
    finally:
        is_over.set()
        watcher.join()
    first, second, third, fourth = board.goals[:4]
    assert board.goals == [first, second, third, fourth, second, fourth]
    assert retries(request_) == [0, 1, 0, 0]
    assert "back at position 2" in [note for _, _, note in monitor.recorded]
    there = [tuple(abs(at) for at in goal[:2]) for goal in (first, second, third, fourth)]  # the board counts down
    assert [tuple(pose[:2]) for pose in recorded_poses(request_)] == [pytest.approx(goal, abs=0.02) for goal in there]


def test_picture_in_its_check_is_kept_where_the_next_exposure_fails(rig, faults, request_):
    """Also where the camera has to be opened again for that one, which would lose it."""
    (faults / "check").write_text("1 2")
    (faults / "refuse").write_text("3 4 5")
    driver, _ = rig(**TOP)
    driver.scan(request_, RecordingMonitor())
    assert retries(request_) == [0, 0, 3, 0]
    assert len(log_of(faults, "opening")) == 2


def test_picture_in_its_check_is_taken_again_where_the_next_exposure_ends_the_process(rig, faults, request_):
    """The fault of another one costs it none of its own tries."""
    (faults / "check").write_text("2")
    (faults / "crash").write_text("3")
    driver, _ = rig(**TOP, exposure_retries=0)
    note = driver.scan(request_, RecordingMonitor()).note
    assert retries(request_) == [0, 1, 1, 0]
    assert note.startswith("2 exposures repeated (")
    assert "camera top: its process was ended by SIGABRT" in note
    assert "camera top: its picture was lost with its process, which ended before the picture was checked" in note


def test_check_that_ends_the_process_in_the_next_exposure_costs_that_none_of_its_tries(rig, faults, request_):
    """That one's exposure had begun, and is refused when it is repeated: it has that try still."""
    (faults / "check").write_text("2")
    (faults / "check fatal").write_text("2")
    (faults / "long").write_text("3")
    (faults / "refuse").write_text("4")
    driver, _ = rig(**TOP, exposure_retries=0)
    note = driver.scan(request_, RecordingMonitor()).note
    assert retries(request_) == [0, 1, 2, 0]
    assert len(log_of(faults, "opening")) == 4
    assert "camera top: its process was ended by SIGABRT" in note
    assert "camera top: its picture was lost with its process, which ended before the picture was checked" in note


@pytest.mark.parametrize(("allowed", "tried"), [(0, 2), (1, 4), (2, 6)])
def test_picture_that_fails_its_check_is_repeated_as_often_as_any(rig, faults, request_, allowed, tried):
    """The option, the opening, the option again; the words name its own position, and the later ones are kept."""
    (faults / "check").write_text("2")
    (faults / "short").write_text(" ".join(map(str, (2, *range(4, 100)))))
    driver, _ = rig(**TOP, exposure_retries=allowed)
    with pytest.raises(ScanFailed, match=rf"its picture is incomplete .* \(position 2, tried {tried} times\)"):
        driver.scan(request_, RecordingMonitor())
    assert len(log_of(faults, "opening")) == 2
    (aside,) = request_.dataset_dir.parent.glob(".*")
    kept = sorted(file.name for file in (aside / "images").iterdir())
    assert kept == [f"top-0000{number}.jpg" for number in (0, 2)]


def test_camera_deletes_no_file_that_is_still_in_its_check(rig, faults, request_):
    """Those of one picture are deleted when it is on disk, and another one that has got their name isn't."""
    (faults / "check").write_text("1 2 3")
    (faults / "same name").touch()
    driver, _ = rig(**TOP)
    driver.scan(request_, RecordingMonitor())
    # The first three have the name of one that is in its check.
    assert log_of(faults, "deleting") == ["deleting CAPT0000.JPG, 4 on disk"]


def test_both_files_of_an_exposure_are_deleted_after_its_own_check(rig, faults, request_):
    """However late that is over."""
    (faults / "check").write_text("1 2 3")
    (faults / "raw").write_bytes(nef())
    driver, _ = rig(**TOP)
    driver.scan(request_, RecordingMonitor())
    deleted = [int(line.split(", ")[1].split()[0]) for line in log_of(faults, "deleting")]
    assert deleted == [2, 2, 4, 4, 6, 6, 8, 8]


def test_dng_that_was_cut_beside_its_picture_is_refused_and_stays_on_the_camera(rig, faults, request_):
    """The camera has the only whole one."""
    (faults / "raw").write_bytes(tiled_tiff(Image.new("L", (32, 32)), is_dng=True)[:-1])
    driver, _ = rig(**TOP, exposure_retries=0)
    with pytest.raises(ScanFailed, match="camera top: its raw file is incomplete"):
        driver.scan(request_, RecordingMonitor())
    assert log_of(faults, "deleting") == []


def test_two_cameras_fail_at_two_positions(rig, faults, tmp_path):
    """One in its check, the other at once: each picture is taken where it was asked for."""
    (tmp_path / "datasets").mkdir()
    request = make_request(tmp_path / "datasets", configuration={**CONFIGURATION, "side": {}})
    (faults / "check").write_text("2")
    (faults / "short").write_text("2")
    count = tmp_path / "count"
    source = 'echo >>"$0"; test "$(wc -l <"$0")" -ne 4 && cp "$1" "$2"'
    argv = ["sh", "-c", source, str(count), str(tmp_path / "picture.jpg"), "{output}"]
    driver, _ = rig(cameras={**TOP["cameras"], "side": {"kind": "command", "argv": argv}})
    assert driver.scan(request, RecordingMonitor()).pictures == 8
    metadata = {file.stem: json.loads(file.read_text()) for file in (request.dataset_dir / "metadata/images").iterdir()}
    assert {name for name, about in metadata.items() if about["timelapsed"]["retries"]} == {"top-00001", "side-00003"}
    for number in range(4):
        top, side = (metadata[f"{name}-0000{number}"]["timelapsed"]["arm_pose"] for name in ("top", "side"))
        assert top == side


@pytest.mark.parametrize("orientation", [1, 6])
def test_size_of_the_pictures_before_is_that_of_their_files(orientation):
    """Also of a TIFF on its side, which Pillow turns."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "TIFF", tiffinfo={274: orientation})
    exposure = Exposure(None, None, "tiff", {}, 20.0)
    picture = CameraPicture(*judge(file.getvalue(), exposure))
    Tries(Camera(name="top"), 0, earlier={"top": picture}).compare_with_earlier(picture)
    others = {"top": CameraPicture(b"", {"size": [640, 480]})}
    with pytest.raises(CameraFault, match="has 64 × 48 pixels, those before had 640 × 480; has it fallen back"):
        Tries(Camera(name="top"), 0, earlier=others).compare_with_earlier(picture)


@pytest.fixture
def dated(tmp_path):
    """Return the path of a picture whose EXIF says when it was taken."""
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = "2026:06:22 08:00:00"
    Image.new("RGB", (80, 60)).save(tmp_path / "dated.jpg", exif=exif)
    return tmp_path / "dated.jpg"


def test_picture_that_is_the_one_before_is_taken_again(rig, request_, dated, tmp_path):
    """A server answers from its cache each second time: four of four, all different."""
    count = tmp_path / "count"
    source = 'echo >>"$0"; { cat "$1"; echo $(($(wc -l <"$0") / 2)); } >"$2"'
    driver, _ = rig(
        cameras={"top": {"kind": "command", "argv": ["sh", "-c", source, str(count), str(dated), "{output}"]}}
    )
    note = driver.scan(request_, RecordingMonitor()).note
    assert "camera top: it gives the file of its picture before again; switch it off and on" in note
    assert sum(retries(request_)) >= 2
    assert len({path.read_bytes()[-2:] for path in (request_.dataset_dir / "images").iterdir()}) == 4


def test_camera_that_gives_the_picture_before_for_ever_is_given_up(rig, request_, dated):
    """Opening it again doesn't make the same file a new picture."""
    driver, _ = rig(cameras={"top": {"kind": "command", "argv": ["cp", str(dated), "{output}"]}})
    with pytest.raises(ScanFailed, match=r"the file of its picture before again; .* \(position 2, tried 6 times\)"):
        driver.scan(request_, RecordingMonitor())


def test_equal_pictures_that_say_nothing_of_their_time_count(rig, request_):
    """As those of a stand-in, or of a camera that shows nothing but black."""
    driver, _ = rig()
    assert driver.scan(request_, RecordingMonitor()).note == ""
