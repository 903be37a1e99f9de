"""A target's status tells apart what waits, what was refused, and what is not there."""

from datetime import timedelta

import pytest
from pending import taken_scans

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.relay.deliver.backlog import FAILED_AGAIN, GONE_AGAIN, Backlog
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock


class SetClock(SystemClock):
    """A clock that a test sets forward."""

    passed = set_forward = timedelta(0)

    def monotonic(self):
        return self.passed.total_seconds()

    def now(self):
        return super().now() + self.set_forward


def test_what_is_gone_or_refused_does_not_wait(tmp_path):
    """Until it is looked for again, which may find it."""
    clock, taken = SetClock(), taken_scans(5)
    ledgers = Ledger(tmp_path / "there.ledger"), Ledger(tmp_path / "removed")
    backlog = Backlog("there", *ledgers, clock, newest_first=True)
    backlog.refresh(taken)
    assert (backlog.status("").waiting, backlog.status("").delivered_at) == (5, None)
    backlog.record(taken.scans[0], Outcome.DELIVERED)
    backlog.record(taken.scans[1], Outcome.REFUSED, why="it was changed")
    backlog.postpone_gone(taken.scans[2], "tl_2 is not there")
    backlog.postpone_failed(taken.scans[3], "error 500")
    status = backlog.status("")
    assert (status.delivered, status.refused, status.gone, status.waiting) == (1, 1, 1, 2)
    assert abs(clock.now() - status.delivered_at) < timedelta(minutes=1)
    clock.passed = timedelta(seconds=GONE_AGAIN + 1)
    backlog.record(backlog.next(), Outcome.DELIVERED)
    backlog.next()
    assert (backlog.status("").gone, backlog.status("").waiting) == (0, 2)


def test_a_delivery_by_a_clock_that_ran_ahead_is_not_the_last_one(tmp_path):
    """Since it was set back by a year, a target would look well for a year, whatever became of it."""
    clock, taken = SetClock(), taken_scans(5)
    backlog = Backlog("there", Ledger(tmp_path / "there.ledger"), Ledger(tmp_path / "removed"), clock)
    backlog.refresh(taken)
    clock.set_forward = timedelta(days=365)
    backlog.record(taken.scans[0], Outcome.DELIVERED)
    clock.set_forward = timedelta(0)
    assert (backlog.status("").delivered, backlog.status("").delivered_at) == (1, None)
    backlog.record(taken.scans[1], Outcome.DELIVERED)
    assert abs(clock.now() - backlog.status("").delivered_at) < timedelta(days=1)


def test_a_begun_scan_with_which_the_server_failed_is_tried_again_before_all_that_wait(tmp_path):
    """A scan without a picture makes PlantDB's list of all scans fail."""
    clock = SetClock()
    backlog = Backlog("there", Ledger(tmp_path / "there.ledger"), Ledger(tmp_path / "removed"), clock)
    backlog.refresh(taken_scans(50))
    begun, gone = backlog.next(), taken_scans(50).scans[1]
    backlog.record(begun, Outcome.BEGUN)
    backlog.postpone_failed(begun, "error 500")
    backlog.postpone_gone(gone, "tl_1 is not there")
    assert backlog.next().slot == 2
    clock.passed = timedelta(seconds=max(FAILED_AGAIN, GONE_AGAIN) + 1)
    assert backlog.next() == begun
    backlog.record(begun, Outcome.DELIVERED)
    assert backlog.next().slot == 2, "what was never begun harms nobody, and waits for those that never had a turn"


def test_what_was_removed_before_the_target_moved_does_not_wait_for_ever(tmp_path):
    """It went to the earlier address, or a part of it did, and is not here any more."""
    taken, removed = taken_scans(4), Ledger(tmp_path / "removed")

    def backlog_of(url):
        ledger = Ledger(tmp_path / "lab.ledger", DeliverTarget(url=url).place)
        backlog = Backlog("lab", ledger, Ledger(removed.path), SetClock())
        backlog.refresh(taken)
        return backlog

    before = backlog_of("http://a")
    for scan, outcome in zip(taken.scans, [Outcome.DELIVERED, Outcome.DELIVERED, Outcome.BEGUN], strict=False):
        before.record(scan, outcome)
    removed.record(*(LedgerEntry(scan.key, Outcome.REMOVED, "2026", why="lab") for scan in taken.scans[:3]))
    assert (backlog_of("http://a").status("").delivered, backlog_of("http://a").status("").waiting) == (2, 1)
    after = backlog_of("http://b")
    assert (after.status("").removed, after.status("").waiting, after.n_waiting) == (3, 1, 1)
    after.record(after.next(), Outcome.DELIVERED)
    assert (after.status("").delivered, after.status("").waiting, after.next()) == (1, 0, None)


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59+00:00", "0001-01-01", "2026", ""])
def test_line_of_a_ledger_with_a_time_beyond_all_measure_is_a_delivery_at_an_unknown_time(tmp_path, at):
    """The status is told all the same."""
    taken, ledger = taken_scans(2), Ledger(tmp_path / "there.ledger")
    ledger.record(LedgerEntry(taken.scans[0].key, Outcome.DELIVERED, at))
    backlog = Backlog("there", Ledger(ledger.path), Ledger(tmp_path / "removed"), SetClock())
    backlog.refresh(taken)
    status = backlog.status("")
    assert (status.delivered, status.delivered_at, status.waiting) == (1, None, 1)
