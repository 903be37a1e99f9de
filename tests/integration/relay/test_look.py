"""Doubtful pictures are told once, by a real relay to a real receiver; what can't be looked at costs nothing."""

import base64
import io
import json
import os
import shutil
from datetime import datetime

import pytest
from looked_at import encode, put_dataset, put_files, take
from msgspec.structs import replace
from notify_rig import AHEAD, HOST, NotifyRig, local
from PIL import Image
from relay_rig import CONFIGURATION, RelayRig
from tiny_scan import configuration, definition
from waiting import wait_until

from plantimager.timelapse.channel.ledger import Ledger
from plantimager.timelapse.channel.relay_status import read_relay_status
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
from plantimager.timelapse.relay.look.look_picture import measure_picture
from plantimager.timelapse.relay.look.verdict import Judge, place_pictures
from plantimager.timelapse.relay.taken_scans import TakenScan
from plantimager.timelapse.settings.relay_config import LookSettings
from stores import HOURS, scan, store_of

SLOTS = AHEAD[:6]
DARK = encode(take(exposure=0.02))


def good():
    """Return a new picture of the same scene."""
    return encode(take())


def have(rig, n_slots):
    """Write a store in which so many slots were taken."""
    rig.write_store(store_of(*(scan(f"tl_{slot}") for slot in range(n_slots)), schedule_times=SLOTS))


def add(rig, slot, *pictures):
    """Have a slot taken with these pictures, by two cameras in turn."""
    named = {(f"camera_{n % 2}", n // 2): picture for n, picture in enumerate(pictures)}
    put_dataset(rig.place.datasets, slot, named, SLOTS[slot])
    have(rig, slot + 1)


def look_status(rig):
    """Return what the relay shows of the pictures, once there is something."""
    status = read_relay_status(rig.places.relay_state)
    return next((sink for sink in status.sinks if sink.name == "look"), None) if status is not None else None


def wait_for_look(rig, n_scans):
    """Return the doubts once so many scans were looked at."""
    words = f"pictures of {n_scans} scan{'s' * (n_scans != 1)} looked at"
    wait_until(lambda: (now := look_status(rig)) is not None and now.what == words, within=60, what=words)
    return look_status(rig).doubts


def facts(doubts):
    """Return what is compared of doubts."""
    return [(doubt.camera, doubt.verdict, doubt.slots, doubt.is_over) for doubt in doubts]


@pytest.fixture
def rig(tmp_path):
    """Return a rig whose relay does nothing else."""
    rig = RelayRig(tmp_path / "rig", "http://127.0.0.1:1")
    rig.place.configure("[relay.look]\nnight = false")
    return rig


def test_a_lamp_that_fails_is_one_message_with_the_picture_and_its_end_another(tmp_path, receiver):
    """Word by word; the slots that follow are no news, and a camera that hangs is another trouble."""
    rig = NotifyRig(tmp_path / "rig", f"json://127.0.0.1:{receiver.port}/", settings="[relay.look]\nnight = false")
    add(rig, 0, good(), good(), good(), good())
    with rig.start_and_settle() as relay:
        wait_for_look(rig, 1)
        add(rig, 1, DARK, DARK, DARK, good())
        told = receiver.next().json
        assert told["title"] == f"{HOST}: slot 1 doubtful (dark)"
        assert told["message"] == (
            f"tl: slot 1 ({local(SLOTS[1])}) doubtful: camera_0, all 2 positions: dark.\n"
            f"tl: slot 1 ({local(SLOTS[1])}) doubtful: camera_1, position 0: dark.\n"
            "Dark: nothing in the picture is lit.\n"
            "The records stay as they are: taken.\n"
            "What to do: look at the picture. Dark, bright or flat: see to lamps, lens cap and exposure; blurred: to"
            " the focus and the lens; the same as before or unreadable: switch the camera off and on.\n"
            "\n"
            f"Next slot: 2, at {local(SLOTS[2])}."
        )
        (attached,) = told["attachments"]
        with Image.open(io.BytesIO(base64.b64decode(attached["base64"]))) as thumbnail:
            assert thumbnail.convert("L").getextrema()[1] < 24  # the doubtful one
        assert "tl_1/images/camera_0-00000.jpg" in relay.wait_for("pictures_doubtful")
        add(rig, 2, DARK, DARK, good(), good())
        add(rig, 3, good(), good(), good(), good())
        told = receiver.next().json
        assert told["title"] == f"{HOST}: pictures are in order again"
        times = f"2 slots from {local(SLOTS[1])} to {local(SLOTS[2])}"
        assert told["message"] == (
            "Pictures are in order again.\n"
            f"tl: {times} were doubtful: camera_0, all 2 positions: dark.\n"
            f"tl: {times} were doubtful: camera_1, position 0: dark.\n"
            "\n"
            f"Next slot: 4, at {local(SLOTS[4])}."
        )
        relay.wait_for("pictures_in_order")
        assert receiver.requests.empty()


def test_store_and_datasets_are_as_they_were(rig):
    """A verdict is beside the record."""
    add(rig, 0, DARK, DARK)
    before = {path: path.read_bytes() for path in rig.place.storage.rglob("*") if path.is_file()}
    with rig.start():
        assert facts(wait_for_look(rig, 1)) == [("camera_0", "dark", 1, False), ("camera_1", "dark", 1, False)]
    assert before == {path: path.read_bytes() for path in rig.place.storage.rglob("*") if path.is_file()}


def test_a_relay_that_is_killed_and_one_without_a_ledger_come_to_the_same(rig):
    """Also one that was off for all of it, and one whose ledger is damaged."""
    frozen = good()
    for slot, picture in enumerate([good(), frozen, frozen, frozen]):
        add(rig, slot, picture, good())
        status = rig.places.relay_state / "relay.json"
        status.unlink(missing_ok=True)
        with rig.start() as relay:
            wait_until(status.exists, within=60, what="the first look")
            relay.process.kill()
            relay.process.wait()
    expected = [("camera_0", "same", 2, False)]
    with rig.start():
        assert facts(wait_for_look(rig, 4)) == expected
    ledger = rig.places.relay_state / "looked"
    whole = ledger.read_bytes()
    for content in (None, b"", whole[: len(whole) // 2], b"\0" * len(whole), whole.replace(b"judged", b"gudged", 1)):
        if content is None:
            ledger.unlink()
        else:
            ledger.write_bytes(content)
        (rig.places.relay_state / "relay.json").unlink()
        with rig.start():
            assert facts(wait_for_look(rig, 4)) == expected


def test_a_second_run_reads_no_picture_again(rig):
    """The ledger has what was measured, also of datasets that retention has removed since."""
    for slot, picture in enumerate([good(), DARK]):
        add(rig, slot, picture)
    with rig.start():
        before = wait_for_look(rig, 2)
    for path in rig.place.datasets.rglob("*.jpg"):
        path.unlink()
    (rig.places.relay_state / "relay.json").unlink()
    with rig.start() as relay:
        assert wait_for_look(rig, 2) == before
        relay.stop()
    assert relay.said("pictures_doubtful") == []


def test_a_damaged_line_of_the_ledger_costs_that_line_alone(rig):
    """The datasets of the others may be gone by now."""
    for slot, picture in enumerate([DARK, good()]):
        add(rig, slot, picture)
    with rig.start():
        wait_for_look(rig, 2)
    ledger = rig.places.relay_state / "looked"
    *others, last = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([*others, last[:-2] + b"?\n"]))
    shutil.rmtree(rig.place.datasets)
    (rig.places.relay_state / "relay.json").unlink()
    with rig.start() as relay:
        assert facts(wait_for_look(rig, 1)) == [("camera_0", "dark", 1, False)]
        relay.wait_for("ledger_damaged")


def test_datasets_that_are_gone_or_changed_are_no_fault(rig):
    """Somebody may have edited a picture, added one, or moved a dataset away."""
    for slot in range(4):
        add(rig, slot, good(), good())
    (rig.place.datasets / "tl_1").rename(rig.place.datasets.parent / "elsewhere")
    images = rig.place.datasets / "tl_2" / "images"
    (images / "camera_0-00000.jpg").write_bytes(b"edited")
    (images / "camera_0-00009.jpg").write_bytes(b"added")
    (images / "camera_1-00000.jpg").unlink()
    with rig.start() as relay:
        assert wait_for_look(rig, 3) == ()
        assert look_status(rig).trouble == ""
        relay.stop()
    assert relay.said("relay_failed") == []


def test_a_dataset_that_comes_later_has_its_place_in_the_order(rig):
    """As of a disk that was not mounted: what is the same as before is so in the order of the slots."""
    frozen = good()
    for slot, picture in enumerate([good(), frozen, frozen, good()]):
        add(rig, slot, picture)
    away = [rig.place.datasets / f"tl_{slot}" for slot in (0, 1)]
    for directory in away:
        directory.rename(rig.place.datasets.parent / directory.name)
    with rig.start() as relay:
        assert wait_for_look(rig, 2) == ()
        relay.stop()
    for directory in away:
        (rig.place.datasets.parent / directory.name).rename(directory)
    with rig.start() as relay:
        (doubt,) = wait_for_look(rig, 4)
        assert (doubt.verdict, doubt.slot, doubt.is_over) == ("same", 2, True)
        relay.stop()
    assert relay.said("pictures_doubtful") == []  # it is over


def test_names_of_an_operators_own_program_may_be_anything(rig):
    """Bytes that are no text as well; its pictures are compared by their order."""
    frozen = good()
    for slot, pictures in enumerate([(good(), frozen), (good(), frozen)]):
        directory = rig.place.datasets / f"tl_{slot}"
        program = {f"left_{slot}.jpg": pictures[0], f"right\n{slot}.jpg": pictures[1], os.fsdecode(b"\xff.jpg"): b""}
        put_files(rig.place.datasets, slot, program, SLOTS[slot])
        assert directory.is_dir()
    have(rig, 2)
    with rig.start() as relay:
        (doubt,) = wait_for_look(rig, 2)
        assert (doubt.camera, doubt.verdict, doubt.positions) == ("", "same", ("2 of 2",))
        assert "position 2 of 2: same" in relay.wait_for("pictures_doubtful")
        relay.stop()
    assert relay.said("relay_failed") == []


def test_a_picture_that_can_not_be_decoded_is_told_as_such(rig):
    """It was so when the scan was sealed."""
    add(rig, 0, good(), good()[:5000])
    with rig.start():
        assert facts(wait_for_look(rig, 1)) == [("camera_1", "unreadable", 1, False)]


def test_another_timelapse_begins_without_the_doubts_of_the_last(rig):
    """And its ledger without the old scans."""
    add(rig, 0, DARK)
    with rig.start():
        assert facts(wait_for_look(rig, 1)) == [("camera_0", "dark", 1, False)]
        rig.write_store(store_of(schedule_times=SLOTS, timelapse_id="next"))
        assert wait_for_look(rig, 0) == ()


def archive(rig, name="old"):
    """Archive the present store as the daemon does, and write that of the next timelapse."""
    rig.places.history.mkdir(exist_ok=True)
    ended = {**json.loads(rig.place.store.read_bytes()), "state": "completed"}
    (rig.places.history / f"{name}.json").write_text(json.dumps(ended))
    rig.write_store(store_of(schedule_times=SLOTS, timelapse_id="next"))


def test_the_last_slots_of_an_archived_timelapse_are_caught_up(tmp_path, receiver):
    """The relay was off when it ended and the next one was defined: its last pictures are told all the same, once."""
    rig = NotifyRig(tmp_path / "rig", f"json://127.0.0.1:{receiver.port}/", settings="[relay.look]\nnight = false")
    add(rig, 0, good())
    with rig.start_and_settle() as relay:
        wait_for_look(rig, 1)
        relay.stop()
    add(rig, 1, DARK)
    archive(rig)
    with rig.start_and_settle() as relay:
        assert facts(wait_for_look(rig, 2)) == [("camera_0", "dark", 1, False)]
        assert "tl: slot 1 (" in relay.wait_for("pictures_doubtful")
        told = receiver.next().json
        assert f"tl: slot 1 ({local(SLOTS[1])}) doubtful: camera_0, its position: dark." in told["message"]
        relay.stop()
    with rig.start_and_settle() as relay:  # it has its day
        assert facts(wait_for_look(rig, 2)) == [("camera_0", "dark", 1, False)]
        relay.stop()
    assert relay.said("pictures_doubtful") == []
    assert receiver.requests.empty()


def test_a_timelapse_that_is_archived_meanwhile_is_looked_at_to_its_end(rig):
    """The relay runs, and the last slot comes with the archive; what was told of it is not told again."""
    add(rig, 0, DARK)
    with rig.start() as relay:
        wait_for_look(rig, 1)
        put_dataset(rig.place.datasets, 1, {("camera_0", 0): DARK}, SLOTS[1])
        have(rig, 2)
        archive(rig)
        assert facts(wait_for_look(rig, 2)) == [("camera_0", "dark", 2, False)]
        relay.stop()
    assert len(relay.said("pictures_doubtful")) == 1


def test_archives_of_long_ago_are_not_looked_at(rig):
    """Nobody wants to hear of them when the relay is set up, nor of one again that has had its day."""
    put_dataset(rig.place.datasets, 0, {("camera_0", 0): DARK}, HOURS[0])
    rig.write_store(store_of(scan("tl_0", finished_at=HOURS[0]), schedule_times=HOURS[:1]))
    archive(rig, "long-ago")
    with rig.start() as relay:
        assert wait_for_look(rig, 0) == ()
        relay.stop()
    rig.write_store(store_of(scan("tl_0"), schedule_times=SLOTS))
    put_dataset(rig.place.datasets, 1, {("camera_0", 0): DARK}, SLOTS[1])
    have(rig, 2)
    archive(rig)
    with rig.start():
        assert facts(wait_for_look(rig, 1)) == [("camera_0", "dark", 1, False)]
    ledger = Ledger(rig.places.relay_state / "looked")
    ledger.refresh()
    (caught_up,) = [entry for key, entry in ledger.entries.items() if "old.json" in key]
    ledger.record(replace(caught_up, at="2026-06-22T00:00:00+00:00"))
    with rig.start():
        assert wait_for_look(rig, 0) == ()
    ledger.refresh()
    assert not [key for key in ledger.entries if key.startswith("tl_")]


def test_no_verdicts_are_no_look(rig):
    """Nothing is read, and the relay has no target."""
    rig.place.configure("[relay.look]\nverdicts = []")
    with rig.start() as relay:
        assert relay.wait() == 78
        assert "names no target" in relay.said("relay_config_faulty")[0]


def test_the_simulated_rig_is_not_doubtful_under_a_real_daemon(rig):
    """With pictures of its usual size, whose caption has the time."""
    rig.place.configure(
        f"{configuration().replace('image_width = 4', 'image_width = 640')}\n[relay.look]\nnight = false"
    )
    rig.place.define(definition(4).replace("[camera]\nres_x = 4\nres_y = 3", "[camera]\nres_x = 640\nres_y = 480"))
    with rig.place.start() as daemon, rig.start():
        daemon.wait_for("timelapse_completed")
        assert wait_for_look(rig, 4) == ()


@pytest.mark.parametrize("days_per_slot", [0, 0.01, 1, 30])
def test_the_simulated_rig_is_not_doubtful_however_its_plant_grows(tmp_path, days_per_slot):
    """Hardly at all, or by a month from slot to slot."""
    judge = Judge("tl", LookSettings(night=False))
    driver = SimulatedDriver({"time_per_position": 0, "days_per_slot": days_per_slot})
    for slot in range(6):
        at = datetime.fromisoformat(SLOTS[slot])
        request = make_request(tmp_path, index=slot, configuration=CONFIGURATION, scheduled_at=at)
        driver.scan(request, RecordingMonitor())
        files = [str(path.relative_to(request.dataset_dir)) for path in request.dataset_dir.glob("images/*")]
        found = [measure_picture(one, (request.dataset_dir / one.file).read_bytes()) for one in place_pictures(files)]
        assert len(found) == 4
        judge.take(TakenScan(request.scan_id, "tl", slot, at, at), found)
    assert judge.doubts == ()
