"""What always holds of a timelapse, whatever transitions come in whatever order; its text is read back at each step."""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path

from event_fold import EventFold
from example_timelapse import FAILURE, START, timelapse
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plantimager.timelapse.domain.states import OnScanFailed, Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.domain.timelapse import MINIMUM_GRACE
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.errors import ScannerNotReady

S, R = TimeLapseState, RecordStatus


class AnyLife(RuleBasedStateMachine):
    """A timelapse with any transitions in any order, under a clock that is set forward and back."""

    @initialize(
        n_slots=st.integers(1, 6),
        retries=st.integers(0, 2),
        policy=st.sampled_from(OnScanFailed),
        run_latest=st.booleans(),
    )
    def define(self, n_slots, retries, policy, run_latest):
        self.now = START - timedelta(minutes=5)
        self.stored = new_stored_timelapse(
            timelapse(n_slots, scan_retries=retries, on_scan_failed=policy), {"ScanPath": {}}, "digest"
        )
        self.run_latest = run_latest
        self.fold = EventFold()
        self.fold.follow(self.value)
        self.failures = dict.fromkeys(range(n_slots), 0)
        self.successes = dict.fromkeys(range(n_slots), 0)

    @property
    def value(self):
        return self.stored.timelapse

    def become(self, value):
        self.fold.follow(value)
        self.stored = self.stored.evolved(value, Logbook(saved_at=self.now))

    def is_(self, state):
        return self.value.state is state

    @rule(seconds=st.sampled_from([1, 20, 119, 300, 1800, 4000]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(minutes=st.integers(1, 90))
    def clock_is_set_back(self, minutes):
        self.now -= timedelta(minutes=minutes)
        if self.is_(S.RUNNING):
            self.become(self.value.redate(-timedelta(minutes=minutes)))
        else:
            self.become(self.value.reopen_slots(self.now))

    @precondition(lambda self: not self.is_(S.RUNNING))
    @rule()
    def look(self):
        self.become(self.value.skip_late_slots(self.now, Reason.MISSED, "", run_latest=self.run_latest))
        assert not self.value.late_slots(self.now, run_latest=self.run_latest)

    @precondition(lambda self: self.is_(S.SCHEDULED) and self.value.next_at <= self.now)
    @rule()
    def slot_comes_due(self):
        self.look()
        if not self.is_(S.SCHEDULED) or self.value.next_at > self.now:
            return
        slot = self.value.next_idx
        assert self.run_latest or self.now - self.value.next_at <= max(self.value.grace, MINIMUM_GRACE)
        assert not self.successes[slot]
        self.become(self.value.begin(self.now, "boot"))

    @precondition(lambda self: self.is_(S.RUNNING))
    @rule(pictures=st.none() | st.integers(0, 99))
    def scan_succeeds(self, pictures):
        self.successes[self.value.next_idx] += 1
        self.become(self.value.succeed(self.now, pictures))

    @precondition(lambda self: self.is_(S.RUNNING))
    @rule(give_up=st.booleans())
    def attempt_fails(self, give_up):
        slot = self.value.next_idx
        self.failures[slot] += 1
        self.become(self.value.fail_attempt(self.now, FAILURE, give_up=give_up))
        assert self.failures[slot] <= self.value.scan_retries + 1
        if self.value.records[slot].status is R.FAILED and self.value.on_scan_failed is OnScanFailed.FAIL_TIMELAPSE:
            assert self.is_(S.FAILED)

    @precondition(lambda self: self.is_(S.RUNNING))
    @rule()
    def rig_is_away(self):
        self.become(self.value.rig_not_ready(ScannerNotReady("no port")))

    @precondition(lambda self: self.is_(S.RUNNING))
    @rule()
    def disk_is_pulled(self):
        slot = self.value.next_idx
        failed = self.value.fail_attempt(self.now, FAILURE, is_unsettled=True)
        if failed.state is S.RUNNING:
            failed = self.value.rig_not_ready(ScannerNotReady("no disk"), is_unsettled=True)
        self.failures[slot] += 1
        self.become(failed)
        assert slot in self.value.unsettled

    @precondition(lambda self: not self.is_(S.RUNNING) and self.value.unsettled)
    @rule(is_whole=st.booleans())
    def driver_is_asked(self, is_whole):
        slot = self.value.unsettled[0]
        self.successes[slot] += is_whole
        after = self.value.succeed_after_all(slot, self.now, 3, self.now) if is_whole else self.value.settle(slot)
        self.become(after)
        assert slot not in self.value.unsettled

    @precondition(lambda self: self.is_(S.RUNNING))
    @rule()
    def power_goes(self):
        self.become(self.value.interrupt(None, "the power went"))

    @precondition(lambda self: self.value.state.is_active)
    @rule(yes=st.integers(0, 9))
    def operator_cancels(self, yes):
        if yes == 9:  # seldom, or no life would be long
            self.become(self.value.cancel(self.now, "ada", "why"))

    @invariant()
    def next_is_the_lowest_open_slot(self):
        for slot in range(self.value.next_idx):
            status = self.value.records[slot].status
            assert status.is_final or status is R.INTERRUPTED
        assert self.value.current is None or not self.value.current.status.is_final

    @invariant()
    def ended_timelapse_has_one_final_record_for_every_slot(self):
        if self.value.state.is_terminal:
            assert self.value.tally.done == self.value.n_slots == len(self.value.records)

    @invariant()
    def what_succeeded_did_so_once_and_stays_so(self):
        for slot, count in self.successes.items():
            assert count == (slot in self.value.records and self.value.records[slot].status is R.SUCCEEDED)

    @invariant()
    def store_gives_the_same_timelapse_back(self):
        again = read_timelapse(self.stored.encode(), Path("s.json"), UTC)
        assert again.timelapse == self.value
        assert again.logbook == self.stored.logbook
        assert not again.notes
        assert not again.kept.scans
        assert again.encode() == self.stored.encode()


AnyLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestAnyLife = AnyLife.TestCase
