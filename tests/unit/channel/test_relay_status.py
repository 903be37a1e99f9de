"""`timelapsectl status` has a line on the relay wherever there is one."""

import os
from datetime import UTC, datetime

import pytest

from plantimager.timelapse.channel.relay_status import RelayStatus, TargetStatus, describe_relay, write_relay_status

AT = datetime(2026, 6, 22, 8, tzinfo=UTC)
NOBODY = 65534


@pytest.fixture
def directory(tmp_path):
    """Return the state directory of a relay that has delivered something."""
    target = TargetStatus(name="plantdb", taken=2, delivered=1)
    write_relay_status(tmp_path, RelayStatus(pid=1, targets=(target,)))
    return tmp_path


def test_a_relay_that_never_was_has_no_line(tmp_path):
    """Most rigs have none."""
    assert [*describe_relay(tmp_path / "none", AT)] == []


def test_a_status_that_this_user_may_not_read_is_named(directory):
    """A member of the rig's group would take the relay for absent."""
    assert [*describe_relay(directory, AT)] == ["1 of 2 delivered (plantdb); the relay is not running"]
    directory.chmod(0)
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
        [line] = describe_relay(directory, AT)
    finally:
        os.seteuid(before)
        directory.chmod(0o700)
    assert line == f"{directory}/relay.json is for its service and root only; sudo shows it"
