"""`timelapsectl status` has a line on the relay wherever there is one."""

import os
from datetime import UTC, datetime

import pytest

from plantimager.timelapse.channel.relay_status import (
    RelayStatus,
    SinkStatus,
    TargetStatus,
    describe_relay,
    write_relay_status,
)
from plantimager.timelapse.domain.wording import format_local_time

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


def test_each_part_says_what_is_set_up_and_when_it_last_worked(tmp_path):
    """Targets of delivery as all others."""
    target = TargetStatus(name="plantdb", taken=2, delivered=1, delivered_at=AT)
    sinks = tuple(SinkStatus(name=name, what=f"what {name} does", worked_at=AT) for name in ("notify", "heartbeat"))
    new = SinkStatus(name="metrics", what="a file")
    write_relay_status(tmp_path, RelayStatus(pid=1, targets=(target,), sinks=(*sinks, new)))
    worked = f"last worked {format_local_time(AT, AT)}"
    assert [line.removesuffix("; the relay is not running") for line in describe_relay(tmp_path, AT)] == [
        f"1 of 2 delivered, {worked} (plantdb)",
        f"what notify does, {worked} (notify)",
        f"what heartbeat does, {worked} (heartbeat)",
        "a file, not used yet (metrics)",
    ]


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
