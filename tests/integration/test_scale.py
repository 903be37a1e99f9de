"""Large and many: costs grow as they should. Numbers of things are bounded here, never times: those are benchmarks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from daemon_process import PATIENCE, NotifySocket, Place
from plantimager.controller.scanner.errors import ScanFailed
from plantimager.controller.scanner.schedule import MOST_SLOTS
from plantimager.controller.scanner.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.controller.scanner.stored_timelapse import new_stored, read_stored
from plantimager.controller.scanner.timelapse import SlotRecord, TimeLapse
from plantimager.controller.scanner.timelapse_store import LARGEST_STORE, load
from plantimager.controller.timelapsed.clock import SystemClock
from soaking import scaled

N_SLOTS = 100_000
DAEMONS = 50
EVERY = timedelta(minutes=30)
CONFIG = 'clock = "trust"\n[drivers.simulated]\ntime_per_position = 0\nimage_width = 4\n'


def half_taken(n_slots: int) -> TimeLapse:
    """Return a timelapse whose first half is over, and whose next slot is due in half an hour."""
    begin = SystemClock().now() - n_slots // 2 * EVERY + EVERY
    times = tuple(begin + slot * EVERY for slot in range(n_slots))
    records = {
        slot: SlotRecord(
            slot=slot,
            scan_id=f"long_{slot}",
            status=RecordStatus.SUCCEEDED,
            attempt=1,
            started_at=times[slot],
            finished_at=times[slot] + timedelta(minutes=5),
        )
        for slot in range(n_slots // 2)
    }
    return TimeLapse(
        id="long",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=times,
        next_idx=n_slots // 2,
        records=records,
    )


def put(place: Place, timelapse: TimeLapse) -> None:
    """Put a timelapse into the store of a place."""
    place.store.write_bytes(new_stored(timelapse, {}, None, place.store.name).encode())


def test_hundred_thousand_slots_are_resumed_saved_and_shown(place: Place) -> None:
    """The longest timelapse that can be asked for: resumed, waiting for its next slot, shown, and whole afterwards."""
    place.configure(CONFIG)
    put(place, half_taken(N_SLOTS))
    with place.start() as daemon:
        daemon.wait_for("resumed: long, 100000 slots, 50000 done")
        shown = subprocess.run(
            [sys.executable, "-m", "plantimager.controller.timelapsectl.main", "status", "--json"],
            env=place.environment,
            capture_output=True,
            check=True,
        )
        assert json.loads(shown.stdout)
        assert daemon.stop() == 0
    stored = read_stored(load(place.store).store, None)
    assert (stored.timelapse.next_idx, stored.timelapse.n_slots) == (N_SLOTS // 2, N_SLOTS)


@pytest.mark.parametrize("sign", ["x", "é", "\0", "\ud800"])
def test_megabytes_of_error_text_in_every_slot_still_fit_a_store(sign) -> None:
    """What a record keeps is bounded, so that what the daemon writes it can also read again: counted for the worst."""
    n_slots, sample = MOST_SLOTS, 50
    problem = ScanFailed(sign * 1_000_000)
    begin = SystemClock().now()
    timelapse = TimeLapse(
        id="n" * 64,
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=tuple(begin + slot * EVERY for slot in range(n_slots)),
        scan_retries=1,
    )
    nothing = len(new_stored(timelapse, {}, None, "s").encode())
    for _ in range(sample):
        at = timelapse.schedule_times[timelapse.next_idx]
        timelapse = timelapse.begin(at, "b" * 36).fail_attempt(at, problem).fail_attempt(at, problem)
    each = (len(new_stored(timelapse, {}, None, "s").encode()) - nothing) / sample
    assert nothing + each * n_slots < LARGEST_STORE


def test_fifty_daemons_on_one_host_share_nothing_but_the_code(tmp_path) -> None:
    """One instance a rig: each has its own store, they all stand at once, and none takes another's place."""
    with NotifySocket(tmp_path) as systemd:
        places, daemons = [], []
        try:
            for number in range(scaled(10, DAEMONS)):
                directory = tmp_path / str(number)
                directory.mkdir()
                place = Place(directory)
                place.configure(CONFIG)
                put(place, half_taken(10))
                places.append(place)
            daemons += [start(place, systemd) for place in places]
            for _ in daemons:
                systemd.wait_for("READY=1")
            used = sum(private_memory(daemon.pid) for daemon in daemons)
            print(f"{len(daemons)} daemons, {used / len(daemons):.0f} kB of its own each")
        finally:
            for daemon in daemons:
                daemon.send_signal(signal.SIGTERM)
        assert [daemon.wait(PATIENCE) for daemon in daemons] == [0] * len(daemons)


def start(place: Place, systemd: NotifySocket) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "plantimager.controller.timelapsed.main"]
    environment = {**place.environment, "NOTIFY_SOCKET": str(systemd.path)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def private_memory(pid: int) -> int:
    """Return what a process has for itself alone, in kB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))


def test_ten_years_of_history_cost_a_start_nothing(place: Place) -> None:
    """Neither archived stores nor datasets are read, or even listed, at a start."""
    place.configure(CONFIG)
    history = place.storage / "history"
    history.mkdir()
    for number in range(3650):
        (history / f"tl_{number}.json").write_text("not even JSON")
    put(place, half_taken(10))
    with place.start() as daemon:
        daemon.wait_for("resumed: long, 10 slots, 5 done")
        opened = {str(link.readlink()) for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir()}
        assert daemon.stop() == 0
    assert not [name for name in opened if name.startswith(str(history))]
    assert len(list(history.iterdir())) == 3650
