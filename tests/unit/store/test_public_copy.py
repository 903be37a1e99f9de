"""What people may see of a store who may not read it."""

from pathlib import Path

from example_timelapse import FAILURE, at, timelapse
from msgspec.structs import replace

from plantimager.timelapse.domain.records import Pause
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.store.public_copy import public_copy, redacted
from plantimager.timelapse.store.stored_timelapse import KeptParts, new_stored_timelapse

SECRET = 'abc"d\\e'


def secretive():
    """Return a store that repeats its secret wherever a text may."""
    value = timelapse(scan_retries=0)
    value = value.begin(at(0), "boot").fail_attempt(at(0, 9), type(FAILURE)(f"no answer to {SECRET}"))
    value = value.cancel(at(1), f"ada {SECRET}", f"lost {SECRET}")
    record = replace(value.records[0], last_error=f"before: {SECRET}", unknown_keys={"token": SECRET})
    pause = Pause(at(0), f"ben {SECRET}", at(1), f"cy {SECRET}")
    value = replace(value, records={**value.records, 0: record}, last_pause=pause)
    stored = new_stored_timelapse(value, {"camera": {"password": SECRET}}, "d")
    extra = {**stored.kept.extra, "api_token": SECRET, "db_url": "http://db"}
    return replace(stored, kept=KeptParts(extra=extra, unknown_keys={"theirs": SECRET}))


def test_copy_has_the_timelapse_and_no_secret():
    """It is gone where an error repeats it and from the keys of others, however JSON spells it."""
    stored = secretive()
    text = public_copy(stored).encode()
    read = read_timelapse(text, Path("store.json"))
    for secret in (b"abc", b"db_url", b"password", b"theirs"):
        assert secret not in text
    assert (read.timelapse.tally, read.logbook) == (stored.timelapse.tally, stored.logbook)
    assert read.timelapse.records[0].error_text == "no answer to [secret]"
    assert (read.timelapse.ending.who, read.timelapse.ending.why) == ("ada [secret]", "lost [secret]")
    assert read.timelapse.pause == Pause(at(0), "ben [secret]", at(1), "cy [secret]")


def test_value_keeps_its_form():
    """Only texts that repeat a secret are changed."""
    assert redacted({"a": ["s3cr3t!", 1, None], "s3cr3t": 2.5}, ["s3cr3t"]) == {
        "a": ["[secret]!", 1, None],
        "s3cr3t": 2.5,
    }
