"""`timelapsectl demo`: a power cut in mid-scan and the resume, with a real daemon."""

import io
import os
import re
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from ctl_host import read_until
from daemon_process import PATIENCE

from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.cli import demo as scenario
from plantimager.timelapse.cli.demo import find_false_claims
from plantimager.timelapse.cli.demo_daemon import DemoFailed
from plantimager.timelapse.cli.demo_home import Home, slot_interval
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.clock import SystemClock


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path, monkeypatch):
    """Make a demo in this process put its directory into that of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def spacing(store):
    """Return the interval of the timelapse in a store."""
    first, second = load_timelapse(store).stored.timelapse.schedule_times[:2]
    return second - first


def duration(store):
    """Return how long the scan of a store's only slot took."""
    return load_timelapse(store).stored.timelapse.records[0].took


def test_demo_shows_a_kill_and_a_resume_and_checks_itself(host):
    """Every slot is taken, the cut one in its second attempt, and the pictures are where the demo says."""
    done = host.ctl("demo")
    assert (done.returncode, done.stderr) == (0, "")
    cut = re.search(r"POWER CUT: SIGKILL for PID \d+, slot (\d), picture \d+ of 12", done.stdout)
    assert cut
    assert f"was scanning slot {cut[1]} when the daemon was killed" in done.stdout
    assert "7 of 7" in done.stdout
    datasets = Path(re.search(r"pictures: (\S+)/demo_0 to demo_6", done.stdout)[1])
    assert datasets.is_relative_to(host.root)
    for slot in range(7):
        pictures = sorted((datasets / f"demo_{slot}" / "images").iterdir())
        assert len(pictures) == 12
        assert all(picture.read_bytes().startswith(b"\xff\xd8") for picture in pictures)
    assert "sudo systemd/install" in done.stdout
    assert "  timelapsectl start config/timelapse.toml " in done.stdout
    assert "sudo usermod -aG plant-imager" in done.stdout
    assert "name its driver in /etc/plant-imager3-app/timelapsed.toml" in done.stdout
    storage = datasets.parent
    assert spacing(storage / "timelapse_storage.json") == slot_interval(duration(storage / "history/first_scan.json"))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_demo_that_is_ended_takes_its_daemon_along(host, ending):
    """Ctrl-C, a kill and the end of its terminal are the same."""
    command = ["env", "--default-signal", *host.command("demo")]  # these tests may be run under nohup
    with subprocess.Popen(command, env=host.environment, stdout=subprocess.PIPE) as demo:
        read_until(demo.stdout, "scan_started")
        (lock,) = host.root.glob("timelapsed-demo-*/data/plant-imager3-app/*.lock")
        store = lock.with_suffix("")
        pid = running_daemon(store)
        assert pid is not None
        demo.send_signal(ending)
        demo.stdout.read()
        assert demo.wait(PATIENCE) == 130
    assert running_daemon(store) is None


def test_demo_ends_well_though_its_scans_take_longer_than_the_interval(monkeypatch):
    """The machine may become slower after the first scan was measured: slots are late then, and all are taken."""
    interval = timedelta(seconds=1)
    monkeypatch.setattr(scenario, "slot_interval", lambda _: interval)
    home = Home.make(os.environ, time_per_position=timedelta(seconds=0.1))
    cut = scenario.play(home, SystemClock(), Screen(io.StringIO()))
    timelapse = load_timelapse(home.store).stored.timelapse
    assert timelapse.records[0].took > interval
    assert find_false_claims(timelapse, home, cut) == []


def test_daemon_that_does_not_start_ends_the_demo():
    """Its error is shown, and the demo doesn't wait for a scan."""
    home = Home.make(os.environ)
    (home.settings / "timelapsed.toml").write_text('driver = "robot"')
    output = io.StringIO()
    with pytest.raises(DemoFailed, match="the daemon ended with 78"):
        scenario.play(home, SystemClock(), Screen(output))
    assert "no such driver" in output.getvalue()


def test_failed_first_scan_ends_the_demo():
    """Its reason is shown: the slots can't be spaced by it."""
    home = Home.make(os.environ)
    path = home.settings / "timelapsed.toml"
    path.write_text(re.sub(r"fail = .*", "fail = [0]", path.read_text()))
    with pytest.raises(DemoFailed, match="the first scan failed: the simulated rig fails in slot 0"):
        scenario.play(home, SystemClock(), Screen(io.StringIO()))
