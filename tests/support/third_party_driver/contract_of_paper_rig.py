"""The driver of this distribution keeps the contract. Its author would call this file ``test_contract.py``."""

import pytest

from plantimager.timelapse.drivers.testing import DriverContract, Kit


class TestPaperDriver(DriverContract):
    @pytest.fixture
    def kit(self):
        return Kit(
            name="paper",
            good={},
            failing={"behave": "fail"},
            absent={"behave": "absent"},
            endless={"behave": "hang"},
            crowded={"keep_free_mb": 1_000_000_000},
            faulty={"behave": "badly", "keep_free_mb": -1},
        )
