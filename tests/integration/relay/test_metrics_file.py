"""The relay keeps a file with the figures of its rig, and takes it along when it stops."""

import stat
import threading
from datetime import timedelta

import pytest
from relay_rig import RelayRig
from tracing import Traced
from waiting import wait_until

from plantimager.timelapse.channel.relay_status import read_relay_status
from plantimager.timelapse.relay.metrics.measures import DiskRules
from plantimager.timelapse.relay.metrics.metrics_sink import MetricsSink
from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.support.clock import SystemClock

PATIENCE = 60.0


@pytest.fixture
def directory(tmp_path):
    """Return where node_exporter would look."""
    directory = tmp_path / "metrics"
    directory.mkdir()
    return directory


@pytest.fixture
def rig(tmp_path, directory):
    """Return a rig whose relay writes metrics, and does nothing else."""
    rig = RelayRig(tmp_path / "rig", "http://127.0.0.1:1")
    rig.place.configure(f'[relay.metrics]\ndirectory = "{directory}"')
    return rig


def wait_for_line(path, line):
    """Wait until the metrics have a line."""
    wait_until(lambda: path.exists() and line in path.read_text().splitlines(), within=PATIENCE, what=line)


def test_file_follows_the_store_and_goes_with_the_relay(rig, directory):
    """What a stopped relay leaves would be true no more."""
    path = directory / "timelapsed-default.prom"
    rig.take(1)
    with rig.start() as relay:
        wait_for_line(path, 'timelapse_slots{outcome="succeeded",rig="default",timelapse="tl"} 1.0')
        rig.take(2)
        wait_for_line(path, 'timelapse_slots{outcome="succeeded",rig="default",timelapse="tl"} 2.0')
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert relay.stop() == 0
    assert [*directory.iterdir()] == []


def test_directory_that_is_not_there_is_said_once_and_tried_again(rig, directory):
    """It may come later, with its disk or its program."""
    rig.take(1)
    directory.rmdir()
    with rig.start() as relay:
        relay.wait_for(f"metrics_not_written: {directory}")
        assert "metrics" in [status.name for status in read_relay_status(rig.places.relay_state).sinks]
        directory.mkdir()
        rig.take(2)
        wait_for_line(directory / "timelapsed-default.prom", 'timelapse_daemon_up{rig="default"} 0.0')
        relay.stop()
    assert len(relay.said("metrics_not_written")) == 1


def test_runtime_directory_of_the_unit_is_the_default(rig, directory):
    """Without a unit it has to be named."""
    rig.place.configure("[relay.metrics]")
    with rig.start(RUNTIME_DIRECTORY=str(directory)) as relay:
        wait_for_line(directory / "timelapsed-default.prom", 'timelapse_daemon_up{rig="default"} 0.0')
        relay.stop()
    with rig.start() as relay:
        assert relay.wait() == 78
        assert "needs a directory" in relay.said("relay_config_faulty")[0]


def test_a_reader_finds_all_of_the_old_file_or_all_of_the_new_one_at_each_system_call(tmp_path):
    """It is renamed into place; what it is written to first has a name that node_exporter doesn't read."""
    clock = SystemClock()
    host = SinkHost(lambda _: tmp_path / "datasets", clock, threading.Event(), lambda: None)
    watch = ScheduleWatch(clock, timedelta(hours=1), timedelta(minutes=10))
    sink = MetricsSink("a", tmp_path, watch, host, DiskRules())
    old, found = b"# EOF\n", set()
    sink.path.write_bytes(old)

    def look():
        found.add((*((path.name, path.read_bytes()) for path in tmp_path.glob("*.prom")),))

    Traced(lambda: sink._work(StoreView(daemon=DaemonFacts(7, is_live=True)))).go_on(10**9, look)
    new = sink.path.read_bytes()
    assert old != new
    assert found == {((sink.path.name, old),), ((sink.path.name, new),)}
