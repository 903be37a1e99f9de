"""`timelapsectl cancel` and `amend` at a terminal: each asks once, and says what would be lost or changed."""

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from ctl_host import read_until
from daemon_process import PATIENCE


@contextmanager
def at_terminal(host, *arguments, word="cancel", **streams):
    """Yield `timelapsectl cancel`, or another, at a terminal of its own, and the other end of that."""
    leader, follower = pty.openpty()
    command = host.command(word, *arguments)
    where = {"stdin": follower, "stdout": follower, "stderr": follower, **streams}
    process = subprocess.Popen(command, env=host.environment, start_new_session=True, **where)
    os.close(follower)
    try:
        yield process, leader
    finally:
        process.kill()
        process.wait(PATIENCE)
        os.close(leader)


def state(host):
    """Return the state of the timelapse."""
    return json.loads(host.store.read_text())["state"]


@pytest.fixture
def active(host):
    """Return a host whose daemon has a timelapse of which one slot is taken and two are to come."""
    with host.daemon():
        path = host.define(interval='"1h"')
        assert host.ctl("start", path).returncode == 0
        host.wait_for(lambda store: store["next_idx"] == 1, "slot 0 is taken")
        yield host


@pytest.mark.parametrize("answer", ["y", "yes", "Y"])
def test_cancel_says_what_would_be_lost_and_asks_once(active, answer):
    """What is taken stays; what is to come is lost for good."""
    with at_terminal(active) as (process, terminal):
        asked = read_until(terminal, "[y/N] ")
        assert "col0_ld: 1 of 3 slots taken, which stay; 2 to come, which would be lost" in asked
        os.write(terminal, f"{answer}\n".encode())
        assert "col0_ld is cancelled" in read_until(terminal, "cancelled")
        assert process.wait(PATIENCE) == 0
    assert state(active) == "cancelled"


@pytest.mark.parametrize(("answer", "n_slots"), [("y", 8), ("n", 3)])
def test_amend_says_what_would_change_and_asks_once(active, answer, n_slots):
    """Anything but yes leaves the schedule as it is."""
    path = active.define(interval='"30min"', n_shots=8)
    with at_terminal(active, path, word="amend") as (process, terminal):
        asked = read_until(terminal, "[y/N] ")
        assert "col0_ld: 2 slots to come become 7, the last at " in asked
        assert f"; it is scanned as {path} says" in asked
        os.write(terminal, f"{answer}\n".encode())
        read_until(terminal, "is amended" if answer == "y" else "col0_ld is not amended, and goes on")
        assert process.wait(PATIENCE) == (0 if answer == "y" else 1)
    assert len(json.loads(active.store.read_text())["schedule_times"]) == n_slots


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04", b"what?\n"], ids=["no", "enter", "end of file", "else"])
def test_anything_but_yes_cancels_nothing(active, answer):
    """Nothing is lost by a slip."""
    with at_terminal(active) as (process, terminal):
        read_until(terminal, "[y/N] ")
        os.write(terminal, answer)
        assert "not cancelled" in read_until(terminal, "not cancelled")
        assert process.wait(PATIENCE) == 1
    assert state(active) == "scheduled"


def test_interrupt_cancels_nothing(active):
    """Ctrl-C at the question."""
    with at_terminal(active) as (process, terminal):
        read_until(terminal, "[y/N] ")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert state(active) == "scheduled"


def test_running_scan_is_said_to_be_stopped(host):
    """Its pictures stand aside."""
    host.configure('clock = "trust"\n[drivers.simulated]\ntime_per_position = 600\nimage_width = 32\n')
    with host.daemon():
        host.ctl("start", host.define(interval='"1h"'))
        host.wait_for(lambda store: store["state"] == "running", "slot 0 is being taken")
        with at_terminal(host) as (_, terminal):
            asked = read_until(terminal, "[y/N] ")
        assert "the scan of slot 0 is stopped, and its pictures stand aside" in asked
        assert "0 of 3 slots taken, which stay; 3 to come, which would be lost" in asked


def test_cancel_with_yes_does_not_ask(active):
    """Scripts, and people who know."""
    with at_terminal(active, "--yes") as (process, terminal):
        assert "[y/N]" not in read_until(terminal, "is cancelled")
        assert process.wait(PATIENCE) == 0


def test_cancel_in_a_pipe_does_not_ask(active):
    """A script that was written before goes on working, and none hangs."""
    done = subprocess.run(
        active.command("cancel", "--why", "wilted"), env=active.environment, stdin=subprocess.DEVNULL, check=True
    )
    assert done.returncode == 0
    assert state(active) == "cancelled"


def test_terminal_that_can_not_be_asked_is_refused(active):
    """Nobody would see the question: both outputs go elsewhere."""
    with at_terminal(active, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as (process, _):
        output, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output) == (2, b"")
        assert errors == (
            b"error: nobody can be asked whether to cancel col0_ld\nhint: say --yes: timelapsectl cancel --yes\n"
        )
    assert state(active) == "scheduled"


IN_BACKGROUND = """\
import fcntl, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
print("ended with", subprocess.run(sys.argv[1:], process_group=0).returncode)
"""


def test_cancel_in_the_background_of_a_shell_is_refused(active):
    """Its question would stop it, and the answer would go to the shell."""
    command = [sys.executable, "-c", IN_BACKGROUND, *active.command("cancel")]
    leader, follower = pty.openpty()
    streams = {"stdin": follower, "stdout": follower, "stderr": follower}
    with subprocess.Popen(command, env=active.environment, start_new_session=True, **streams) as process:
        os.close(follower)
        said = read_until(leader, "ended with 2")
        process.wait(PATIENCE)
    os.close(leader)
    assert "nobody can be asked whether to cancel col0_ld" in said
    assert state(active) == "scheduled"


def test_question_is_asked_where_only_the_output_goes_elsewhere(active):
    """As in `timelapsectl cancel | tee`."""
    with at_terminal(active, stdout=subprocess.PIPE) as (process, terminal):
        read_until(terminal, "[y/N] ")
        os.write(terminal, b"y\n")
        output, _ = process.communicate(timeout=PATIENCE)
        assert b"is cancelled" in output


def test_nothing_is_asked_where_there_is_nothing_to_cancel(host):
    """The refusal comes first."""
    with host.daemon(), at_terminal(host) as (process, terminal):
        assert "[y/N]" not in read_until(terminal, "there is no active timelapse")
        assert process.wait(PATIENCE) == 1


def test_definition_that_was_cancelled_in_time_is_started_again_as_it_is(host):
    """Nothing was taken, so its name is free; the stores of both are kept."""
    path = host.define()
    path.write_text(f'{path.read_text()}start_at = "2999-01-01T00:00:00Z"\n')
    with host.daemon():
        for _ in range(3):
            assert host.ctl("start", path).returncode == 0
            assert host.ctl("cancel").returncode == 0
        path.write_text(path.read_text().replace("start_at", "# start_at"))
        assert host.ctl("start", path).returncode == 0
        host.wait_for(lambda store: store["next_idx"] == 1, "slot 0 is taken")
        assert host.ctl("cancel").returncode == 0
        refused = host.ctl("start", host.define("col0_ld", n_shots=2))
    assert "a timelapse of that name has already ended here" in refused.stderr
    kept = sorted(path.name for path in host.store.with_name("history").iterdir())
    assert len(kept) == 3
    assert all(name.startswith("col0_ld-cancelled") for name in kept)


def test_closed_standard_input_is_no_terminal(active):
    """As where a supervisor starts a script with nothing to read: nobody is asked."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *active.command("cancel")]
    done = subprocess.run(
        command, env=active.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert state(active) == "cancelled"
