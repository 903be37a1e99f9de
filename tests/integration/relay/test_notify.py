"""People are told when it matters, word by word, by a real relay to a real mail server; when all is well, nothing."""

import io
import re

import pytest
from notify_rig import AHEAD, HOST, NotifyRig, failed, local, skipped
from PIL import Image
from tiny_scan import configuration, definition

TAKEN = "succeeded"


@pytest.fixture
def rig(tmp_path, mail):
    return NotifyRig(tmp_path / "rig", mail.url)


def text(body):
    """Return a message without how long ago something was, which is another at each run."""
    return re.sub(r"\([^()]+ ago\)", "(… ago)", body)


def test_a_failed_slot_and_the_recovery_are_a_message_each(rig, mail):
    """With what it cost, what to do, the next slot, and a small picture of the last one that was taken."""
    rig.have(TAKEN, TAKEN)
    with rig.start_and_settle():
        rig.have(TAKEN, TAKEN, failed("camera_0: no answer within 60 s"))
        told = mail.next()
        assert told.subject == f"{HOST}: slot 2 failed"
        assert told.body == (
            f"tl: slot 2 ({local(AHEAD[2])}) failed: camera_0: no answer within 60 s.\n"
            "Lost: 1 time point. Taken so far: 2 of 6.\n"
            "What to do: read the reason, then look at the rig: cables, power, camera.\n"
            "\n"
            f"Next slot: 3, at {local(AHEAD[3])}."
        )
        (picture,) = told.attachments
        with Image.open(io.BytesIO(picture)) as thumbnail:
            assert thumbnail.format == "JPEG"
            assert thumbnail.width <= 640
        rig.have(TAKEN, TAKEN, failed("camera_0: no answer within 60 s"), TAKEN)
        told = mail.next()
        assert told.subject == f"{HOST}: slots are taken again"
        assert text(told.body) == (
            "Slots are taken again.\n"
            f"The trouble began at {local(AHEAD[2])} (… ago); it cost 1 time point.\n"
            "\n"
            f"Next slot: 4, at {local(AHEAD[4])}."
        )


def test_an_outage_of_hours_is_an_alarm_and_one_message_of_what_it_cost(tmp_path, mail):
    """The alarm comes from absence: nobody else could have said it."""
    rig = NotifyRig(tmp_path / "rig", mail.url)
    slots = [f"2026-06-{day}T{hour:02}:00:00+00:00" for day in (22, 23) for hour in range(11)] + AHEAD[:1]
    rig.have(TAKEN, TAKEN, slots=slots)
    with rig.start_and_settle() as relay:
        told = mail.next()
        assert told.subject == f"{HOST}: slot 2 is overdue"
        assert told.body == (
            f"tl: slot 2 was due at {local(slots[2])} and has no record.\n"
            "The timelapse service isn't running; its journal says why.\n"
            "20 slots can't be taken in time any more.\n"
            "Taken so far: 2 of 23.\n"
            "What to do: see whether the service runs: timelapsectl rigs.\n"
            "\n"
            f"Next slot: 22, at {local(AHEAD[0])}."
        )
        relay.wait_for("overdue")
        rig.have(TAKEN, TAKEN, *[skipped("the rig was off")] * 20, slots=slots)
        told = mail.next()
        assert told.subject == f"{HOST}: 20 slots missed"
        assert told.body == (
            f"tl: 20 slots from {local(slots[2])} to {local(slots[21])} missed: the rig was off.\n"
            "Lost: 20 time points. Taken so far: 2 of 23.\n"
            "What to do: nothing for these. If the power failed, a longer grace_period in the next definition, or"
            ' missed = "run_latest" in timelapsed.toml, takes more slots after an outage.\n'
            "\n"
            f"Next slot: 22, at {local(AHEAD[0])}."
        )


def test_ten_failures_in_a_minute_are_one_message(tmp_path, mail):
    """It waits for what belongs to it, for a bounded time."""
    rig = NotifyRig(tmp_path / "rig", mail.url, gather='"4s"')
    rig.have(TAKEN, slots=AHEAD)
    with rig.start_and_settle():
        for n in range(1, 11):
            rig.have(TAKEN, *[failed("the gantry is in alarm")] * n, slots=AHEAD)
        told = mail.next()
        assert told.subject == f"{HOST}: 10 slots failed"
        assert told.body.startswith(
            f"tl: 10 slots from {local(AHEAD[1])} to {local(AHEAD[10])} failed: the gantry is in alarm.\n"
            "Lost: 10 time points. Taken so far: 1 of 24.\n"
        )


def test_a_complete_timelapse_is_told(rig, mail):
    """With what is there, and what isn't."""
    rig.have(TAKEN, failed("no light"), TAKEN, TAKEN, slots=AHEAD[:5])
    with rig.start_and_settle():
        rig.have(TAKEN, failed("no light"), TAKEN, TAKEN, TAKEN, slots=AHEAD[:5], state="completed")
        told = mail.next()
        assert (told.subject, told.body) == (
            f"{HOST}: tl is complete",
            "tl is complete.\n4 of 5 slots taken, 1 lost.\nWhat to do: fetch the datasets.\n\nNo slot is scheduled.",
        )


def test_what_happened_while_the_relay_was_off_is_told_at_its_start(rig, mail):
    """Also of a timelapse that is in the archive by now. What was told before isn't told again."""
    rig.have(TAKEN, failed("no light"))
    with rig.start_and_settle() as relay:
        relay.stop()
    rig.have(TAKEN, failed("no light"), failed("no light"), slots=AHEAD[:3], state="completed")
    rig.places.history.mkdir()
    rig.place.store.rename(rig.places.history / "tl.json")
    rig.have(timelapse_id="next", slots=AHEAD[9:10])
    with rig.start():
        told = mail.next()
        assert told.subject == f"{HOST}: tl is complete (and 1 more)"
        assert "1 of 3 slots taken, 2 lost." in told.body
        assert f"tl: slot 2 ({local(AHEAD[2])}) failed: no light." in told.body
        assert told.body.endswith(f"Next slot: 0, at {local(AHEAD[9])}.")


def test_a_relay_that_is_killed_after_it_has_sent_says_nothing_twice(rig, mail):
    """The ledger has it."""
    rig.have(TAKEN)
    with rig.start_and_settle() as relay:
        rig.have(TAKEN, failed("one"))
        mail.next()
        relay.wait_for("message_sent")
        relay.process.kill()
    rig.have(TAKEN, failed("one"), failed("two"))
    with rig.start():
        told = mail.next()
        assert "two" in told.body
        assert "one" not in told.body.replace("none", "")


def test_a_daemon_that_a_faulty_configuration_stopped_is_noticed(rig, mail):
    """The relay, which runs with the configuration of before, says what is known: that no daemon runs."""
    rig.settings = configuration()
    rig.configure()
    rig.place.define(definition(1000).replace("grace_period = 600", "grace_period = 1"))
    with rig.start(), rig.place.start() as daemon:
        daemon.wait_for("scan_succeeded")
        daemon.stop()
        rig.place.configure("nonsense = 1")
        with rig.place.start() as faulty:
            faulty.wait_for("config_faulty")
            assert faulty.process.wait(60) == 78
        messages = [mail.next()]
        while "is overdue" not in messages[-1].subject:  # a slow machine may have missed one before
            messages.append(mail.next())
    lines = messages[-1].body.splitlines()
    assert re.fullmatch(r"tl: slot \d+ was due at [\d:]+ and has no record\.", lines[0])
    assert lines[1] == "The timelapse service isn't running; its journal says why."
    assert "What to do: see whether the service runs: timelapsectl rigs." in lines
