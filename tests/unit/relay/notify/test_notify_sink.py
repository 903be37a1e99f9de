"""When people are told, through days and weeks of virtual time; what they are told is in tests/integration/relay."""

import errno
import itertools
import threading
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path

import pytest
from example_timelapse import EVERY, FAILURE, GRACE, at, taken, timelapse
from looked_at import doubt
from msgspec import Struct
from msgspec.structs import replace
from virtual_time import START, ScriptEnded, VirtualClock
from zones import EUROPE, host_zone

from plantimager.timelapse.channel.relay_status import TargetStatus
from plantimager.timelapse.domain.pausing import begin_pause, end_pause, keep_pause
from plantimager.timelapse.domain.states import OnScanFailed, Reason
from plantimager.timelapse.relay.actions import RelayAction
from plantimager.timelapse.relay.notify import notify_sink, outbox
from plantimager.timelapse.relay.notify.advice import CLOCK_ADVICE
from plantimager.timelapse.relay.notify.messenger import Service
from plantimager.timelapse.relay.notify.notify_sink import NotifySink
from plantimager.timelapse.relay.notify.told import MAX_WAITING, read_told
from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.relay.taken_scans import TakenScans
from plantimager.timelapse.settings.relay_config import ALL_EVENTS, NotifyEvent, NotifySettings
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
from plantimager.timelapse.support.errors import ScanFailed

MINUTE, HOUR, DAY, WEEK = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
LONGEST_SCAN, CLOCK_WAIT = timedelta(minutes=20), timedelta(minutes=10)
DAEMON = DaemonFacts(7, is_live=True)


class World:
    """A sink whose store and daemon a script changes."""

    def __init__(self, directory: Path, monkeypatch, rig="bench", **settings):
        self.clock, self.rig = VirtualClock(), rig
        self.sent: list[tuple[timedelta, str, str]] = []
        """When, subject, and text."""
        self.problem = ""
        self.settings = NotifySettings(picture=False, **settings)
        self.directory = directory
        self.value, self.daemon, self.targets, self.archived, self.faults = timelapse(48), DAEMON, (), (), ()
        self.doubts, self.is_stale, self.is_scanning = (), True, False
        monkeypatch.setattr(outbox, "send_message", self._send)
        self.restart()

    def restart(self):
        """Have a new relay, which knows what its ledger says."""
        stop = threading.Event()
        host = SinkHost(lambda _: self.directory, self.clock, stop, lambda: None)
        watch = ScheduleWatch(self.clock, LONGEST_SCAN, CLOCK_WAIT)
        self.sink = NotifySink(self.settings, [Service("ntfy", "ntfy://x")], watch, self.directory, self.rig, host)
        self._show()

    def _send(self, _service, call, _timeout):
        if not self.problem:
            self.sent.append((self.clock.elapsed, call.subject, call.body))
        return self.problem

    def _show(self):
        stored = StoredTimelapse(self.value, Logbook()) if self.value is not None else None
        seen = {"daemon": self.daemon, "targets": self.targets, "archived": self.archived, "doubts": self.doubts}
        fault = self.faults[-1] if self.faults and self.is_stale else ""
        scans = TakenScans(is_scanning=self.is_scanning)
        self.sink.update(StoreView(scans, stored, faults=self.faults, fault=fault, **seen))

    def then(self, after, **changes):
        """Have the store's value, the daemon or the targets be another ``after`` so long from the beginning."""

        def change():
            for name, value in changes.items():
                setattr(self, name, value)
            self._show()

        self.clock.at(after - self.clock.elapsed, change)

    def run(self, until):
        """Let the sink run for so long from the beginning."""
        self.clock._limit = until
        with pytest.raises(ScriptEnded):
            self.sink.run()
        return [(when, subject.removeprefix("bench: ")) for when, subject, _ in self.sent]


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """Have local times in UTC."""
    with host_zone("UTC0", monkeypatch):
        yield


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def history(*outcomes, n_slots=48):
    """Return the values of a timelapse one after the other: of each slot it is taken, failed or skipped."""
    values = [timelapse(n_slots)]
    for slot, outcome in enumerate(outcomes):
        before = values[-1]
        if outcome == "taken":
            values.append(taken(before))
        elif outcome == "failed":
            values.append(before.begin(at(slot), "b").fail_attempt(at(slot, 60), FAILURE))
        else:
            values.append(before.skip_late_slots(at(slot, 121), Reason.MISSED, ""))
    return values


def play(world, *outcomes):
    """Have the slots come to this, each five minutes after it was due."""
    for slot, value in enumerate(history(*outcomes)[1:]):
        world.then(EVERY * slot + 5 * MINUTE, value=value)


# --- what is no news ------------------------------------------------------------------------------------


def test_a_quiet_day_is_silent_and_costs_no_polling(world):
    """The relay sleeps from slot to slot."""
    play(world, *["taken"] * 40)
    assert world.run(20 * HOUR) == []
    assert len(world.clock.wakes) <= 41


def test_nobody_is_told_of_a_pause_and_its_slots(world):
    """Whoever paused the timelapse knows: neither of each slot, nor that the rig is silent while nothing is to come."""
    paused = begin_pause(timelapse(), at(0, -60), "anna", None)
    for slot in range(3):
        world.then(EVERY * slot, value=keep_pause(paused, at(slot)))
    world.then(EVERY * 2 + MINUTE, daemon=None)
    assert world.run(2 * DAY) == []


def test_slot_after_a_pause_is_overdue_where_nobody_takes_it(world, monkeypatch):
    """Those in it are not, also where nobody recorded them, or that it is over; the journal names the same one."""
    world.value = begin_pause(timelapse(), at(0, -60), "anna", at(2, -60))
    world.daemon = None
    world.restart()
    lines = []
    monkeypatch.setattr(notify_sink, "log_relay", lambda action, words, **fields: lines.append((action, words, fields)))
    due = EVERY * 2 + GRACE + LONGEST_SCAN + MINUTE
    assert world.run(2 * HOUR) == [(due + MINUTE, "slot 2 is overdue")]
    assert "tl: slot 2 was due at 09:00 and has no record." in world.sent[0][2]
    words = "slot 2 of tl has no record, although it should"
    assert lines == [(RelayAction.OVERDUE, words, {"timelapse_id": "tl", "slot": 2})]


def test_slots_of_a_pause_are_not_in_the_way_of_a_recovery(world):
    """The slot before it was taken again."""
    failed, again = history("failed", "taken")[1:]
    world.then(5 * MINUTE, value=failed)
    paused = keep_pause(begin_pause(again, at(1, 600), "anna", None), at(2))
    world.then(EVERY + 5 * MINUTE, value=paused)
    assert [subject for _, subject in world.run(3 * HOUR)] == ["slot 0 failed", "slots are taken again"]


def test_what_happened_before_the_first_start_counts_as_told(tmp_path, monkeypatch):
    """Nobody wants to hear of the losses of last week."""
    world = World(tmp_path, monkeypatch)
    world.value = history("failed", "failed", "taken")[-1]
    world.restart()
    world.then(MINUTE, value=history("failed", "failed", "taken", "failed")[-1])
    assert [subject for _, subject in world.run(HOUR)] == ["slot 3 failed"]


def test_a_foreign_file_in_the_archive_keeps_nobody_from_being_told(world):
    """It may lie there for ever; only of an unknown store nobody knows what has happened before."""
    world.faults = ("history/notes.json: timelapse_id: required, but missing",)
    world.is_stale = False
    world.restart()
    play(world, "failed")
    assert [subject for _, subject in world.run(30 * MINUTE)] == ["slot 0 failed"]


@pytest.mark.parametrize("ledger", [None, b"damaged"], ids=["none", "damaged"])
def test_at_the_first_start_the_status_says_that_an_unknown_store_is_waited_for(world, ledger):
    """Nothing that happened before is news; what happens from then on is."""
    if ledger is not None:
        (world.directory / "notify.ledger").write_bytes(ledger)
    value, world.value, world.faults = history("failed", "taken"), None, ("store.json: Input/output error",)
    world.restart()
    assert world.run(30 * MINUTE) == []
    assert world.sink.status.trouble == "nothing is told until the store can be read"
    world.then(31 * MINUTE, value=value[-1], faults=())
    world.then(40 * MINUTE, value=history("failed", "taken", "failed")[-1])
    assert [subject for _, subject in world.run(HOUR)] == ["slot 2 failed"]
    assert world.sink.status.trouble == ""


def test_an_archive_that_was_away_for_a_while_is_not_told_again(world):
    """A disk that wasn't mounted has brought nothing new."""

    class Archived(Struct):
        path: Path = Path("old.json")
        ended_at: None = None

        def load(self):
            return replace(taken(taken(timelapse(2))), id="old")

    world.archived = (Archived(),)
    world.restart()
    world.then(2 * MINUTE, faults=("store.json: it is gone",), archived=())
    world.then(4 * MINUTE, faults=(), archived=(Archived(),))
    assert world.run(10 * MINUTE) == []


def test_a_trouble_that_is_over_before_its_message_went_out_is_no_news(world):
    """Nobody could do anything about it."""
    world.then(10 * timedelta(seconds=1), daemon=replace(DAEMON, degraded="disk full"))
    world.then(40 * timedelta(seconds=1), daemon=DAEMON)
    assert world.run(20 * MINUTE) == []


def test_a_cancelled_timelapse_is_not_announced_to_who_cancelled_it(world):
    """Nor are the slots that it gave up."""
    world.then(MINUTE, value=timelapse(48).cancel(at(0, 60), "ada", "wilted"))
    assert world.run(DAY) == []


def test_what_was_archived_before_its_end_was_seen_is_told_of_the_archive(world):
    """While the old store is still shown, and while its file can't be read, it does not count as looked at."""

    class Archived(Struct):
        path: Path
        ended_at: None = None
        value: object = None

        def load(self):
            return self.value

    started, ended = timelapse(2), taken(taken(timelapse(2)))
    archived = Archived(Path("tl.json"), value=ended)
    world.value = started
    world.then(2 * MINUTE, archived=(archived,))  # written before the present store is replaced
    world.then(4 * MINUTE, value=None)
    world.clock.at(3 * MINUTE, partial(setattr, archived, "value", None))
    world.then(6 * MINUTE, value=timelapse(48, id="b"))
    world.clock.at(7 * MINUTE, partial(setattr, archived, "value", ended))
    world.then(8 * MINUTE, value=timelapse(48, id="b", scan_retries=1))
    assert [subject for _, subject in world.run(20 * MINUTE)] == ["tl is complete"]


def test_only_the_events_that_are_asked_for_are_told(tmp_path, monkeypatch):
    """The others are as if they had not been."""
    world = World(tmp_path, monkeypatch, events=(NotifyEvent.SLOT_SKIPPED,))
    play(world, "failed", "skipped", "taken")
    assert [subject for _, subject in world.run(2 * HOUR)] == ["slot 1 missed", "slots are taken again"]


# --- gathered, and told once ----------------------------------------------------------------------------


def test_a_loss_is_told_after_the_gathering_and_its_end_once(world):
    """However often it is looked at."""
    play(world, "failed", *["taken"] * 10)
    assert world.run(5 * HOUR) == [(6 * MINUTE, "slot 0 failed"), (EVERY + 6 * MINUTE, "slots are taken again")]


def test_weeks_of_the_same_failure_come_ever_more_seldom(world):
    """A phone that rings every half hour is switched off."""
    world.value = timelapse(48 * 14)
    value = world.value
    for slot in range(48 * 14):
        value = value.begin(at(slot), "b").fail_attempt(at(slot, 60), FAILURE)
        world.then(EVERY * slot + MINUTE, value=value)
    told = [when for when, _ in world.run(13 * DAY)]
    assert [when < HOUR for when in told[:3]] == [True, True, False]
    between = [later - earlier for earlier, later in itertools.pairwise(told[4:])]
    assert min(between) >= 4 * HOUR
    assert len(told) < 90
    lost = sum(int(text.partition("Lost: ")[2].split()[0]) for _, _, text in world.sent)
    assert 48 * 13 - 10 <= lost <= 48 * 13 + 1, "each slot is told once"


def test_a_trouble_of_another_kind_does_not_wait_for_the_row(world):
    """It is news."""
    play(world, *["failed"] * 6)
    world.then(EVERY * 5 + 6 * MINUTE, daemon=replace(DAEMON, degraded="disk full"))
    told = world.run(EVERY * 5 + 20 * MINUTE)
    assert told[-2:] == [(130 * MINUTE, "2 slots failed"), (EVERY * 5 + 6 * MINUTE, "slot 5 failed (and 1 more)")]


def test_quiet_hours_end_with_one_message_of_all(tmp_path, monkeypatch):
    """The night is not disturbed, and nothing of it is lost."""
    world = World(tmp_path, monkeypatch, quiet=(time(9, 0), time(20, 0)))
    play(world, "failed", "taken", "taken", "failed", "failed", *["taken"] * 20)
    assert world.run(12 * HOUR + 5 * MINUTE) == [
        (6 * MINUTE, "slot 0 failed"),
        (36 * MINUTE, "slots are taken again"),
        (12 * HOUR, "2 slots failed"),
    ]
    assert "Slots are taken again since." in world.sent[-1][2]


def test_a_slot_that_a_right_clock_reopened_may_be_lost_again(world):
    """That is news, and its first loss has been."""
    skipped = timelapse(48).skip_late_slots(at(3), Reason.CLOCK_MOVED, "the clock was set forward")
    reopened = skipped.reopen_slots(at(0))
    world.then(5 * MINUTE, value=skipped)
    world.then(10 * MINUTE, value=reopened)
    world.then(12 * MINUTE, value=reopened.begin(at(0), "b").fail_attempt(at(0, 60), FAILURE))
    assert [subject for _, subject in world.run(28 * MINUTE)] == ["3 slots missed", "slot 0 failed"]


# --- overdue --------------------------------------------------------------------------------------------


def test_a_slot_is_overdue_when_grace_and_a_scan_are_over(world):
    """By twice what the last scans took, and a minute; nobody has to be alive for that."""
    play(world, "taken", "taken")
    world.then(40 * MINUTE, daemon=None)
    due = 2 * EVERY + GRACE + 2 * 5 * MINUTE + MINUTE
    assert world.run(due + HOUR) == [(due + MINUTE, "slot 2 is overdue")]


def test_the_first_slot_is_given_the_longest_scan_that_is_allowed(world):
    """Nothing is known of how long one takes."""
    world.daemon = None
    world.restart()
    due = GRACE + LONGEST_SCAN + MINUTE
    assert world.run(HOUR) == [(due + MINUTE, "slot 0 is overdue")]


def test_a_running_attempt_is_given_its_time_from_its_own_beginning(world):
    """A second attempt may begin long after the slot was due."""
    value = history("taken", "taken")[-1].begin(at(2), "b")
    world.then(2 * EVERY, value=value, daemon=None)
    again = replace(value.current, attempt=2, started_at=at(2, 600))
    world.then(2 * EVERY + 10 * MINUTE, value=replace(value, records={**value.records, 2: again}))
    due = 2 * EVERY + 10 * MINUTE + 2 * 5 * MINUTE + MINUTE
    world.then(MINUTE, value=history("taken", "taken")[-1])
    assert world.run(due + HOUR) == [(due + MINUTE, "slot 2 is overdue")]


def test_an_attempt_that_died_with_its_daemon_counts_among_the_slots_that_are_too_late(world):
    """Nothing says so in the store, which still calls it running."""
    world.then(MINUTE, value=history("taken")[-1].begin(at(1), "b"), daemon=None)
    world.clock.at(MINUTE, partial(world.clock.suspend, 3 * HOUR))
    world.run(3 * HOUR + 5 * MINUTE)
    assert "5 slots can't be taken in time any more." in world.sent[0][2]


def test_a_clock_that_is_set_forward_is_no_overdue_slot(world):
    """The daemon sees it in the same moment, and records what it cost."""
    skipped = timelapse(48).skip_late_slots(at(6), Reason.CLOCK_MOVED, "the clock was set forward by 3 h")
    world.clock.at(10 * MINUTE, lambda: world.clock.shift(3 * HOUR))
    world.then(10 * MINUTE + timedelta(seconds=2), value=skipped)
    (told,) = world.run(20 * MINUTE)
    assert told[1] == "6 slots missed"


def test_a_suspend_is_judged_by_the_wall_clock(world):
    """A laptop's lid is an outage."""
    world.daemon = None
    world.restart()
    world.clock.at(MINUTE, lambda: world.clock.suspend(2 * HOUR))
    assert world.run(2 * HOUR + 5 * MINUTE) == [(2 * HOUR + 2 * MINUTE, "slot 0 is overdue")]


def test_while_the_daemon_waits_for_its_clock_nothing_is_late_for_the_time_that_is_its_own(world):
    """By a clock that isn't trusted nobody knows; a daemon that waits for longer than clock_wait is news."""
    world.daemon = replace(DAEMON, clock_trusted=False)
    world.restart()
    world.then(MINUTE, value=timelapse(48))
    assert world.run(3 * HOUR) == [(CLOCK_WAIT + 2 * MINUTE, "slot 0 is overdue")]
    assert "The timelapse service waits for a clock that it can trust." in world.sent[0][2]


@pytest.mark.parametrize(("until", "told"), [(None, []), (at(2), ["the clock isn't trusted"])])
def test_in_a_pause_a_clock_that_is_not_trusted_is_news_only_where_the_pause_has_an_end(world, until, told):
    """Nobody knows whether that has come; without one, no slot is to be taken."""
    world.value = begin_pause(timelapse(), at(0, -60), "anna", until)
    world.daemon = replace(DAEMON, clock_trusted=False)
    world.restart()
    assert [subject for _, subject in world.run(HOUR)] == told


@pytest.mark.parametrize("pause_until", [None, at(20)], ids=["before the slot", "in a pause"])
def test_a_clock_that_is_not_trusted_makes_no_slot_overdue_that_is_ahead(world, monkeypatch, pause_until):
    """Neither the message, nor the journal, nor the word of its end speaks of one."""
    lines = []
    monkeypatch.setattr(notify_sink, "log_relay", lambda *words, **fields: lines.append((words, fields)))
    value = history("taken")[-1]
    world.value = value if pause_until is None else begin_pause(value, at(0, 60), "anna", pause_until)
    world.then(6 * MINUTE, daemon=replace(DAEMON, clock_trusted=False))
    world.then(20 * MINUTE, daemon=None)  # nobody says that it is trusted
    world.then(22 * MINUTE, daemon=DAEMON)
    world.run(29 * MINUTE)
    bodies = [(subject, body.partition("\n\n")[0]) for _, subject, body in world.sent]
    assert bodies == [
        (
            "bench: the clock isn't trusted",
            (
                "tl: the clock isn't trusted for longer than clock_wait; nothing is taken.\nSince 08:06.\n"
                f"Taken so far: 1 of 48.\nWhat to do: {CLOCK_ADVICE}"
            ),
        ),
        (
            "bench: the clock is trusted again",
            "The clock is trusted again.\nThe trouble began at 08:06 by the clock of then.",
        ),
    ]
    words = "the clock isn't trusted for longer than clock_wait; nothing of tl is taken"
    assert lines == [((RelayAction.OVERDUE, words), {"timelapse_id": "tl"})]


def test_a_clock_that_is_not_trusted_any_more_when_a_pause_has_no_end_is_not_called_trusted(world):
    """Nobody has said so."""
    world.value = begin_pause(history("taken")[-1], at(0, 60), "anna", at(20))
    world.then(6 * MINUTE, daemon=replace(DAEMON, clock_trusted=False))
    world.then(20 * MINUTE, value=begin_pause(world.value, at(0, 60), "anna", None))
    assert [subject for _, subject in world.run(2 * HOUR)] == ["the clock isn't trusted"]


def test_a_scan_under_way_is_no_slot_that_is_too_late(world):
    """It is within its grace period, while the daemon waits for a clock."""
    world.value, world.daemon = timelapse(48, grace=2 * HOUR).begin(at(0), "b"), replace(DAEMON, clock_trusted=False)
    world.is_scanning = True
    world.restart()
    world.run(HOUR)
    assert "No slot is lost yet." in world.sent[0][2]


def test_a_machine_that_has_just_booted_is_given_time(tmp_path, monkeypatch):
    """The daemon has to record what it missed."""
    monkeypatch.setattr(VirtualClock, "since_boot", lambda clock: clock.elapsed.total_seconds())
    world = World(tmp_path, monkeypatch)
    world.value, world.daemon = history("taken")[-1], None
    world.clock.set_to(at(6))
    world.restart()
    assert world.run(30 * MINUTE) == [(3 * MINUTE, "slot 1 is overdue")]


@pytest.mark.parametrize("gone", [None, timelapse(48).cancel(at(0), "ada", "wilted")], ids=["deleted", "cancelled"])
def test_a_trouble_of_slots_ends_silently_with_its_timelapse(world, gone):
    """Nobody can say that slots are recorded, or taken, again."""
    play(world, "taken", "failed")
    world.then(40 * MINUTE, daemon=None)
    world.then(2 * HOUR, value=gone)
    assert [subject for _, subject in world.run(DAY)] == ["slot 1 failed", "slot 2 is overdue"]


def test_records_end_an_overdue_slot_and_a_taken_one_all_of_it(world):
    """The losses are told in its place; where none were lost, that slots are recorded again."""
    play(world, "taken")
    world.then(6 * MINUTE, daemon=None)
    late = history("taken", "taken")[-1]
    world.then(50 * MINUTE, value=late, daemon=DAEMON)
    subjects = [subject for _, subject in world.run(HOUR)]
    assert subjects == ["slot 1 is overdue", "slots are recorded again"]


def test_a_scan_that_takes_longer_than_ever_is_its_daemon_s_to_end(world):
    """It has the time that scan_timeout allows; by then the daemon has a record, or is dead."""
    play(world, "taken", "taken")
    begun = history("taken", "taken")[-1].begin(at(2), "b")
    world.then(2 * EVERY, value=begun)
    world.then(2 * EVERY + 19 * MINUTE, value=begun.succeed(at(2, 19 * 60), 72))
    assert world.run(2 * EVERY + 25 * MINUTE) == []


def test_a_daemon_that_can_not_write_the_store_keeps_the_schedule_all_the_same(world):
    """By its own word; the store is no witness then. When the daemon is dead, it is."""
    play(world, "taken")
    world.then(10 * MINUTE, daemon=replace(DAEMON, degraded="disk full"))
    world.then(4 * HOUR, daemon=None)
    told = world.run(5 * HOUR)
    assert told == [(11 * MINUTE, "the store can't be written"), (4 * HOUR + MINUTE, "slot 1 is overdue")]


def test_a_store_that_can_not_be_read_counts_as_it_was(world):
    """And where nothing is known of it, nobody can say that nothing is scheduled."""
    play(world, "taken")
    world.run(10 * MINUTE)
    world.then(11 * MINUTE, faults=("store.json: Input/output error",), daemon=None)
    due = EVERY + GRACE + 10 * MINUTE + MINUTE
    assert world.run(HOUR) == [(due + MINUTE, "slot 1 is overdue")]
    assert "\nstore.json: Input/output error.\n" in world.sent[0][2]


@pytest.mark.parametrize("after", [history("taken", "taken")[-1], timelapse(48).cancel(at(0), "ada", "wilted")])
@pytest.mark.parametrize("before", [None, timelapse(48).cancel(at(0), "ada", "wilted")], ids=["unknown", "ended"])
def test_a_store_that_can_not_be_read_may_have_slots_of_which_nothing_is_known(world, before, after):
    """That is told, and its end once."""
    world.run(MINUTE)
    world.value, world.faults = before, ("history/old.json: not JSON", "store.json: Input/output error")
    world.restart()
    world.then(HOUR, value=after, faults=())
    told = world.run(HOUR + 10 * MINUTE)
    assert told == [(MINUTE, "the store can't be read"), (HOUR + MINUTE, "the store can be read again")]
    assert world.sent[0][2].startswith("The store can't be read: store.json: Input/output error.\nSince 08:00.\n")
    assert "What to do: ls -l the file and its directory." in world.sent[0][2]
    assert world.sent[1][2].startswith("The store can be read again.\n")


def test_a_slot_that_is_overdue_is_so_until_the_store_says_another_thing(world):
    """A relay that knows nothing of the store any more doesn't close what people were told of."""
    play(world, "taken")
    world.then(6 * MINUTE, daemon=None)
    world.run(HOUR)
    world.value, world.faults = None, ("store.json: it is gone",)
    world.restart()
    world.then(2 * HOUR, value=history("taken", "taken", "taken", "taken", "taken")[-1], faults=())
    assert [subject for _, subject in world.run(2 * HOUR + 5 * MINUTE)] == [
        "slot 1 is overdue",
        "the store can't be read",
        "slots are recorded again (and 1 more)",
    ]


def test_quiet_hours_that_end_in_the_hour_that_comes_twice_cost_no_work(tmp_path, monkeypatch):
    """It is quiet in both of its halves, as a person at the clock has it."""
    with host_zone(EUROPE, monkeypatch):
        world = World(tmp_path, monkeypatch, quiet=(time(22, 0), time(2, 30)))
        world.clock.set_to(datetime(2026, 10, 24, 23, 55, tzinfo=UTC))  # 01:55 in summer
        shift = world.clock.now() - START
        world.value = timelapse(48, schedule_times=tuple(at(slot) + shift for slot in range(48)))
        world.restart()
        failed = world.value.begin(world.value.next_at, "b").fail_attempt(world.clock.now(), FAILURE)
        world.then(10 * MINUTE, value=failed)
        again = taken(failed)
        world.then(40 * MINUTE, value=again)
        world.then(70 * MINUTE, value=again.begin(again.next_at, "b").fail_attempt(world.clock.now(), FAILURE))
        looks = world.sink._watch.judge
        world.sink._watch.judge = lambda view: looks(view) if len(world.clock.wakes) < 50 else pytest.fail("no rest")
        told = world.run(100 * MINUTE)
    assert told == [
        (35 * MINUTE, "slot 0 failed"),
        (41 * MINUTE, "slots are taken again"),
        (95 * MINUTE, "slot 2 failed"),
    ]


def test_an_outage_of_300_slots_over_the_end_of_summer_time_is_one_sentence_by_local_time(world, monkeypatch):
    """Also where the services are away for a week meanwhile; the relay, too, is started again before it is told."""
    with host_zone(EUROPE, monkeypatch):
        world.clock.set_to(datetime(2026, 10, 31, 8, tzinfo=UTC))
        first = datetime(2026, 10, 23, 6, tzinfo=UTC)
        times = [*(first + EVERY * slot for slot in range(301)), first + 30 * DAY]
        world.value = taken(timelapse(302, schedule_times=tuple(times)))
        world.restart()
        outage = world.value.skip_late_slots(first + EVERY * 300.5, Reason.MISSED, "the rig was off")
        world.problem = "no route to host"
        world.then(MINUTE, value=outage)
        world.run(90 * timedelta(seconds=1))
        world.restart()
        world.run(2 * HOUR)
        world.problem = ""
        (told,) = world.run(7 * DAY)
    assert told[1] == "300 slots missed"
    assert "tl: 300 slots from 23 Oct 08:30 to 29 Oct 13:00 missed: the rig was off." in world.sent[0][2]


def test_two_timelapses_that_end_in_a_minute_are_one_message(world):
    """Each of them is in it."""

    class Archived(Struct):
        path: Path
        value: object
        ended_at: None = None

        def load(self):
            return self.value

    ended = [taken(timelapse(1, id=name)) for name in ("one", "two")]
    world.then(10 * timedelta(seconds=1), value=ended[0])
    archived = [Archived(Path(f"{value.id}.json"), value) for value in ended]
    world.then(20 * timedelta(seconds=1), value=ended[1], archived=(archived[0],))
    world.then(30 * timedelta(seconds=1), value=timelapse(48), archived=(*archived,))
    assert world.run(5 * MINUTE) == [(70 * timedelta(seconds=1), "one is complete (and 1 more)")]
    assert "one is complete.\n1 of 1 slots taken." in world.sent[0][2]
    assert "two is complete.\n1 of 1 slots taken." in world.sent[0][2]


def test_a_trouble_that_is_over_by_a_clock_that_was_set_back_has_not_begun_in_hours(world):
    """Nothing is said to have been before it began."""
    play(world, "failed")
    world.clock.at(20 * MINUTE, lambda: world.clock.set_to(START - 3 * HOUR))
    world.then(21 * MINUTE, value=history("failed", "taken")[-1])
    world.run(50 * MINUTE)
    assert "(0 s ago); it cost 1 time point." in world.sent[-1][2]


# --- troubles that last ---------------------------------------------------------------------------------


def test_a_degraded_store_is_told_and_its_end_only_when_a_daemon_says_so(world):
    """A daemon that was killed says nothing."""
    world.then(MINUTE, daemon=replace(DAEMON, degraded="disk full"))
    world.then(5 * MINUTE, daemon=None)
    world.then(9 * MINUTE, daemon=DAEMON)
    assert world.run(20 * MINUTE) == [
        (2 * MINUTE, "the store can't be written"),
        (10 * MINUTE, "the store is written again"),
    ]
    assert "The trouble began at 08:01 (9 min ago)." in world.sent[-1][2]


@pytest.mark.parametrize(("first", "cost"), [("taken", "1 of 4 slots taken, 3 paused."),
                                             ("failed", "0 of 4 slots taken, 1 lost, 3 paused.")])  # fmt: skip
def test_slots_of_a_pause_are_not_called_lost_when_a_timelapse_is_complete(world, first, cost):
    """They are counted as what they are."""
    world.value = history(first, n_slots=4)[-1]
    world.restart()
    world.then(MINUTE, value=keep_pause(begin_pause(world.value, at(1, -60), "anna", None), at(3)))
    assert [subject for _, subject in world.run(HOUR)] == ["tl is complete"]
    assert cost in world.sent[0][2]


def test_a_timelapse_that_failed_is_told_with_its_slot(world):
    """One message for both."""
    world.value = timelapse(48, on_scan_failed=OnScanFailed.FAIL_TIMELAPSE)
    world.then(MINUTE, value=world.value.begin(at(0), "b").fail_attempt(at(0, 60), FAILURE))
    ((_, subject),) = world.run(20 * MINUTE)
    assert "tl has failed" in subject
    assert "tl has failed: slot 0 failed and on_scan_failed is fail_timelapse." in world.sent[0][2]


def test_a_slot_that_was_interrupted_for_good_is_told(world):
    """Once its grace period is over."""
    cut = timelapse(48).begin(at(0), "b").interrupt(None, "the power went while it was being taken")
    world.value = cut
    world.then(MINUTE, value=cut.skip_late_slots(at(0) + GRACE + MINUTE, Reason.MISSED, "the rig was off"))
    assert [subject for _, subject in world.run(10 * MINUTE)][:1] == ["slot 0 interrupted"]
    assert "the power went while it was being taken" in world.sent[0][2]


def test_a_disk_that_takes_no_datasets_is_told(world):
    """By the daemon's word."""
    world.then(MINUTE, daemon=replace(DAEMON, datasets="/srv/scans isn't mounted"))
    assert [at for at, _ in world.run(4 * MINUTE)] == [2 * MINUTE]
    assert "/srv/scans isn't mounted" in world.sent[0][2]


def test_a_rig_that_is_not_ready_is_told_after_its_grace_period(world):
    """With missed = "run_latest" the slot waits on; otherwise it is skipped for that reason."""
    waiting = timelapse(48).rig_not_ready(FAILURE)
    world.then(MINUTE, value=waiting)
    world.then(20 * MINUTE, value=waiting.begin(at(0, 1200), "b").succeed(at(0, 1260)))
    assert world.run(29 * MINUTE) == [
        (GRACE + MINUTE + timedelta.resolution, "the rig isn't ready"),
        (21 * MINUTE, "the rig is ready again"),
    ]
    assert world.sent[0][2].startswith(
        "The rig isn't ready: camera time-out.\nSince 08:00.\nNo slot is taken meanwhile."
    )


def test_a_pause_says_nothing_of_whether_the_rig_is_ready(world):
    """The slot that waited for it is taken, and says so."""
    waiting = timelapse(48).rig_not_ready(FAILURE)
    world.then(MINUTE, value=waiting)
    paused = begin_pause(waiting, at(0, 600), "anna", None)
    world.then(10 * MINUTE, value=paused)
    resumed = end_pause(paused, at(0, 900), "anna")
    world.then(15 * MINUTE, value=resumed)
    world.then(20 * MINUTE, value=taken(resumed))
    told = ["the rig isn't ready", "the rig is ready again"]
    assert [subject for _, subject in world.run(EVERY)] == told
    assert world.sent[1][0] == 21 * MINUTE


def test_a_slot_that_waited_for_its_rig_and_is_lost_in_a_pause_is_told(world):
    """Those after it aren't; and nobody says that the rig is ready when the pause is over."""
    waiting = timelapse(48).rig_not_ready(FAILURE)
    world.then(MINUTE, value=waiting)
    paused = begin_pause(waiting, at(0, 600), "anna", at(3))
    world.then(10 * MINUTE, value=paused)
    over = paused
    for slot in range(1, 4):
        over = keep_pause(over, at(slot))
        world.then(EVERY * slot, value=over)
    world.then(EVERY * 3 + 10 * MINUTE, value=taken(over))
    told = ["the rig isn't ready", "slot 0 missed, rig not ready", "slots are taken again"]
    assert [subject for _, subject in world.run(EVERY * 4)] == told


def test_slots_that_were_skipped_for_the_rig_are_told_as_such(world):
    """That is another thing to do than for a power cut."""
    skipped = timelapse(48).rig_not_ready(FAILURE).skip_late_slots(at(0, 121), Reason.MISSED, "")
    world.then(3 * MINUTE, value=skipped)
    assert world.run(20 * MINUTE) == [(4 * MINUTE, "slot 0 missed, rig not ready")]
    assert "What to do: switch the rig on, plug the cable in." in world.sent[0][2]


def test_a_delivery_that_is_stuck_for_a_day_is_told_at_that_time(world):
    """Each target for itself; that it isn't known at a start is not its end."""
    world.value = timelapse(48).cancel(at(0), "ada", "wilted")
    world.restart()
    stuck = TargetStatus(name="plantdb", taken=5, delivered=3, oldest=START, trouble="no route to host")
    world.then(MINUTE, targets=(stuck,))
    world.then(26 * HOUR, targets=())
    world.then(27 * HOUR, targets=(replace(stuck, oldest=None, trouble="", delivered=5),))
    assert world.run(30 * HOUR) == [(DAY + MINUTE, "delivery is stuck"), (27 * HOUR + MINUTE, "delivery goes on")]
    assert world.sent[0][2].startswith("Delivery is stuck (plantdb): no route to host.")


def test_a_delivery_that_only_lacks_what_is_gone_is_not_stuck_and_a_later_standstill_is_told(world):
    """Datasets that were moved away before the relay came can't arrive; and a target that catches up gets something."""
    world.value = timelapse(48).cancel(at(0), "ada", "wilted")
    world.restart()
    gone = TargetStatus(name="plantdb", taken=5, delivered=4, gone=1, oldest=START, delivered_at=START)
    world.then(MINUTE, targets=(gone,))
    catching_up = replace(gone, taken=900, delivered=10, delivered_at=START + 30 * HOUR)
    world.then(30 * HOUR, targets=(catching_up,))
    world.then(31 * HOUR, targets=(replace(catching_up, trouble="no route to host"),))
    assert world.run(60 * HOUR) == [(54 * HOUR + MINUTE, "delivery is stuck")]


# --- what can't be sent ---------------------------------------------------------------------------------


def test_what_waits_is_bounded_and_summed_up(world):
    """The ledger of a year without a network is small; and one message says it all."""
    world.problem = "no route to host"
    n_slots = WEEK // EVERY  # with a message every four hours: twice as many as keep their words
    world.value = timelapse(n_slots)
    value = world.value
    for slot in range(n_slots):
        value = taken(value) if slot % 3 else value.begin(at(slot), "b").fail_attempt(at(slot, 60), FAILURE)
        world.then(EVERY * slot + 6 * MINUTE, value=value)
    world.run(WEEK)
    (waiting,) = read_told(world.directory / "notify.ledger").waiting.values()
    assert len(waiting.messages) == MAX_WAITING
    assert waiting.dropped > 10
    world.problem = ""
    subject = world.run(WEEK + HOUR)[0][1]
    assert subject.startswith(f"{MAX_WAITING + waiting.dropped} messages since ")
    assert f"{waiting.dropped} earlier messages left out here\n" in world.sent[0][2]


def test_a_service_that_hangs_is_not_sent_the_same_for_ever(world):
    """It may have taken the message each time, and a person hear it each time."""
    world.problem = "no answer within 60 s"
    tries = []
    send, world._send = world._send, lambda *of: tries.append(world.clock.elapsed) or send(*of)
    outbox.send_message = world._send  # the fixture puts it back
    play(world, "failed", *["taken"] * 20)
    world.value = timelapse(48)
    world.run(29 * MINUTE)
    assert tries == [6 * MINUTE, 7 * MINUTE, 9 * MINUTE, 13 * MINUTE, 21 * MINUTE]
    world.problem = ""
    assert [subject for _, subject in world.run(HOUR)] == ["2 messages since 08:36"]
    assert "1 earlier message left out here\n08:36 bench: slots are taken again\n" in world.sent[0][2]


def test_only_a_row_of_hangs_gives_up_what_waits(world):
    """A service that refused before it hung has taken nothing."""
    world.problem = "it answers 503"
    play(world, "failed", *["taken"] * 20)
    world.clock.at(20 * MINUTE, partial(setattr, world, "problem", "no answer within 60 s"))
    world.run(29 * MINUTE)
    world.problem = ""
    world.run(HOUR)
    assert "slot 0 failed" in world.sent[0][1] + world.sent[0][2]


def test_failures_that_differ_in_numbers_alone_are_one_sentence(world):
    """A driver names the position at which the camera hung, which is another each time."""
    value = timelapse(48)
    for slot in range(10):
        problem = ScanFailed(f"position {slot * 7} of 72: camera_0 says nothing")
        value = value.begin(at(slot), "b").fail_attempt(at(slot, 60), problem)
    world.then(MINUTE, value=value)
    world.run(20 * MINUTE)
    first = world.sent[0][2].splitlines()[0]
    assert first == "tl: 10 slots from 08:00 to 12:30 failed, the last one: position 63 of 72: camera_0 says nothing."


@pytest.mark.parametrize("words", ["the camera says nothing. ", "\u76f8\u6a5f\u6c92\u6709\u56de\u61c9"])
def test_no_message_is_longer_than_ntfy_takes(world, words):
    """It counts bytes, and makes a file of a longer one."""
    value = timelapse(48)
    for slot in range(40):
        value = value.begin(at(slot), "b").fail_attempt(at(slot, 60), ScanFailed(f"{'x' * slot}: {words * 100}"))
    world.then(MINUTE, value=value)
    world.run(20 * MINUTE)
    ((_, _, text),) = world.sent
    assert len(text.encode()) <= 4096
    assert "And 35 slots more, for other reasons." in text
    assert "Lost: 40 time points." in text


def test_names_that_are_too_long_for_a_subject_are_whole_in_the_text(tmp_path, monkeypatch):
    """Which rig it is, is what a person needs first; of two the names may differ at their ends alone."""
    world = World(tmp_path, monkeypatch, rig=f"{'left-' * 10}1 on greenhouse-computer-7")
    world.problem = "no route to host"
    play(world, "failed", "taken")
    world.then(EVERY + 7 * MINUTE, problem="")
    ((_, subject),) = world.run(EVERY + 10 * MINUTE)
    assert subject.startswith("left-left-left-left-left-left-left-left…: 2 messages since 08:06")
    assert world.sent[0][2].endswith(f"\n\nRig: {'left-' * 10}1 on greenhouse-computer-7.")


def test_a_relay_that_is_started_again_goes_on_where_it_was(world):
    """With what waits, and without what it has said."""
    play(world, "failed", "failed", "taken")
    world.run(10 * MINUTE)
    world.restart()
    world.problem = "no route to host"
    world.run(EVERY + 10 * MINUTE)
    world.problem = ""
    world.restart()
    told = world.run(90 * MINUTE)
    assert [subject for _, subject in told] == ["slot 0 failed", "slot 1 failed", "slots are taken again"]


def test_a_ledger_that_can_not_be_read_now_is_not_replaced(world, monkeypatch):
    """It says what was told and what waits; both count as soon as the disk answers again."""
    play(world, "failed")
    world.problem = "no route to host"
    world.run(10 * MINUTE)
    world.problem = ""
    refusal = pytest.MonkeyPatch()

    def refuse(_path):
        raise OSError(errno.EIO, "Input/output error")

    refusal.setattr(outbox, "read_told", refuse)
    world.clock.at(20 * MINUTE, refusal.undo)
    world.restart()
    assert world.run(25 * MINUTE) == []
    assert world.sink.status.trouble.endswith("notify.ledger: Input/output error")
    told = world.run(35 * MINUTE)
    assert [subject for _, subject in told] == ["slot 0 failed"]
    assert world.sink.status.trouble == ""


def test_all_events_are_told_unless_a_person_chooses():
    """The default leaves nothing out."""
    assert NotifySettings().events == ALL_EVENTS


# --- doubtful pictures ----------------------------------------------------------------------------------


def test_pictures_that_stay_doubtful_are_one_message_and_their_end_is_another(world):
    """However many slots, positions and cameras there are meanwhile."""
    dark = doubt(positions=["3"])
    world.then(HOUR, doubts=(dark, doubt("camera_1")))
    for n in range(2, 17):
        world.then(HOUR + n * EVERY, doubts=(replace(dark, slots=n, positions=("3", "4")), doubt("camera_1", slots=n)))
    over = replace(dark, slots=16, is_over=True)
    world.then(20 * HOUR, doubts=(over, doubt("camera_1", slots=16)))
    world.then(21 * HOUR, doubts=(over, doubt("camera_1", slots=17, is_over=True)))
    play(world, *["taken"] * 46)
    told = world.run(22 * HOUR)
    assert told == [
        (HOUR + MINUTE, "slot 2 doubtful (dark)"),
        (20 * HOUR + MINUTE, "pictures are in order again"),
        (21 * HOUR + MINUTE, "pictures are in order again"),
    ]
    assert "camera_0, position 3: dark" in world.sent[0][2]
    assert "camera_1, position 0: dark" in world.sent[0][2]
    assert "camera_1" not in world.sent[1][2]
    assert "17 slots from" in world.sent[2][2]


def test_several_verdicts_are_one_message(world):
    """What each of them means is in it once."""
    doubts = (doubt(verdict="blurred"), doubt("camera_1", verdict="blurred"), doubt("camera_1", verdict="same"))
    world.then(HOUR, doubts=doubts)
    play(world, "taken", "taken", "taken")
    assert world.run(90 * MINUTE) == [(HOUR + MINUTE, "slot 2 doubtful (blurred, same)")]
    assert world.sent[0][2].count("Blurred: ") == world.sent[0][2].count("The same as") + 1 == 1


def test_a_relay_that_does_not_know_yet_says_nothing_of_its_end(world):
    """At its start, until all pictures are looked at; and a trouble that people know of isn't told again."""
    world.then(HOUR, doubts=(doubt(),))
    world.then(2 * HOUR, doubts=None)
    world.then(3 * HOUR, doubts=(doubt(),))
    play(world, *["taken"] * 8)
    assert world.run(4 * HOUR) == [(HOUR + MINUTE, "slot 2 doubtful (dark)")]


def test_the_doubts_of_an_earlier_timelapse_end_silently(world):
    """Nobody knows whether its camera is in order again; those of the next one are news."""
    world.then(HOUR, doubts=(doubt(),))
    world.then(2 * HOUR, doubts=())
    world.then(3 * HOUR, doubts=(doubt(timelapse="next"),))
    play(world, *["taken"] * 10)
    assert world.run(5 * HOUR) == [
        (HOUR + MINUTE, "slot 2 doubtful (dark)"),
        (3 * HOUR + MINUTE, "slot 2 doubtful (dark)"),
    ]


def test_who_does_not_want_to_know_of_pictures_is_not_told(tmp_path, monkeypatch):
    """Neither of their end."""
    world = World(tmp_path, monkeypatch, events=tuple(event for event in ALL_EVENTS if event != NotifyEvent.DOUBTFUL))
    world.then(HOUR, doubts=(doubt(),))
    world.then(2 * HOUR, doubts=(doubt(is_over=True),))
    play(world, *["taken"] * 8)
    assert world.run(4 * HOUR) == []


def test_what_a_full_disk_refused_of_the_ledger_is_written_when_there_is_space_and_not_told_again(world, monkeypatch):
    """Though nothing else happens until the next restart."""
    world.value = timelapse(48).cancel(at(0), "ada", "wilted")
    world.restart()
    stuck, is_full = TargetStatus(name="plantdb", taken=5, delivered=3, oldest=START), []
    write = outbox.write_told

    def write_unless_full(path, told):
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, told)

    monkeypatch.setattr(outbox, "write_told", write_unless_full)
    world.then(MINUTE, targets=(stuck,))
    world.clock.at(DAY, lambda: is_full.append(True))
    world.clock.at(25 * HOUR, is_full.clear)
    assert world.run(26 * HOUR) == [(DAY + MINUTE, "delivery is stuck")]
    assert read_told(world.directory / "notify.ledger") == world.sink._outbox.told
    assert world.sink.status.trouble == ""
    world.restart()
    assert len(world.run(30 * HOUR)) == 1
