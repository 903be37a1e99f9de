"""One timelapsed service on a rig, as its administrator uses it: files, systemctl, journal, timelapsectl."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from container import COMMAND_WITHIN
from tree import STORES

if TYPE_CHECKING:
    from pathlib import Path

    from container import Entry, Rig

UNIT = "plant-imager-timelapsed"

CONFIGURATION = """\
driver = "simulated"
clock = "{clock}"
stall_timeout = "{stall_timeout}"

[drivers.simulated]
time_per_position = {pace}
image_width = 16
{options}
"""

DEFINITION = """\
[timelapse]
name = "{name}"
mode = "interval"
interval = "{interval}"
n_shots = {n_shots}
warmup_period = 1
standby_threshold_sec = 60
grace_period = {grace}
scan_retries = {retries}

[ScanPath]
class_name = "Circle"
kwargs = {{ center_x = 375, center_y = 375, z = 0, tilt = 0, radius = 350, n_points = {points} }}

[camera]
res_x = 16
res_y = 12
encoding = "png"
"""

FREEZES = "stall = [0]\nstall_attempts = 1"
"""Options of a rig that stops half-way in the first attempt for slot 0, until the scan is cancelled or killed."""
HALF_WAY = "scanning slot 0 of 3, picture 2 of 4"
"""The status at that time."""

HALF_DONE = STORES / "interval-utc-interrupted.json"
"""The store of a controller whose schedule is half done."""
CIRCLE = {"center_x": 375, "center_y": 375, "z": 0, "tilt": 0, "radius": 350, "n_points": 3}


def configuration(*, clock: str = "trust", stall_timeout: str = "5m", pace: float = 0, options: str = "") -> str:
    """Return a ``timelapsed.toml``: a simulated rig, as fast as possible, whose clock is trusted."""
    return CONFIGURATION.format(clock=clock, stall_timeout=stall_timeout, pace=pace, options=options)


def definition(
    name: str = "tl", *, interval: str = "1s", n_shots: int = 3, grace: int = 600, points: int = 4, retries: int = 0
) -> str:
    """Return a ``timelapse.toml`` whose first slot is due one second after it is taken up."""
    return DEFINITION.format(name=name, interval=interval, n_shots=n_shots, grace=grace, points=points, retries=retries)


class TimelapseService:
    """The system service of a rig: the only one, or the one called ``name``."""

    def __init__(self, rig: Rig, name: str = "") -> None:
        self.rig, self.name = rig, name
        self.unit = f"{UNIT}@{name}.service" if name else f"{UNIT}.service"
        self.settings = f"/etc/plant-imager3-app/{name}".rstrip("/")
        self.storage = "/var/lib/plant-imager3-app"
        self.store = f"{self.storage}/timelapse_storage{'-' if name else ''}{name}.json"

    # Files

    def configure(self, text: str = "", **values: Any) -> None:
        """Write ``timelapsed.toml``: ``text``, or `configuration` with these values."""
        self.rig.write(f"{self.settings}/timelapsed.toml", text or configuration(**values))

    def define(self, name: str = "tl", **values: Any) -> None:
        """Write ``timelapse.toml``."""
        self.rig.write(f"{self.settings}/timelapse.toml", definition(name, **values))

    def read(self) -> dict[str, Any]:
        """Return the store as it is on disk, the machine on or off."""
        return json.loads(self.rig.path(self.store).read_bytes())

    def put(self, store: dict[str, Any]) -> None:
        """Write the store, which keeps its owner; at its start the service becomes the owner of a new directory."""
        self.rig.write(self.store, json.dumps(store), mode=0o600)

    def drop_in(self, name: str, *settings: str) -> None:
        """Add settings to the unit's [Service] section, from the next boot on."""
        text = "\n".join(["[Service]", *settings, ""])
        self.rig.write(f"/etc/systemd/system/{self.unit}.d/{name}.conf", text)

    def see_boots(self) -> None:
        """Let the service distinguish one boot of the container from the next.

        A container shares the kernel with the host, and has its own boot id as a mount over the kernel's file. Each of
        these protections gives the service a /proc of its own, which shows the kernel's boot id.
        """
        self.drop_in("boots", "ProtectProc=default", "ProtectKernelTunables=no", "ProtectControlGroups=no")

    # systemctl

    def systemctl(self, verb: str) -> None:
        """Run ``systemctl verb`` on the unit."""
        self.rig.run("systemctl", verb, self.unit)

    def show(self, fact: str) -> str:
        """Return a property of the unit, e.g. ``NRestarts``."""
        return self.rig.show(self.unit, fact)

    def oom_scores(self) -> dict[str, int]:
        """Return the adjustment of the OOM score of each process of the unit, by its words."""
        group = f"/sys/fs/cgroup{self.show('ControlGroup')}/cgroup.procs"
        facts = "cat /proc/$pid/oom_score_adj; tr '\\0' ' ' </proc/$pid/cmdline"
        each = self.rig.run("sh", "-c", f"for pid in $(cat {group}); do echo $({facts}); done").stdout
        found = (line.partition(" ") for line in each.splitlines())
        return {words: int(score) for score, _, words in found if words}  # one that has ended meanwhile has none

    @property
    def status(self) -> str:
        """The Status line of `systemctl status`."""
        return self.show("StatusText")

    def wait_for_status(self, *words: str) -> str:
        """Return the status line once it has all these words."""

        def has_them() -> str:
            line = self.status
            return line if all(word in line for word in words) else ""

        return self.rig.wait_until(has_them, what=f"the status says {', '.join(words)}")

    # Journal

    def wait_for(self, action: str, *matches: str, within: float = COMMAND_WITHIN) -> Entry:
        """Return the first entry of this boot with that ``action``."""
        return self.rig.wait_for_entry(f"_SYSTEMD_UNIT={self.unit}", f"ACTION={action}", *matches, within=within)

    def said(self, *matches: str) -> list[str]:
        """Return the daemon's messages in the journal, of all boots."""
        return [entry["MESSAGE"] for entry in self.rig.journal(f"_SYSTEMD_UNIT={self.unit}", *matches)]

    # timelapsectl

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """Run ``timelapsectl`` as root; return its standard output."""
        whose = ("--rig", self.name) if self.name else ()
        return self.rig.run("timelapsectl", *whose, *arguments, check=check).stdout

    def facts(self) -> dict[str, Any]:
        """Return the facts of ``timelapsectl status --json``."""
        return json.loads(self.ctl("status", "--json", "-n", "1000"))

    def records(self) -> dict[int, dict[str, Any]]:
        """Return the record of each slot that has one."""
        return {record["slot"]: record for record in self.facts()["records"]}

    def outcomes(self) -> list[str]:
        """Return the status of each slot that has a record, in order of the slots."""
        return [record["status"] for _, record in sorted(self.records().items())]


def moved(store: Any, by: timedelta) -> Any:
    """Return a store with every time in it moved by so much."""
    match store:
        case dict():
            return {key: moved(value, by) for key, value in store.items()}
        case list():
            return [moved(value, by) for value in store]
        case str() if "T" in store and len(store) >= len("2026-01-01T00:00:00"):
            try:
                return (datetime.fromisoformat(store) + by).isoformat()
            except ValueError:
                return store
        case _:
            return store


def due_now(store: dict[str, Any], slot: int) -> dict[str, Any]:
    """Return a store whose times are moved so that ``slot`` is due at this moment."""
    at = datetime.fromisoformat(store["schedule_times"][slot])
    return moved(store, datetime.now(UTC) - at)  # noqa: TID251 - the rig's clock is that of the host


def half_done_store() -> dict[str, Any]:
    """Return the store of a controller whose slot 6 is due at this moment, with a scan configuration."""
    store = due_now(json.loads(HALF_DONE.read_bytes()), slot=6)
    store["extra"] = {"config_snapshot": {"ScanPath": {"class_name": "Circle", "kwargs": CIRCLE}}}
    return store


def datasets_of(service: TimelapseService, directory: str = "datasets") -> dict[str, int]:
    """Return the number of pictures of each whole dataset."""
    place: Path = service.rig.path(f"{service.storage}/{directory}")
    whole = (path for path in place.iterdir() if not path.name.startswith("."))
    return {path.name: len(list((path / "images").iterdir())) for path in sorted(whole)}
