"""A rig whose relay reaches no server, and the reader of its store and archive."""

import pytest
from relay_rig import RelayRig

from plantimager.timelapse.relay.store_view import StoreViewReader


@pytest.fixture
def rig(tmp_path):
    """Return a rig without any datasets yet."""
    rig = RelayRig(tmp_path / "rig", "http://127.0.0.1:1")
    rig.places.history.mkdir()
    return rig


@pytest.fixture
def reader(rig):
    """Return what gives the rig's sinks their view of the store."""
    return StoreViewReader(rig.places)
