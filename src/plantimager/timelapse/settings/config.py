"""``timelapsed.toml``: which driver, which policies. Without a file everything has its default."""

from __future__ import annotations

import errno
import os
import pwd
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.scan.configuration import read_scan_configuration
from plantimager.timelapse.settings.toml_file import load_toml
from plantimager.timelapse.support.errors import FaultsFound, FileUnusable
from plantimager.timelapse.support.faults import MISSING, Fault, Table, one_of, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFIG_FILE_NAME: Final = "timelapsed.toml"
APPLICATION: Final = "plant-imager3-app"
SITE_DIRECTORY: Final = Path("/etc") / APPLICATION

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error")
"""The priorities of the journal that make sense as a threshold; one that hides critical lines makes none."""


class ClockPolicy(StrEnum):
    """What the operator makes of the rig's clock: ``clock = "…"`` in ``timelapsed.toml``."""

    AUTO = "auto"
    """Judge by the evidence, and wait for it for a limited time only."""
    TRUST = "trust"
    """The clock is right whatever the evidence says; for a rig without network whose clock was set by hand."""
    NTP_ONLY = "ntp-only"
    """Only a clock that the kernel calls synchronised will do, however long that takes."""


class Missed(StrEnum):
    """What becomes of the slots that were missed while the rig was off."""

    SKIP = "skip"
    RUN_LATEST = "run_latest"
    """The newest of them is taken at once, however late; the others are skipped."""


class Config(Struct, frozen=True):
    """How this host runs timelapses; every default stands here and in ``config/timelapsed.toml``."""

    driver: str = "simulated"
    """The driver's entry-point name."""
    driver_options: Mapping[str, Any] = {}
    """The table ``[drivers.NAME]`` of that driver, which the driver checks; those of other drivers aren't looked at."""
    datasets: Path | None = None
    """Where datasets go, absolute; ``None`` is the place beside the store."""
    missed: Missed = Missed.SKIP
    clock: ClockPolicy = ClockPolicy.AUTO
    clock_wait: timedelta = timedelta(minutes=10)
    """Counted from the machine's boot."""
    scan_timeout: timedelta = timedelta(hours=1)
    """The longest that one attempt may take."""
    stall_timeout: timedelta = timedelta(minutes=5)
    """The longest that a scan may go without progress."""
    scan: Mapping[str, Any] = {}
    """The scan configuration of a timelapse that has none of its own; empty leaves it to the driver."""
    log_level: str = "info"
    """One of `LOG_LEVELS`."""
    source: Path | None = None
    """The file it was read from; ``None`` where there was none."""


def config_directories(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories where both files are looked for, in that order.

    The user's are those of platformdirs; the host's is `SITE_DIRECTORY`, where administrators
    look, and not below ``/etc/xdg``. platformdirs isn't asked because it reads the environment of
    the process, which only the command line does here.
    """
    user = environment.get("XDG_CONFIG_HOME", "")
    if not Path(user).is_absolute():  # unset, empty or relative: the XDG rules ignore it
        home = environment.get("HOME") or _home_of_the_user()
        user = f"{home}/.config" if home else ""
    return (*([Path(user) / APPLICATION] if Path(user).is_absolute() else []), SITE_DIRECTORY)


def find_file(name: str, directories: Iterable[Path]) -> Path | None:
    """Return the first file called ``name``, ``None`` where there is none.

    What can't be looked at counts as found or as an error, never as absent: a rig must not fall
    back to simulated pictures because of a permission.

    Raises
    ------
    FileUnusable
        A directory can't be searched.

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
    """Return the configuration of a file; that of no file where ``path`` is ``None``.

    Raises
    ------
    FileUnusable
        It can't be read or isn't TOML.
    FaultsFound
        With everything that is wrong with it.

    """
    config, faults = inspect_config(path)
    if faults:
        raise FaultsFound(faults, path or "")
    return config


def inspect_config(path: Path | None) -> tuple[Config, list[Fault]]:
    """Return what can be used of a configuration, and everything that is wrong with it.

    Raises
    ------
    FileUnusable
        It can't be read or isn't TOML.

    """
    faults: list[Fault] = []
    if path is None:
        return Config(), faults
    return _read(load_toml(path).values, path, faults), faults


def _read(values: dict[str, Any], source: Path, faults: list[Fault]) -> Config:
    top = Table(values, "", faults)
    default = Config()
    driver = top.take("driver", text, default.driver)
    config = Config(
        driver=driver,
        datasets=top.take("datasets", absolute_path, default.datasets),
        missed=Missed(top.take("missed", one_of(*Missed), default.missed)),
        clock=ClockPolicy(top.take("clock", one_of(*ClockPolicy), default.clock)),
        clock_wait=top.take("clock_wait", parse_duration, default.clock_wait),
        scan_timeout=top.take("scan_timeout", positive_duration, default.scan_timeout),
        stall_timeout=top.take("stall_timeout", positive_duration, default.stall_timeout),
        driver_options=_read_drivers(top, driver, faults),
        scan=_read_scan(top.subtable("scan"), faults),
        log_level=_read_logging(top.subtable("logging"), default.log_level),
        source=source,
    )
    top.finish()
    return config


def _read_drivers(top: Table, driver: str, faults: list[Fault]) -> Mapping[str, Any]:
    """Return the options of ``driver``; a table for another one is fine, as long as the choice was made."""
    tables: dict[str, dict[str, Any]] = {}
    for name, options in top.subtable("drivers").rest().items():
        if isinstance(options, dict):
            tables[name] = options
        else:
            faults.append(Fault("drivers", name, options, f"write a table, [drivers.{name}]"))
    if tables and not top.has("driver") and driver not in tables:
        meant = next(iter(tables))
        problem = f'missing beside [drivers.{meant}]; write driver = "{meant}", or "{driver}" to leave that unused'
        faults.append(Fault("", "driver", MISSING, problem))
    return tables.get(driver, {})


def _read_scan(table: Table, faults: list[Fault]) -> Mapping[str, Any]:
    values = table.rest()
    if values.pop("timelapse", None) is not None:
        faults.append(
            Fault("scan", "timelapse", MISSING, "belongs into a definition; [scan] says how to scan, not when")
        )
    return read_scan_configuration(values, "scan", faults)


def _read_logging(table: Table, default: str) -> str:
    level = table.take("level", one_of(*LOG_LEVELS), default)
    table.finish()
    return level


def _home_of_the_user() -> str:
    """Return the home directory that the user database names; systemd sets HOME, a bare ``env -i`` doesn't."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


# Readers for `Table.take`.


def absolute_path(value: object) -> Path:
    """Read a path that means the same whoever starts the daemon, and from wherever."""
    path = text(value)
    if path.startswith("~"):
        raise ValueError("~ is not expanded, since the service has a user of its own; write the path from / on")
    if not path.startswith("/") or "\0" in path:
        raise ValueError("write an absolute path, such as /srv/scans")
    return Path(path)


def positive_duration(value: object) -> timedelta:
    """Read a duration that isn't zero."""
    duration = parse_duration(value)
    if not duration:
        raise ValueError("must be longer than 0 s")
    return duration
