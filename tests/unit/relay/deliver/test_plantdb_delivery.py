"""A scan is begun at PlantDB where its first picture has the time to arrive before the next slot."""

import threading
from pathlib import Path

import pytest

from plantimager.timelapse.relay.deliver.delivery import Shipment
from plantimager.timelapse.relay.deliver.outgoing import OutgoingDataset, OutgoingFile
from plantimager.timelapse.relay.deliver.pacing import TargetPace
from plantimager.timelapse.relay.deliver.plantdb_delivery import TO_BEGIN, deliver_dataset
from plantimager.timelapse.support.clock import SystemClock


class Client:
    """A server that has no scan yet."""

    def scan_metadata_there(self, _scan_id):
        return None


class Taking(Client):
    """It takes all."""

    def create(self, _dataset):
        return True

    def upload(self, *_):
        return ""

    def has_same(self, *_, **__):
        return True


class Begun(Exception):
    """As far as these tests go."""


def begin():
    raise Begun


@pytest.mark.parametrize(
    ("rate", "expected"), [(None, (TO_BEGIN, 0.0)), (1_000_000, (TO_BEGIN, 10.0)), (100_000, (TO_BEGIN, 100.0))]
)
def test_a_slow_first_picture_wishes_for_twice_its_time(monkeypatch, rate, expected):
    """Cut off by the next scan it would leave an empty scan, with which PlantDB lists none at all."""
    asked = []
    monkeypatch.setattr(TargetPace, "wait_for_turn", lambda _, *seconds: asked.append(seconds))
    pictures = [OutgoingFile(str(n), Path(f"{n}.png"), "png", size, "", {}) for n, size in enumerate((5_000_000, 9**9))]
    dataset = OutgoingDataset("tl_0", {}, tuple(pictures), "", 0)
    pace = TargetPace(SystemClock(), threading.Event(), rate=rate)
    with pytest.raises(Begun):
        deliver_dataset(Client(), dataset, Shipment(Path(), None, {}, pace, begin), by_length=False)
    assert asked == [expected]


def test_the_pictures_that_are_there_are_told_before_each():
    """A status of a slow network says how far it is."""
    told = []
    pictures = [OutgoingFile(str(n), Path(f"{n}.png"), "png", 1, "", {}) for n in range(3)]
    pace = TargetPace(SystemClock(), threading.Event())
    shipment = Shipment(Path(), None, {}, pace, progress=lambda *counts: told.append(counts))
    dataset = OutgoingDataset("tl_0", {}, tuple(pictures), "", 0)
    assert deliver_dataset(Taking(), dataset, shipment, by_length=True)[0] == 3
    assert told == [(0, 3), (1, 3), (2, 3)]
