"""The drivers: one file for each way of making a rig scan.

A driver is a subclass of `base.ScannerDriver`, registered under the entry-point group
``plantimager.scanner_drivers`` by whatever distribution it comes in; `load_store` finds it by
that name. Nothing is imported but the driver that the configuration asks for.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import TYPE_CHECKING

from plantimager.timelapse.drivers.base import ScannerDriver
from plantimager.timelapse.support.errors import DriverBroken, FaultsFound, TimelapsedError
from plantimager.timelapse.support.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

DISTRIBUTION = "plantimager-timelapse"
GROUP = "plantimager.scanner_drivers"


def load_driver(name: str, options: Mapping[str, object]) -> ScannerDriver:
    """Return the driver registered as ``name``, made from its own configuration table.

    Raises
    ------
    FaultsFound
        No such driver, what it needs isn't installed, or it refuses its options.
    DriverBroken
        It raises something else when it is imported or made.

    """
    found = _find(name)
    if found is None:
        names = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
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
    """Return what a person does to get what an extra of this distribution brings."""
    return f"pip install '{DISTRIBUTION}[{extra}]' (for the service: sudo systemd/install --extras {extra})"


def _find(name: str) -> EntryPoint | None:
    """Return the entry point of a driver: ours, or else one of any distribution, which takes a look at all of them."""
    with suppress(PackageNotFoundError):  # run from a source tree
        ours = distribution(DISTRIBUTION).entry_points.select(group=GROUP, name=name)
        if ours:
            return next(iter(ours))
    return next(iter(entry_points(group=GROUP, name=name)), None)
