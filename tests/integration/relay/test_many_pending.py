"""Ten thousand datasets that wait take no memory beside the scans themselves, and no look but at the next one."""

import gc
import tracemalloc

import pytest
from pending import CountingDelivery, taken_scans

from plantimager.timelapse.channel.ledger import Ledger, Outcome
from plantimager.timelapse.relay.deliver.backlog import Backlog
from plantimager.timelapse.relay.store_view import StoreView
from plantimager.timelapse.support.clock import SystemClock

MANY, SOME = 10_000, 1_000
NOISE = (MANY - SOME) * 8 // 2
"""Bytes by which two deliveries of the same may differ: half of what one reference to each that waits would take."""
BYTES_EACH = 3_000
"""Of a dataset that was delivered: its entry of the ledger."""


def peak(directory, taken, until, order="oldest"):
    """Return the most memory that a sink takes while it delivers so many."""
    directory.mkdir()
    delivery = CountingDelivery(until)
    sink = delivery.sink(directory, order)
    sink.update(StoreView(taken))
    gc.collect()
    tracemalloc.start()
    sink.run()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(delivery.delivered) == until
    return found


def test_the_first_of_ten_thousand_is_sent_before_any_other_is_looked_at(tmp_path):
    """The oldest; its directory is the only one that is looked up."""
    delivery = CountingDelivery(until=1)
    sink = delivery.sink(tmp_path)
    sink.update(StoreView(taken_scans(MANY)))
    sink.run()
    assert delivery.delivered == ["tl_0"]
    assert delivery.looked_up == [1]


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_memory_is_the_same_however_many_wait(tmp_path, order):
    """Ten times as many are found one by one."""
    peak(tmp_path / "first", taken_scans(1), 1, order)  # what is made once for all
    many = peak(tmp_path / "many", taken_scans(MANY), 3, order)
    some = peak(tmp_path / "some", taken_scans(SOME), 3, order)
    assert many - some < NOISE


def test_memory_is_the_same_where_one_was_begun_and_one_is_gone(tmp_path):
    """Those two are kept; the begun one goes first."""
    found = []
    for number in (SOME, MANY):
        directory = tmp_path / str(number)
        directory.mkdir()
        taken = taken_scans(number)
        backlog = Backlog("lab", Ledger(directory / "lab"), Ledger(directory / "removed"), SystemClock())
        backlog.record(taken.scans[-1], Outcome.BEGUN)
        gc.collect()
        tracemalloc.start()
        backlog.refresh(taken)
        assert backlog.next() is taken.scans[-1]
        backlog.record(taken.scans[-1], Outcome.DELIVERED)
        backlog.postpone_gone(backlog.next(), "tl_0 is not there")
        assert backlog.next() is taken.scans[1]
        status = backlog.status("")
        assert (status.waiting, status.gone, backlog.n_waiting) == (number - 2, 1, number - 1)
        found.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert found[1] - found[0] < NOISE


def test_memory_stays_the_same_while_they_are_delivered(tmp_path):
    """A delivery leaves its entry of the ledger."""
    taken = taken_scans(SOME)
    one, fifty = (peak(tmp_path / f"{until}", taken, until) for until in (1, 50))
    assert fifty - one < 50 * BYTES_EACH


@pytest.mark.parametrize("number", [SOME, MANY])
def test_a_delivery_looks_at_no_more_datasets_the_more_wait(tmp_path, number):
    """One look for each that is delivered."""
    delivery = CountingDelivery(until=5)
    sink = delivery.sink(tmp_path)
    sink.update(StoreView(taken_scans(number)))
    sink.run()
    assert delivery.delivered == [f"tl_{slot}" for slot in range(5)]
    assert len(delivery.looked_up) == 5
