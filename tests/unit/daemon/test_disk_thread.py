"""The thread that writes the store."""

from concurrent.futures import Future
from datetime import timedelta

import pytest

from plantimager.timelapse.daemon import bounded_call
from plantimager.timelapse.daemon.bounded_call import DiskThread


class LateFuture(Future):
    """A future that ends between the time-out of its reader and the reader's next look."""

    def result(self, timeout=None):
        found = super().result()
        if timeout is not None:
            raise TimeoutError
        return found


def test_write_that_ends_at_the_moment_of_its_time_out_has_succeeded(monkeypatch):
    """Else a store that is saved would be called degraded, for no reason that can be read."""
    monkeypatch.setattr(bounded_call, "Future", LateFuture)
    assert DiskThread().run(lambda: "saved", timedelta(seconds=1)) == "saved"


def test_write_that_timed_out_itself_has_failed():
    """As one of a file server may."""

    def write():
        raise TimeoutError(110, "Connection timed out")

    with pytest.raises(TimeoutError, match="Connection timed out"):
        DiskThread().run(write, timedelta(seconds=60))
