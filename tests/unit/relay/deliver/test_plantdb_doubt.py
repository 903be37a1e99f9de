"""PlantDB is asked for a scan's digest and pictures before the dataset is deleted here."""

import threading
from datetime import datetime
from pathlib import Path

import pytest
from relay_rig import take_dataset

from plantimager.timelapse.datasets.plantdb_metadata import OURS
from plantimager.timelapse.relay.credentials import Secret
from plantimager.timelapse.relay.deliver.delivery import LOST, Shipment
from plantimager.timelapse.relay.deliver.pacing import TargetPace
from plantimager.timelapse.relay.deliver.plantdb_client import DIGEST
from plantimager.timelapse.relay.deliver.plantdb_delivery import PlantDbDelivery
from plantimager.timelapse.relay.sealed_dataset import read_sealed
from plantimager.timelapse.relay.taken_scans import TakenScan
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock
from stores import HOURS

AT = datetime.fromisoformat(HOURS[0])
SCAN = TakenScan("tl_0", "tl", 0, AT, AT)
NO_DIGEST = "has a scan of its name without a digest, which earlier versions didn't send; so it stays"


class Client:
    """A server with one scan."""

    def __init__(self, metadata, files):
        self.metadata, self.files = metadata, files

    def scan_metadata_there(self, _scan_id):
        return self.metadata

    def files_there(self, _scan_id):
        return self.files


@pytest.mark.parametrize(
    ("ours", "is_short", "doubt"),
    [
        ({}, False, ""),
        ({}, True, "doesn't have all its pictures any more"),
        (None, False, LOST),
        ({DIGEST: "0" * 64}, False, "has another scan of its name"),
        (
            {DIGEST: None},
            False,
            "has a scan of its name without a digest, which earlier versions didn't send; so it stays",
        ),
    ],
)
def test_only_a_scan_of_that_digest_with_all_pictures_is_a_copy(tmp_path, monkeypatch, ours, is_short, doubt):
    """A scan that was brought by hand or by an earlier version has no digest."""
    directory = take_dataset(tmp_path, 0)
    pictures = sorted(path.stem for path in (directory / "images").iterdir())
    metadata = None
    if ours is not None:
        digests = {DIGEST: read_sealed(directory, SCAN).digest, **ours}
        metadata = {OURS: {name: digest for name, digest in digests.items() if digest}}
    delivery = PlantDbDelivery(DeliverTarget(url="http://h"), Secret(Path(), ""))
    client = Client(metadata, pictures[is_short:])
    monkeypatch.setattr(delivery, "_client_to", lambda *_: client)
    shipment = Shipment(directory, SCAN, {}, TargetPace(SystemClock(), threading.Event()))
    assert delivery.doubt(shipment) == doubt
    client.files = None
    assert delivery.doubt(shipment)
