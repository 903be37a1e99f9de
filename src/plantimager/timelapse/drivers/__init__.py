"""The drivers: a module or package for each way of making a rig scan.

A driver is a subclass of `base.ScannerDriver`. Its distribution, ours or another, registers it in the entry-point group
``plantimager.scanner_drivers``. `load_driver` finds it by the name of its entry point, and imports no other driver.

For the author of a driver: `base` is the contract, `manual_control` its optional part, and `testing` its test suite.
`datasets.attempt` makes a dataset that is whole or absent, `datasets.plantdb_layout` lays out its files,
`datasets.disk_space` checks the disk, `scan` reads a scan configuration, and `support.keys` reads options.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.base import ScannerDriver
from plantimager.timelapse.support.distribution import DISTRIBUTION
from plantimager.timelapse.support.errors import DriverBroken, FaultsFound, TimelapsedError
from plantimager.timelapse.support.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY_POINT_GROUP: Final = "plantimager.scanner_drivers"
"""The entry-point group of drivers."""


def load_driver(name: str, options: Mapping[str, object]) -> ScannerDriver:
    """Return the driver registered as ``name``, made with the options of its configuration table.

    Raises
    ------
    FaultsFound
        There is no such driver, a library that it needs isn't installed, or its options are at fault.
    DriverBroken
        It raises another error when it is imported or made.
    """
    found = _find(name)
    if found is None:
        names = ", ".join(sorted(entry_points(group=ENTRY_POINT_GROUP).names)) or "none"
        raise FaultsFound([Fault("", "driver", name, f"no such driver; installed are {names}")])
    try:
        driver_class = found.load()
        if not (isinstance(driver_class, type) and issubclass(driver_class, ScannerDriver)):
            raise FaultsFound([Fault("", "driver", name, "its entry point is not a ScannerDriver")])
        return driver_class(options)
    except ImportError as missing:
        problem = f"can't be loaded ({missing}); {install_hint(name)}"
        raise FaultsFound([Fault("", "driver", name, problem)]) from missing
    except TimelapsedError:
        raise
    except (Exception, SystemExit) as problem:
        raise DriverBroken(name, problem) from problem


def install_hint(extra: str) -> str:
    """Return how a person installs an extra of this distribution, as a clause."""
    if extra == "picamera2":
        return (
            "it comes with Raspberry Pi OS and not with pip: sudo apt install python3-picamera2, then sudo "
            "systemd/install --extras picamera2, whose environment sees it"
        )
    return f"pip install '{DISTRIBUTION}[{extra}]' (for the service: sudo systemd/install --extras {extra})"


def _find(name: str) -> EntryPoint | None:
    """Return the entry point of a driver: ours, else that of any distribution, which takes reading them all."""
    with suppress(PackageNotFoundError):  # run from a source tree
        ours = distribution(DISTRIBUTION).entry_points.select(group=ENTRY_POINT_GROUP, name=name)
        if ours:
            return next(iter(ours))
    return next(iter(entry_points(group=ENTRY_POINT_GROUP, name=name)), None)
