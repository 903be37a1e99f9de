"""Before a dataset is deleted here its targets are asked for all of it, whatever layout it has by now."""

import shutil
import threading
from datetime import datetime

import pytest
from earlier_layouts import bring_to_earlier_layout
from rclone_server import RCLONE
from relay_rig import take_dataset

from plantimager.timelapse.datasets.migration import migrate_dataset
from plantimager.timelapse.relay.credentials import Secret
from plantimager.timelapse.relay.deliver.delivery import LOST, ServerFailed, Shipment, Unreachable
from plantimager.timelapse.relay.deliver.pacing import TargetPace
from plantimager.timelapse.relay.deliver.rclone_delivery import RcloneDelivery
from plantimager.timelapse.relay.deliver.rclone_program import Rclone, RcloneRun
from plantimager.timelapse.relay.taken_scans import TakenScan
from plantimager.timelapse.scan.request import Owner
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock
from stores import HOURS

pytestmark = pytest.mark.skipif(RCLONE is None, reason="rclone is not installed")

AT = datetime.fromisoformat(HOURS[0])
SCAN = TakenScan("tl_0", "tl", 0, AT, AT)
OWNER = Owner(rig="", store="/s", host="h", machine="m")


@pytest.fixture
def pace():
    return TargetPace(SystemClock(), threading.Event())


@pytest.fixture(params=[None, "north"])
def delivery(request, tmp_path):
    """Return the way to a local directory, for a rig with a name too."""
    configuration = tmp_path / "local.conf"
    configuration.write_text("[lab]\ntype = local\n")
    target = DeliverTarget(remote=f"lab:{tmp_path / 'there'}")
    return RcloneDelivery(target, Secret(configuration, configuration.read_text()), request.param)


@pytest.fixture
def here(tmp_path):
    return take_dataset(tmp_path / "here", 0)


@pytest.fixture
def doubt(delivery, here, pace):
    """Return a function that says what the target answers about the dataset under another name here."""

    def ask():
        aside = here.with_name(".aside")
        here.rename(aside)
        try:
            return delivery.doubt(Shipment(aside, SCAN, {}, pace))
        finally:
            aside.rename(here)

    return ask


@pytest.fixture
def bring(delivery, here, pace, tmp_path):
    """Return a function that brings the dataset, and returns where it is there."""

    def bring():
        delivery.deliver(Shipment(here, SCAN, {}, pace))
        return next((tmp_path / "there").rglob("tl_0"))

    return bring


def test_a_remote_has_it_while_it_has_all_files(doubt, bring):
    """The receipt alone is no copy."""
    assert doubt() == LOST
    there = bring()
    assert doubt() == ""
    picture = next((there / "images").iterdir())
    content = picture.read_bytes()
    picture.write_bytes(content[:-1])
    assert doubt() == LOST
    picture.write_bytes(content)
    assert doubt() == ""
    shutil.rmtree(there / "images")
    assert doubt() == LOST


def test_a_migration_here_after_the_delivery_makes_no_other_dataset(doubt, bring, here):
    """No picture has changed; one that is cut off there still counts."""
    bring_to_earlier_layout(here, "with digests")
    there = bring()
    assert migrate_dataset(here, OWNER)
    assert doubt() == ""
    (there / "timelapsed.json").write_text("{}")
    assert doubt() == LOST
    (there / "timelapsed.json").write_text("?")
    assert doubt() == LOST


def test_a_cut_off_picture_of_a_dataset_that_was_migrated_here_is_lost(doubt, bring, here):
    """Only metadata may differ."""
    bring_to_earlier_layout(here, "with digests")
    there = bring()
    assert migrate_dataset(here, OWNER)
    next((there / "images").iterdir()).write_bytes(b"")
    assert doubt() == LOST


def test_a_file_in_the_place_of_a_dataset_is_that_dataset_s_trouble_alone(bring):
    """The remote is within reach: the others go on."""
    there = bring()
    shutil.rmtree(there)
    there.write_text("of somebody else")
    with pytest.raises(ServerFailed, match="is a file not a directory"):
        bring()


UNREADABLE = [
    b'{"level":"error","msg":"failed to open: permission denied","object":"a.jpg","objectType":"*local.Object"}',
    b"! a.jpg",
    b'{"level":"warning","msg":"1 errors while checking","object":"Local","objectType":"*local.Fs"}',
    b"Failed to check: last error was: 1 differences found",
]


@pytest.mark.parametrize(
    ("lines", "kind", "words"),
    [
        (UNREADABLE, ServerFailed, "rclone: a.jpg: failed to open: permission denied"),
        (UNREADABLE[:1], ServerFailed, "rclone: a.jpg: failed to open: permission denied"),
        (
            [b"Failed to check: no route to host"],
            Unreachable,
            "the network doesn't reach the server; rclone: no route to host",
        ),
    ],
)
def test_a_remote_that_answers_about_some_file_is_within_reach(delivery, here, pace, monkeypatch, lines, kind, words):
    """As where its user may not read one; root, who runs tests, may."""
    run = RcloneRun()
    run.take(lines)
    monkeypatch.setattr(Rclone, "run", lambda *_, **__: run.ended_with(1))
    with pytest.raises((ServerFailed, Unreachable)) as problem:
        delivery._copy_in("lab:", Shipment(here, SCAN, {}, pace)).compare(["a.jpg"])
    assert (problem.type, str(problem.value)) == (kind, words)
