"""A monitor hears of the rig while its schedule is kept, and of nothing else in a quiet run."""

import json

import pytest
from daemon_process import DaemonProcess
from notify_rig import AHEAD, HOST, NotifyRig, failed
from tiny_scan import configuration, definition

from stores import HOURS

TAKEN = "succeeded"
SECRET = "/ping/a-secret-of-the-test"


@pytest.fixture
def rig(tmp_path, receiver, mail):
    return NotifyRig(tmp_path / "rig", mail.url, heartbeat=f"http://127.0.0.1:{receiver.port}{SECRET}")


def test_a_kept_schedule_is_pinged_from_its_start_on(rig, receiver):
    """Healthchecks is told of the start, and then hears of it at each interval."""
    rig.have(TAKEN)
    with rig.start() as relay:
        pings = [receiver.next() for _ in range(4)]
        assert [(ping.method, ping.path) for ping in pings] == [("POST", f"{SECRET}/start"), *[("POST", SECRET)] * 3]
        assert not [line for line in relay.lines if "secret" in line]


def test_an_overdue_slot_is_one_fail_and_then_silence(rig, receiver, mail):
    """The next record is answered by pings again."""
    rig.have(TAKEN, slots=HOURS)
    with rig.start():
        assert receiver.next().path == f"{SECRET}/fail"
        assert mail.next().subject == f"{HOST}: slot 1 is overdue"  # some time has passed
        assert receiver.requests.empty()
        rig.have(TAKEN, TAKEN, slots=[*HOURS[:2], *AHEAD])
        assert receiver.next().path == SECRET


def test_nothing_is_pinged_while_nothing_is_scheduled(rig, receiver, mail):
    """Not at the start, and not after the end; the next schedule begins anew."""
    rig.have(TAKEN, slots=HOURS[:1], state="completed")
    with rig.start_and_settle():
        rig.have(timelapse_id="b", slots=AHEAD[:2])
        assert receiver.next().path == f"{SECRET}/start"
        rig.have(failed("no light"), TAKEN, timelapse_id="b", slots=AHEAD[:2], state="completed")
        assert mail.next().subject == f"{HOST}: b is complete (and 1 more)"
        while not receiver.requests.empty():
            assert receiver.next().path == SECRET
        rig.have(timelapse_id="c", slots=AHEAD[2:])
        assert receiver.next().path == f"{SECRET}/start"


def test_a_monitor_that_does_not_answer_is_reported_once(rig, receiver):
    """Without its address."""
    rig.have(TAKEN)
    receiver.answer_with(500)
    with rig.start() as relay:
        assert "the monitor answers 500; it is tried again" in relay.wait_for("heartbeat_stuck")
        receiver.answer_with(200)
        relay.wait_for("heartbeat_resumed")
        assert len([line for line in relay.lines if "heartbeat_stuck" in line]) == 1


def test_in_a_quiet_run_nothing_arrives_but_heartbeats(rig, receiver, mail):
    """A real daemon takes its slots; people hear of it when it is complete."""
    rig.settings = configuration()
    rig.configure()
    rig.place.define(definition(4))
    with DaemonProcess(rig.place) as daemon, rig.start() as relay:
        daemon.wait_for("timelapse_completed")
        told = mail.next()
        assert told.subject.endswith("is complete")
        assert mail.mails.empty()
        relay.stop()
    paths = [request.path for request in iter_all(receiver)]
    assert paths[0] == f"{SECRET}/start"
    assert {*paths[1:]} == {SECRET}
    assert json.loads(rig.places.ledger("notify").read_text()).get("open") is None


def iter_all(receiver):
    """Yield what has arrived."""
    while not receiver.requests.empty():
        yield receiver.next()
