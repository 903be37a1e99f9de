"""The relay keeps a file with the figures of its rig, and takes it along when it stops."""

import stat

import pytest
from relay_rig import RelayRig
from waiting import wait_until

from plantimager.timelapse.channel.relay_status import read_relay_status

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
