"""The lines about refused requests, in virtual time: a flood of them costs few lines, and none goes uncounted."""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from simulation import HOUR, MINUTE
from virtual_time import VirtualClock

from plantimager.timelapse.channel.control_request import Request
from plantimager.timelapse.daemon.journal import logger
from plantimager.timelapse.daemon.request_handler import MAX_COMMAND, read_start
from plantimager.timelapse.daemon.request_queue import LINE_SECONDS, RefusalLog

USERS = ("ada", "ben", "carla")


class Lines(logging.Handler):
    """Keeps the lines, and when they were written."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.lines = clock, []

    def emit(self, record):
        self.lines.append((self.clock.monotonic(), record.getMessage()))


@given(st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from((0, 1, 300, 999, 1000, 2500))), max_size=60))
def test_each_user_has_one_line_a_second_and_every_refusal_is_counted(refused):
    """However the requests of several users follow one another."""
    clock = VirtualClock()
    refusals, lines = RefusalLog(clock), Lines(clock)
    logger.addHandler(lines)
    try:
        for who, pause in refused:
            refusals.log(who, f"cancel by {who}: no")
            clock.pass_time(timedelta(milliseconds=pause))
        while (wait := refusals.flush()) is not None:
            assert 0 < wait <= LINE_SECONDS
            clock.pass_time(timedelta(seconds=wait))
    finally:
        logger.removeHandler(lines)
    for who, number in Counter(who for who, _ in refused).items():
        own = [(at, line) for at, line in lines.lines if f"by {who}" in line]
        times = [at for at, _ in own]
        assert all(later - earlier >= LINE_SECONDS - 1e-6 for earlier, later in pairwise(times))
        assert sum(int(more[1]) if (more := re.search(r"last of (\d+) more", line)) else 1 for _, line in own) == number


def test_flood_of_requests_costs_one_line_a_second(rig):
    """Journald would drop the daemon's own lines behind it."""
    world = rig()
    world.define(every=HOUR, n=2)

    def flood(life):
        for _ in range(9):
            life.request("cancel", {"timelapse_id": "another"})

    world.live((MINUTE, flood))
    assert world.said("request_refused") == [
        "cancel by anna: another is not active; tl is",
        "cancel by anna: another is not active; tl is; the last of 8 more requests since the line before",
    ]


def test_command_reaches_the_journal_on_one_short_line(rig):
    """A client may send anything in its place."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.live((MINUTE, lambda life: life.request("a\nb\x1b[2J" + "c" * 9000, {})))
    shown = "a b [2J" + "c" * (MAX_COMMAND - 7)
    assert world.said("request_refused") == [f"{shown} by anna: there is no request {shown}"]


def test_requests_are_handled_whose_modules_are_gone(rig, monkeypatch):
    """An update may have replaced the files of the program: what the loop needs is loaded before."""
    for module in ("daemon.change_intake", "daemon.manual_request", "settings.definition", "settings.relay_config"):
        monkeypatch.setitem(sys.modules, f"plantimager.timelapse.{module}", None)
    world = rig()
    world.define(every=HOUR, n=2)
    requests = []

    def ask(life):
        requests.extend(life.request(command, {}) for command in ("amend", "resume", "rig"))

    world.live((MINUTE, ask))
    answers = [answer for each in requests for answer in each.answers]
    assert len(answers) == len(requests)
    assert not [answer.message for answer in answers if "import" in answer.message]
    assert not isinstance(read_start(Request("start", {}, "anna", print)), ImportError)
    assert world.stored().tally.taken == 2
