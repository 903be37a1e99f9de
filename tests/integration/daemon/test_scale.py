"""Long schedules and many daemons: bounds on numbers and sizes. Times are measured by the benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon_process import CTL, DAEMON, PATIENCE, NotifySocket, Place, statuses
from msgspec.structs import replace
from simulation import HOUR, MINUTE, YEAR, Life, World
from tiny_scan import configuration, one_shot

from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.schedule import MAX_SLOTS
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.settings.config import Config
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.raw_text import MAX_STORE_BYTES
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.errors import ScanFailed

if TYPE_CHECKING:
    from collections.abc import Callable

N_SLOTS = 100_000
DAEMONS = 50
EVERY = timedelta(minutes=30)
ARCHIVED = 500
"""Timelapses: one a week, for ten years."""
PAGE = 8_000
"""Bytes that a command prints at most, where it isn't a row a day."""
ROW = 200
"""Bytes that it prints at most of a day."""
DECADE = 10 * 365 * 24
"""Slots: one an hour, for ten years."""


def half_taken(n_slots: int) -> TimeLapse:
    """Return a timelapse whose first half is taken, and whose next slot is due in half an hour."""
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
    place.store.write_bytes(new_stored_timelapse(timelapse, {}, None).encode())


def test_hundred_thousand_slots_are_resumed_saved_and_shown(place: Place) -> None:
    """The longest timelapse that a definition may ask for."""
    place.configure(configuration())
    put(place, half_taken(N_SLOTS))
    with place.start() as daemon:
        daemon.wait_for("resumed: long, 100000 slots, 50000 done")
        shown = subprocess.run([*CTL, "status", "--json"], env=place.environment, capture_output=True, check=True)
        assert json.loads(shown.stdout)
        assert daemon.stop() == 0
    stored = load_timelapse(place.store).stored
    assert (stored.timelapse.next_idx, stored.timelapse.n_slots) == (N_SLOTS // 2, N_SLOTS)


@pytest.mark.parametrize("sign", ["x", "é", "\0", "\ud800"])
def test_megabytes_of_error_text_in_every_slot_still_fit_a_store(sign) -> None:
    """The text of a record is bounded, so that the daemon can read again what it has written."""
    n_slots, sample = MAX_SLOTS, 50
    problem = ScanFailed(sign * 1_000_000)
    begin = SystemClock().now()
    timelapse = TimeLapse(
        id="n" * 64,
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=tuple(begin + slot * EVERY for slot in range(n_slots)),
        scan_retries=1,
    )
    nothing = len(new_stored_timelapse(timelapse, {}, None).encode())
    for _ in range(sample):
        at = timelapse.schedule_times[timelapse.next_idx]
        timelapse = timelapse.begin(at, "b" * 36).fail_attempt(at, problem).fail_attempt(at, problem)
    each = (len(new_stored_timelapse(timelapse, {}, None).encode()) - nothing) / sample
    assert nothing + each * n_slots < MAX_STORE_BYTES


def test_fifty_daemons_on_one_host_share_nothing_but_the_code(tmp_path) -> None:
    """One instance for each rig: all are ready at once, and each takes its own slot once."""
    rigs = [rig(tmp_path / str(number), number) for number in range(DAEMONS)]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(NotifySocket(place.data)) for place in rigs]
        daemons = [start(place, systemd) for place, systemd in zip(rigs, sockets, strict=True)]
        try:
            for systemd in sockets:
                systemd.wait_for("completed; 1 taken")
            used = sum(private_memory(daemon.pid) for daemon in daemons)
            print(f"{len(daemons)} daemons, {used / len(daemons):.0f} kB of its own each")
        finally:
            for daemon in daemons:
                daemon.send_signal(signal.SIGTERM)
        assert [daemon.wait(PATIENCE) for daemon in daemons] == [0] * DAEMONS
    for number, place in enumerate(rigs):
        store = place.read()
        assert (store["timelapse_id"], statuses(store)) == (f"rig_{number}", ["succeeded"])
        assert [path.name for path in place.datasets.iterdir()] == [f"rig_{number}"]


def rig(directory: Path, number: int) -> Place:
    """Return the directories of a rig that has one slot to take, at once."""
    directory.mkdir()
    place = Place(directory)
    place.configure(configuration())
    place.define(one_shot(f"rig_{number}"))
    return place


def start(place: Place, systemd: NotifySocket) -> subprocess.Popen[bytes]:
    environment = {**place.environment, "NOTIFY_SOCKET": str(systemd.path)}
    return subprocess.Popen(DAEMON, env=environment, stderr=subprocess.DEVNULL)


def private_memory(pid: int) -> int:
    """Return the private memory of a process, in kB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))


# Ten years of history: a slot an hour in the store that has just ended, and what ended before it.

NO_STRACE = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to count system calls")


@pytest.fixture(scope="module")
def ten_years() -> bytes:
    """Return the store of a timelapse that has ended after ten years of hourly slots."""
    now = SystemClock().now()
    times = tuple(now - (DECADE - slot) * timedelta(hours=1) for slot in range(DECADE))
    ended = replace(half_taken(2), id="decade", schedule_times=times, next_idx=0, records={})
    ended = ended.skip_late_slots(now, Reason.MISSED, "")
    return new_stored_timelapse(ended, {}, None).encode()


@pytest.fixture
def old_rig(place: Place, ten_years: bytes) -> Callable[[int], Place]:
    """Return how to make a rig whose timelapse has ended after ten years, with so many stores in its archive."""

    def make(archived: int) -> Place:
        place.configure(configuration())
        place.store.write_bytes(ten_years)
        history = place.storage / "history"
        shutil.rmtree(history, ignore_errors=True)
        history.mkdir()
        small = new_stored_timelapse(half_taken(24), {}, None).encode()
        for number in range(archived):
            (history / f"tl_{number}.json").write_bytes(small)
        return place

    return make


@NO_STRACE
def test_ten_years_of_archives_cost_the_next_timelapse_nothing(old_rig, tmp_path) -> None:
    """A start, an accepted definition, an archived store: the system calls are the same as without archives."""
    calls = []
    for archived in (0, ARCHIVED):
        place = old_rig(archived)
        place.define(one_shot("next"))
        calls.append(file_calls(place, tmp_path, DAEMON, until="timelapse_completed: next"))
        kept = json.loads((place.storage / "history" / "decade.json").read_bytes())
        assert (kept["timelapse_id"], len(kept["scans"])) == ("decade", DECADE)
        assert len(list((place.storage / "history").iterdir())) == archived + 1
        assert statuses(place.read()) == ["succeeded"]
        shutil.rmtree(place.datasets)
    without, with_history = calls
    assert on_history(with_history) == on_history(without)
    assert abs(len(with_history) - len(without)) < ARCHIVED / 10, "only what depends on the moment may differ"


@NO_STRACE
def test_ten_years_of_archives_are_shown_within_bounds(old_rig, tmp_path) -> None:
    """The output fits a screen, or has a row for each day; no archive but the one asked for is read."""
    place = old_rig(ARCHIVED)
    for word, most in (("status", PAGE), ("timeline", DECADE / 24 * ROW)):
        assert not on_history(file_calls(place, tmp_path, [*CTL, word])), word
        assert 0 < (tmp_path / "said").stat().st_size < most, word
    calls = file_calls(place, tmp_path, [*CTL, "timeline", "tl_7"])
    assert {name for call in calls for name in re.findall(r"/history/(\w*)", call)} == {"tl_7"}
    unknown = subprocess.run([*CTL, "timeline", "tl"], env=place.environment, capture_output=True, check=False)
    assert unknown.returncode == 1
    assert len(unknown.stderr) < PAGE


def on_history(calls: list[str]) -> list[str]:
    """Return the names of the calls on archived stores."""
    return [call.partition("(")[0] for call in calls if "/history" in call]


def file_calls(place: Place, directory: Path, command: list[str], until: str = "") -> list[str]:
    """Return the calls of a program that name a file or list a directory; its output goes into a file ``said``.

    With ``until`` it is a daemon, which is stopped when that text appears.
    """
    traced = directory / "calls"
    strace = ["strace", "--follow-forks", "--seccomp-bpf", "--output", str(traced), "--trace", "%file,getdents64"]
    with (
        (directory / "said").open("wb") as said,
        subprocess.Popen([*strace, *command], env=place.environment, stderr=subprocess.PIPE, stdout=said) as run,
    ):
        for line in run.stderr:
            if until and until in line.decode():
                os.kill(read_live(place.store).pid, signal.SIGTERM)  # strace would not pass it on
    assert run.returncode == 0
    return [line.partition(" ")[2].lstrip() for line in traced.read_text().splitlines()]  # strace pads short PIDs


def test_clock_set_forward_over_a_hundred_thousand_slots_costs_one_save_and_one_line(tmp_path: Path) -> None:
    """And further settings of the clock cost nothing."""
    world = World(tmp_path / "rig", Config())
    world.define(every=HOUR, n=N_SLOTS)
    saves = []

    def jump(life: Life) -> None:
        saves.append(life.saves)
        life.shift(100 * YEAR)

    life = world.live((90 * MINUTE, jump), (91 * MINUTE, lambda life: life.shift(YEAR)))
    assert life.saves == saves[0] + 1
    actions = world.actions()[world.actions().index("clock_moved") :]
    assert actions == ["clock_moved", "slot_skipped", "timelapse_completed", "clock_moved"]
    missed = "99999 slots from 22 Jun 2026 10:00 to 18 Nov 2037 00:00 were missed"
    assert world.said("slot_skipped") == [f"{missed}: the clock was set forward by 36500 d (grace 2 min)"]
    assert len(world.stored().records) == N_SLOTS
