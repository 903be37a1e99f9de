"""`timelapsectl status` has a line on the relay wherever there is one."""

import os
from datetime import UTC, datetime

import msgspec
import pytest

from plantimager.timelapse.channel.relay_status import (
    RelayStatus,
    SinkStatus,
    TargetStatus,
    describe_relay,
    read_relay_status,
    relay_status_path,
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
    """Targets of delivery say it as all other sinks do."""
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


def test_a_relay_that_does_not_run_sends_nothing(tmp_path):
    """One that was killed in mid-file has left that it does."""
    target = TargetStatus(name="lab", taken=2, delivered=1, sending="sending tl_1: 3 of 20 files")
    write_relay_status(tmp_path, RelayStatus(pid=1, targets=(target,)))
    assert [*describe_relay(tmp_path, AT)] == ["1 of 2 delivered (lab); the relay is not running"]


@pytest.mark.parametrize(
    "damage", [b'{"pid": 1, "sinks": [{"name": "\xff"}]}', b'{"new": %b%b}' % (b"[" * 9999, b"]" * 9999)]
)
def test_a_status_of_damaged_bytes_is_none(tmp_path, damage):
    """It is never synced: a power cut may leave anything."""
    relay_status_path(tmp_path).write_bytes(damage)
    assert read_relay_status(tmp_path) is None
    assert [*describe_relay(tmp_path, AT)] == []


@pytest.mark.parametrize("time", ["2026-06-22T08:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("field", ["delivered_at", "oldest", "worked_at", "since"])
def test_a_status_with_a_time_that_can_not_be_shown_is_none(tmp_path, time, field):
    """Its line would otherwise end what is said of all rigs."""
    doubt = {"timelapse": "tl", "camera": "", "verdict": "dark", "since": AT, "until": AT, "slot": 0, "slots": 1}
    doubt |= {"positions": [], "n_positions": 1, "of_positions": 1, "pictures": 1, "file": "a.jpg"}
    target, sink = {"name": "lab", "taken": 1, "delivered": 1}, {"name": "look", "what": "pictures"}
    for part in (target, sink, doubt):
        if (field == "worked_at") == (part is sink) and (field == "since") == (part is doubt):
            part[field] = time
    status = {"pid": 1, "targets": [target], "sinks": [{**sink, "doubts": [doubt]}]}
    relay_status_path(tmp_path).write_bytes(msgspec.json.encode(status))
    assert read_relay_status(tmp_path) is None
    assert [*describe_relay(tmp_path, AT)] == []
