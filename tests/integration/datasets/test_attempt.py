"""Datasets on a real disk."""

import errno
import json
import os
import stat
from datetime import UTC, date, datetime

import pytest
from driver_contract import make_request

from plantimager.timelapse.datasets import receipt as receipt_module
from plantimager.timelapse.datasets.attempt import begin_attempt, find_finished, unfinished_attempts
from plantimager.timelapse.datasets.plant_scan import PlantScan
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.scan.request import ScanResult
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady


@pytest.fixture
def request_(tmp_path):
    """Return a request whose dataset stands alone in a directory."""
    return make_request(tmp_path)


def take(request, *names):
    """Make a whole dataset of the files."""
    with begin_attempt(request) as attempt:
        for name in names:
            (attempt.directory / name).write_text("a picture")
        return attempt.finish(ScanResult(pictures=len(names)))


def test_an_attempt_fills_a_hidden_directory_beside_the_dataset(request_):
    """A database that reads the datasets' directory passes it by."""
    with begin_attempt(request_) as attempt:
        assert attempt.directory == request_.dataset_dir.with_name(".col0_0.attempt-1")
        assert attempt.directory.is_dir()
        assert not request_.dataset_dir.exists()


def test_an_attempt_that_left_nothing_leaves_nothing(request_, tmp_path):
    """An absent rig is asked every few seconds."""
    with begin_attempt(request_) as attempt:
        (attempt.directory / "images").mkdir()
    assert [*tmp_path.iterdir()] == []


def test_an_interrupted_attempts_pictures_stay_aside(request_, tmp_path):
    """A later attempt of the same number gets another directory."""
    for _ in range(3):
        with begin_attempt(request_) as attempt:
            (attempt.directory / "0.jpg").write_text("a picture")
    assert [path.name for path in unfinished_attempts(request_)] == [
        ".col0_0.attempt-1", ".col0_0.attempt-1.2", ".col0_0.attempt-1.3",
    ]  # fmt: skip
    take(request_, "0.jpg")
    assert len(unfinished_attempts(request_)) == 3


def test_attempts_are_told_by_number_and_oldest_first(tmp_path):
    """Ten comes after two, and another slot's are not among them."""
    for number in (10, 2, 1):
        with begin_attempt(make_request(tmp_path, attempt=number)) as attempt:
            (attempt.directory / "0.jpg").touch()
    with begin_attempt(make_request(tmp_path, index=1)) as attempt:
        (attempt.directory / "0.jpg").touch()
        (tmp_path / ".col0_0.attempt-x").mkdir()
        assert [path.name[-2:] for path in unfinished_attempts(make_request(tmp_path))] == ["-1", "-2", "10"]
        assert [path.name[-2:] for path in unfinished_attempts(make_request(tmp_path), 2)] == ["-2"]


def test_a_whole_dataset_is_recognised(request_):
    """By its receipt, which tells what the scan left."""
    assert find_finished(request_) is None
    take(request_, "0.jpg", "1.jpg")
    assert find_finished(request_) == ScanResult(pictures=2)


def test_a_rename_that_was_cut_off_is_made_good(request_, tmp_path):
    """From the receipt on the attempt is whole, wherever it stands."""
    take(request_, "0.jpg")
    request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    assert find_finished(request_) == ScanResult(pictures=1)
    assert (request_.dataset_dir / "0.jpg").exists()


@pytest.mark.parametrize("boot", ["another boot", None])
def test_after_a_power_cut_only_a_dataset_in_its_place_is_whole(request_, tmp_path, monkeypatch, boot):
    """Nobody knows which of an attempt's pictures the disk had been given."""
    take(request_, "0.jpg")
    boot_id = tmp_path / "boot_id"
    if boot:
        boot_id.write_text(boot)
    monkeypatch.setattr(receipt_module, "BOOT_ID", boot_id)
    assert find_finished(request_) == ScanResult(pictures=1)
    request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    assert find_finished(request_) is None


def test_where_the_boot_has_no_name_only_a_dataset_in_its_place_is_whole(request_, tmp_path, monkeypatch):
    """Two boots without a name need not be the same."""
    monkeypatch.setattr(receipt_module, "BOOT_ID", tmp_path / "hidden")
    take(request_, "0.jpg")
    assert find_finished(request_) == ScanResult(pictures=1)
    request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    assert find_finished(request_) is None


@pytest.mark.parametrize(
    "receipt", [b"", b"{", b"[]", b"null", b"{}", b'{"timelapse_id": "col0", "index": 0}', b"\xff", b"[" * 100_000]
)
def test_a_damaged_receipt_is_none(request_, receipt):
    """Such a dataset isn't whole, and doesn't stop anything."""
    request_.dataset_dir.mkdir()
    (request_.dataset_dir / RECEIPT).write_bytes(receipt)
    assert find_finished(request_) is None


@pytest.mark.parametrize(
    "other",
    [
        {"timelapse_id": "col1"},
        {"index": 1, "scan_id": "col0_0"},
        {"scheduled_at": datetime(2026, 6, 23, 8, tzinfo=UTC)},
    ],
)
def test_another_slots_dataset_of_the_same_name_is_not_this_one(request_, tmp_path, other):
    """It is kept under another name when this one comes to stand there."""
    take(make_request(tmp_path, **{**other, "dataset_dir": request_.dataset_dir}), "old.jpg")
    assert find_finished(request_) is None
    take(request_, "new.jpg")
    assert (request_.dataset_dir / "new.jpg").exists()
    assert (tmp_path / "col0_0.earlier-1" / "old.jpg").exists()


def test_whatever_stands_in_a_datasets_place_is_kept(request_, tmp_path):
    """A file, a dangling link, an earlier one's earlier one."""
    request_.dataset_dir.symlink_to("nowhere")
    (tmp_path / "col0_0.earlier-1").write_text("mine")
    take(request_, "0.jpg")
    assert (tmp_path / "col0_0.earlier-1").read_text() == "mine"
    assert (tmp_path / "col0_0.earlier-2").is_symlink()
    assert find_finished(request_)


def test_odd_files_do_not_hold_up_the_end(request_):
    """A program may leave links and FIFOs; nobody waits for their other end."""
    with begin_attempt(request_) as attempt:
        os.mkfifo(attempt.directory / "fifo")
        (attempt.directory / "link").symlink_to("/dev/zero")
        (attempt.directory / "deep").mkdir()
        (attempt.directory / "deep" / "0.jpg").write_text("a picture")
        attempt.finish(ScanResult())
    assert stat.S_ISFIFO((request_.dataset_dir / "fifo").lstat().st_mode)


def test_the_receipt_comes_first_and_everything_is_on_disk_before_the_rename(request_, monkeypatch):
    """A kill after the first undoes nothing; a power cut leaves a whole dataset, or none in its place."""
    order = []
    fsync, rename = os.fsync, type(request_.dataset_dir).rename

    def noted_fsync(descriptor):
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115, PTH119 - a bare text
        fsync(descriptor)

    def noted_rename(path, target):
        order.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(type(request_.dataset_dir), "rename", noted_rename)
    take(request_, "0.jpg")
    assert order[0].startswith(RECEIPT)
    assert order[1] == ".col0_0.attempt-1"
    assert set(order[2:4]) == {"0.jpg", RECEIPT}
    assert order[4:] == [".col0_0.attempt-1", "rename", request_.dataset_dir.parent.name]


def test_a_disk_that_takes_no_directory_is_waited_for(request_):
    """With the path and the reason; here, where the datasets' directory isn't one. Nothing has been begun."""
    request_.dataset_dir.parent.rmdir()
    request_.dataset_dir.parent.write_text("")
    with pytest.raises(ScannerNotReady, match=r"attempt-1: Not a directory"), begin_attempt(request_):
        pass


def test_a_disk_that_refuses_later_fails_the_attempt(request_):
    """Its pictures were taken for nothing; that one was used."""

    def lose_all() -> None:
        with begin_attempt(request_) as attempt:
            attempt.directory.rmdir()
            attempt.finish(ScanResult())

    with pytest.raises(ScanFailed, match=r"No such file or directory"):
        lose_all()


def test_an_attempt_whose_pictures_could_not_be_written_is_never_whole(request_, tmp_path, monkeypatch):
    """The kernel tells of it once; the next attempt would find nothing amiss, and take it for whole."""
    fsync = os.fsync

    def fsync_all_but_pictures(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".jpg"):  # noqa: PTH115 - a bare text
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", fsync_all_but_pictures)
        with pytest.raises(ScanFailed, match="Input/output error"):
            take(request_, "0.jpg")
    assert find_finished(request_) is None
    assert (tmp_path / ".col0_0.attempt-1" / "0.jpg").exists()


def test_a_dataset_that_can_not_come_to_its_place_is_not_whole(request_, tmp_path, monkeypatch):
    """Nobody would look for it once its slot is recorded as taken, nor find it in a hidden directory."""
    take(request_, "0.jpg")
    request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")

    def refuse(source, _):
        raise OSError(errno.EBUSY, "Device or resource busy", str(source))

    with monkeypatch.context() as disk:
        disk.setattr(type(tmp_path), "rename", refuse)
        assert find_finished(request_) is None
    assert find_finished(request_) == ScanResult(pictures=1)
    assert (request_.dataset_dir / "0.jpg").exists()


def test_a_scan_is_laid_out_as_plantdb_reads_it(tmp_path):
    """`files.json` lists the pictures; metadata of scan, fileset and files have their places."""
    request = make_request(
        tmp_path,
        configuration={"Metadata": {"object": {"sown": date(2026, 4, 1)}, "hardware": {"frame": "a table"}}},
    )
    camera = Camera(name="top", encoding="png", offset=Pose(0, 0, -100, 0, 0))
    with begin_attempt(request) as attempt:
        scan = PlantScan(attempt.directory, request)
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
    about = read("metadata/metadata.json")
    assert about["object"] == {"sown": "2026-04-01"}
    assert about["acquisition_date"] == "2026-06-22T08:00:01+00:00"
    # A `timelapse` here would send PlantDB looking for the scan in a directory of that name.
    assert "timelapse" not in about
    assert about["timelapsed"]["scheduled"] == "2026-06-22T08:00:00+00:00"
    assert about["timelapsed"]["software"].startswith("plantimager-timelapse ")
