"""What may hang is called on a thread of its own, one at a time."""

import threading

import pytest

from plantimager.timelapse.support.side_call import NoThreadLeft, SideCall, call_on_thread


def test_answer_is_returned_and_a_fault_is_raised():
    """The caller sees what it would see without the thread."""
    side = SideCall(10.0)
    assert side.make(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        side.make(lambda: 1 // 0)
    assert side.make(lambda: 8) == 8


def test_call_that_hangs_is_left_and_no_second_one_begins():
    """A disk that hangs for days takes one thread."""
    side, goes_on = SideCall(0.01), threading.Event()
    assert side.make(lambda: goes_on.wait(10)) is None
    calls = []
    assert side.make(lambda: calls.append(1)) is None
    assert calls == []
    goes_on.set()


def test_machine_without_another_thread_is_an_outcome(monkeypatch):
    """The caller isn't ended by it."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(NoThreadLeft, match="can't start new thread"):
        call_on_thread(lambda: 7).result()
