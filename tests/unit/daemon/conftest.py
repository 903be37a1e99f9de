"""A rig in a simulated world, for the scenarios of the daemon."""

from __future__ import annotations

import pytest
from simulation import World

from plantimager.timelapse.settings.config import Config


@pytest.fixture
def rig(tmp_path):
    """Return how to make a rig with a configuration."""

    def make(**config):
        return World(tmp_path / "rig", Config(**config))

    return make
