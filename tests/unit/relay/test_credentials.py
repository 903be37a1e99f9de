"""A secret that is replaced while the relay runs."""

import os
import threading
from datetime import datetime, timedelta

import pytest
from relay_rig import take_dataset

from plantimager.timelapse.relay.credentials import CREDENTIALS_VARIABLE, read_secret
from plantimager.timelapse.relay.deliver.delivery import Shipment, Unreachable
from plantimager.timelapse.relay.deliver.pacing import TargetPace
from plantimager.timelapse.relay.deliver.plantdb_delivery import PlantDbDelivery
from plantimager.timelapse.relay.deliver.rclone_program import Rclone
from plantimager.timelapse.relay.taken_scans import TakenScan
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock
from stores import HOURS

PACE = TargetPace(SystemClock(), threading.Event())


@pytest.fixture
def named(tmp_path):
    """Return a password in a file that the configuration names."""
    path = tmp_path / "password"
    write(path, "first")
    return read_secret("deliver-lab", path, {}, key="password_file", what="password")


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)


def test_a_replacement_is_taken_up(named):
    """Without a restart."""
    write(named.path, "second\n")
    latest = named.latest()
    assert (latest.text, latest.fault) == ("second", "")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda path: path.chmod(0o644), "others can read this password; chmod 600"),
        (lambda path: path.write_text(""), "the password is empty"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "the password is not in UTF-8"),
        (os.remove, "the password can't be read: no such file or directory"),
    ],
)
def test_one_that_cannot_be_used_leaves_the_last_good_one(named, spoil, fault):
    """What the next start would refuse is refused; the text of the start may be long out of use."""
    write(named.path, "second")
    latest = named.latest()
    write(named.path, "third")
    spoil(named.path)
    latest = latest.latest()
    assert latest.text == "second"
    assert fault in latest.fault
    write(named.path, "fourth")
    assert (latest.latest().text, latest.latest().fault) == ("fourth", "")


def test_the_mode_of_a_credential_is_that_of_systemd(tmp_path):
    """It may be readable for a group, by an access control list's mask."""
    write(tmp_path / "deliver-lab", "first", 0o440)
    secret = read_secret(
        "deliver-lab", None, {CREDENTIALS_VARIABLE: str(tmp_path)}, key="password_file", what="password"
    )
    assert secret.latest().fault == ""


def test_a_plantdb_that_fails_is_told_with_the_fault_of_the_password(named, tmp_path):
    """The password of before may be why the server lets nobody in."""
    at = datetime.fromisoformat(HOURS[0])
    shipment = Shipment(take_dataset(tmp_path, 0), TakenScan("tl_0", "tl", 0, at, at), {}, PACE)
    delivery = PlantDbDelivery(DeliverTarget(url="http://127.0.0.1:9", user="rig"), named)
    named.path.chmod(0o644)
    with pytest.raises(
        Unreachable, match=r"; .*others can read this password; chmod 600 .*; the one of before is used"
    ):
        delivery.deliver(shipment)
    named.path.chmod(0o600)
    with pytest.raises(Unreachable) as failure:
        delivery.deliver(shipment)
    assert "password" not in str(failure.value)


def test_rclone_is_given_no_configuration_that_others_can_read(named):
    """It reads the file itself."""
    named.path.chmod(0o640)
    with pytest.raises(Unreachable, match="others can read this password; chmod 600"):
        Rclone(named, timedelta(seconds=5), None).run(PACE, "version", names=[])
