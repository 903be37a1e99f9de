"""How much disk a timelapse takes is said by `check`, `preview`, `start` and `status`."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse

BEGIN = datetime(2026, 6, 22, 8, tzinfo=UTC)
PROGRAM = '[drivers.command]\nargv = ["/bin/true"]\nkeep_free = "900 TB"\n'


@pytest.fixture
def hold(host):
    """Return a function that puts a timelapse with one taken slot into the store, with its dataset."""

    def hold(name, n_slots, size):
        times = tuple(BEGIN + timedelta(days=9999 * slot) for slot in range(n_slots))
        mode = TimeLapseMode.ONE_SHOT if n_slots == 1 else TimeLapseMode.FIXED_TIMES
        timelapse = TimeLapse(id=name, mode=mode, state=TimeLapseState.SCHEDULED, schedule_times=times)
        timelapse = timelapse.begin(BEGIN, "boot").succeed(BEGIN + timedelta(seconds=9), 72)
        host.store.parent.mkdir(parents=True)
        host.store.write_bytes(new_stored_timelapse(timelapse, {}, None).encode())
        picture = host.store.parent / "datasets" / timelapse.records[0].scan_id / "0.jpg"
        picture.parent.mkdir(parents=True)
        picture.touch()
        os.truncate(picture, size)  # of holes: it takes no space
        return timelapse

    return hold


def test_drivers_estimate_counts_beforehand(host):
    """It is the most that pictures of that size take, and so the disk may be full, or is large enough."""
    path = host.define(n_shots=3)
    for command in ("check", "preview"):
        said = host.ctl(command, path).stdout
        assert "; a dataset has up to about 55 kB by the driver's estimate, 165 kB for 3 slots: enough\n" in said
    host.configure('[drivers.simulated]\nimage_width = 32\nkeep_free = "900 TB"\n')
    for command in ("check", "preview", "start"):
        said = host.ctl(command, path).stdout
        assert " free, 900000.0 GB of them kept; " in said
        assert ": it may be full at slot 0 (" in said


def test_last_datasets_of_another_timelapse_count_where_the_driver_says_nothing(host, hold):
    """As of an operator's own program: a season of slots that ends in its third week is lost work."""
    hold("past", 1, 10**12)
    host.configure(f'driver = "command"\n{PROGRAM}')
    for command in ("check", "preview"):
        said = host.ctl(command, host.define(n_shots=3)).stdout
        assert "; a dataset of past has up to 1000.0 GB, 3000.0 GB for 3 slots: full at slot 0 (" in said


def test_status_goes_by_the_timelapses_own_datasets_and_then_by_the_estimate(host, hold):
    """What a plant's pictures really take is less than the most that they may; nothing without either."""
    timelapse = hold("col0_ld", 4, 5 * 10**6)
    assert "; its datasets have about 5 MB, 15 MB for 3 more slots: enough\n" in host.ctl("status").stdout
    host.configure('[drivers.simulated]\nimage_width = 32\nkeep_free = "900 TB"\n')
    assert "3 more slots: full at slot 1 (" in host.ctl("status").stdout
    disk = json.loads(host.ctl("status", "--json").stdout)["disk"]
    assert (disk["is_full"], "3 more slots: full at slot 1 (" in disk["words"]) == (True, True)
    (host.store.parent / "datasets" / timelapse.records[0].scan_id / "0.jpg").unlink()
    assert "3 more slots: it may be full at slot 1 (" in host.ctl("status").stdout
    host.configure(f'driver = "command"\n{PROGRAM}')
    assert "disk:" not in host.ctl("status").stdout


def test_definition_that_is_taken_up_already_goes_on_as_it_is_held(host, hold):
    """Not as if it started now."""
    hold("col0_ld", 4, 5 * 10**6)
    assert "; its datasets have about 5 MB, 15 MB for 3 more slots: " in host.ctl("check", host.define()).stdout
