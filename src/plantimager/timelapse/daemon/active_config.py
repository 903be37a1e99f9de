"""The configuration in use, and the driver that was made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plantimager.timelapse.daemon.bounded_call import DiskStalled, read_within
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.drivers.programs.observe import ObserveProgram
from plantimager.timelapse.settings.config import Config, Missed, read_daemon_config
from plantimager.timelapse.support.errors import ConfigurationError, FaultsFound, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.places import Places


def load_config(places: Places) -> Config:
    """Return the configuration on disk; faults below ``[relay]`` are logged, and leave the schedule alone.

    Raises
    ------
    FileUnusable, FaultsFound
        The rest of it can't be read, or has faults.
    """
    config, of_relay = read_daemon_config(places.find_config())
    if of_relay:
        words = f"{config.source}: the relay can't use its tables, the schedule doesn't need them: "
        log_event(Action.RELAY_TABLES_FAULTY, words + "; ".join(map(str, of_relay)))
    return config


class ActiveConfig:
    """The configuration in use; another one takes its place when it was read again without a fault. Loop thread."""

    def __init__(
        self,
        places: Places,
        config: Config,
        make_driver: Callable[[str, Mapping[str, Any]], ScannerDriver],
        patience: Callable[[], timedelta],
    ) -> None:
        """Make the driver; ``patience`` returns how long the loop may wait for the file of the configuration.

        Raises
        ------
        FaultsFound
            There is no such driver, or it refuses its options.
        DriverBroken
            It fails to be made.
        """
        self._places, self._make_driver, self._patience = places, make_driver, patience
        self.owner = places.owner
        """Whose the datasets are."""
        self.config = config
        self.driver = self._make_driver_of(config)
        self._kept_datasets: Path | None = None
        self.trouble: str | None = None
        """Why the configuration in use isn't the one on disk."""

    @property
    def datasets(self) -> Path:
        """The directory of all datasets."""
        named = self.config.datasets
        return named if named is not None and named == self._kept_datasets else self.later_datasets

    def keep_datasets(self, place: Path | None) -> None:
        """Have datasets put into ``place``, where the configuration names it, until this is called again."""
        self._kept_datasets = place

    def find_datasets(self, scan_ids: Iterable[str]) -> Path:
        """Return the directory of the datasets of some scans, the oldest first. May hang as the disk may."""
        return self._places.datasets_of(self.config.datasets, scan_ids)

    @property
    def later_datasets(self) -> Path:
        """The directory of the datasets of later timelapses."""
        return self._places.datasets_in(self.config.datasets)

    @property
    def observe(self) -> ObserveProgram | None:
        """The program that observes something beside each scan."""
        config = self.config
        if config.observe is None:
            return None
        return ObserveProgram(config.observe, config.observe_timeout)

    @property
    def run_latest(self) -> bool:
        """Whether the newest of the slots that were missed is taken at once."""
        return self.config.missed is Missed.RUN_LATEST

    def read_again(self) -> bool:
        """Read the file again, and use it from now on; return whether it differs.

        Raises
        ------
        ConfigurationError, DriverBroken
            It is faulty, or its driver can't be made. The configuration before stays in use, see `trouble`.
        """
        try:
            config = self._read()
            if _driver_choice(config) != _driver_choice(self.config):
                self.driver = self._make_driver_of(config)
        except TimelapsedError as faulty:
            first, *_ = str(faulty).split("\n")
            self.trouble = f"{first}; the configuration before is in use, with the {self.config.driver} driver"
            raise
        self.trouble = None
        before, self.config = self.config, config
        return config != before

    def _read(self) -> Config:
        try:
            return read_within(self._patience(), lambda: load_config(self._places))
        except DiskStalled as stalled:
            raise ConfigurationError(f"the configuration can't be read: {stalled}") from stalled

    def _make_driver_of(self, config: Config) -> ScannerDriver:
        try:
            return self._make_driver(config.driver, config.driver_options)
        except FaultsFound as faulty:
            raise faulty.named(config.source or "no configuration file") from faulty


def _driver_choice(config: Config) -> tuple[str, Mapping[str, Any]]:
    return config.driver, config.driver_options
