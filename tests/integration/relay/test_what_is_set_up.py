"""`status`, `deliver` and `rigs` say of each thing that the relay does what is set up, and when it last worked."""

import re
import subprocess

from daemon_process import CTL
from waiting import wait_until

SINKS = {
    "plantdb": r"2 of 2 delivered",
    "notify": r"messages to JSON",
    "heartbeat": r"pings every 1 s",
    "metrics": r"/\S+/metrics/timelapsed-default\.prom",
    "look": r"pictures of 2 scans looked at",
}
WORKED = r"last worked \d\d:\d\d(?::\d\d)?"


def ctl(rig, *words):
    """Return what timelapsectl says."""
    environment = {**rig.place.environment, "TZ": "UTC"}
    done = subprocess.run([*CTL, *words], env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout


def test_each_sink_says_what_is_set_up_and_when_it_last_worked(tmp_path, rig, receiver):
    """All of them in one relay; a stopped one says that, too."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "urls").write_text(f"json://127.0.0.1:{receiver.port}/")
    (tmp_path / "urls").chmod(0o600)
    tables = [
        f'[relay.notify]\nurls_file = "{tmp_path}/urls"',
        f'[relay.heartbeat]\nurl = "http://127.0.0.1:{receiver.port}/ping"\ninterval = "1s"',
        f'[relay.metrics]\ndirectory = "{tmp_path}/metrics"',
    ]
    rig.configure(*tables)
    rig.take(2)

    def lines(*words):
        """Return which sinks a command has a line of, with when each last worked."""
        said = ctl(rig, *words)
        return {name for name, what in SINKS.items() if re.search(rf"{what}, {WORKED} \({name}\)", said)}

    with rig.start(TZ="UTC") as relay:
        relay.wait_for("relay_started")
        wait_until(lambda: ctl(rig, "notify", "--test") == "JSON: sent\n", within=60, what="a test message")
        wait_until(lambda: lines("status") == {*SINKS}, within=60, what="each has worked")
        (row,) = (line for line in ctl(rig, "rigs").splitlines() if "plantdb" in line)
        assert re.search(", ".join(rf"{name} \d\d:\d\d(?::\d\d)?" for name in SINKS), row)
        relay.stop()
    assert ctl(rig, "status").count("; the relay is not running") == len(SINKS)
    assert "(not running)" in ctl(rig, "rigs")
