"""Drivers that break their contract: the slot fails with a reason, and the timelapse goes on."""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path

import bad_drivers
import pytest
from bad_drivers import HOARD, MEGABYTE, RAISED, install
from daemon_process import DaemonProcess, Place, statuses
from little_memory import kills, little_memory
from soaking import scaled

DEFINITION = """
[timelapse]
name = "tl"
mode = "interval"
interval = 1
n_shots = {n_shots}
warmup_period = {warmup}
standby_threshold_sec = 60
grace_period = 600
"""

CONFIGURATION = """
driver = "bad"
clock = "trust"
stall_timeout = "{stall_timeout}"
[drivers.bad]
"""

LONGEST_MESSAGE = 1000
"""Characters of an error that a record keeps, and the words about how much was left out."""

LONGEST_LINE = 10_000
"""Characters of a journal line that a person may still be expected to bear."""


def begin(
    place: Place,
    tmp_path,
    does: list[str],
    *,
    warmup: int = 0,
    n_shots: int = 0,
    stall_timeout: str = "5m",
    **options: str,
) -> DaemonProcess:
    directory = tmp_path / "site"
    if not directory.exists():
        directory.mkdir()
        lines = [f"{key} = {json.dumps(value)}" for key, value in {"does": does, **options}.items()]
        place.configure(CONFIGURATION.format(stall_timeout=stall_timeout) + "\n".join(lines) + "\n")
        place.define(DEFINITION.format(n_shots=n_shots or len(does), warmup=warmup))
        install(directory)
    return place.start(PYTHONPATH=f"{directory}:{Path(bad_drivers.__file__).parent}")


def test_whatever_a_scan_raises_fails_its_slot_alone(place: Place, tmp_path) -> None:
    """SystemExit and KeyboardInterrupt included: each has a record that names it, and the last slot is taken."""
    does = [*RAISED, "return_nonsense", "work"]
    with begin(place, tmp_path, does) as daemon:
        daemon.wait_for(f"timelapse_completed: tl: 1 taken, {len(does) - 1} failed")
        assert daemon.stop() == 0
    store = place.read()
    assert statuses(store) == ["failed"] * (len(does) - 1) + ["succeeded"]
    errors = {what: scan["error"]["msg"] for what, scan in zip(does, store["scans"], strict=True) if scan["error"]}
    for what in ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "MemoryError", "StopIteration"):
        assert what in errors[what]
    assert "not a ScanResult" in errors["return_nonsense"]
    assert "Unprintable" in errors["an unprintable error"]


def test_numbers_that_json_does_not_know_cost_nothing(place: Place, tmp_path) -> None:
    """The scan is whole, and the daemon saves that."""
    with begin(place, tmp_path, ["count_in_fractions", "work"]) as daemon:
        daemon.wait_for("timelapse_completed: tl: 2 taken")
        assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded", "succeeded"]


@pytest.mark.parametrize("raised", ["RecursionError", "SystemExit", "a megabyte", "an unprintable error"])
def test_driver_that_can_not_be_made_is_logged_and_a_reload_keeps_the_old_one(place: Place, tmp_path, raised) -> None:
    """One sentence, and an exit code after which systemd restarts the daemon: another start may work."""
    with begin(place, tmp_path, ["work", "work"]) as daemon:
        daemon.wait_for("timelapse_completed")
        place.configure(CONFIGURATION.format(stall_timeout="5m") + f'does = ["work"]\nmake = "{raised}"\n')
        daemon.reload()
        assert "driver bad can't be used: " in daemon.wait_for("config_faulty")
        daemon.wait_for("reloaded")
        assert daemon.stop() == 0
    with begin(place, tmp_path, []) as daemon:
        assert daemon.wait() == 1
    assert "driver bad can't be used: " in daemon.said("start_failed")[0]
    assert not any("Traceback" in line or len(line) > LONGEST_LINE for line in daemon.lines)


def test_megabyte_of_error_text_is_bounded_and_says_so(place: Place, tmp_path) -> None:
    """In the store, where a hundred thousand slots must fit, and in the journal."""
    with begin(place, tmp_path, ["a megabyte"]) as daemon:
        daemon.wait_for("timelapse_completed: ")
        assert daemon.stop() == 0
    message = place.read()["scans"][0]["error"]["msg"]
    assert len(message) < LONGEST_MESSAGE
    assert "characters in all" in message
    assert max(map(len, daemon.lines)) < LONGEST_LINE


@pytest.mark.parametrize("raises", ["SystemExit", "an unprintable error", "half a character"])
def test_slot_waits_for_a_prepare_that_raises_anything(place: Place, tmp_path, raises) -> None:
    """The rig isn't ready, whatever the driver raises; no attempt is used, and the stop is clean."""
    with begin(place, tmp_path, ["work"], warmup=1, prepare=raises) as daemon:
        daemon.wait_for("rig_trouble: prepare")
        daemon.wait_for("rig_not_ready: slot 0 of 1: prepare: ")
        assert daemon.stop() == 0
    assert not daemon.said("scan_started")


def test_failure_of_another_call_is_logged_and_costs_nothing(place: Place, tmp_path) -> None:
    """Standby and close: the slots are taken all the same, and the stop is clean."""
    does, raises = ["work", "work"], "SystemExit"
    with begin(place, tmp_path, does, standby=raises, close="an unprintable error") as daemon:
        daemon.wait_for("timelapse_completed: tl: 2 taken")
        daemon.wait_for("rig_trouble: standby")
        assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded"] * 2


def test_leaked_threads_and_a_changed_directory_delay_no_stop(place: Place, tmp_path) -> None:
    """A hundred threads that never end delay neither the next slot nor the stop, and the store keeps its place."""
    with begin(place, tmp_path, ["leak_threads", "change_directory_and_mask", "work"]) as daemon:
        daemon.wait_for("timelapse_completed: tl: 3 taken")
        assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded"] * 3
    assert place.store.stat().st_mode & 0o777 == 0o600


def test_driver_that_ends_the_process_costs_an_attempt(place: Place, tmp_path) -> None:
    """os._exit: the next start takes the slot again and goes on."""
    does = ["work", "exit_once", "work"]
    with begin(place, tmp_path, does, mark=str(tmp_path / "mark")) as daemon:
        assert daemon.wait() == 23
    takes_slot_1_again(place, tmp_path, does)


@pytest.mark.system
def test_kernel_that_runs_out_of_memory_costs_an_attempt(place: Place, tmp_path) -> None:
    """The kernel's own SIGKILL, in a control group as MemoryMax= makes one."""
    does = ["work", "run_out_of_memory_once", "work"]
    with little_memory(HOARD * MEGABYTE // 2) as group:
        with begin(place, tmp_path, does, mark=str(tmp_path / "mark"), group=str(group)) as daemon:
            assert daemon.wait() == -signal.SIGKILL
        assert kills(group) == 1
    takes_slot_1_again(place, tmp_path, does)


def takes_slot_1_again(place: Place, tmp_path, does: list[str]) -> None:
    """Start again after the daemon's death in slot 1, and check that all slots are taken."""
    with begin(place, tmp_path, does) as daemon:
        daemon.wait_for("slot_interrupted: slot 1")
        daemon.wait_for("timelapse_completed: tl: 3 taken")
        assert daemon.stop() == 0
    store = place.read()
    assert statuses(store) == ["succeeded"] * 3
    assert store["extra"]["timelapsed"]["slots"]["1"]["attempt"] == 2


def test_driver_that_eats_all_memory_fails_its_slot(place: Place, tmp_path) -> None:
    """Within a limit (LimitAS= of the unit) the allocation fails, not the daemon."""
    with begin(place, tmp_path, ["eat_memory", "work"]) as daemon:
        daemon.wait_for("definition_accepted: ")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (1 << 30, 1 << 30))
        assert "MemoryError" in daemon.wait_for("scan_failed: tl_0")
        daemon.wait_for("timelapse_completed: tl: 1 taken, 1 failed")
        assert daemon.stop() == 0


def test_recover_that_raises_is_logged_and_the_slot_is_attempted_again(place: Place, tmp_path) -> None:
    """A driver that fails to say what became of the attempt must not prevent the start."""
    does = ["exit_once", "work"]
    with begin(place, tmp_path, does, mark=str(tmp_path / "mark"), recover="an unprintable error") as daemon:
        daemon.wait()
    with begin(place, tmp_path, does) as daemon:
        daemon.wait_for("timelapse_completed: tl: 2 taken")
        assert daemon.stop() == 0


def test_recover_that_hangs_is_abandoned_and_not_called_again(place: Place, tmp_path) -> None:
    """The attempt counts as cut off, the process is replaced, and the next one takes the slot."""
    does = ["exit_once", "work"]
    options = {"mark": str(tmp_path / "mark"), "recover": "hang", "stall_timeout": "2s"}
    with begin(place, tmp_path, does, **options) as daemon:
        daemon.wait()
    with begin(place, tmp_path, does) as daemon:
        daemon.wait_for("rig_trouble: recover: driver bad made no progress for 2 s")
        assert daemon.wait() == 1
    assert statuses(place.read())[0] == "interrupted"
    with begin(place, tmp_path, does) as daemon:
        daemon.wait_for("timelapse_completed: tl: 2 taken")
        assert daemon.stop() == 0


@pytest.mark.parametrize("action", ["SystemExit", "an unprintable error"])
def test_check_that_raises_refuses_the_definition(place: Place, tmp_path, action) -> None:
    """In one sentence; the daemon goes on, and a corrected driver is asked again."""
    with begin(place, tmp_path, ["work"], check=action) as daemon:
        refusal = daemon.wait_for("definition_refused: tl: the driver bad failed to check it: ")
        assert action in refusal or "Unprintable" in refusal
        daemon.reload()
        daemon.wait_for("definition_refused: tl")
        assert daemon.stop() == 0
    assert not place.store.exists()


# The command driver's programs. What they may do is tested with the driver; here it is done to the daemon.

PROGRAM = """#!{python}
import os, signal, sys
open("0.jpg", "w").write("a picture")
if os.environ["SLOT"] == "0":
    block = b"x" * 999999 + b"\\n"
    for number in range({megabytes}):
        sys.stdout.buffer.write(block + b'{{"progress": [%d, {megabytes}]}}\\n' % number)  # slow is not stalled
elif os.environ["SLOT"] == "1":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    while True:
        signal.pause()
"""

COMMAND = """
driver = "command"
clock = "trust"
stall_timeout = "8s"
[drivers.command]
argv = ["{program}"]
stop_grace = 0.2
"""


def test_flood_of_output_and_a_program_deaf_to_sigterm_cost_their_own_slots_at_most(place: Place, tmp_path) -> None:
    """Hundreds of megabytes on stdout are read and dropped; a program that ignores SIGTERM is killed."""
    program = tmp_path / "take-scan"
    program.write_text(PROGRAM.format(python=sys.executable, megabytes=scaled(200, 1000)))
    program.chmod(0o755)
    place.configure(COMMAND.format(program=program))
    place.define(DEFINITION.format(n_shots=3, warmup=0))
    with place.start() as daemon:
        daemon.wait_for("scan_succeeded: tl_0")
        assert peak_memory(daemon.process.pid) < 120_000, "kilobytes, of which Python's own are some 45 000"
        daemon.wait_for("driver_stalled: ")
        daemon.wait_for("scan_failed: tl_1")
        daemon.wait_for("timelapse_completed: tl: 2 taken, 1 failed")
        assert daemon.stop() == 0


def peak_memory(pid: int) -> int:
    """Return the most memory that a process ever had, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
