"""A monitor hears of the rig while its schedule is kept, and of nothing else in a quiet run."""

import itertools
import json

import pytest
from daemon_process import DaemonProcess
from notify_rig import AHEAD, HOST, KEY, NotifyRig, failed
from tiny_scan import configuration, definition

from stores import HOURS

TAKEN = "succeeded"
SECRET = "/ping/a-secret-of-the-test"
PAUSE = "/api/v3/checks/a-secret-of-the-test/pause"


@pytest.fixture
def rig(tmp_path, receiver, mail):
    monitor = f"http://127.0.0.1:{receiver.port}"
    return NotifyRig(tmp_path / "rig", mail.url, heartbeat=f"{monitor}{SECRET}", pause=f"{monitor}{PAUSE}")


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


def test_a_rig_that_boots_without_the_disk_of_its_store_is_no_idle_one(rig, receiver, mail):
    """The relay before this one had seen a timelapse there that hasn't ended; it is in order when the disk is back."""
    rig.have(TAKEN, slots=AHEAD)
    with rig.start_and_settle():
        assert receiver.next().path == f"{SECRET}/start"
    content = rig.place.store.read_bytes()
    rig.place.store.unlink()
    while not receiver.requests.empty():
        receiver.next()
    with rig.start():
        assert receiver.next().path == f"{SECRET}/fail"
        message = mail.next()
        assert message.subject == f"{HOST}: the store can't be read"
        assert "it is gone, and tl has not ended: see whether its disk is mounted" in " ".join(message.body.split())
        rig.place.store.write_bytes(content)
        assert receiver.next().path == f"{SECRET}"
        assert mail.next().subject == f"{HOST}: the store can be read again"


def heard_until(receiver, path):
    """Return what a monitor hears until it hears that, without a row of the same."""
    heard = [receiver.next().path]
    while heard[-1] != path:
        heard.append(receiver.next().path)
    return [path for path, _ in itertools.groupby(heard)]


def test_the_monitor_is_paused_once_while_nothing_is_scheduled(rig, receiver, mail):
    """At the start, and after the end, by its management API; the next schedule begins anew."""
    rig.have(TAKEN, slots=HOURS[:1], state="completed")
    with rig.start_and_settle() as relay:
        paused = receiver.next()
        assert (paused.method, paused.path, paused.key, paused.body) == ("POST", PAUSE, KEY, b"")
        rig.have(timelapse_id="b", slots=AHEAD[:2])
        assert receiver.next().path == f"{SECRET}/start"
        rig.have(failed("no light"), TAKEN, timelapse_id="b", slots=AHEAD[:2], state="completed")
        assert mail.next().subject == f"{HOST}: b is complete (and 1 more)"
        assert heard_until(receiver, PAUSE)[-1] == PAUSE
        rig.have(timelapse_id="c", slots=AHEAD[2:])
        assert receiver.next().path == f"{SECRET}/start"
        assert receiver.next().key is None
        assert not [line for line in relay.lines if KEY in line or "secret" in line]


def test_a_pause_that_does_not_arrive_is_tried_again_also_by_the_next_relay(rig, receiver):
    """However the rig was switched off meanwhile: that nothing is scheduled is what the store says."""
    rig.have(TAKEN, slots=HOURS[:1], state="cancelled")
    receiver.answer_with(401)
    with rig.start() as relay:
        assert "the monitor answers 401 to a pause; it is tried again" in relay.wait_for("heartbeat_stuck")
    receiver.answer_with(200)
    with rig.start() as relay:
        assert receiver.next().path == PAUSE
        assert receiver.requests.empty()


@pytest.mark.parametrize(
    ("access", "words"),
    [
        ("https://hc.example.org/pause", "write the pause_url into its first line, and an API key into its second"),
        ("hc.example.org\nkey", "write http:// or https:// and the server's name"),
        ("https://hc.example.org/pause\nk\u00e4y", "an API key into its second"),
        ("", "the access for pauses is empty"),
    ],
)
def test_an_access_for_pauses_that_is_none_is_refused_with_what_to_write(rig, access, words):
    """Without a word of it."""
    rig.pause.write_text(access)
    with rig.start_only() as relay:
        assert words in (line := relay.wait_for("relay_config_faulty"))
        assert "hc.example.org" not in line


@pytest.mark.parametrize("credential", [False, True], ids=["file", "credential"])
def test_who_gives_access_for_pauses_need_not_say_that_they_are_wanted(tmp_path, rig, receiver, credential):
    """Uptime Kuma, which can't be paused, is pinged on beside the same credential."""
    table = f'[relay.heartbeat]\nurl_file = "{rig.heartbeat}"\n'
    rig.have(TAKEN, slots=HOURS[:1], state="completed")
    (tmp_path / "credentials").mkdir()
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")} if credential else {}
    if credential:
        rig.pause.rename(tmp_path / "credentials" / "heartbeat-pause")
    rig.place.configure(table if credential else f'{table}pause_file = "{rig.pause}"\n')
    with rig.start(**environment):
        assert receiver.next().path == PAUSE
    if credential:
        rig.place.configure(f'{table}kind = "kuma"\n')
        with rig.start(**environment):
            assert receiver.next().path == f"{SECRET}?status=up&msg=nothing+is+scheduled"
    rig.place.configure(f'{table}idle = "ping"\n')
    with rig.start(**environment):
        assert receiver.next().path == SECRET


def test_any_monitor_is_paused_by_its_own_address_which_may_hold_the_key(rig, receiver):
    """As Dead Man's Snitch has it; its next ping ends that."""
    rig.pause.write_text(f"http://a-key:@127.0.0.1:{receiver.port}/v1/snitches/token/pause\n")
    rig.place.configure(
        f'[relay.heartbeat]\nurl_file = "{rig.heartbeat}"\nkind = "plain"\npause_file = "{rig.pause}"\n'
    )
    rig.have(TAKEN, slots=HOURS[:1], state="completed")
    with rig.start() as relay:
        paused = receiver.next()
        assert (paused.method, paused.path, paused.key) == ("POST", "/v1/snitches/token/pause", None)
        assert paused.login == "a-key:"
        rig.have(timelapse_id="b", slots=AHEAD[:2])
        assert receiver.next().path == SECRET
        assert not [line for line in relay.lines if "a-key" in line]


def test_a_monitor_that_can_not_be_paused_is_not_asked_to_be(rig):
    """Where idle = "pause", it would raise an alarm after each timelapse."""
    rig.place.configure(f'[relay.heartbeat]\nurl_file = "{rig.heartbeat}"\nkind = "kuma"\nidle = "pause"')
    with rig.start_only() as relay:
        assert "Uptime Kuma has no request for a pause" in relay.wait_for("relay_config_faulty")


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
    with rig.start_and_settle() as relay, DaemonProcess(rig.place) as daemon:
        daemon.wait_for("timelapse_completed")
        told = mail.next()
        assert told.subject.endswith("is complete")
        assert mail.mails.empty()
        paths = heard_until(receiver, PAUSE)
        relay.stop()
    assert paths == [f"{SECRET}/start", SECRET, PAUSE]
    assert receiver.requests.empty()
    assert json.loads(rig.places.ledger("notify").read_text()).get("open") is None
