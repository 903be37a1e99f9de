"""Ten thousand datasets that wait cost memory for their names alone, and no look at any of them but the next one."""

import gc
import tracemalloc

import pytest
from pending import CountingDelivery, taken_scans

from plantimager.timelapse.relay.store_view import StoreView

MANY, SOME = 10_000, 1_000
BYTES_EACH = 1_000
"""Of a dataset that waits, beside the scan itself: its key, and its places in two tables."""


def peak(directory, taken, until):
    """Return the most memory that a sink takes while it delivers so many."""
    directory.mkdir()
    delivery = CountingDelivery(until)
    sink = delivery.sink(directory)
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


def test_memory_grows_by_the_names_of_what_waits_and_no_more(tmp_path):
    """Ten times as many cost ten times as many names."""
    many = peak(tmp_path / "many", taken_scans(MANY), 1)
    some = peak(tmp_path / "some", taken_scans(SOME), 1)
    assert (many - some) / (MANY - SOME) < BYTES_EACH


def test_memory_stays_the_same_while_they_are_delivered(tmp_path):
    """A delivery leaves its entry of the ledger."""
    taken = taken_scans(SOME)
    one, fifty = (peak(tmp_path / f"{until}", taken, until) for until in (1, 50))
    assert fifty - one < 50 * BYTES_EACH * 3


@pytest.mark.parametrize("number", [SOME, MANY])
def test_a_delivery_looks_at_no_more_datasets_the_more_wait(tmp_path, number):
    """One look for each that is delivered."""
    delivery = CountingDelivery(until=5)
    sink = delivery.sink(tmp_path)
    sink.update(StoreView(taken_scans(number)))
    sink.run()
    assert delivery.delivered == [f"tl_{slot}" for slot in range(5)]
    assert len(delivery.looked_up) == 5
