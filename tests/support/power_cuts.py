"""Every kill that there is: a save, and whole runs of the daemon, cut off at each system call in turn.

A program of its own, since it forks: ``python tests/support/power_cuts.py SCENARIO DIRECTORY [--share 1/2]``. It prints
a line of JSON for each cut, with what was wrong afterwards, and ends with 1 if anything was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from daemon_process import STORE, Place
from forked_daemons import ForkedDaemon, expect
from msgspec.structs import replace
from tiny_scan import configuration, one_shot, scan
from tracing import Traced

from plantimager.timelapse.daemon.store_keeper import StoreKeeper
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.location import backup_path
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse, new_stored_timelapse
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.durable import sweep_temporaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

T = TypeVar("T")

CLOCK = SystemClock()
HOUR = timedelta(hours=1)


# What is on disk before.


def three_slots(now: datetime) -> TimeLapse:
    """Return a timelapse whose first slot was taken, whose second is due, and whose third is an hour off."""
    began = now - HOUR
    return TimeLapse(
        id="cut",
        mode=TimeLapseMode.FIXED_TIMES,
        state=TimeLapseState.SCHEDULED,
        schedule_times=(began, now, now + HOUR),
        next_idx=1,
        records={
            0: SlotRecord(
                slot=0,
                scan_id="cut_0",
                status=RecordStatus.SUCCEEDED,
                attempt=1,
                started_at=began,
                finished_at=began + timedelta(minutes=5),
                pictures=72,
            )
        },
        grace=HOUR / 2,
        warmup=timedelta(0),
    )


class InlineDisk:
    """A disk that writes at once: a fork has no other thread, and each call of a save is one of the fork's."""

    def run(self, write: Callable[[], T], _: timedelta) -> T:
        return write()

    def take_late(self) -> None:
        """No write is ever late."""

    def wait_late(self, limit: timedelta) -> None:
        """No write is ever late."""


def saved(place: Place, timelapse: TimeLapse) -> None:
    """Save it twice, so that there is a generation before."""
    keeper = StoreKeeper(place.store, InlineDisk())
    at = timelapse.schedule_times[0]
    keeper.start(new_stored_timelapse(timelapse, {}, None), at)
    keeper.commit(timelapse, at)


def due_slot(place: Place) -> None:
    saved(place, three_slots(CLOCK.now()))


def corrupt_store(place: Place) -> None:
    """Have the main file cut off in the middle, as a file system may leave it; the generation before is whole."""
    now = CLOCK.now()
    saved(place, three_slots(now).begin(now, "this boot").succeed(now, 1))
    (place.datasets / "cut_1").mkdir(parents=True)
    place.store.write_bytes(place.store.read_bytes()[:200])


def interrupted_scan(place: Place) -> None:
    """Have the second slot be under way when the power went."""
    now = CLOCK.now()
    saved(place, three_slots(now).begin(now, "another boot"))


def ended_timelapse(place: Place) -> None:
    """Have a timelapse that is over, and a definition of the next."""
    timelapse = replace(three_slots(CLOCK.now() - 9 * HOUR), grace=timedelta(0))
    saved(place, timelapse.cancel(CLOCK.now(), "ada", "wilted"))
    place.define(one_shot("next", grace=3600))


# What has to be true afterwards.


def stored_at(path: Path) -> StoredTimelapse:
    loaded = load_timelapse(path)
    expect(loaded is not None, f"{path.name} is gone")
    return loaded.stored


def one_slot_was_taken(place: Place, *, attempts: int) -> None:
    timelapse = stored_at(place.store).timelapse
    expect(timelapse.state is TimeLapseState.SCHEDULED, f"state {timelapse.state}")
    expect(timelapse.next_idx == 2, f"next_idx {timelapse.next_idx}")
    expect(sorted(timelapse.records) == [0, 1], f"records of {sorted(timelapse.records)}")
    first, second = timelapse.records[0], timelapse.records[1]
    expect(first.status is RecordStatus.SUCCEEDED and first.pictures == 72, f"slot 0 became {first}")
    expect(second.status is RecordStatus.SUCCEEDED, f"slot 1 became {second}")
    expect(1 <= second.attempt <= attempts, f"slot 1 took {second.attempt} attempts")
    whole = [path.name for path in place.datasets.iterdir() if not path.name.startswith(".")]
    expect(whole == ["cut_1"], f"datasets {whole}")


def next_timelapse_was_taken(place: Place) -> None:
    timelapse = stored_at(place.store).timelapse
    expect(timelapse.id == "next" and timelapse.state is TimeLapseState.COMPLETED, f"{timelapse.id} {timelapse.state}")
    expect(timelapse.tally.taken == 1, f"{timelapse.tally}")
    archived = stored_at(place.storage / "history" / "cut.json").timelapse
    expect(archived.state is TimeLapseState.CANCELLED and archived.tally.done == 3, f"archived {archived}")


def something_to_go_on_from(place: Place) -> None:
    """Check what holds at every instant: a sound store, whose generation before is sound or isn't there."""
    stored_at(place.store)
    backup = backup_path(place.store)
    if backup.exists():
        stored_at(backup)


@dataclass(frozen=True)
class Scenario:
    """A run of the daemon from start to stop."""

    prepare: Callable[[Place], None]
    over: tuple[bytes, ...]
    """What the daemon says when it has done its work, and is stopped: one of these."""
    check: Callable[[Place], None]


WAITING = (b"rig_standby: next slot 2",)
COMPLETED = (b"timelapse_completed: next", b"store_found: next")

DAEMON_RUNS = {
    "slot": Scenario(due_slot, WAITING, lambda place: one_slot_was_taken(place, attempts=2)),
    "interrupted": Scenario(interrupted_scan, WAITING, lambda place: one_slot_was_taken(place, attempts=3)),
    "from-backup": Scenario(corrupt_store, WAITING, lambda place: one_slot_was_taken(place, attempts=2)),
    "definition": Scenario(ended_timelapse, COMPLETED, next_timelapse_was_taken),
}


def cut_daemon(scenario: Scenario, directory: Path, at: int) -> tuple[bool, int]:
    """Run the daemon, cut off at system call number ``at``, and once more to the end; return whether it was cut."""
    place = Place(directory)
    place.configure(configuration() + scan(above="scan"))
    scenario.prepare(place)
    daemon = ForkedDaemon(place)
    traced = Traced(daemon.body)
    daemon.started()
    stopped = False

    def stop_when_settled() -> None:
        nonlocal stopped
        if not stopped and any(words in daemon.listen() for words in scenario.over):
            stopped = True
            os.kill(traced.pid, signal.SIGTERM)

    cut = traced.go_on(at, stop_when_settled)
    daemon.close()
    expect(cut or traced.exit_status == 0, f"ended with {traced.exit_status}:\n{daemon.said.decode()}")
    something_to_go_on_from(place)
    resume(scenario, place)
    return cut, traced.calls


def resume(scenario: Scenario, place: Place) -> None:
    """Start the daemon again, have it do what is left, stop it, and check what has to be true now."""
    daemon = ForkedDaemon(place)
    daemon.start()
    try:
        daemon.wait_until(*scenario.over)
        os.kill(daemon.pid, signal.SIGTERM)
    except BaseException:
        os.kill(daemon.pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(daemon.pid, 0)
        daemon.close()
    expect(status == 0, f"the daemon that resumed ended with {os.waitstatus_to_exitcode(status)}")
    leftovers = [path.name for path in place.storage.iterdir() if path.suffix == ".tmp"]
    expect(not leftovers, f"left behind: {leftovers}")
    something_to_go_on_from(place)
    scenario.check(place)


def cut_save(prepare: Callable[[Place], None], directory: Path, at: int) -> tuple[bool, int]:
    """Cut a save off: the store is the old generation or the new one, whole, and sweeping leaves nothing else."""
    place = Place(directory)
    before = three_slots(CLOCK.now())
    keeper = StoreKeeper(place.store, InlineDisk())
    now = before.schedule_times[1]
    keeper.start(new_stored_timelapse(before, {}, None), now)
    prepare(place)
    after = before.begin(now, "this boot")
    old = place.store.read_bytes() if place.store.exists() else None
    traced = Traced(lambda: keeper.commit(after, now))
    cut = traced.go_on(at)
    new = keeper.stored.evolved(after, replace(keeper.logbook, saved_at=now)).encode()
    expect(cut or traced.exit_status == 0, f"ended with {traced.exit_status}")
    found = place.store.read_bytes() if place.store.exists() else None
    expect(found in ((old, new) if cut else (new,)), f"neither the old nor the new store: {found!r}")
    sweep_temporaries(place.store)
    kept = {path.name: path.read_bytes() for path in place.storage.iterdir()}
    kept.pop(STORE, None)
    backup = kept.pop(f"{STORE}.bak", None)
    if backup is not None:
        stored_at(backup_path(place.store))
    for name, content in kept.items():
        expect(".foreign-" in name and content == FOREIGN, f"left behind: {name}")
    expect(old != FOREIGN or found == FOREIGN or kept, "what somebody else wrote is lost")
    return cut, traced.calls


FOREIGN = b'{"somebody": "else"}'

SAVES: dict[str, Callable[[Place], object]] = {
    "save-second": lambda _: None,
    "save-third": lambda place: os.link(place.store, backup_path(place.store)),
    "save-over-foreign": lambda place: place.store.write_bytes(FOREIGN),
    "save-over-deleted": lambda place: place.store.unlink(),
}


def cuts(scenario: str, directory: Path, first: int, step: int) -> Iterator[dict[str, object]]:
    """Cut at system call ``first``, ``first + step`` and so on, until a run is over before it is cut."""
    at, is_cut = first, True
    while is_cut:
        run = directory / str(at)
        run.mkdir()
        problem = None
        try:
            if scenario in SAVES:
                is_cut, calls = cut_save(SAVES[scenario], run, at)
            else:
                is_cut, calls = cut_daemon(DAEMON_RUNS[scenario], run, at)
        except Exception as wrong:  # noqa: BLE001 - because a cut that can't be judged is reported like one that went wrong
            problem, calls = f"{type(wrong).__name__}: {wrong}", at
        if problem is None:
            shutil.rmtree(run)
        yield {"scenario": scenario, "at": at, "cut": is_cut, "calls": calls, "problem": problem}
        at += step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenario", choices=[*SAVES, *DAEMON_RUNS])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--share", default="1/1", help="which part of the cuts: 2/3 is every third from the second on")
    options = parser.parse_args()
    share, shares = map(int, options.share.split("/"))
    wrong = 0
    for found in cuts(options.scenario, options.directory, share, shares):
        print(json.dumps(found), flush=True)
        wrong += found["problem"] is not None
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
