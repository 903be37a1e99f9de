"""The demo's own directory: the two files that a person would write, the store and the pictures."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from msgspec import Struct

from plantimager.timelapse.store.location import APPLICATION, FILE_NAME_VARIABLE, TIMELAPSE_STORAGE_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMELAPSE_ID: Final = "demo"
N_SLOTS: Final = 7
POSITIONS: Final = 12

TIME_PER_POSITION: Final = timedelta(seconds=0.2)

MIN_INTERVAL: Final = timedelta(seconds=4)
"""The interval on a machine that isn't slow."""

INTERVAL_PER_SCAN: Final = 1.25
"""The interval, as a multiple of the first scan: with the reserve, slots that the power cut delayed catch up."""

DEMO_CONFIGURATION: Final = """\
driver = "simulated"
clock = "trust"             # the demo needs no network time

[drivers.simulated]
time_per_position = {time_per_position}
image_width = 480
days_per_slot = 4           # the plant grows four days from slot to slot
fail = [{last_slot}]                  # the last slot fails ...
fail_attempts = 1           # ... in its first attempt; with no slot after it, its retry is never too late
"""

FIRST_SCAN: Final = """\
name = "first_scan"
mode = "one_shot"
"""

SLOTS: Final = f"""\
name = "{TIMELAPSE_ID}"
mode = "interval"
interval = {{interval}}
n_shots = {N_SLOTS}
scan_retries = 1
"""

DEFINITION: Final = f"""\
[timelapse]
{{timelapse}}
warmup_period = 1
grace_period = "1d"         # generous: no slot is skipped on a slow machine

[ScanPath]
class_name = "Circle"

[ScanPath.kwargs]
center_x = 375
center_y = 375
z = 0
tilt = 0
radius = 350
n_points = {POSITIONS}

[picamera]
res_x = 960
res_y = 720
"""

_SERVICE_VARIABLES: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID", FILE_NAME_VARIABLE}
)
"""Variables that the demo's daemon doesn't get: it is no service and has a store of its own."""


def slot_interval(first_scan: timedelta) -> timedelta:
    """Return the interval of the slots, in whole seconds, from the duration of the first scan on this machine."""
    return max(MIN_INTERVAL, timedelta(seconds=ceil(first_scan.total_seconds() * INTERVAL_PER_SCAN)))


class Home(Struct, frozen=True):
    """The directory and the environment of the demo's daemon. The directory stays after the demo."""

    directory: Path
    environment: Mapping[str, str]

    @classmethod
    def make(cls, environment: Mapping[str, str], time_per_position: timedelta = TIME_PER_POSITION) -> Self:
        """Make the directory with its configuration and the definition of a first scan."""
        directory = Path(tempfile.mkdtemp(prefix="timelapsed-demo-"))
        own = {"XDG_DATA_HOME": f"{directory}/data", "XDG_CONFIG_HOME": f"{directory}/config"}
        inherited = {name: value for name, value in environment.items() if name not in _SERVICE_VARIABLES}
        home = cls(directory, {**inherited, **own})
        home.settings.mkdir(parents=True)
        home.store.parent.mkdir(parents=True)
        text = DEMO_CONFIGURATION.format(time_per_position=time_per_position.total_seconds(), last_slot=N_SLOTS - 1)
        (home.settings / "timelapsed.toml").write_text(text, encoding="utf-8")
        home.define(FIRST_SCAN)
        return home

    def define(self, timelapse: str) -> None:
        """Write the definition with these keys of its ``[timelapse]`` table."""
        text = DEFINITION.format(timelapse=timelapse.rstrip())
        (self.settings / "timelapse.toml").write_text(text, encoding="utf-8")

    @property
    def settings(self) -> Path:
        """The directory of configuration and definition."""
        return self.directory / "config" / APPLICATION

    @property
    def store(self) -> Path:
        """The daemon's store."""
        return self.directory / "data" / APPLICATION / TIMELAPSE_STORAGE_JSON

    @property
    def datasets(self) -> Path:
        """The directory of its datasets."""
        return self.store.parent / "datasets"

    def pictures(self, scan_id: str) -> list[Path]:
        """Return the pictures of a finished scan."""
        return sorted((self.datasets / scan_id).glob("images/*.jpg"))

    def unfinished_pictures(self, scan_id: str) -> int:
        """Return how many pictures a running scan has so far."""
        return len(list(self.datasets.glob(f".{scan_id}.attempt-*/images/*.jpg")))
