"""The drivers: one file for each way of making a rig scan.

A driver is a subclass of `base.ScannerDriver`, registered under the entry-point group
``plantimager.scanner_drivers`` by whatever distribution it comes in; `load` finds it by
that name. Nothing is imported but the driver that the configuration asks for.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from plantimager.controller.scanner.drivers.base import ScannerDriver
from plantimager.controller.scanner.errors import FaultsFound
from plantimager.controller.scanner.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "plantimager.scanner_drivers"


def load(name: str, options: Mapping[str, object]) -> ScannerDriver:
    """Return the driver registered as ``name``, made from its own configuration table.

    Raises
    ------
    FaultsFound
        No such driver, it can't be imported, or it refuses its options.

    """
    found = entry_points(group=GROUP)
    if name not in found.names:
        names = ", ".join(sorted(found.names)) or "none"
        raise FaultsFound([Fault("", "driver", name, f"no such driver; installed are {names}")])
    try:
        driver_class = found[name].load()
    except ImportError as missing:
        problem = f"can't be loaded ({missing}); pip install 'plantimager-timelapse[{name}]'"
        raise FaultsFound([Fault("", "driver", name, problem)]) from missing
    if not (isinstance(driver_class, type) and issubclass(driver_class, ScannerDriver)):
        raise FaultsFound([Fault("", "driver", name, "its entry point is not a ScannerDriver")])
    return driver_class(options)
