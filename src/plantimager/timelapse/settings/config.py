"""``timelapsed.toml``: which driver, which policies. Without a file every key has its default."""

# Annotations are evaluated here, since `Config` declares keys.

import errno
import os
import pwd
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Struct

from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.scan.configuration import read_scan_configuration
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.settings.readers import absolute_path, positive_duration
from plantimager.timelapse.settings.relay_config import RelaySettings, read_relay
from plantimager.timelapse.settings.toml_file import load_toml
from plantimager.timelapse.store.location import APPLICATION
from plantimager.timelapse.support.errors import FaultsFound, FileUnusable
from plantimager.timelapse.support.faults import Fault, Table, member_of, one_of, program, text
from plantimager.timelapse.support.keys import Key, read_keys, read_table

CONFIG_FILE_NAME: Final = "timelapsed.toml"
SITE_DIRECTORY: Final = Path("/etc") / APPLICATION

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error")
"""The journal's priorities that can be a threshold; critical lines are always kept."""


class ClockPolicy(StrEnum):
    """The operator's rule for trusting the rig's clock: ``clock = "…"`` in ``timelapsed.toml``."""

    AUTO = "auto"
    """Judge by the evidence, and wait for it for a limited time only."""
    TRUST = "trust"
    """The clock is right whatever the evidence says; for a rig without network whose clock was set by hand."""
    NTP_ONLY = "ntp-only"
    """Only a clock that the kernel calls synchronised is trusted, however long that takes."""


class Missed(StrEnum):
    """The treatment of slots that were missed while the rig was off."""

    SKIP = "skip"
    RUN_LATEST = "run_latest"
    """The newest of them is taken at once, however late; the others are skipped."""


class Logging(Struct, frozen=True):
    """The table ``[logging]``."""

    level: Annotated[str, Key(one_of(*LOG_LEVELS))] = "info"
    """The least important messages to keep: "debug", "info", "notice", "warning" or "error"."""


class Config(Struct, frozen=True):
    """The configuration of this host: driver, datasets, policies, logging."""

    driver: Annotated[str, Key(text)] = "simulated"
    """The installed driver: "simulated", "command", "grbl", or one of your own."""
    datasets: Annotated[Path | None, Key(absolute_path, absent="``datasets/`` beside the store")] = None
    """Where datasets go, an absolute path that the service may write to; those of a rig with a name (``--rig NAME``) go
    into a directory of its name in it."""
    missed: Annotated[Missed, Key(member_of(Missed))] = Missed.SKIP
    """What becomes of slots that were missed while the rig was off: "skip" records each as skipped, "run_latest" takes
    the newest of them at once."""
    clock: Annotated[ClockPolicy, Key(member_of(ClockPolicy))] = ClockPolicy.AUTO
    """When the clock is trusted after boot: with "auto" once it has network time or a real-time clock, with "trust"
    always, with "ntp-only" once it has network time."""
    clock_wait: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(minutes=10)
    """With "auto": how long after the machine's boot to wait for a trusted clock. After that it suffices that the clock
    is later than the store's last entry."""
    scan_timeout: Annotated[timedelta, Key(positive_duration, "duration")] = timedelta(hours=1)
    """The longest that one attempt at a scan may take; more than 0."""
    stall_timeout: Annotated[timedelta, Key(positive_duration, "duration")] = timedelta(minutes=5)
    """The longest that a scan may go without progress; more than 0."""
    observe: Annotated[tuple[str, ...] | None, Key(program, is_program=True)] = None
    """A program that prints a JSON object beside each scan, such as temperature and humidity, whatever the driver. The
    object goes into the dataset's metadata. Where the program fails, the scan counts all the same, with a note."""
    observe_timeout: Annotated[timedelta, Key(positive_duration, "duration")] = timedelta(seconds=10)
    """The longest that it may take; more than 0."""
    driver_options: Mapping[str, Any] = {}
    """The table ``[drivers.NAME]`` of the driver, which checks it; those of other drivers aren't looked at."""
    scan: Mapping[str, Any] = {}
    """The scan configuration of a timelapse that has none of its own; empty leaves it to the driver."""
    log_level: str = Logging().level
    """One of `LOG_LEVELS`."""
    relay: RelaySettings = RelaySettings()
    """The tables of the relay."""
    source: Path | None = None
    """The file it was read from; ``None`` where there was none."""

    @property
    def deliver(self) -> Mapping[str, DeliverTarget]:
        """The targets of delivery by their names."""
        return self.relay.deliver


def config_directories(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories where both files are looked for, in that order.

    The user's is the one that platformdirs gives; the host's is `SITE_DIRECTORY`, where administrators look, and not
    below ``/etc/xdg``. platformdirs isn't asked, because it reads the environment of the process, and only the
    command line does that here.
    """
    user = environment.get("XDG_CONFIG_HOME", "")
    if not Path(user).is_absolute():  # unset, empty or relative: the XDG rules ignore it
        home = environment.get("HOME") or _home_of_the_user()
        user = f"{home}/.config" if home else ""
    return (*([Path(user) / APPLICATION] if Path(user).is_absolute() else []), SITE_DIRECTORY)


def find_file(name: str, directories: Iterable[Path]) -> Path | None:
    """Return the first file called ``name``, ``None`` where there is none.

    A candidate that can't be examined counts as found or raises, and never counts as absent: a rig must not fall
    back to simulated pictures because of a permission. Raises `FileUnusable` where a directory can't be searched.
    """
    for directory in directories:
        candidate = directory / name
        try:
            candidate.lstat()
        except OSError as refusal:
            if refusal.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            raise FileUnusable(candidate, f"can't be looked for: {(refusal.strerror or '').lower()}") from refusal
        return candidate
    return None


def read_config(path: Path | None) -> Config:
    """Return the configuration of a file; the defaults where ``path`` is ``None``.

    Raises as `load_toml`, and `FaultsFound` with everything that is wrong with it.
    """
    config, faults = inspect_config(path)
    if faults:
        raise FaultsFound(faults, path or "")
    return config


def read_daemon_config(path: Path | None) -> tuple[Config, tuple[Fault, ...]]:
    """Return the configuration as the daemon uses it, and the faults below ``[relay]``, which are not its concern.

    Nothing beside the schedule may cost a time point: such faults are for ``check`` and for the relay itself. All
    others are raised, as by `read_config`.
    """
    config, faults = inspect_config(path)
    own = [fault for fault in faults if not _is_of_relay(fault)]
    if own:
        raise FaultsFound(own, path or "")
    return config, tuple(faults)


def _is_of_relay(fault: Fault) -> bool:
    top, *_ = fault.table.split(".") if fault.table else (fault.key,)
    return top == "relay"


def inspect_config(path: Path | None) -> tuple[Config, list[Fault]]:
    """Return a configuration, faulty keys at their defaults, and all that is wrong with it; raise as `load_toml`."""
    faults: list[Fault] = []
    if path is None:
        return Config(), faults
    return _read(load_toml(path).values, path, faults), faults


def _read(values: dict[str, Any], source: Path, faults: list[Fault]) -> Config:
    top = Table(values, "", faults)
    own = read_keys(Config, top)
    config = Config(
        **own,
        driver_options=_read_drivers(top, own["driver"]),
        scan=_read_scan(top.subtable("scan")),
        log_level=read_table(Logging, top.subtable("logging")).level,
        relay=read_relay(top.subtable("relay")),
        source=source,
    )
    top.finish()
    return config


def _read_drivers(top: Table, driver: str) -> Mapping[str, Any]:
    """Return the options of ``driver``; tables of other drivers may stay, but then the choice has to be written."""
    drivers = top.subtable("drivers")
    tables: dict[str, dict[str, Any]] = {}
    for name, options in drivers.rest().items():
        if isinstance(options, dict):
            tables[name] = options
        else:
            drivers.add_fault(name, f"write a table, [drivers.{name}]", options)
    if tables and not top.has("driver") and driver not in tables:
        first = next(iter(tables))
        problem = f'missing beside [drivers.{first}]; write driver = "{first}", or "{driver}" to leave that unused'
        top.add_fault("driver", problem)
    return tables.get(driver, {})


def _read_scan(table: Table) -> Mapping[str, Any]:
    values = table.rest()
    if values.pop("timelapse", None) is not None:
        table.add_fault("timelapse", "belongs into a definition; [scan] says how to scan, not when")
    return read_scan_configuration(values, "scan", table.faults)


def _home_of_the_user() -> str:
    """Return the home directory that the user database names; systemd sets HOME, a bare ``env -i`` doesn't."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def describe_config(config: Config, datasets: Path) -> str:
    """Return what a sound configuration says; ``datasets`` is where those of the rig go by it."""
    source = "fine" if config.source is not None else "there is none, and everything has its default"
    where = f"datasets in {datasets}" if config.datasets is not None else "datasets beside the store"
    return f"{source}; driver {config.driver}, {where}, missed = {config.missed.value}, clock = {config.clock.value}"
