"""The test suite of the driver contract, for authors of drivers.

It needs ``pip install plantimager-timelapse[testing]``, which brings pytest. The daemon never imports it. A test module
of a driver is a subclass with a kit::

    import pytest

    from plantimager.timelapse.drivers.testing import DriverContract, Kit


    class TestMyDriver(DriverContract):
        @pytest.fixture
        def kit(self, tmp_path):
            return Kit(name="mine", good={...}, failing={...}, absent={...}, endless={...}, crowded={...}, faulty={...})

The suite loads the driver by its entry point, as the daemon does: install the driver's distribution first (an editable
install will do). Where a test needs a daemon that is killed during a scan, it starts and kills a real process.

The suite expects datasets that are made with `plantimager.timelapse.datasets.attempt`, space that is checked with
`datasets.disk_space`, and options that are read with `support.faults.Table`. Tests of manual control pass at once for a
driver that doesn't inherit from `drivers.manual_control.ManualControl`.

`make_request` and `RecordingMonitor` are for a driver's own tests, too.
"""

import pytest

pytest.register_assert_rewrite("plantimager.timelapse.drivers.testing.contract")

from plantimager.timelapse.drivers.testing.contract import DriverContract  # noqa: E402 - after the line above
from plantimager.timelapse.drivers.testing.killed_scan import KillPoint, scan_until_killed  # noqa: E402 - as above
from plantimager.timelapse.drivers.testing.kit import (  # noqa: E402 - as above
    CONFIGURATION,
    Kit,
    RecordingMonitor,
    make_request,
)

__all__ = [
    "CONFIGURATION",
    "DriverContract",
    "KillPoint",
    "Kit",
    "RecordingMonitor",
    "make_request",
    "scan_until_killed",
]
