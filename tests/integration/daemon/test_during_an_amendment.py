"""What else is asked of the daemon while it judges an amendment beside its loop: nothing is done by half."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import bad_drivers
import pytest
from control import ask
from ctl_host import Host, read_until
from daemon_process import PATIENCE
from gate import Gate

CONFIGURATION = """\
driver = "bad"
clock = "trust"
[drivers.bad]
does = ["work"]
make = "be_patient"
gate = "{gate}"
check = "{check}"
close = "wait_at_gate"
"""


@pytest.fixture
def gate(tmp_path):
    """Return the gate of the driver."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def host(tmp_path, gate):
    """Return the host of a driver whose calls wait at a gate."""
    host, site = Host(tmp_path), tmp_path / "site"
    site.mkdir()
    bad_drivers.install(site)
    host.environment["PYTHONPATH"] = f"{site}:{Path(bad_drivers.__file__).parent}"
    configure(host, gate)
    return host


def configure(host, gate, check="wait_at_gate"):
    host.configure(CONFIGURATION.format(gate=gate.path, check=check))


def stored(host):
    return json.loads(host.store.read_bytes())


@contextmanager
def judging(host, gate, **changes):
    """Have the timelapse amended; the driver waits at the gate while it checks the definition."""
    gate.shut()
    command = host.command("amend", "--yes", host.define(**changes))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=host.environment, text=True, **pipes) as amend:
        try:
            gate.wait_until_reached()
            yield amend
        finally:
            amend.kill()


@contextmanager
def running(host):
    """Run the daemon of a timelapse of which the first slot is taken."""
    with host.daemon() as daemon:
        assert host.ctl("start", host.define()).returncode == 0
        read_until(daemon.stderr, "scan_succeeded:")
        host.wait_for(lambda store: store["next_idx"] == 1, "the first slot")
        yield daemon


def answer_of(command):
    """Return the answer, the error and the exit code of a command, once it has ended."""
    return (*command.communicate(timeout=PATIENCE), command.returncode)


def test_cancelled_meanwhile_it_stays_cancelled(host, gate):
    """The cancellation is answered at once, and the amendment refused: there is nothing to amend any more."""
    with running(host):
        with judging(host, gate, n_shots=9) as amend:
            cancelled = ask(host.store, "cancel", why="wilted")
            assert (cancelled.accepted, stored(host)["state"]) == (True, "cancelled")
            before = host.store.read_bytes()
            gate.open()
            said, refused, code = answer_of(amend)
        assert (code, said) == (1, "")
        assert "there is no active timelapse to amend" in refused
        assert host.store.read_bytes() == before
        assert len(stored(host)["schedule_times"]) == 3


def test_reload_meanwhile_takes_nothing_from_it(host, gate):
    """The daemon has looked at its files again before the driver has answered; then the new schedule is on disk."""
    with running(host) as daemon:
        before = stored(host)
        with judging(host, gate, n_shots=9) as amend:
            daemon.send_signal(signal.SIGHUP)
            read_until(daemon.stderr, "reloaded:")
            assert stored(host)["schedule_times"] == before["schedule_times"]
            gate.open()
            said, _, code = answer_of(amend)
        assert (code, "col0_ld is amended: 2 slots to come become 8, the last at " in said) == (0, True)
        after = stored(host)
        assert (len(after["schedule_times"]), after["scans"]) == (9, before["scans"])


def test_driver_that_a_reload_has_brought_meanwhile_is_the_one_that_judges(host, gate):
    """What the one before has found is of no use; this one refuses."""
    with running(host) as daemon:
        before = stored(host)
        with judging(host, gate, n_shots=9) as amend:
            configure(host, gate, check="SystemExit")
            daemon.send_signal(signal.SIGHUP)
            read_until(daemon.stderr, "reloaded:")
            gate.open()
            said, refused, code = answer_of(amend)
        assert (code, said) == (1, "")
        assert "the driver bad failed to check it: SystemExit: 3" in refused
        assert stored(host)["schedule_times"] == before["schedule_times"]


def test_stop_meanwhile_does_not_wait_for_it(host, gate):
    """The old schedule is on disk, nobody is told that it was amended, and the next daemon can be asked again."""
    with running(host) as daemon:
        before = stored(host)
        with judging(host, gate, n_shots=9) as amend:
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(PATIENCE) == 0
            said, refused, code = answer_of(amend)
            gate.open()  # nobody is there any more
        assert code == 69
        assert "is amended" not in said
        assert f"the daemon (PID {daemon.pid}) ended before it answered" in refused
    after = stored(host)
    assert (after["state"], after["schedule_times"]) == ("scheduled", before["schedule_times"])
    with host.daemon(until="resumed:"):
        assert host.ctl("amend", "--yes", host.define(n_shots=9)).returncode == 0
    assert len(stored(host)["schedule_times"]) == 9


def test_answer_of_the_driver_that_comes_during_a_stop_changes_nothing(host, gate):
    """Closing the driver holds the stop up: the amendment is refused, and the stop is the reason."""
    at_the_end = Gate(gate.path)
    with running(host) as daemon:
        before = stored(host)
        with judging(host, gate, n_shots=9) as amend:
            at_the_end.shut()  # for the next call
            daemon.send_signal(signal.SIGTERM)
            at_the_end.wait_until_reached()
            gate.open()
            said, refused, code = answer_of(amend)
            at_the_end.open()
        assert (code, said) == (1, "")
        assert "the service stops; try again when it has started" in refused
        assert daemon.wait(PATIENCE) == 0
    assert stored(host)["schedule_times"] == before["schedule_times"]
