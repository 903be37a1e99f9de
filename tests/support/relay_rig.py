"""A rig with datasets and a store, and the relay as a process."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Final

from daemon_process import DaemonProcess, Place
from plantdb_server import PASSWORD, USER

from plantimager.timelapse.channel.ledger import Ledger, Outcome, forget_datasets
from plantimager.timelapse.channel.relay_status import TargetStatus, read_relay_status
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
from plantimager.timelapse.settings.places import find_places
from stores import HOURS, scan, store_of

if TYPE_CHECKING:
    from pathlib import Path

    from msgspec import Struct

STRICT_RELAY: Final = [sys.executable, "-W", "error", "-m", "plantimager.timelapse.relay.main"]
CONFIGURATION: Final = {
    "ScanPath": {"class_name": "Circle", "kwargs": {"center_x": 375, "center_y": 370, "z": 80, "tilt": 0, "radius": 300,
                                                   "n_points": 2}},
    "Metadata": {"object": {"species": "Arabidopsis thaliana", "plant_id": "col0-1", "environment": "chamber 2"}},
}  # fmt: skip


class RelayRig:
    """The files of one rig, and a target."""

    target = "plantdb"

    def __init__(self, directory: Path, url: str) -> None:
        directory.mkdir(exist_ok=True)
        self.place = Place(directory)
        self.password = directory / "password"
        self.password.write_text(f"{PASSWORD}\n")
        self.password.chmod(0o600)
        self.url = url
        self.configure()
        self.places = find_places(self.place.environment, storage=self.place.storage)

    def configure(self, *settings: str, user: str = USER, timeout: str = "1m") -> None:
        """Write the configuration; ``settings`` are further keys of the target.

        On a busy machine no answer takes as long as the ``timeout``; a test that waits for it has a shorter one.
        """
        own = [f'url = "{self.url}"', f'user = "{user}"', f'password_file = "{self.password}"']
        self.place.configure("\n".join(["[relay.deliver.plantdb]", f'timeout = "{timeout}"', *own, *settings]))

    def take(self, n_slots: int, *, state: str = "scheduled", width: int = 32, **changes: object) -> None:
        """Have so many slots taken: the datasets that aren't there yet, and a new store."""
        for slot in range(n_slots):
            if not (self.place.datasets / f"tl_{slot}").exists():
                take_dataset(self.place.datasets, slot, width=width)
        scans = [scan(f"tl_{slot}", finished_at=HOURS[slot]) for slot in range(n_slots)]
        self.write_store(store_of(*scans, n_slots=len(HOURS), state=state, **changes))

    def take_long(self, n_slots: int, *, width: int = 32) -> None:
        """Have so many slots of a longer timelapse taken, a whole day of hours."""
        for slot in range(n_slots):
            if not (self.place.datasets / f"tl_{slot}").exists():
                take_dataset(self.place.datasets, slot, hour=slot, width=width)
        times = [f"2026-06-22T{hour:02}:00:00+00:00" for hour in range(24)]
        scans = [scan(f"tl_{slot}", finished_at=times[slot]) for slot in range(n_slots)]
        self.write_store(store_of(*scans, state="scheduled", schedule_times=times))

    def write_store(self, store: dict) -> None:
        """Replace the store as the daemon does."""
        fresh = self.place.store.with_name("fresh")
        fresh.write_text(json.dumps(store))
        fresh.rename(self.place.store)

    def start(self, **environment: str) -> DaemonProcess:
        """Start the relay."""
        return DaemonProcess(self.place, environment={"NO_PROXY": "127.0.0.1", **environment}, program=STRICT_RELAY)

    def pictures(self) -> dict[str, bytes]:
        """Return all pictures by their scan and name."""
        return {f"{path.parts[-3]}/{path.stem}": path.read_bytes() for path in self.place.datasets.glob("*/images/*")}

    @property
    def ledger_file(self) -> Path:
        """The ledger of the target."""
        return self.places.ledger(self.target)

    def ledger(self) -> dict[str, Struct]:
        """Return what the ledger says, by scan."""
        ledger = Ledger(self.ledger_file)
        ledger.refresh()
        return {key.split()[0]: entry for key, entry in ledger.entries.items()}

    def has(self, slot: int) -> bool:
        """Return whether a slot is delivered, by the ledger."""
        entry = self.ledger().get(f"tl_{slot}")
        return entry is not None and entry.outcome is Outcome.DELIVERED

    def ask_again(self) -> None:
        """Do what ``timelapsectl deliver --retry`` does."""
        forget_datasets(Ledger(self.ledger_file), lambda entry: entry.outcome is Outcome.REFUSED, "2026")

    def status(self) -> TargetStatus:
        """Return the target's status."""
        return read_relay_status(self.places.relay_state).targets[0]


def take_dataset(datasets: Path, slot: int, *, hour: int | None = None, width: int = 32) -> Path:
    """Have the simulated rig take one slot of the timelapse ``tl``."""
    datasets.mkdir(exist_ok=True)
    scheduled_at = HOURS[slot] if hour is None else f"2026-06-{22 + hour // 24}T{hour % 24:02}:00:00+00:00"
    request = make_request(
        datasets,
        index=slot,
        scan_id=f"tl_{slot}",
        timelapse_id="tl",
        dataset_dir=datasets / f"tl_{slot}",
        scheduled_at=datetime.fromisoformat(scheduled_at),
        configuration={**CONFIGURATION, "camera": {"res_x": width, "res_y": width * 3 // 4, "encoding": "jpg"}},
    )
    SimulatedDriver({"time_per_position": 0, "image_width": width}).scan(request, RecordingMonitor())
    return request.dataset_dir


def stored_pictures(directory: Path) -> dict[str, bytes]:
    """Return the pictures that a PlantDB directory has, by their scan and name."""
    return {f"{path.parts[-3]}/{path.stem}": path.read_bytes() for path in directory.glob("*/images/*")}
