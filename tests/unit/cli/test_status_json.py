"""`timelapsectl status --json`: stable keys for programs."""

import json
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from plantimager.timelapse.channel.live import LiveStatus
from plantimager.timelapse.cli import status, status_json
from plantimager.timelapse.cli.snapshot import RunningDaemon, StatusSnapshot
from plantimager.timelapse.cli.snapshot_source import SnapshotSource
from plantimager.timelapse.cli.status_json import snapshot_as_json
from plantimager.timelapse.domain.pausing import begin_pause
from plantimager.timelapse.settings.places import find_places


def keys_of(value):
    """Yield every key of an object and of those within it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def test_store_that_can_not_be_written_is_told_from_other_troubles(snapshot):
    """Whoever waits for a gap must not end such a daemon: only it knows the last slots."""
    daemon = RunningDaemon(pid=7, says=LiveStatus(degraded="no space left on device"))
    facts = snapshot_as_json(replace(snapshot, daemon=daemon), 0)
    assert facts["daemon"]["degraded"] == "no space left on device"


def test_json_has_the_facts_of_the_screen(snapshot):
    """Counts, next slot, times in UTC, durations in seconds."""
    facts = snapshot_as_json(snapshot, 2)
    assert facts["timelapse"] | {} == {
        "id": "col0_ld",
        "mode": "interval",
        "state": "scheduled",
        "n_slots": 48,
        "done": 17,
        "taken": 15,
        "failed": 1,
        "skipped": 1,
        "interrupted": 0,
        "first_at": "2026-06-22T06:00:00+00:00",
        "last_at": "2026-06-23T05:30:00+00:00",
        "next_slot": 17,
        "next_at": "2026-06-22T14:30:00+00:00",
        "interval_sec": 1800.0,
        "warmup_sec": 30.0,
        "standby_threshold_sec": 600.0,
        "grace_sec": 120.0,
        "on_scan_failed": "skip_scan",
        "scan_retries": 1,
        "pause": None,
        "ending": None,
    }
    assert [record["slot"] for record in facts["records"]] == [16, 15]
    assert (
        facts["records"][1].items()
        >= {
            "slot": 15,
            "scan_id": "col0_ld_15",
            "scheduled_at": "2026-06-22T13:30:00+00:00",
            "status": "succeeded",
            "attempt": 2,
            "interruptions": 0,
            "started_at": "2026-06-22T13:31:40+00:00",
            "finished_at": "2026-06-22T13:38:08+00:00",
            "took_sec": 388.0,
            "late_sec": 100.0,
            "pictures": 72,
            "reason": None,
            "error": None,
            "last_error": "camera time-out",
        }.items()
    )
    assert facts["scanning"] is None
    assert facts["daemon"] == {
        "pid": 1234,
        "up_since": "2026-06-22T13:08:00+00:00",
        "status": "",
        "driver": "command",
        "degraded": None,
    }
    assert facts["clock"] == {"trusted": True, "synchronised": True, "set_from_rtc": False}
    assert (facts["rig"], facts["boots"], facts["troubles"]) == ("standby", 3, [])


def test_next_slot_in_a_pause_is_the_one_that_the_screen_names(snapshot):
    """One that the pause skips is not taken."""
    now, timelapse = snapshot.at, snapshot.timelapse
    for until, following in ((timelapse.schedule_times[20], 20), (None, None)):
        paused = replace(snapshot, timelapse=begin_pause(timelapse, now, "anna", until))
        facts = snapshot_as_json(paused, 0)["timelapse"]
        at = None if following is None else timelapse.schedule_times[following].isoformat()
        assert (facts["next_slot"], facts["next_at"]) == (following, at)


def test_running_scan_is_there_only_while_a_daemon_takes_it(scanning):
    """A store alone may say "running" long after its daemon's end."""
    taken = {"slot": 17, "scan_id": "col0_ld_17", "attempt": 1, "done": 17, "total": 36}
    assert snapshot_as_json(scanning, 0)["scanning"] == taken
    assert snapshot_as_json(replace(scanning, daemon=None), 0)["scanning"] is None


def test_object_has_the_same_keys_without_a_timelapse(snapshot):
    """A program may read a key without testing for it."""
    empty = StatusSnapshot(at=snapshot.at, store=snapshot.store, evidence=snapshot.evidence)
    assert snapshot_as_json(empty, 10).keys() == snapshot_as_json(snapshot, 10).keys()
    assert snapshot_as_json(empty, 10)["timelapse"] is None


def test_every_key_is_documented(scanning):
    """The module's docstring is the reference."""
    ended = replace(scanning, timelapse=scanning.timelapse.cancel(scanning.at, "ann", "done"))
    keys = {*keys_of(snapshot_as_json(scanning, 10)), *keys_of(snapshot_as_json(ended, 10))}
    assert keys <= set(re.findall(r"\w+", status_json.__doc__))


def test_object_is_plain_json(scanning):
    """Written and read again it is the same."""
    assert json.loads(json.dumps(snapshot_as_json(scanning, 48))) == snapshot_as_json(scanning, 48)


def test_object_has_no_secret_of_the_store(snapshot):
    """Texts that repeat it are redacted, in records and in the ending."""
    ended = snapshot.timelapse.cancel(snapshot.at, "s3cr3t", "why s3cr3t")
    facts = snapshot_as_json(replace(snapshot, timelapse=ended, secrets=("s3cr3t",)), 48)
    assert "s3cr3t" not in json.dumps(facts)


def test_any_number_of_records_may_be_asked_for(snapshot):
    """A program that wants all of them may write a number that no store reaches."""
    assert len(snapshot_as_json(snapshot, 10**20)["records"]) == 17


@pytest.fixture
def follow(monkeypatch, screen, tmp_path):
    """Return a function that follows a rig through these snapshots until Ctrl-C, and returns the written lines."""

    def run(*snapshots):
        remaining = iter(snapshots)

        def take_next(*_):
            try:
                return next(remaining)
            except StopIteration:
                raise KeyboardInterrupt from None

        monkeypatch.setattr(SnapshotSource, "take", take_next)
        monkeypatch.setattr(status, "REFRESH_SECONDS", 0)
        places = find_places({"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
        session = SimpleNamespace(store=tmp_path / "store", clock=None, screen=screen(), places=places, silent=None)
        assert status.run_status(SimpleNamespace(follow=True, json=True, records=10), session) == 0
        return session.screen.stream.buffer.getvalue().decode().splitlines()

    return run


def test_following_is_silent_while_nothing_changes(follow, snapshot):
    """The computed start of the daemon differs by microseconds from reading to reading; that is no change."""
    daemon = snapshot.daemon
    later = replace(
        snapshot,
        at=snapshot.at + timedelta(seconds=1),
        daemon=replace(daemon, up_since=daemon.up_since + timedelta(microseconds=3)),
    )
    another = replace(later, daemon=replace(daemon, pid=daemon.pid + 1))
    assert [json.loads(line)["daemon"]["pid"] for line in follow(snapshot, later, another)] == [1234, 1235]
