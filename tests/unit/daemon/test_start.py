"""The start: nothing is decided before the clock can be trusted."""

from __future__ import annotations

import json
import os

import pytest
from simulation import DAY, HOUR, MINUTE, NONE, SECOND, START, Boot, End, Life
from virtual_time import FROM_RTC, UNSYNCHRONISED

from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.settings.config import ClockPolicy
from plantimager.timelapse.support import file_system

WITHOUT_NETWORK = Boot(wrong_by=-10 * DAY, evidence=UNSYNCHRONISED)
"""A Raspberry Pi boots in the past, and no network sets its clock."""


def test_nothing_is_decided_while_the_clock_is_not_trusted(rig):
    """Slots are due by the wrong clock and missed by the right one: nothing is done, and STATUS says why."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((MINUTE, Life.kill))
    before = world.places.store.read_bytes()
    life = world.live((9 * MINUTE, Life.kill), boot=WITHOUT_NETWORK)
    assert life.notices.statuses == ["clock not trusted yet (9 d 23 h before the last write), nothing is decided"]
    assert not life.notices.is_ready
    assert world.said("clock_wait")[0].endswith("nothing is decided")
    assert world.places.store.read_bytes() == before
    assert world.calls() == [("standby", NONE)]


def test_schedule_is_kept_as_soon_as_the_network_has_set_the_clock(rig):
    """Missed slots are judged by the right clock, and the setting of it is not logged."""
    world = rig()
    world.define(every=HOUR, n=3, grace=MINUTE)
    world.live((MINUTE, Life.kill))
    boot = Boot(wrong_by=-10 * DAY, evidence=UNSYNCHRONISED, ntp_after=40 * SECOND)
    life = world.live(off=90 * MINUTE, boot=boot)
    assert world.statuses() == ["skipped", "succeeded", "succeeded"]
    assert world.reasons()[0] is Reason.MISSED
    assert life.notices.is_ready
    assert world.said("clock_moved") == []


def test_clock_without_evidence_is_trusted_when_clock_wait_is_over(rig):
    """Counted from the machine's boot, so that a restart of the service alone does not wait a second time."""
    world = rig(clock_wait=10 * MINUTE)
    world.define(start=20 * MINUTE)
    boot = Boot(evidence=UNSYNCHRONISED)
    first = world.live((10 * MINUTE, Life.kill), boot=boot)
    assert first.notices.is_ready
    assert world.said("clock_trusted") == [
        "kernel: unsynchronised, but nothing better came within 10 min of boot (kernel: unsynchronised)"
    ]
    second = world.live(off=SECOND)
    assert world.said("clock_wait")[1:] == []
    assert second.ended is End.IDLE
    assert world.statuses() == ["succeeded"]


def test_clock_behind_the_last_write_is_not_trusted_even_after_clock_wait(rig):
    """It is wrong: the daemon waits until it has passed the last write."""
    world = rig(clock_wait=MINUTE)
    world.define(start=12 * HOUR)
    world.live((HOUR, Life.kill))
    world.live(boot=Boot(wrong_by=-2 * HOUR, evidence=UNSYNCHRONISED))
    first, second = [at for call, at in world.calls() if call == "standby"][:2]
    assert first == NONE, "the last write was then, too"
    assert NONE <= second < 10 * SECOND
    assert world.statuses() == ["succeeded"]


def test_operator_can_vouch_for_the_clock(rig):
    """``clock = "trust"``: no wait, whatever the kernel says."""
    world = rig(clock=ClockPolicy.TRUST)
    world.define()
    life = world.live(boot=Boot(evidence=UNSYNCHRONISED))
    assert life.notices.is_ready
    assert world.said("clock_wait") == []
    assert world.statuses() == ["succeeded"]


def test_ntp_only_waits_for_the_network_however_long_that_takes(rig):
    """Neither clock_wait nor a real-time clock is enough."""
    world = rig(clock=ClockPolicy.NTP_ONLY, clock_wait=MINUTE)
    world.define(start=6 * HOUR)
    life = world.live(boot=Boot(evidence=FROM_RTC, ntp_after=5 * HOUR))
    waited = next(index for index, text in enumerate(life.notices.sent) if text == "READY=1")
    *waiting, trusted, extended = life.notices.sent[:waited]
    assert all("not trusted" in text or "EXTEND" in text for text in waiting)
    assert (trusted.startswith("STATUS=clock trusted"), extended.startswith("EXTEND")) == (True, True)
    assert world.ledger[0].true_at >= START + 5 * HOUR
    assert world.statuses() == ["succeeded"]


def test_reload_lets_the_operator_end_the_wait_for_the_clock(rig):
    """For a person in front of a rig without network, and at once."""
    world = rig(clock=ClockPolicy.NTP_ONLY)
    world.define()

    def vouch(life):
        life.world.configure(clock=ClockPolicy.TRUST)
        life.reload()

    world.live((61 * SECOND, vouch), boot=Boot(evidence=UNSYNCHRONISED))
    assert world.said("clock_trusted") == ['clock = "trust" (kernel: unsynchronised)']
    assert world.ledger[0].true_at - START == 61 * SECOND + 20 * SECOND
    assert world.statuses() == ["succeeded"]


def test_request_is_refused_until_the_clock_can_be_trusted(rig):
    """A cancellation records its time, which can't be undone either; nothing waits invisibly."""
    world, asked = rig(), []
    world.define()
    world.live((MINUTE, Life.kill))
    boot = Boot(evidence=UNSYNCHRONISED, ntp_after=MINUTE)
    cancel = [(after, lambda life: asked.append(life.request("cancel", {}))) for after in (10 * SECOND, 70 * SECOND)]
    world.live(*cancel, boot=boot)
    early, late = (one.answers[0] for one in asked)
    assert (early.accepted, early.message.endswith("try again when timelapsectl status calls the clock trusted")) == (
        False,
        True,
    )
    assert (late.accepted, late.not_saved, world.stored().ending.who) == (True, "", "anna")


def test_temporary_files_of_writes_that_were_cut_off_are_swept_wherever_the_daemon_has_files(rig):
    """Of the store and in the archive; not a person's."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((MINUTE, Life.kill))
    store, history = world.places.store, world.places.history
    history.mkdir(exist_ok=True)
    cut_off = [
        store.with_name(f"{store.name}.ab12_xyz.tmp"),
        history / "tl.json.ab12_xyz.tmp",
    ]
    others = [history / "notes.tmp", history / "tl.json"]
    for path in (*cut_off, *others):
        path.write_bytes(b"")
        os.utime(path, (0, 0))
    world.live((MINUTE, Life.kill))
    assert [path for path in cut_off if path.exists()] == []
    assert [path for path in others if not path.exists()] == []
    assert world.said("store_swept") == ["2 temporary file(s) of a write that was cut off deleted"]


def test_requests_left_for_an_earlier_version_are_dropped_and_named(rig):
    """Nothing waits invisibly, and nothing is carried out weeks later."""
    world = rig()
    world.live((MINUTE, Life.kill))
    left = world.places.store.with_name(f"{world.places.store.name}.requests")
    left.mkdir()
    (left / "start-0a.toml").write_text("[timelapse]")
    (left / "start-0a.toml.answer").write_text("{}")
    world.live((MINUTE, Life.kill))
    assert not left.exists()
    assert world.said("request_refused") == [f"{left}: left for an earlier version: start-0a.toml"]


def test_store_whose_lock_counts_on_this_machine_alone_is_told_at_each_start_and_in_the_status(
    rig, tmp_path, monkeypatch
):
    """The daemon goes on: as a rule no other machine uses the directory."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 0:1 / / rw - nfs nas:/roots/rig rw,vers=3,nolock,local_lock=all\n")
    monkeypatch.setattr(file_system, "MOUNTS", mounts)
    world, seen = rig(), []
    world.define(every=HOUR, n=1)
    world.live((MINUTE, lambda life: seen.extend(read_live(life.world.places.store).notes)), (2 * MINUTE, Life.stop))
    note = (
        "/ is mounted with nolock: a daemon of another machine could write the same store at the same time; "
        "mount it with locks (NFS: vers=4.2), or put the storage directory on a disk of this machine"
    )
    assert (world.said("store_not_locked"), seen) == ([note], [note])


def test_storage_in_memory_is_told_at_each_start_and_in_the_status(rig, tmp_path, monkeypatch):
    """Store and datasets on one overlay are one line."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 0:1 / / rw - overlay o rw,upperdir=/rw/up\n2 1 0:2 / /rw rw - tmpfs t rw\n")
    monkeypatch.setattr(file_system, "MOUNTS", mounts)
    world, seen = rig(), []
    world.define(every=HOUR, n=2)
    world.live((MINUTE, lambda life: seen.append(read_live(life.world.places.store).notes)), (2 * MINUTE, Life.stop))
    world.live()
    note = "/ is an overlay whose changes are in memory: store and datasets will not outlive a power cut or a restart"
    assert world.said("storage_not_lasting") == [note, note]
    assert seen == [(note,)]


def test_altered_store_whose_file_has_a_time_beyond_all_dates_is_resumed(rig):
    """What it says of its last write isn't believed, and what its file says can't be."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.live((61 * MINUTE, Life.kill))
    store = world.places.store
    store.write_text(store.read_text().replace('"grace_period": 120', '"grace_period": 121'))
    os.utime(store, (10**15, 10**15))
    world.live()
    assert world.statuses() == ["succeeded"] * 2


@pytest.mark.parametrize("directory", ["/\0", "/" + "x" * 300, "/" + "x/" * 3000, "/proc/1/root/x", "/dev/null"])
def test_altered_store_with_any_directory_of_an_attempt_is_resumed(rig, directory):
    """A person may have written anything there: the start and the slots to come don't depend on it."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.live((HOUR + 10 * SECOND, Life.kill))
    store = world.places.store
    before, after = (f'"directory": {json.dumps(text)}' for text in (str(world.disk), directory))
    assert before in store.read_text()
    store.write_text(store.read_text().replace(before, after))
    world.live((2 * HOUR, Life.kill), off=5 * MINUTE)
    assert world.statuses() == ["interrupted", "succeeded"]
