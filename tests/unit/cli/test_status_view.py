"""`timelapsectl status` for people."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from plantimager.timelapse.channel.live import LiveStatus
from plantimager.timelapse.cli.service_state import ServiceState
from plantimager.timelapse.cli.snapshot import RunningDaemon, StatusSnapshot
from plantimager.timelapse.cli.status_view import MAX_ASIDE, status_lines
from plantimager.timelapse.datasets.set_aside import SetAside
from plantimager.timelapse.domain.absence import LastSign
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady

FIRST = datetime(2026, 6, 22, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def text(snapshot, screen, records=4):
    """Return the screen as one text."""
    return "\n".join(status_lines(snapshot, screen, records))


def test_status_shows_at_a_glance_how_the_timelapse_goes(snapshot, screen):
    """State, progress, counts, next slot, the last slots, and troubles."""
    assert (
        text(snapshot, screen())
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
    """The steps done are shown in the counts and in the scan's row."""
    shown = text(scanning, screen(), records=1)
    assert "now: slot 17, 17 of 36" in shown
    assert "17  16:30      16:30:00     –  scanning  17 of 36" in shown


def test_simulated_rig_is_marked(snapshot, screen):
    """A person must see at once that the pictures show no real plant."""
    assert "rig: standby\n" in text(snapshot, screen())
    simulated = replace(snapshot, daemon=replace(snapshot.daemon, says=LiveStatus(rig="standby", driver="simulated")))
    assert "rig: standby (simulated)\n" in text(simulated, screen())


def test_scan_that_a_dead_daemon_left_is_not_shown_as_running(scanning, screen):
    """The store still says running, but no daemon runs."""
    shown = text(replace(scanning, daemon=None), screen())
    assert "was taking slot 17" in shown
    assert "cut off" in shown
    assert "trouble: the daemon is not running, no slot is taken" in shown
    assert "daemon: not running." in shown
    seen = LastSign(scanning.at - 3 * MINUTE)
    assert "daemon: not running, last sign of life 3 min ago." in text(
        replace(scanning, daemon=None, seen=seen), screen()
    )


FAILED = ServiceState(
    word="failed (exit 78)",
    why="a fault in a file ended it: /etc/plant-imager3-app/timelapsed.toml: 1 fault\n  clock = 5: write wait or trust",
    remedy="correct that, then systemctl start plant-imager-timelapsed",
)


def test_status_says_why_the_daemon_does_not_run_and_what_mends_it(snapshot, screen):
    """The fault itself, and the command; also where no slot is due, since the next timelapse can't start."""
    shown = text(replace(snapshot, daemon=None, service=FAILED), screen())
    assert "trouble: the daemon is not running, no slot is taken\n" in shown
    for without in (replace(snapshot, timelapse=None), snapshot):
        shown = text(replace(without, daemon=None, service=FAILED), screen())
        assert (
            "service: failed (exit 78): a fault in a file ended it: /etc/plant-imager3-app/timelapsed.toml: 1 fault\n"
            "  clock = 5: write wait or trust\n"
            "  hint: correct that, then systemctl start plant-imager-timelapsed\n"
        ) in shown


def test_faults_of_a_configuration_show_no_secret_and_no_escape(snapshot, screen):
    """They repeat what stands in the file."""
    service = replace(FAILED, why="a fault: \x1b[31m s3cr3t")
    shown = text(replace(snapshot, daemon=None, service=service, secrets=("s3cr3t",)), screen())
    assert "a fault: [31m [secret]" in re.sub(r" +", " ", shown)


def test_ended_timelapse_needs_no_daemon(snapshot, screen):
    """A daemon that doesn't run is no trouble then."""
    ended = snapshot.timelapse.cancel(snapshot.at, "ann", "the pot fell over")
    shown = text(replace(snapshot, timelapse=ended, daemon=None), screen())
    assert "ended 16:18 by ann: the pot fell over" in shown
    assert "trouble: none now." in shown


def test_status_without_a_timelapse_says_how_to_start_one(snapshot, screen):
    """Daemon and clock are shown all the same."""
    empty = StatusSnapshot(at=snapshot.at, store=snapshot.store, evidence=snapshot.evidence)
    assert text(empty, screen()) == (
        "no timelapse in /var/lib/plant-imager3-app/timelapse_storage.json; define one with timelapsectl start FILE\n"
        "trouble: none now.   clock: synchronised.   daemon: not running."
    )


def test_slot_that_failed_last_is_trouble_until_the_next_is_taken(snapshot, screen):
    """A person may want to look at the rig before the next slot."""
    timelapse = snapshot.timelapse.begin(snapshot.at, "boot")
    failed = timelapse.fail_attempt(snapshot.at, ScanFailed("belt broken"), give_up=True)
    assert "trouble: the last slot, 17, failed: belt broken" in text(replace(snapshot, timelapse=failed), screen())


def test_rig_that_is_not_ready_is_trouble(snapshot, screen):
    """The slot waits until a person makes the rig ready."""
    waiting = snapshot.timelapse.begin(snapshot.at, "boot").rig_not_ready(ScannerNotReady("no /dev/ttyACM0"))
    shown = text(replace(snapshot, timelapse=waiting), screen())
    assert "trouble: the rig is not ready for slot 17: no /dev/ttyACM0" in shown
    assert "waiting" in shown


def test_degraded_store_backup_and_untrusted_clock_are_trouble(snapshot, screen):
    """A store that can't be written, a store read from its backup, a clock that isn't trusted."""
    line = "DEGRADED: store can't be written (No space left on device), scans go on"
    daemon = replace(snapshot.daemon, says=LiveStatus(trouble="No space left on device", status=line))
    shown = text(replace(snapshot, daemon=daemon, backup_because="store.json: empty"), screen())
    assert "trouble: store.json: empty; shown is its backup, one save older\n" in shown
    assert f"trouble: {line}\n" in shown
    early = replace(snapshot, daemon=replace(snapshot.daemon, says=LiveStatus(clock="not trusted")))
    assert "trouble: clock not trusted yet, nothing is decided\n" in text(early, screen())
    assert "clock: not trusted yet." in text(early, screen())


def test_plain_output_has_no_escapes(snapshot, screen):
    """A file or a pipe gets plain text."""
    assert "\x1b" not in text(snapshot, screen())


def test_colour_changes_no_letter(snapshot, screen):
    """Without its escape codes the text is the plain one."""
    coloured = text(snapshot, screen(colour=True))
    assert "\x1b[31mfailed" in coloured
    assert ESCAPES.sub("", coloured) == text(snapshot, screen())


@pytest.mark.parametrize("columns", [60, 79, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(scanning, screen, columns):
    """Long texts are cut or flow over lines."""
    for line in status_lines(scanning, screen(columns=columns), 20):
        assert len(line) <= columns


@pytest.mark.parametrize("columns", [1, 10, 30])
def test_terminal_that_is_far_too_narrow_still_shows_everything(scanning, screen, columns):
    """Lines are too long then, but there is no error."""
    shown = text(scanning, screen(columns=columns))
    assert "running" in shown
    assert "17 of 48" in shown


def test_bar_is_full_only_at_the_end(snapshot, screen):
    """One remaining slot is visible, however many slots there are."""
    last = snapshot.timelapse.schedule_times[-1]
    nearly = snapshot.timelapse.skip_late_slots(last, Reason.MISSED, "while the rig was off")
    over = nearly.skip_late_slots(last + timedelta(hours=1), Reason.MISSED, "while the rig was off")
    assert "■··]  47 of 48" in text(replace(snapshot, timelapse=nearly), screen())
    assert "■■]  48 of 48" in text(replace(snapshot, timelapse=over), screen())


def test_texts_from_the_store_have_no_control_characters(snapshot, screen):
    """An error text may hold anything; the terminal must not act on it."""
    timelapse = snapshot.timelapse.begin(snapshot.at, "boot")
    failed = timelapse.fail_attempt(snapshot.at, ScanFailed("boom\x1b[2J\nsecond line"), give_up=True)
    shown = text(replace(snapshot, timelapse=failed), screen())
    assert "\x1b" not in shown
    assert "boom [2J second line" in shown


def test_secrets_of_the_store_are_never_shown(snapshot, screen):
    """An error message that repeats one is redacted."""
    timelapse = snapshot.timelapse.begin(snapshot.at, "boot")
    leaked = timelapse.fail_attempt(snapshot.at, ScanFailed("401 for token s3cr3t"), give_up=True)
    shown = text(replace(snapshot, timelapse=leaked, secrets=("s3cr3t",)), screen())
    assert "s3cr3t" not in shown
    assert "401 for token [secret]" in shown


def test_next_slot_shows_how_late_it_is(snapshot, screen):
    """The daemon is about to begin it, or it waits for the rig."""
    late = replace(snapshot, at=snapshot.timelapse.next_at + timedelta(seconds=40))
    assert "next: slot 17 at 16:30, 40 s late" in text(late, screen())


def test_slot_that_waits_for_its_next_attempt_shows_nothing_of_the_one_before(scanning, screen):
    """When that began, and how long it took, is over; the rig gets ready for another."""
    cut_off = scanning.timelapse.interrupt(scanning.at, "the service was stopped")
    running = replace(scanning, timelapse=cut_off)
    row = "17 16:30 – – waiting 2nd attempt waits for the rig (1st began 16:30:00), the service was stopped"
    assert row in " ".join(text(running, screen(), records=1).split())
    assert "interrupted" in text(replace(running, daemon=None), screen(), records=1)
    unprepared = cut_off.rig_not_ready(ScannerNotReady("prepare: no answer"))
    shown = text(replace(scanning, timelapse=unprepared), screen(), records=1)
    assert "waiting  2nd attempt waits for the rig (1st began 16:30:00), prepare: no answer" in shown
    again = cut_off.begin(scanning.at, "boot").rig_not_ready(ScannerNotReady("no answer"))
    shown = text(replace(scanning, timelapse=again), screen(), records=1)
    assert "waiting  2nd attempt waits for the rig, no answer" in shown


def test_things_that_stand_aside_are_named(snapshot, screen):
    """Pictures of an attempt that was cut off are of use to a person who knows of them; of many, some are named."""
    paths = [Path(f"/srv/.col0_ld_{slot}.attempt-1") for slot in range(MAX_ASIDE + 2)]
    things = tuple(SetAside(path, "3 files of an attempt") for path in paths)
    shown = text(replace(snapshot, aside=things[:1]), screen())
    assert "aside: /srv/.col0_ld_0.attempt-1: 3 files of an attempt\n" in shown
    shown = text(replace(snapshot, aside=things), screen())
    assert shown.count("3 files of an attempt") == MAX_ASIDE
    assert "aside: 2 more; timelapsectl status --json names them\n" in shown


def test_scan_that_outlasts_the_interval_is_trouble(snapshot, screen):
    """Until a scan is shorter again: also while the slots after it are skipped."""
    timelapse = replace(snapshot.timelapse, schedule_times=tuple(FIRST + 5 * MINUTE * slot for slot in range(48)))
    timelapse = timelapse.begin(FIRST + 5 * MINUTE * 17, "boot")
    ended = FIRST + 5 * MINUTE * 17 + timedelta(seconds=400)
    long = timelapse.succeed(ended, 72).skip_late_slots(ended, Reason.MISSED, "slot 17 was still being taken")
    trouble = "trouble: slot 17 took 6 min 40 s, the interval is 5 min: slots are late or missed\n"
    assert trouble in text(replace(snapshot, timelapse=long), screen())
    short = timelapse.succeed(FIRST + 5 * MINUTE * 17 + timedelta(seconds=299), 72)
    assert "trouble: none now." in text(replace(snapshot, timelapse=short), screen())


# --- widths -------------------------------------------------------------------------------------------------

WIDE = st.text(st.sampled_from("aé-_ 0日本語가ｱＡ👩🏽\u200d\u0301\ufe0f❤🌱☔ßد–…"), min_size=1, max_size=60)
"""Wide letters, half-width ones, emoji, joiners, combining marks, right-to-left letters."""


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "coloured"])
@given(
    width=st.integers(40, 200),
    name=WIDE,
    error=WIDE,
    years=st.sampled_from([0, 1, 300]),
    n_slots=st.sampled_from([1, 48, 10_000]),
)
def test_no_line_is_wider_than_the_terminal_whatever_it_holds(
    half_way_at, snapshot_of, screen_of, colour, width, name, error, years, n_slots
):
    """Whatever a name, an error or a note holds, and from 40 columns on: a longer line would be cut off."""
    timelapse = half_way_at(name, error, n_slots, years)
    daemon = RunningDaemon(
        pid=1, up_since=timelapse.schedule_times[0], says=LiveStatus(driver="simulated", notes=(error * 4,))
    )
    snapshot = snapshot_of(timelapse, daemon=daemon, aside=(SetAside(Path("/srv") / name.replace("/", ""), error),))
    lines = status_lines(snapshot, screen_of(columns=width, colour=colour), 10)
    shown = replace(
        snapshot, daemon=None, service=ServiceState(word=name, why=f"{error}\n{error * 3}", remedy=error * 2)
    )
    lines += status_lines(shown, screen_of(columns=width, colour=colour), 10)
    lines += status_lines(replace(shown, timelapse=None), screen_of(columns=width, colour=colour), 10)
    assert [(line, wcwidth.width(line)) for line in lines if wcwidth.width(ESCAPES.sub("", line)) > width] == []


def test_narrow_terminal_has_the_outcome_of_each_slot(snapshot, screen):
    """The columns in between give way; nothing that says whether a slot was taken is cut off."""
    shown = text(snapshot, screen(columns=40))
    assert re.search(r"^ +16  16:00 .* taken", shown, re.MULTILINE)
    assert re.search(r"^ +13  14:30 .* failed", shown, re.MULTILINE)
    assert "17 of 48" in shown


def test_wide_letters_keep_the_columns_of_the_table(snapshot, screen):
    """A wide letter takes two columns."""
    timelapse = replace(snapshot.timelapse, id="日本語のイネ")
    head = text(replace(snapshot, timelapse=timelapse), screen(columns=80)).split("\n")[0]
    assert wcwidth.width(head) == 80
