"""The metrics' file is written whatever happens, seldom makes a status, and goes when the relay stops."""

import errno
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from waiting import wait_until

from plantimager.timelapse.relay import sink
from plantimager.timelapse.relay.metrics import metrics_sink
from plantimager.timelapse.relay.metrics.measures import DiskRules
from plantimager.timelapse.relay.metrics.metrics_sink import MetricsSink
from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
from plantimager.timelapse.relay.sink import SinkHost, TimedSink, WorksOnLatest
from plantimager.timelapse.relay.store_view import StoreView
from plantimager.timelapse.support.clock import SystemClock
from stores import read, scan, store_of

NOON = datetime(2026, 6, 22, 12, tzinfo=UTC)


class SetClock(SystemClock):
    """A clock that a test sets."""

    at = NOON

    def now(self):
        return self.at


class World:
    """A sink with its directory, its thread and what it reported."""

    def __init__(self, tmp_path):
        self.stop, self.clock, self.reports, self.datasets = threading.Event(), SetClock(), [], tmp_path / "datasets"
        self.datasets.mkdir()
        host = SinkHost(self.datasets_of, self.clock, self.stop, lambda: self.reports.append(1))
        watch = ScheduleWatch(self.clock, timedelta(hours=1), timedelta(minutes=10))
        self.sink = MetricsSink("a", tmp_path, watch, host, DiskRules())
        self.thread = threading.Thread(target=self.sink.run, daemon=True)

    def datasets_of(self, _):
        return self.datasets

    def write(self, view=None):
        self.sink._work(view or StoreView())

    def end(self):
        self.stop.set()
        self.sink.wake()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_status_is_new_once_an_hour_or_with_a_trouble(world, monkeypatch):
    """Each status is a file in a directory that the relay watches."""
    for minute in (0, 1, 2, 59):
        world.clock.at = NOON + timedelta(minutes=minute)
        world.write()
    assert (world.sink.status.worked_at, len(world.reports)) == (NOON, 1)
    world.clock.at = NOON + timedelta(hours=1)
    world.write()
    assert (world.sink.status.worked_at, len(world.reports)) == (world.clock.at, 2)
    monkeypatch.setattr(world.sink, "path", Path("/nowhere/a.prom"))
    for _ in range(3):
        world.write()
    assert "No such file" in world.sink.status.trouble
    assert len(world.reports) == 3


def test_mistake_of_ours_ends_neither_the_thread_nor_leaves_a_file(world, monkeypatch):
    """The next view is written as if nothing had happened."""
    faults, right_measures = [ZeroDivisionError()], metrics_sink.measure_rig

    def measure(*arguments):
        if faults:
            raise faults.pop()
        return right_measures(*arguments)

    monkeypatch.setattr(MetricsSink, "failed_wait", 0.01)
    monkeypatch.setattr(metrics_sink, "measure_rig", measure)
    world.thread.start()
    world.sink.update(StoreView())
    wait_until(world.sink.path.exists, within=60, what="the file")
    world.end()
    assert not world.sink.path.exists()


def test_mistake_of_ours_is_not_made_again_with_every_change(world, monkeypatch):
    """A store that is written each second would fill the journal; the stop is seen at once."""
    lines = []
    monkeypatch.setattr(sink, "log_relay", lambda _, sentence, **__: lines.append(sentence))
    monkeypatch.setattr(metrics_sink, "measure_rig", lambda *_: 1 / 0)
    world.thread.start()
    for _ in range(5):
        world.sink.update(StoreView())
        wait_until(lambda: lines, within=60, what="the mistake")
        world.thread.join(0.02)
    world.end()
    assert lines == ["metrics: ZeroDivisionError('division by zero')"]
    assert (TimedSink.failed_wait, MetricsSink.failed_wait) == (600, 60)


def test_disk_that_hangs_leaves_the_other_figures(world, monkeypatch):
    """A file server that is gone must not look like a host that is off."""
    goes_on = threading.Event()
    monkeypatch.setattr(world.sink._disk, "_seconds", 0.01)
    monkeypatch.setattr(metrics_sink, "dataset_bytes", lambda _: goes_on.wait(10))
    monkeypatch.setattr(metrics_sink.shutil, "disk_usage", lambda _: goes_on.wait(10))
    world.write()
    text = world.sink.path.read_text()
    assert "timelapse_daemon_up" in text
    assert "disk_free" not in text
    goes_on.set()


def test_datasets_that_are_there_count_for_the_forecast(world):
    """Those that were deleted can't be deleted again."""
    (world.datasets / "tl_1").mkdir()
    view = StoreView(stored=read(store_of(scan("tl_0"), scan("tl_1"))))
    use = world.sink._look_at_disk(view)
    assert use.held == (view.timelapse.schedule_times[1],)


def test_stop_before_the_wait_is_seen_at_once():
    """SIGTERM may come while a file is written."""
    stop = threading.Event()
    works, view = WorksOnLatest(SinkHost(lambda _: Path(), SystemClock(), stop, lambda: None)), StoreView()
    works.update(view)
    stop.set()
    assert works._wait(view, 600) is view


@pytest.mark.parametrize("obstacle", ["a directory in its place", "a file for its directory", "no room", "read-only"])
def test_what_can_not_be_written_is_a_trouble_that_ends_by_itself(tmp_path, monkeypatch, caplog, obstacle):
    """It is said once, and leaves nothing else behind."""
    (tmp_path / "run").mkdir()
    world = World(tmp_path / "run")
    with monkeypatch.context() as patch:
        if obstacle == "a directory in its place":
            world.sink.path.mkdir()
        elif obstacle == "a file for its directory":
            (tmp_path / "run").rename(tmp_path / "away")
            (tmp_path / "run").write_bytes(b"")
        else:
            code = errno.ENOSPC if obstacle == "no room" else errno.EROFS
            refusal = OSError(code, os.strerror(code), str(world.sink.path))
            patch.setattr(metrics_sink, "replace_file", lambda *_: raise_(refusal))
        for _ in range(3):
            world.write()
        assert str(tmp_path / "run") in world.sink.status.trouble
        assert caplog.text.count("metrics_not_written") == 1
    if obstacle == "a directory in its place":
        world.sink.path.rmdir()
    elif obstacle == "a file for its directory":
        (tmp_path / "run").unlink()
        (tmp_path / "away").rename(tmp_path / "run")
    world.write()
    assert world.sink.status.trouble == ""
    assert [path.name for path in (tmp_path / "run").iterdir() if path.is_file()] == ["timelapsed-a.prom"]


def raise_(problem):
    """Raise it."""
    raise problem
