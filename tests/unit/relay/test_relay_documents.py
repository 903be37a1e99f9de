"""What the relay reports is in its manual page and in its message catalog, and nowhere else."""

import logging
import re

from tree import MANUALS, SYSTEMD

from plantimager.timelapse.relay.actions import RelayAction
from plantimager.timelapse.relay.main import relay_parser


def test_manual_has_every_action_with_its_level_and_whether_the_catalog_explains_it():
    """A person finds each line of the journal there."""
    section = (MANUALS / "timelapse-relay.8").read_text().partition(".SH JOURNAL")[2].partition(".SH SEE ALSO")[0]
    entries = re.findall(r'^\.TP\n\.BR (\w+) " \((\w+)\)"\n(?:[^.].+\n)+(?:\.br\n(.+)\n)?', section, re.MULTILINE)
    assert {word: (level, "MESSAGE_ID" in fields) for word, level, fields in entries} == {
        action.word: (logging.getLevelName(action.level).lower(), action.message_id is not None)
        for action in RelayAction
    }


def test_manual_has_every_option():
    """And no others."""
    page = (MANUALS / "timelapse-relay.8").read_text().replace("\\-", "-").partition(".SH PASSWORDS")[0]
    options = {option for action in relay_parser()._actions for option in action.option_strings if len(option) > 2}
    assert set(re.findall(r"(?<![\w-])--[a-z]+", page)) == options


def test_every_message_id_is_explained_in_the_catalog_and_no_other():
    """`journalctl -x` says what happened and what to do."""
    text = (SYSTEMD / "plant-imager-timelapse-relay.catalog").read_text()
    entries = dict(re.findall(r"^-- ([0-9a-f]{32})\n(.*?)(?=^-- |\Z)", text, re.MULTILINE | re.DOTALL))
    assert sorted(entries) == sorted(action.message_id for action in RelayAction if action.message_id)
    assert all(body.startswith("Subject: ") and "\nWhat to do: " in body for body in entries.values())


def test_every_line_that_needs_a_person_has_a_message_id():
    """A line at ERR or above has its explanation in the catalog."""
    assert [action for action in RelayAction if action.level >= logging.ERROR and action.message_id is None] == []
