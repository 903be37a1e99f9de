"""`timelapsectl status` for people."""

import re
from datetime import timedelta

import pytest
from msgspec.structs import replace

from plantimager.timelapse.cli.snapshot import StatusSnapshot
from plantimager.timelapse.cli.status_view import status_lines
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def text(overview, screen, records=4):
    """Return the screen as one text."""
    return "\n".join(status_lines(overview, screen, records))


def test_status_shows_at_a_glance_how_the_timelapse_goes(overview, screen):
    """State, progress, counts, what comes next, the last records, and that nothing is wrong."""
    assert (
        text(overview, screen())
        == """\
col0_ld  interval, every 30 min, 08:00 → 23 Jun 07:30                  scheduled
[■■■■■■■■■■■■■■■■■■■■■■■···········································]  17 of 48
15 taken   1 failed   1 skipped   next: slot 17 at 16:30, in 12 min
rig: standby

 slot  scheduled  began     took  outcome
   16  16:00      16:00:00  6:28  taken    72 pictures
   15  15:30      15:31:40  6:28  taken    72 pictures, 2nd attempt (camera time-out)
   14  15:00      –            –  skipped  while the rig was off
   13  14:30      14:30:00  1:02  failed   GRBL alarm 1: limit switch hit

trouble: none now.   store: saved 3 s ago.   clock: synchronised.
daemon: up 1 h 10 min (boot 3)."""
    )


def test_running_scan_shows_how_far_it_is(scanning, screen):
    """The steps that are done stand in the counts and in the scan's own row."""
    shown = text(scanning, screen(), records=1)
    assert "now: slot 17, 17 of 36" in shown
    assert "17  16:30      16:30:00     –  scanning  17 of 36" in shown


def test_simulated_rig_is_called_that(overview, screen):
    """Nobody should find out after a week that the pictures are of no plant."""
    assert "rig: standby\n" in text(overview, screen())
    simulated = replace(overview, daemon=replace(overview.daemon, driver="simulated"))
    assert "rig: standby (simulated)\n" in text(simulated, screen())


def test_scan_that_a_dead_daemon_left_is_not_shown_as_running(scanning, screen):
    """The store still says running; nothing runs."""
    shown = text(replace(scanning, daemon=None), screen())
    assert "was taking slot 17" in shown
    assert "cut off" in shown
    assert "trouble: the daemon is not running, no slot is taken" in shown
    assert "daemon: not running." in shown


def test_ended_timelapse_needs_no_daemon(overview, screen):
    """That the daemon is gone is no trouble when nothing is left to do."""
    ended = overview.timelapse.cancel(overview.at, "ann", "the pot fell over")
    shown = text(replace(overview, timelapse=ended, daemon=None), screen())
    assert "ended 16:18 by ann: the pot fell over" in shown
    assert "trouble: none now." in shown


def test_without_a_timelapse_it_says_how_to_begin_one(overview, screen):
    """And still how the daemon and the clock are."""
    empty = StatusSnapshot(at=overview.at, store=overview.store, evidence=overview.evidence)
    assert text(empty, screen()) == (
        "no timelapse in /var/lib/plant-imager3-app/timelapse_storage.json; define one with timelapsectl start FILE\n"
        "trouble: none now.   clock: synchronised.   daemon: not running."
    )


def test_slot_that_failed_last_is_trouble_until_the_next_is_taken(overview, screen):
    """A person may want to look before the next slot."""
    timelapse = overview.timelapse.begin(overview.at, "boot")
    failed = timelapse.fail_attempt(overview.at, ScanFailed("belt broken"), give_up=True)
    assert "trouble: the last slot, 17, failed: belt broken" in text(replace(overview, timelapse=failed), screen())


def test_rig_that_is_not_ready_is_trouble(overview, screen):
    """The slot waits; somebody may plug the rig in."""
    waiting = overview.timelapse.begin(overview.at, "boot").rig_not_ready(ScannerNotReady("no /dev/ttyACM0"))
    shown = text(replace(overview, timelapse=waiting), screen())
    assert "trouble: the rig is not ready for slot 17: no /dev/ttyACM0" in shown
    assert "waiting" in shown


def test_what_the_daemon_and_the_clock_complain_of_is_trouble(overview, screen):
    """A store that can't be written, a clock that isn't trusted, a store read from its backup."""
    line = "DEGRADED: store can't be written (No space left on device), scans go on"
    daemon = replace(overview.daemon, trouble="No space left on device", status=line)
    shown = text(replace(overview, daemon=daemon, backup_because="store.json: empty"), screen())
    assert "trouble: store.json: empty; shown is its backup, one save older\n" in shown
    assert f"trouble: {line}\n" in shown
    early = replace(overview, daemon=replace(overview.daemon, clock_trusted=False))
    assert "trouble: clock not trusted yet, nothing is decided\n" in text(early, screen())
    assert "clock: not trusted yet." in text(early, screen())


def test_plain_output_has_no_escapes(overview, screen):
    """What isn't a terminal gets text and nothing else."""
    assert "\x1b" not in text(overview, screen())


def test_colour_changes_no_letter(overview, screen):
    """Taken away, the escapes leave what everybody else sees."""
    coloured = text(overview, screen(colour=True))
    assert "\x1b[31mfailed" in coloured
    assert ESCAPES.sub("", coloured) == text(overview, screen())


@pytest.mark.parametrize("columns", [60, 79, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(scanning, screen, columns):
    """What can be long is cut or flows."""
    for line in status_lines(scanning, screen(columns=columns), 20):
        assert len(line) <= columns


@pytest.mark.parametrize("columns", [1, 10, 30])
def test_terminal_that_is_far_too_narrow_still_shows_everything(scanning, screen, columns):
    """Badly, but without an error."""
    shown = text(scanning, screen(columns=columns))
    assert "running" in shown
    assert "17 of 48" in shown


def test_bar_is_full_only_at_the_end(overview, screen):
    """One slot to go is visible, however many there are."""
    last = overview.timelapse.schedule_times[-1]
    nearly = overview.timelapse.skip_late_slots(last, Reason.MISSED, "while the rig was off")
    over = nearly.skip_late_slots(last + timedelta(hours=1), Reason.MISSED, "while the rig was off")
    assert "■··]  47 of 48" in text(replace(overview, timelapse=nearly), screen())
    assert "■■]  48 of 48" in text(replace(overview, timelapse=over), screen())


def test_words_from_the_store_move_no_cursor(overview, screen):
    """An error text may hold anything; a terminal obeys none of it."""
    timelapse = overview.timelapse.begin(overview.at, "boot")
    nasty = timelapse.fail_attempt(overview.at, ScanFailed("boom\x1b[2J\nsecond line"), give_up=True)
    shown = text(replace(overview, timelapse=nasty), screen())
    assert "\x1b" not in shown
    assert "boom [2J second line" in shown


def test_secrets_of_the_store_are_shown_nowhere(overview, screen):
    """Not even where an error message repeats them."""
    timelapse = overview.timelapse.begin(overview.at, "boot")
    leaked = timelapse.fail_attempt(overview.at, ScanFailed("401 for token s3cr3t"), give_up=True)
    shown = text(replace(overview, timelapse=leaked, secrets=("s3cr3t",)), screen())
    assert "s3cr3t" not in shown
    assert "401 for token [secret]" in shown


def test_late_next_slot_says_so(overview, screen):
    """The daemon is about to begin it, or waits for the rig."""
    late = replace(overview, at=overview.timelapse.next_at + timedelta(seconds=40))
    assert "next: slot 17 at 16:30, 40 s late" in text(late, screen())
