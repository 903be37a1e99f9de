"""The journal's lines for the events of a timelapse."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from example_timelapse import FAILURE, at, timelapse
from zones import host_zone

from plantimager.timelapse.daemon import journal_events
from plantimager.timelapse.daemon.journal_events import READY_AFTER, SILENT, EventJournal
from plantimager.timelapse.daemon.transition import Circumstances, Transition
from plantimager.timelapse.domain import events
from plantimager.timelapse.domain.events import events_between
from plantimager.timelapse.domain.states import OnScanFailed, Reason
from plantimager.timelapse.support.errors import ScannerNotReady


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """Have the host where local time is UTC."""
    with host_zone("UTC", monkeypatch):
        yield


@pytest.fixture
def lines(caplog):
    """Return a function that gives the lines of a transition."""
    caplog.set_level(logging.DEBUG, "timelapsed")
    rig = SimpleNamespace(monitor=None)
    active = SimpleNamespace(datasets=Path("/srv/scans"), run_latest=False)
    journal = EventJournal(active, rig)

    def lines_of(before, after, now, **circumstances):
        caplog.clear()
        journal.on_transition(
            Transition(before, after, now, events_between(before, after), Circumstances(**circumstances))
        )
        return [record.getMessage() for record in caplog.records]

    def lines_after(age):
        """Return what is said of an attempt that has been made for so long, and in how many seconds to look again."""
        caplog.clear()
        rig.monitor = SimpleNamespace(age=age)
        again_in = journal.watch()
        return [record.getMessage() for record in caplog.records], again_in

    lines_of.active, lines_of.after = active, lines_after
    return lines_of


def test_every_event_has_a_line_or_a_reason_for_having_none():
    """An event that is added is worded, or named as silent."""
    bases = (events.Event, events.SlotEvent, events.TimelapseEnded)
    all_events = {
        event
        for event in vars(events).values()
        if isinstance(event, type) and issubclass(event, events.Event) and event not in bases
    }
    by_itself = {events.AttemptStarted, events.RigNotReady, events.TimelapseCompleted}
    worded = {*journal_events._LINES} | by_itself
    assert worded | {*SILENT} == all_events
    assert not worded & {*SILENT}


def test_definition_that_is_accepted(lines):
    """Where it is from, and what had to be understood of it."""
    assert lines(None, timelapse(2), at(0), origin="timelapsectl start", note="the dates were sorted") == [
        "definition_accepted: tl from timelapsectl start: 2 slots, 08:00 to 08:30; the dates were sorted"
    ]


def test_failed_attempt_and_the_next(lines):
    """In one transition; the driver's own words, which the record may have cut."""
    first = timelapse(scan_retries=1).begin(at(0), "b")
    second = first.fail_attempt(at(0, 9), FAILURE)
    assert lines(first, second, at(0, 9), problem=FAILURE) == [
        "attempt_failed: tl_0: camera time-out; 2nd attempt starts now",
        "scan_started: tl_0, slot 0 of 4, 2nd attempt, 9 s late",
    ]


def test_rig_that_is_not_ready_is_logged_at_the_first_try_alone(lines):
    """And so is the attempt that begins for it."""
    running = timelapse().begin(at(0), "b")
    waiting = running.rig_not_ready(ScannerNotReady("no port"))
    assert lines(running, waiting, at(0, 1)) == ["rig_not_ready: slot 0 of 4: no port; it is asked again until 08:02"]
    assert lines(running, waiting, at(0, 5), is_repeated=True) == []
    assert lines(waiting, waiting.begin(at(0, 5), "b"), at(0, 5), is_repeated=True) == []


def test_rig_that_is_not_ready_is_told_of_the_slot_that_was_being_taken(lines):
    """Though the clock was set back meanwhile, and an earlier one is next again."""
    running = timelapse().skip_late_slots(at(0, 130), Reason.MISSED, "the rig was off").begin(at(1), "b")
    after = running.rig_not_ready(ScannerNotReady("no port")).reopen_slots(at(0, 60))
    assert after.next_idx == 0
    assert lines(running, after, at(0, 60))[0].startswith("rig_not_ready: slot 1 of 4: no port; ")


@pytest.mark.parametrize(
    ("late", "end"),
    [
        (60, "it can be attempted again until 08:02, within its grace of 2 min"),
        (300, "5 min after its time, its grace of 2 min is over"),
    ],
)
def test_attempt_that_was_cut_off_by_the_power(lines, late, end):
    """What was found, what became of the slot, and whether it is attempted again."""
    running = timelapse().begin(at(0, 10), "b")
    after = running.interrupt(None, "the power went while it was being taken")
    after = after.skip_late_slots(at(0, late), Reason.MISSED, "the rig was off")
    resumed, cut = lines(running, after, at(0, late), cut_off_by="the power went")
    assert resumed.startswith("resumed: tl, 4 slots, 0 done; was scanning slot 0 when the power went, begun ")
    assert cut == f"slot_interrupted: slot 0 (08:00): the power went while it was being taken; {end}"


def test_rig_that_is_not_ready_for_another_reason_is_news(lines):
    """The line before names what is no longer the cause."""
    waiting = timelapse().begin(at(0), "b").rig_not_ready(ScannerNotReady("no port"))
    again = waiting.begin(at(0, 5), "b").rig_not_ready(ScannerNotReady("no camera"))
    assert lines(waiting, again, at(0, 6), is_repeated=True) == [
        "rig_not_ready: slot 0 of 4: no camera; it is asked again until 08:02"
    ]
    assert lines(again, again.begin(at(0, 9), "b").rig_not_ready(ScannerNotReady("no camera")), at(0, 10)) == []


def test_attempt_that_goes_on_after_a_wait_for_the_rig_is_said_to_have_begun(lines):
    """Else "it is asked again" would be the last word of a slot that is being taken."""
    problem = ScannerNotReady("no port")
    first = timelapse().begin(at(0), "b")
    waiting = first.rig_not_ready(problem)
    lines(None, first, at(0))
    lines(first, waiting, at(0, 1))
    second = waiting.begin(at(0, 5), "b")
    assert lines(waiting, second, at(0, 5), is_repeated=True) == []
    assert lines.after(READY_AFTER - timedelta(seconds=4)) == ([], 4)
    assert lines.after(READY_AFTER) == (["scan_started: tl_0, slot 0 of 4, 5 s late"], None)
    assert lines.after(READY_AFTER) == ([], None)
    assert lines(second, second.rig_not_ready(problem), at(0, 20), is_repeated=True) == [
        "rig_not_ready: slot 0 of 4: no port; it is asked again until 08:02"
    ]


def test_attempt_that_ends_at_once_after_a_wait_for_the_rig_has_its_end_alone(lines):
    """Nothing is said of a beginning that is over."""
    waiting = timelapse().begin(at(0), "b").rig_not_ready(ScannerNotReady("no port"))
    second = waiting.begin(at(0, 5), "b")
    lines(waiting, second, at(0, 5), is_repeated=True)
    lines(second, second.succeed(at(0, 8)), at(0, 8))
    assert lines.after(READY_AFTER) == ([], None)


@pytest.mark.parametrize(("slot", "end"), [(0, "the next slot is due"), (1, "it is ready")])
def test_slot_that_is_run_however_late_is_not_said_to_end_with_its_grace(lines, slot, end):
    """With missed = run_latest the rig is asked until the next slot; for the last one until it is ready."""
    lines.active.run_latest = True
    running = timelapse(2, next_idx=slot).begin(at(slot), "b")
    assert lines(running, running.rig_not_ready(ScannerNotReady("no port")), at(slot, 1)) == [
        f"rig_not_ready: slot {slot} of 2: no port; it is asked again until {end}"
    ]


def test_attempt_that_began_by_a_clock_that_was_ahead_is_not_said_to_lie_so_long_ago(lines):
    """Its distance to the present is no age."""
    running = timelapse().begin(at(3), "b")
    (resumed, *_) = lines(running, running.interrupt(None, "cut"), at(0), cut_off_by="the power went")
    assert resumed == "resumed: tl, 4 slots, 0 done; was scanning slot 0 when the power went"


def test_grace_period_of_0_is_named_as_it_is_kept(lines):
    """A slot has a second in any case."""
    running = timelapse(grace=timedelta(0)).begin(at(0), "b")
    (cut,) = lines(running, running.interrupt(at(0, 1), "stopped"), at(0, 1))
    assert cut.endswith("it can be attempted again until 08:00:01, within its grace of 1 s")


def test_attempt_that_had_been_finished_after_all(lines):
    """It is recorded as taken, without the time that it took, which nobody knows."""
    running = timelapse().begin(at(0, 10), "b")
    _, recovered = lines(running, running.succeed(at(0, 60), 72), at(0, 60), cut_off_by="the power went")
    assert recovered == "scan_recovered: tl_0: slot 0 of 4 had been finished; recorded as taken"


def test_dataset_that_was_moved_away_for_one_that_was_found_is_told(lines):
    """Nothing is set aside without a word."""
    running = timelapse().begin(at(0, 10), "b")
    note = "what was at tl_0 is now at tl_0.earlier-1"
    _, recovered = lines(running, running.succeed(at(0, 60), 72), at(0, 60), cut_off_by="the power went", note=note)
    assert recovered.endswith(f"recorded as taken ({note})")


def test_slots_that_were_skipped_have_a_line_for_each_cause(lines):
    """A single one says how late it is; with a start, how late it was when the daemon was there again."""
    absent = timelapse(5).skip_late_slots(at(1, 180), Reason.MISSED, "the rig was off")
    after = absent.skip_late_slots(at(2, 180), Reason.MISSED, "")
    after = after.skip_late_slots(at(3, 180), Reason.CLOCK_MOVED, "the clock was set forward by 1 h")
    assert lines(timelapse(5), after, at(3, 200)) == [
        "slot_skipped: 2 slots from 08:00 to 08:30 were missed while the rig was off (grace 2 min)",
        "slot_skipped: slot 2 (09:00) was missed (33 min 20 s late, grace 2 min)",
        "slot_skipped: slot 3 (09:30) was missed: the clock was set forward by 1 h (3 min 20 s late, grace 2 min)",
    ]


def test_end_of_a_timelapse_is_one_line_however_many_slots_it_costs(lines):
    """The slots that were given up with it need no line of their own."""
    running = timelapse(3, on_scan_failed=OnScanFailed.FAIL_TIMELAPSE).begin(at(0), "b")
    assert lines(running, running.cancel(at(0, 9), "ada", "the plant died"), at(0, 9)) == [
        "timelapse_cancelled: tl by ada: the plant died; 0 taken, 0 failed, 2 skipped, 1 interrupted"
    ]
    assert lines(running, running.fail_attempt(at(0, 9), FAILURE), at(0, 9)) == [
        "scan_failed: tl_0: camera time-out; no slot is left",
        "timelapse_failed: tl: slot 0 failed and on_scan_failed is fail_timelapse; 0 taken, 1 failed, 2 skipped",
    ]


def test_timelapse_that_is_completed_says_where_its_datasets_are(lines):
    """After the line of its last slot, with the driver's remark."""
    running = timelapse(1).begin(at(0), "b")
    assert lines(running, running.succeed(at(0, 388), 72), at(0, 388), note="one exposure was repeated") == [
        "scan_succeeded: tl in 6 min 28 s, 72 pictures (one exposure was repeated); no slot is left",
        "timelapse_completed: tl: 1 taken, 0 failed, 0 skipped; datasets in /srv/scans",
    ]


def test_transition_without_events_has_no_line(lines):
    """A save that is tried again changes nothing."""
    assert lines(timelapse(), timelapse(), at(0)) == []


def test_attempt_that_was_cut_off_after_its_grace_is_not_promised_another(lines):
    """A stop leaves the slot next, but nothing will take it."""
    running = timelapse().begin(at(0, 10), "b")
    (cut,) = lines(running, running.interrupt(at(0, 300), "the service was stopped"), at(0, 300))
    assert cut.endswith("the service was stopped; 5 min after its time, its grace of 2 min is over")


def test_slot_that_was_promised_another_attempt_is_said_to_be_closed(lines):
    """The promise stops being true without any call of the driver."""
    cut = timelapse().begin(at(0, 10), "b").interrupt(at(0, 20), "the service was stopped")
    closed = cut.skip_late_slots(at(0, 300), Reason.MISSED, "")
    assert lines(cut, closed, at(0, 300)) == [
        "slot_interrupted: slot 0 (08:00) was not attempted again within its grace of 2 min; it stays interrupted"
    ]
