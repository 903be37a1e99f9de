"""`timelapsectl pause` and `resume`, as processes, with a daemon and without."""

import json
from datetime import UTC, datetime

import pytest

from plantimager.timelapse.cli.pause import EndOfPauseUnusable, end_of_pause

NOW = datetime(2026, 6, 22, 12, 30, tzinfo=UTC)


def facts_of(host):
    return json.loads(host.ctl("status", "--json").stdout)["timelapse"]


def test_pause_is_on_disk_when_it_is_answered_and_outlasts_a_kill(host):
    """Every screen shows it, after the kill as well; ``resume`` ends it."""
    with host.daemon() as daemon:
        host.ctl("start", host.define())
        host.wait_for(lambda store: store["next_idx"] == 1, "the first slot")
        done = host.ctl("pause")
        daemon.kill()
    assert (done.returncode, done.stderr) == (0, "")
    assert "col0_ld is paused until timelapsectl resume; slots that fall due meanwhile are skipped" in done.stdout
    pause = json.loads(host.store.read_bytes())["extra"]["timelapsed"]["pause"]
    assert (pause["until"], bool(pause["who"])) == (None, True)
    with host.daemon(until="resumed:"):
        assert facts_of(host)["pause"]["who"] == pause["who"]
        shown = host.ctl("status").stdout
        assert f"paused by {pause['who']} since " in shown
        assert shown.splitlines()[0].endswith("paused")
        assert "paused until timelapsectl resume" in host.ctl("rigs").stdout
        resumed = host.ctl("resume")
        assert resumed.stdout.startswith("col0_ld goes on; next slot 1 at ")
        assert facts_of(host)["pause"] is None
        again = host.ctl("resume")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("error: col0_ld is not paused; next slot 1 at ")


def test_slot_that_falls_due_in_a_pause_is_recorded_at_once_and_the_rest_is_taken_at_its_end(host):
    """By the real clock, with the end of the pause in seconds."""
    with host.daemon():
        host.ctl("start", host.define(interval=2, n_shots=6))
        assert host.ctl("pause", "--for", "5s").returncode == 0
        host.wait_for(lambda store: store["state"] == "completed", "the last slot")
    records = json.loads(host.store.read_bytes())["scans"]
    reasons = [(record["error"] or {}).get("type") for record in records]
    assert "paused" in reasons
    assert records[-1]["status"] == "succeeded"
    assert reasons == sorted(reasons, key=lambda reason: reason is None) or reasons[0] is None


def test_pause_without_a_daemon_says_how_to_start_one(host):
    """Nothing is left for a later one."""
    for command in (("pause",), ("resume",)):
        done = host.ctl(*command)
        assert (done.returncode, done.stdout) == (69, ""), done


@pytest.mark.parametrize(
    ("until", "duration", "ends"),
    [
        (None, None, None),
        (None, "90min", "2026-06-22T14:00:00+00:00"),
        (None, "2h30", "2026-06-22T15:00:00+00:00"),
        ("14:00", None, "2026-06-22T14:00:00+00:00"),
        ("12:30", None, "2026-06-23T12:30:00+00:00"),
        ("06:00", None, "2026-06-23T06:00:00+00:00"),
        ("2026-06-24", None, "2026-06-24T00:00:00+00:00"),
        ("2026-06-24T08:00+02:00", None, "2026-06-24T06:00:00+00:00"),
    ],
)
def test_end_of_a_pause_is_read_as_people_write_it(until, duration, ends, monkeypatch):
    """A bare time of day is the next one."""
    monkeypatch.setenv("TZ", "UTC")
    end = end_of_pause(until, duration, NOW)
    assert (end and end.isoformat()) == ends


@pytest.mark.parametrize(
    ("until", "duration"),
    [
        *[("noon", None), ("", None), ("25:00", None), (None, "soon"), (None, "-5"), ("9500-01-01", None)],
        *[("9999-12-31T23:59:59", None), ("0001-01-01T00:00:00+14:00", None), (None, "9000000d"), (None, "1e9d")],
        (None, "9" * 400),
    ],
)
def test_end_that_is_none_is_refused_before_anything_is_asked(until, duration):
    """The words say what can be written."""
    with pytest.raises(EndOfPauseUnusable, match=r"^pause --(until|for) "):
        end_of_pause(until, duration, NOW)
