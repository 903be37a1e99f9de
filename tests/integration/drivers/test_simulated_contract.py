"""The simulated driver keeps the contract."""

import pytest

from plantimager.timelapse.drivers.testing import DriverContract, Kit

FAST = {"time_per_position": 0, "image_width": 80, "keep_free": "1 MB"}


class TestSimulatedDriver(DriverContract):
    @pytest.fixture
    def kit(self):
        return Kit(
            name="simulated",
            good=FAST,
            failing={**FAST, "fail": [0]},
            absent={**FAST, "absent": [0]},
            endless={**FAST, "stall": [0]},
            crowded={**FAST, "keep_free": "1000 TB"},
            faulty={"time_per_position": "fast", "fail": [-1], "deaf": "yes", "image_wdth": 3},
        )
