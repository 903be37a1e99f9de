"""Whatever kills the relay while it sends, a message arrives, and it isn't repeated for ever."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tracing import Traced, fork
from tree import SUPPORT

from plantimager.timelapse.relay.notify import messenger, outbox
from plantimager.timelapse.relay.notify.messenger import KILLED, Service
from plantimager.timelapse.relay.notify.outbox import MAX_UNKNOWN, Outbox
from plantimager.timelapse.relay.notify.told import Message, Told, ToldUpTo, read_told, write_told
from plantimager.timelapse.settings.relay_config import NotifySettings
from plantimager.timelapse.support.clock import SystemClock

SERVICE = Service("ntfy", "ntfy://x")
FIRST, SECOND = (Message(datetime(2026, 6, 22, hour, tzinfo=UTC), f"slot {hour} failed", "why") for hour in (8, 9))


def arrived(directory):
    """Return the subjects of what the service has taken."""
    path = directory / "arrived"
    return path.read_text().splitlines() if path.exists() else []


def look_and_send(directory, message=FIRST, problem=""):
    """Do what the relay does at a look: note what is to be told, unless it is noted already, and send what waits."""

    def send(_service, call, _timeout):
        with (directory / "arrived").open("a") as file:
            file.write(f"{call.subject}\n")
        if problem == "killed":
            os._exit(0)
        return problem

    outbox.send_message = send  # each caller puts it back, or is a process that ends
    box = Outbox(directory / "ledger", [SERVICE], "bench", NotifySettings(gather=timedelta.resolution), SystemClock())
    told = box.load()
    if told.marks != (marks := {"tl": ToldUpTo(message.at.hour)}):
        box.add(message, replace(told, marks=marks))
    box.send_waiting(threading.Event(), lambda _: b"")


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Return where nothing was told yet."""
    monkeypatch.setattr(outbox, "send_message", outbox.send_message)
    write_told(tmp_path / "ledger", Told())
    return tmp_path


def in_a_process(what, directory):
    """Return what a function of this file prints in a process of one thread, which may be forked."""
    program = [sys.executable, __file__, what.__name__, directory]
    done = subprocess.run(program, env={"PYTHONPATH": str(SUPPORT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_relay_that_is_killed_at_any_system_call_tells_everything_and_repeats_at_most_one_message(tmp_path):
    """The one that was on its way, of which nobody knows whether it arrived."""
    assert int(in_a_process(kill_everywhere, tmp_path)) > 10


def kill_everywhere(directory):
    """Kill a process at each of its system calls; return at how many."""
    for at in range(1, 1000):
        place = directory / f"{at}"
        place.mkdir()
        write_told(place / "ledger", Told())
        was_killed = Traced(lambda place=place: look_and_send(place)).go_on(at)
        for _ in range(2):
            look_and_send(place)
        assert {*arrived(place)} == {FIRST.subject}, at
        assert len(arrived(place)) <= 1 + was_killed, at
        assert not read_told(place / "ledger").waiting
        if not was_killed:
            return at
    raise AssertionError("it never ends")


def kill_after_each(directory):
    """Kill more processes than may be, each after it has sent."""
    for _ in range(MAX_UNKNOWN + 3):
        os.waitpid(fork(lambda: look_and_send(directory, problem="killed")), 0)


def test_a_relay_that_is_killed_by_each_of_its_messages_gives_them_up(directory):
    """As by a lack of memory; the next message says that there was one."""
    in_a_process(kill_after_each, directory)
    assert arrived(directory) == [FIRST.subject] * MAX_UNKNOWN
    look_and_send(directory, SECOND)
    assert arrived(directory)[MAX_UNKNOWN:] == ["bench: 2 messages since 22 Jun 09:00"]
    assert not read_told(directory / "ledger").waiting


def test_a_program_that_ends_while_it_sends_may_have_sent(directory):
    """It isn't started for the same message again and again either."""
    for _ in range(MAX_UNKNOWN + 3):
        look_and_send(directory, problem=f"{KILLED} 9")
    assert arrived(directory) == [FIRST.subject] * MAX_UNKNOWN


def test_a_service_that_refuses_has_taken_nothing_and_is_tried_on(directory):
    """Also by later relays."""
    for _ in range(MAX_UNKNOWN + 3):
        look_and_send(directory, problem="it answers 503")
    assert len(arrived(directory)) == MAX_UNKNOWN + 3
    look_and_send(directory)
    assert not read_told(directory / "ledger").waiting


@pytest.mark.parametrize(("program", "why"), [
    (["/nowhere/python"], "apprise can't be started: No such file or directory"),
    ([sys.executable, "-c", "import no_apprise_of_this_name"], "apprise ended with code 1"),
])  # fmt: skip
def test_an_apprise_that_is_broken_has_sent_nothing_and_all_waits_for_a_whole_one(directory, monkeypatch, program, why):
    """As while its environment is renewed: nothing is given up, and all is summed up."""
    monkeypatch.setattr(messenger, "APPRISE", program)
    for number in range(MAX_UNKNOWN + 3):
        box = Outbox(directory / "ledger", [SERVICE], "bench", NotifySettings(), SystemClock())
        told = box.load()
        if number < 2:
            box.add((FIRST, SECOND)[number], told)
        box.send_waiting(threading.Event(), lambda _: b"")
        assert why in box.status.trouble
    (waiting,) = read_told(directory / "ledger").waiting.values()
    assert (waiting.messages, waiting.dropped) == ((FIRST, SECOND), 0)
    look_and_send(directory, SECOND)
    assert arrived(directory)[0].startswith("bench: ")
    assert not read_told(directory / "ledger").waiting


if __name__ == "__main__":
    print({f.__name__: f for f in (kill_everywhere, kill_after_each)}[sys.argv[1]](Path(sys.argv[2])))


FAR = '"9999-12-31T23:59:59-12:00"'


@pytest.mark.parametrize(
    "text",
    [
        f'{{"worked_at": {FAR}}}',
        f'{{"open": {{"late": {{"since": {FAR}}}}}}}',
        f'{{"recent": [[{FAR}, ["late"]]]}}',
        f'{{"waiting": {{"key": {{"messages": [{{"at": {FAR}, "subject": "", "body": ""}}]}}}}}}',
        '{"worked_at": "2026-06-22T08:00:00"}',
    ],
)
def test_told_with_a_time_that_can_not_be_shown_is_damaged(tmp_path, text):
    """Nothing of it is believed, wherever the time is; a naive one is of no known zone."""
    (tmp_path / "ledger").write_text(text)
    with pytest.raises(ValueError, match="time"):
        read_told(tmp_path / "ledger")


@pytest.mark.parametrize("damage", [b'{"archived": ["\xff"]}', b'{"new": %b%b}' % (b"[" * 9999, b"]" * 9999)])
def test_told_of_damaged_bytes_is_damaged(tmp_path, damage):
    """One error for all that can't be read."""
    (tmp_path / "ledger").write_bytes(damage)
    with pytest.raises(ValueError, match=r"decode|deep"):
        read_told(tmp_path / "ledger")
