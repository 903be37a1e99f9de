"""The cameras of a rig fail as real ones do; counted are pictures taken of pictures possible.

The real gphoto2 binding with libgphoto2's virtual camera, in its real process; `faulty_gphoto2` makes it fail.
"""

import io
import json
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from grbl_scans import facts_of, log_of, path_of, recorded_poses
from PIL import Image
from raw_files import nef
from waiting import wait_until

from plantimager.timelapse.drivers.cameras import process
from plantimager.timelapse.drivers.cameras.process import CameraProcess
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.grbl import path_scan
from plantimager.timelapse.drivers.grbl.hardware import GrblRig
from plantimager.timelapse.drivers.grbl.tries import Tries
from plantimager.timelapse.drivers.manual_command import ManualAction, ManualCommand, perform
from plantimager.timelapse.drivers.testing import CONFIGURATION, RecordingMonitor, make_request
from plantimager.timelapse.drivers.trial import Trial
from plantimager.timelapse.scan.request import Owner
from plantimager.timelapse.support.errors import ScanCancelled, ScanFailed, ScannerNotReady

OPTIONS = {"cameras": {"top": {"kind": "gphoto2"}}}


@pytest.fixture
def arm_that_waits_for_checks(monkeypatch):
    """Have a check be over before the next exposure, as on a quick machine."""

    class Shot(path_scan._Shot):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.next_is_due.set = lambda: None

    monkeypatch.setattr(path_scan, "_Shot", Shot)


@pytest.mark.parametrize(
    ("fault", "exposures", "retries"),
    [
        ("refuse", "2", [0, 1, 0, 0]),
        ("refuse", "1 3 4", [1, 2, 0, 0]),
        ("refuse", "1 3 5 7", [1, 1, 1, 1]),
        ("refuse", "1 2 3 4", [4, 0, 0, 0]),
        ("first", "", [1, 0, 0, 0]),
        ("short", "2", [0, 1, 0, 0]),
        ("lost", "4 5", [0, 0, 0, 2]),
        ("crash", "3", [0, 0, 1, 0]),
        ("hang", "3", [0, 0, 1, 0]),
        ("wait", "2", [0, 1, 0, 0]),
    ],
)
def test_every_picture_is_taken_with_a_camera_that_fails_now_and_then(
    rig, faults, request_, monkeypatch, arm_that_waits_for_checks, fault, exposures, retries
):
    """Four of four. What was repeated is counted in the metadata of each picture, and told with the result."""

    class Patience(Deadline):
        """Is over as soon as the camera hangs, and before that only when it is really over."""

        def passed(self):
            hangs = (faults / "hanging").exists()
            (faults / "hanging").unlink(missing_ok=True)
            return hangs or super().passed()

    monkeypatch.setattr(process, "Deadline", Patience)
    (faults / fault).write_text(exposures)
    driver, _ = rig(**OPTIONS, exposure_timeout="60s")
    result = driver.scan(request_, RecordingMonitor())
    assert result.pictures == 4
    assert [facts["retries"] for facts in facts_of(request_)] == retries
    count = sum(retries)
    assert result.note.startswith(f"{count} exposure{'s' * (count > 1)} repeated (camera top: ")


def test_webcam_that_stops_is_opened_again(rig, request_, tmp_path):
    """OpenCV plays three files as a camera, which has no frame for the fourth position: four of four."""
    for number in range(3):
        Image.new("RGB", (80, 60)).save(tmp_path / f"{number}.png")
    driver, _ = rig(cameras={"top": {"kind": "v4l2", "device": f"{tmp_path}/%d.png", "skip": 0}})
    assert driver.scan(request_, RecordingMonitor()).pictures == 4
    assert [facts["retries"] for facts in facts_of(request_)] == [0, 0, 0, 3]


FETCH = "import sys, urllib.request; open(sys.argv[2], 'wb').write(urllib.request.urlopen(sys.argv[1]).read())"


def test_camera_behind_http_that_gives_pages_and_halves_is_asked_again(rig, request_):
    """A program fetches whatever the server gives: four of four."""
    file = io.BytesIO()
    Image.radial_gradient("L").resize((640, 480)).convert("RGB").save(file, "JPEG")
    whole = file.getvalue()
    answers = iter([whole, b"<html><title>Busy</title>", whole, whole[:5000], whole, b"", whole])

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(next(answers))

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        argv = [sys.executable, "-c", FETCH, address, "{output}"]
        driver, _ = rig(cameras={"top": {"kind": "command", "argv": argv}})
        try:
            result = driver.scan(request_, RecordingMonitor())
        finally:
            server.shutdown()
    first, *others = [facts["retries"] for facts in facts_of(request_)]
    assert (first, sum(others)) == (0, 3)
    assert "a text and no picture: “Busy”" in result.note


def test_library_that_fails_after_many_exposures_is_opened_again(rig, faults, tmp_path):
    """As libgphoto2's virtual camera does of itself, at its 27th: 36 of 36 are taken."""
    path = path_of(*([float(number), 0.0, 0.0] for number in range(36)))
    (tmp_path / "datasets").mkdir()
    request = make_request(tmp_path / "datasets", configuration=path)
    driver, _ = rig(**OPTIONS)
    monitor = RecordingMonitor()
    result = driver.scan(request, monitor)
    assert result.pictures == len(recorded_poses(request)) == 36
    assert "camera top: opened again" in [note for _, _, note in monitor.recorded]
    assert len(log_of(faults, "opening")) == 2


@pytest.mark.parametrize("fault", ["short", "lost"])
def test_arm_goes_back_for_a_picture_that_was_lost_behind_it(rig, faults, request_, arm_that_waits_for_checks, fault):
    """The picture is taken where it was asked for, and the scan goes on where it was."""
    (faults / fault).write_text("2")
    driver, board = rig(**OPTIONS)
    monitor = RecordingMonitor()
    driver.scan(request_, monitor)
    notes = [note for _, _, note in monitor.recorded]
    assert any(note.endswith("going back to position 2") for note in notes)  # each step is progress
    assert "back at position 2" in notes
    first, second, third, *rest = board.goals
    assert rest[0] == second
    assert rest[1] == third
    assert len(rest) == 3
    assert first != second != third
    there = [tuple(abs(at) for at in goal[:2]) for goal in (first, second, third, rest[2])]  # the board counts down
    assert [tuple(pose[:2]) for pose in recorded_poses(request_)] == [pytest.approx(goal, abs=0.02) for goal in there]


def test_only_the_camera_that_failed_is_asked_again(rig, faults, tmp_path):
    """The picture of the other one is kept already: eight of eight, each once, in the order of positions."""
    (tmp_path / "datasets").mkdir()
    request = make_request(tmp_path / "datasets", configuration={**CONFIGURATION, "side": {}})
    (faults / "short").write_text("2")
    side = {"kind": "command", "argv": ["cp", str(tmp_path / "picture.jpg"), "{output}"]}
    driver, _ = rig(cameras={**OPTIONS["cameras"], "side": side})
    assert driver.scan(request, RecordingMonitor()).pictures == 8
    (images,) = json.loads((request.dataset_dir / "files.json").read_text())["filesets"]
    assert [file["id"] for file in images["files"]] == [
        f"{name}-{number:05d}" for number in range(4) for name in ("side", "top")
    ]
    by_name = sorted((request.dataset_dir / "metadata" / "images").iterdir())
    retries = {path.stem: json.loads(path.read_text())["timelapsed"]["retries"] for path in by_name}
    assert {name for name, count in retries.items() if count} == {"top-00001"}


@pytest.mark.parametrize(("retries", "tried"), [(0, 2), (1, 4), (2, 6)])
def test_camera_that_always_fails_is_given_up(rig, faults, request_, retries, tried):
    """After as many repetitions as the option says, and as many after the camera was opened again."""
    (faults / "refuse").write_text(" ".join(map(str, range(1, 100))))
    driver, _ = rig(**OPTIONS, exposure_retries=retries)
    monitor = RecordingMonitor()
    with pytest.raises(
        ScanFailed, match=rf"camera top: the picture was not taken: .* \(position 1, tried {tried} times"
    ):
        driver.scan(request_, monitor)
    assert (len(log_of(faults, "exposure")), len(log_of(faults, "opening"))) == (tried, 2)
    assert sum("the exposure is repeated" in note for _, _, note in monitor.recorded) == tried - 1


@pytest.mark.parametrize("config", [{"f-number": "f/99"}, {"polaroid": 1}])
def test_request_that_can_never_be_met_is_not_repeated(rig, faults, tmp_path, config):
    """Such as a setting that the camera doesn't have: nothing of it changes with the next exposure."""
    (tmp_path / "datasets").mkdir()
    configuration = {**CONFIGURATION, "top": {**CONFIGURATION["top"], "config": config}}
    driver, _ = rig(**OPTIONS)
    with pytest.raises(ScanFailed, match="tried once"):
        driver.scan(make_request(tmp_path / "datasets", configuration=configuration), RecordingMonitor())


def test_camera_that_fell_asleep_is_woken_before_the_slot(rig, faults, request_):
    """By `prepare`, which asks a camera that it holds open; so no exposure fails."""
    driver, _ = rig(**OPTIONS)
    driver.prepare()
    (faults / "asleep").touch()
    driver.prepare()
    driver.scan(request_, RecordingMonitor())
    assert [facts["retries"] for facts in facts_of(request_)] == [0, 0, 0, 0]
    assert len(log_of(faults, "opening")) == 2


def test_camera_that_fell_asleep_after_prepare_is_woken_by_the_scan(rig, faults, request_):
    """Some sleep after a minute."""
    driver, _ = rig(**OPTIONS)
    driver.prepare()
    (faults / "asleep").touch()
    assert driver.scan(request_, RecordingMonitor()).note == ""


# --- what a picture is -----------------------------------------------------------------------------


def test_picture_of_another_size_fails_at_the_first_exposure(rig, faults, tmp_path):
    """And not after three weeks; the words say what the camera gives."""
    (tmp_path / "datasets").mkdir()
    configuration = {**CONFIGURATION, "top": {"res_x": 2000, "res_y": 1500}}
    driver, _ = rig(**OPTIONS)
    with pytest.raises(ScanFailed, match="has 640 × 480 pixels, asked were 2000 × 1500"):
        driver.scan(make_request(tmp_path / "datasets", configuration=configuration), RecordingMonitor())


@pytest.mark.parametrize(
    ("size", "answers", "says"),
    [
        ({"res_x": 320, "res_y": 240}, True, "gphoto2, took a picture of 320 × 240"),
        ({}, True, "gphoto2, took a picture of 640 × 480"),
        ({"res_x": 2000}, False, "camera top: its picture has 640 × 480 pixels, asked were 2000 × any"),
    ],
)
def test_rig_check_takes_a_picture_as_the_definition_asks_for_it(rig, faults, tmp_path, size, answers, says):
    """A size that the camera doesn't give is known before the first slot."""
    driver, board = rig(**OPTIONS)
    trial = Trial(at=datetime(2026, 6, 22, tzinfo=UTC), datasets=tmp_path, owner=Owner(), monotonic=float)
    report = perform(driver, "grbl", ManualCommand(action=ManualAction.CHECK), {"top": size}, RecordingMonitor(), trial)
    (camera,) = [part for part in report.parts if part.name == "camera top"]
    assert (camera.answers, camera.says.startswith(says)) == (answers, True)
    assert board.moves == 0


def test_camera_that_falls_back_to_another_size_is_asked_again(rig, faults, tmp_path):
    """Also where the definition leaves the size to the camera; the pictures of a scan have one size."""
    (tmp_path / "datasets").mkdir()
    Image.new("RGB", (320, 240)).save(faults / "small.jpg")
    (faults / "small").write_text("3")
    request = make_request(tmp_path / "datasets", configuration={**CONFIGURATION, "top": {}})
    driver, _ = rig(**OPTIONS)
    driver.scan(request, RecordingMonitor())
    assert [facts["size"] for facts in facts_of(request)] == [[640, 480]] * 4
    assert [facts["retries"] for facts in facts_of(request)] == [0, 0, 1, 0]


@pytest.mark.parametrize("order", ["raw", "raw first", "raw late"])
def test_raw_file_beside_a_picture_is_kept_with_it(rig, faults, request_, order):
    """Whichever of the two the camera announces first; both are deleted from it when both are on disk."""
    (faults / order).write_bytes(nef())
    driver, _ = rig(**OPTIONS)
    assert driver.scan(request_, RecordingMonitor()).pictures == 4
    raws = sorted((request_.dataset_dir / "raw").iterdir())
    assert [raw.name for raw in raws] == [f"top-0000{number}.nef" for number in range(4)]
    assert all(raw.read_bytes() == nef() for raw in raws)
    deleted = [int(line.split(", ")[1].split()[0]) for line in log_of(faults, "deleting")]
    assert deleted == [2, 2, 4, 4, 6, 6, 8, 8]


def test_further_pictures_of_an_exposure_stay_on_the_camera(rig, faults, tmp_path, request_):
    """A dataset has one picture of each exposure, and nothing is deleted that has no copy."""
    (faults / "further").write_bytes((tmp_path / "vcamera" / "DCIM" / "100TEST" / "A0001.JPG").read_bytes())
    driver, _ = rig(**OPTIONS)
    assert driver.scan(request_, RecordingMonitor()).pictures == 4
    deleted = log_of(faults, "deleting")
    assert len(deleted) == 4
    assert not any("FURTHER" in line for line in deleted)


def test_camera_that_gives_raw_files_alone_is_refused_and_keeps_them(rig, faults, tmp_path, request_):
    """Pillow would take the thumbnail at its beginning for the picture."""
    (tmp_path / "vcamera" / "DCIM" / "100TEST" / "A0001.JPG").write_bytes(nef())
    driver, _ = rig(**OPTIONS)
    with pytest.raises(ScanFailed, match=r"it gives raw files .* set the camera to JPEG, or to RAW\+JPEG"):
        driver.scan(request_, RecordingMonitor())
    assert log_of(faults, "deleting") == []


def test_picture_is_deleted_from_the_camera_when_it_is_on_disk(rig, faults, request_):
    """Each time as many are on disk as are deleted from the camera."""
    driver, _ = rig(**OPTIONS)
    driver.scan(request_, RecordingMonitor())
    assert [line.split(", ")[1] for line in log_of(faults, "deleting")] == [f"{n} on disk" for n in range(1, 5)]


def test_names_of_pictures_are_durable_before_the_camera_deletes_its_own(rig, faults, request_, monkeypatch):
    """After a power cut a file without its name is lost, however durable its content."""
    (faults / "raw").write_bytes(nef())
    driver, _ = rig(**OPTIONS)

    def note(directory):
        with (faults / "log").open("a") as log:
            log.write(f"name {directory.name}\n")

    monkeypatch.setattr(path_scan, "sync_directory", note)
    driver.scan(request_, RecordingMonitor())
    deletions = (faults / "log").read_text().split("deleting")[:-1]
    assert len(deletions) == 8
    for number in range(8):
        names = "".join(deletions[: number + 1]).splitlines()
        assert min(names.count("name images"), names.count("name raw")) == number // 2 + 1


def test_picture_stays_on_the_camera_where_the_disk_is_full(rig, faults, request_, monkeypatch):
    """It is the only copy."""
    driver, _ = rig(**OPTIONS)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(path_scan, "require_free_space", full)
    with pytest.raises(ScanFailed, match="No space left"):
        driver.scan(request_, RecordingMonitor())
    assert log_of(faults, "deleting") == []


def test_metadata_says_how_each_picture_was_taken(rig, faults, tmp_path):
    """When (with the fraction of a second), where the arm stood, what was asked of the camera and what it reports."""
    (tmp_path / "datasets").mkdir()
    configuration = {**CONFIGURATION, "top": {"config": {"f-number": "f/3.5"}}}
    request = make_request(tmp_path / "datasets", configuration=configuration)
    driver, _ = rig(**OPTIONS)
    driver.scan(request, RecordingMonitor())
    first, second, *_ = facts_of(request)
    assert first["taken_at"] < first["shutter_closed_at"] < second["taken_at"]
    assert first["taken_at"].endswith("+00:00")
    assert first["settings_asked"] == {"f-number": "f/3.5"}
    assert first["settings_reported"]["f-number"] == "f/3.5"
    assert (first["size"], first["rotation"], first["format"], first["attempt"]) == ([640, 480], 0, "jpeg", 1)
    assert first["arm_pose"][:2] == pytest.approx([25, 375], abs=0.02)
    with Image.open(request.dataset_dir / "images" / "top-00000.jpg") as image:
        assert image.getexif()[0x010E] == (
            f"{request.scan_id} top 00000, attempt 1; x 25  y 375  z 0  pan 0  tilt 0; f-number f/3.5"
        )


# --- the arm does not wait for a transfer ----------------------------------------------------------


def test_arm_moves_on_while_a_picture_is_transferred(rig, faults, request_):
    """The transfer of the first picture ends when the arm has been sent on; the picture counts when it is kept."""
    (faults / "wait").write_text("1")
    driver, board = rig(**OPTIONS)
    monitor, seen = RecordingMonitor(), []

    def watch():
        while board.moves < 2:
            threading.Event().wait(0.01)
        seen.append(monitor.steps[0])
        (faults / "go").touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert driver.scan(request_, monitor).pictures == 4
    watcher.join()
    assert seen == [0]
    assert sum("transferring" in note for _, _, note in monitor.recorded) == 4
    assert [done for done, _, note in monitor.recorded if note.startswith("picture")] == [1, 2, 3, 4]


@pytest.fixture
def slow_checks(monkeypatch):
    """Have the first two pictures left in their checks when the arm is at the next position; return what ends that."""
    give, left = CameraProcess.picture, set()

    def leave(camera, number, should_stop, is_left):
        if number > 1 or number in left:
            return give(camera, number, should_stop)
        wait_until(is_left, within=60)
        left.add(number)
        return None

    monkeypatch.setattr(CameraProcess, "picture", leave)
    return lambda: monkeypatch.setattr(CameraProcess, "picture", give)


def test_check_that_was_left_is_progress_when_it_is_waited_for(rig, faults, request_, monkeypatch, slow_checks):
    """Transfer and checks may last nearly as long as the daemon waits for progress, and longer one after the other."""
    monitor, before, finish = RecordingMonitor(), [], GrblRig.finish

    def note(*arguments):
        before.append(monitor.recorded[-1][2])
        return finish(*arguments)

    monkeypatch.setattr(GrblRig, "finish", note)
    driver, _ = rig(**OPTIONS)
    assert driver.scan(request_, monitor).pictures == 4
    assert before[:2] == ["camera top: checking position 1", "camera top: checking position 2"]


def test_check_that_ends_the_process_costs_the_next_picture_none_of_its_tries(
    rig, faults, request_, monkeypatch, slow_checks
):
    """Both are taken again, but only one was at fault."""
    noted, note, finish = [], Tries.note, GrblRig.finish

    def end(own, tries, monitor):
        slow_checks()
        process, give = own.cameras["top"]._process, CameraProcess.picture

        def give_after_end(*arguments):
            if process.poll() is None:
                process.kill()
                process.wait()
            return give(*arguments)

        monkeypatch.setattr(GrblRig, "finish", finish)
        with monkeypatch.context() as during:
            during.setattr(CameraProcess, "is_open", property(lambda camera: camera._process is not None))
            during.setattr(CameraProcess, "picture", give_after_end)
            return finish(own, tries, monitor)

    monkeypatch.setattr(GrblRig, "finish", end)

    def note_cost(tries, fault, **state):
        if not fault.is_of_another:
            noted.append(str(fault))
        note(tries, fault, **state)

    monkeypatch.setattr(Tries, "note", note_cost)
    driver, _ = rig(**OPTIONS)
    assert driver.scan(request_, RecordingMonitor()).pictures == 4
    assert [facts["retries"] for facts in facts_of(request_)] == [1, 1, 0, 0]
    (fault,) = noted
    assert "its process was ended by SIGKILL" in fault


def test_fault_behind_the_arm_is_that_of_its_own_picture(rig, faults, request_):
    """The arm stands at the next position by then."""
    (faults / "lost").write_text("2 3 4 5 6 7 8 9")
    driver, _ = rig(**OPTIONS)
    with pytest.raises(ScanFailed, match=r"the picture can't be fetched: .* \(position 2, tried 6 times\)"):
        driver.scan(request_, RecordingMonitor())
    (aside,) = request_.dataset_dir.parent.glob(".*")
    assert [file.name for file in (aside / "images").iterdir()] == ["top-00000.jpg"]


def test_cancelled_scan_does_not_wait_for_a_transfer_that_hangs(rig, faults, request_, monkeypatch):
    """The daemon gives a driver half a minute to stop; what was kept stays aside."""
    monkeypatch.setattr(process, "GRACE", process.timedelta(seconds=0.2))
    (faults / "wait").write_text("2")
    driver, _ = rig(**OPTIONS, exposure_timeout="4m")
    with pytest.raises(ScanCancelled):
        driver.scan(request_, RecordingMonitor(cancel_after=1))
    assert not request_.dataset_dir.exists()


def test_camera_that_is_not_there_is_told_before_the_slot(rig, faults, tmp_path, monkeypatch):
    """No attempt is used."""
    monkeypatch.setenv("VCAMERADIR", "")
    monkeypatch.delenv("VCAMERADIR")
    driver, _ = rig(**OPTIONS)
    with pytest.raises(ScannerNotReady, match="camera top: not found"):
        driver.prepare()


@pytest.fixture
def shoot(rig, tmp_path):
    """Return a function that scans with a camera whose program has a picture, a raw file and the place to write."""
    picture, raw = tmp_path / "picture.jpg", tmp_path / "picture.nef"
    raw.write_bytes(nef())

    def scan(source, request):
        argv = ["sh", "-c", source, str(picture), str(raw), "{output}"]
        driver, _ = rig(cameras={"top": {"kind": "command", "argv": argv}})
        driver.scan(request, RecordingMonitor())

    return scan


def test_raw_file_that_a_program_writes_is_kept(shoot, request_):
    """Beside a picture it belongs to the dataset; alone it is refused, and stays aside with its attempt."""
    shoot('cp "$0" "$2"; cp "$1" "${2%.jpeg}.dng"', request_)
    raws = sorted((request_.dataset_dir / "raw").iterdir())
    assert [raw.name for raw in raws] == [f"top-0000{number}.dng" for number in range(4)]
    assert all(raw.read_bytes() == nef() for raw in raws)


@pytest.mark.parametrize(
    ("name", "left", "said"),
    [
        ("dng", "head -c 1000 tail", "1000 bytes: nothing in it says of which kind it is"),
        ("dng", "head -c 0 tail", "0 bytes: it is empty"),
        ("tmp", "head -c 1000 tail", "1000 bytes: nothing in it says of which kind it is"),
    ],
)
def test_what_is_left_of_a_raw_file_is_refused_with_its_picture(shoot, request_, tmp_path, name, left, said):
    """Nothing says what it is where its directory stood at its end, as libtiff writes it; it may be the only copy."""
    (tmp_path / "tail").write_bytes(b"II*\0" + (100_000).to_bytes(4, "little") + bytes(99_992))
    with pytest.raises(ScanFailed, match=rf"its raw file is incomplete \({said}\)"):
        shoot(f'cp "$0" "$2"; cd {tmp_path}; {left} > "${{2%.jpeg}}.{name}"', request_)
    (aside,) = request_.dataset_dir.parent.glob(".*attempt*")
    assert (aside / f"raw/top-00000.{name}").exists()  # beside that of the next position where the arm had moved on


def test_raw_file_that_lost_its_end_on_the_way_is_refused_with_its_picture(rig, faults, request_):
    """The camera keeps both."""
    (faults / "raw").write_bytes(b"")
    driver, _ = rig(**OPTIONS)
    with pytest.raises(ScanFailed, match=r"its raw file is incomplete \(0 bytes: it is empty\)"):
        driver.scan(request_, RecordingMonitor())
    assert log_of(faults, "deleting") == []


def test_other_files_beside_a_picture_are_left_out(shoot, request_, tmp_path):
    """Metadata of its program, or a whole TIFF, which is another picture."""
    Image.new("RGB", (8, 8)).save(tmp_path / "whole.tif")
    shoot(f'cp "$0" "$2"; cp {tmp_path}/whole.tif "${{2%.jpeg}}.tif"; echo "{{}}" > "${{2%.jpeg}}.json"', request_)
    assert not (request_.dataset_dir / "raw").exists()


def test_raw_file_of_a_refused_picture_is_gone_where_its_repeat_has_none(shoot, request_, tmp_path):
    """Else it would be taken for that of the picture that counts."""
    source = f'if mkdir {tmp_path}/once; then cp "$1" "$2"; else cp "$0" "$2"; fi'
    shoot(source, request_)
    assert [facts["retries"] for facts in facts_of(request_)] == [1, 0, 0, 0]
    assert list((request_.dataset_dir / "raw").iterdir()) == []


def test_picture_of_the_slot_before_is_refused(rig, tmp_path):
    """With one position a slot, no other picture could show that a program gives the same file for ever."""
    (tmp_path / "datasets").mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2026:06:22 04:00:00"
    Image.new("RGB", (80, 60)).save(tmp_path / "old.jpg", exif=exif)
    argv = ["cp", str(tmp_path / "old.jpg"), "{output}"]
    driver, _ = rig(cameras={"top": {"kind": "command", "argv": argv}})
    path = {**path_of([1.0, 0.0, 0.0]), "top": {}}
    first, second, third = (make_request(tmp_path / "datasets", configuration=path, index=n) for n in range(3))
    driver.scan(first, RecordingMonitor())
    Image.new("RGB", (40, 30)).save(tmp_path / "old.jpg", exif=exif)
    driver.scan(second, RecordingMonitor())
    with pytest.raises(ScanFailed, match="gives the file of its picture before again"):
        driver.scan(third, RecordingMonitor())


def test_raw_file_alone_that_a_program_writes_is_refused_and_kept(shoot, request_):
    """The program has deleted it from its camera; nobody else has it."""
    with pytest.raises(ScanFailed, match="it gives raw files"):
        shoot('cp "$1" "$2"', request_)
    (aside,) = request_.dataset_dir.parent.glob(".*attempt*")
    (raw,) = (aside / "raw").iterdir()
    assert (raw.name, raw.read_bytes()) == ("top-00000.raw", nef())


def test_camera_that_begins_to_turn_its_pictures_is_told_with_the_scan(rig, request_, tmp_path):
    """One that looks down turns them as it likes, and a program that obeys EXIF shows some of a scan on their side."""
    for name, orientation in (("upright", 1), ("turned", 6)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (80, 60)).save(tmp_path / f"{name}.jpg", exif=exif)
    count = tmp_path / "count"
    source = 'echo >>"$0"; if [ "$(wc -l <"$0")" -lt 3 ]; then cp "$1" "$3"; else cp "$2" "$3"; fi'
    argv = ["sh", "-c", source, str(count), str(tmp_path / "upright.jpg"), str(tmp_path / "turned.jpg"), "{output}"]
    driver, _ = rig(cameras={"top": {"kind": "command", "argv": argv}})
    note = driver.scan(request_, RecordingMonitor()).note
    assert note.count("camera top turns its pictures by 90° from position 3 on") == 1
    assert [facts["rotation"] for facts in facts_of(request_)] == [0, 0, 90, 90]
