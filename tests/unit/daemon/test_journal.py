"""The journal's entries: fields, levels, message ids, each of which is explained in the catalog."""

from __future__ import annotations

import logging
import re
import socket
import struct
from datetime import UTC, datetime, timedelta

import pytest
from tree import SYSTEMD

from plantimager.timelapse.daemon import journal
from plantimager.timelapse.daemon.journal import NOTICE, Action, log_event
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.systemd.journal_lines import JournalHandler, StderrHandler

CATALOG = SYSTEMD / "plant-imager-timelapsed.catalog"
BEGIN = datetime(2026, 6, 22, 8, tzinfo=UTC)


@pytest.fixture
def journald(tmp_path, monkeypatch):
    """Return a function that receives one native entry, as journald would; the handler sends there."""
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(30)
        monkeypatch.setattr(JournalHandler, "SOCKET_PATH", path)
        handler = JournalHandler("timelapsed")
        monkeypatch.setattr(journal.logger, "handlers", [handler])
        monkeypatch.setattr(journal.logger, "propagate", False)
        monkeypatch.setattr(journal.logger, "level", logging.DEBUG)
        yield lambda: parse(receiver.recv(1 << 20))
        handler.transport.socket.close()


def parse(datagram: bytes) -> dict[str, list[str]]:
    """Return the fields of an entry in the native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields: dict[str, list[str]] = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", datagram[:8])
            value, datagram = datagram[8 : 8 + length], datagram[9 + length :]
        fields.setdefault(name.decode(), []).append(value.decode())
    return fields


def running() -> TimeLapse:
    timelapse = TimeLapse(
        id="tl",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=tuple(BEGIN + timedelta(hours=hour) for hour in range(3)),
    )
    return timelapse.begin(BEGIN, "boot")


def test_transition_carries_what_it_is_about_as_fields(journald) -> None:
    """`journalctl SLOT=0`, `ACTION=scan_started` and the rest find the entry."""
    log_event(Action.SCAN_STARTED, "tl_0, slot 0 of 3", timelapse=running(), slot=0)
    entry = journald()
    assert entry["MESSAGE"] == ["scan_started: tl_0, slot 0 of 3"]
    wanted = {"ACTION": "scan_started", "TIMELAPSE_ID": "tl", "STATE": "running"}
    wanted |= {"SLOT": "0", "SCAN_ID": "tl_0", "ATTEMPT": "1"}
    assert {name: entry[name][0] for name in wanted} == wanted
    assert entry["PRIORITY"] == ["5"]
    assert entry["CODE_FILE"] == [__file__]
    assert entry["CODE_FUNC"] == ["test_transition_carries_what_it_is_about_as_fields"]


def test_summary_of_many_slots_is_found_by_each_of_them(journald) -> None:
    """One line for an outage, with a SLOT field for every slot that was missed."""
    log_event(Action.SLOT_SKIPPED, "2 slots", timelapse=running(), slot=[1, 2])
    assert journald()["SLOT"] == ["1", "2"]


def test_exception_chain_is_in_the_same_entry(journald) -> None:
    """A traceback is a field, not forty lines of the journal."""
    try:
        try:
            raise ValueError("inner")
        except ValueError as inner:
            raise RuntimeError("outer") from inner
    except RuntimeError as outer:
        log_event(Action.CRASHED, "RuntimeError: outer", error=outer)
    entry = journald()
    assert "ValueError: inner" in entry["EXCEPTION"][0]
    assert "RuntimeError: outer" in entry["EXCEPTION"][0]
    assert "\n" not in entry["MESSAGE"][0]


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (NOTICE, 5),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
    ],
)
def test_levels_are_syslog_priorities_and_none_is_broadcast(journald, level, priority) -> None:
    """CRITICAL is 2, not 0: an emergency is broadcast to all who are logged in."""
    journal.logger.log(level, "x")
    assert journald()["PRIORITY"] == [str(priority)]


def test_without_journald_lines_go_to_stderr_with_their_level_where_it_matters(capsys, monkeypatch) -> None:
    """For a person at a terminal."""
    monkeypatch.setattr(journal.logger, "handlers", [StderrHandler()])
    monkeypatch.setattr(journal.logger, "propagate", False)
    monkeypatch.setattr(journal.logger, "level", logging.INFO)
    log_event(Action.SCAN_STARTED, "fine")
    log_event(Action.SCAN_FAILED, "bad\nworse")
    assert capsys.readouterr().err == "scan_started: fine\nERROR scan_failed: bad\n  worse\n"


def test_every_message_id_is_explained_in_the_catalog_and_no_other() -> None:
    """`journalctl -x` says of everything that a person must act on what happened and what to do."""
    text = CATALOG.read_text()
    entries = dict(re.findall(r"^-- ([0-9a-f]{32})\n(.*?)(?=^-- |\Z)", text, re.MULTILINE | re.DOTALL))
    ids = [action.message_id for action in Action if action.message_id is not None]
    assert sorted(ids) == sorted(entries)
    assert len(set(ids)) == len(ids)
    for body in entries.values():
        assert body.startswith("Subject: ")
        assert "\nWhat to do: " in body


def test_every_line_that_needs_a_person_has_a_message_id() -> None:
    """A line at ERR or above has its explanation in the catalog."""
    assert [action for action in Action if action.level >= logging.ERROR and action.message_id is None] == []
