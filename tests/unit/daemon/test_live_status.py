"""The status that is answered at the control socket while no timelapse is held."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest

from plantimager.timelapse.channel.control_request import Request
from plantimager.timelapse.daemon import live_status
from plantimager.timelapse.daemon.live_status import StatusAnswer
from plantimager.timelapse.daemon.store_keeper import StoreKeeper


@pytest.fixture
def reads(monkeypatch):
    """Count the reads of the store, and hold them until ``go`` is set."""
    reads = SimpleNamespace(begun=0, go=threading.Event())

    def load(_):
        reads.begun += 1
        reads.go.wait()

    monkeypatch.setattr(live_status, "load_timelapse", load)
    yield reads
    reads.go.set()


def answer_of(shown):
    return shown.answer(Request("status", {}, "anna", print))


def test_status_of_an_idle_rig_reads_no_disk(tmp_path, reads):
    """The loop has found that there is no store; a disk that stalls later keeps nobody waiting."""
    keeper = StoreKeeper(tmp_path / "store.json")
    keeper.salvage(None, None)
    assert answer_of(StatusAnswer(None, keeper)).accepted
    assert reads.begun == 0


def test_disk_that_stalls_before_the_start_is_waited_for_once(tmp_path, reads, monkeypatch):
    """One read may be under way, for a limited time; further questions are answered without the store meanwhile."""
    monkeypatch.setattr(live_status, "READ_TIMEOUT", timedelta(seconds=0.05))
    shown = StatusAnswer(None, StoreKeeper(tmp_path / "store.json"))
    for _ in range(5):
        answer = answer_of(shown)
        assert (answer.accepted, answer.files) == (True, ())
    assert reads.begun == 1
