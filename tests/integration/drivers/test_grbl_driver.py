"""The GRBL driver on a board on a pseudo-terminal: its scans, the faults of a rig, and how they are reported."""

import getpass
import os
import signal
import sys
import threading

import pytest
from grbl_scans import INTERRUPTED, RELEASED, path_of, recorded_poses
from grbl_stand_in import DIALECTS, SETTINGS

from plantimager.timelapse.drivers.grbl.driver import GrblDriver
from plantimager.timelapse.drivers.programs import processes
from plantimager.timelapse.drivers.testing import CONFIGURATION, RecordingMonitor, make_request
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.support.errors import (
    DriverError,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)
from plantimager.timelapse.support.progress import reporting_to

# --- moving -----------------------------------------------------------------------------------


def test_arm_is_homed_once_and_goes_along_the_path(rig, request_):
    """Inverted axes ($3=7) count in the opposite direction; the recorded poses are those that the board reports."""
    driver, board = rig()
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 1
    assert board.heard[:8] == ["^X", "$$", "$$", "$H", "G21", "G90", "$G", "G92 X0.000 Y0.000 Z0.000"]
    assert [tuple(round(at, 3) for at in goal) for goal in board.goals] == [
        (-25, -375, 0), (-375, -25, -90), (-725, -375, -180), (-375, -725, -270),
    ]  # fmt: skip
    # A step of the turntable is a ninth of a degree.
    assert [pose[:3] for pose in recorded_poses(request_)] == [
        [25, 375, -100], [375, 25, -100], [725, 375, -100], [375, 725, -100],
    ]  # fmt: skip
    assert [pose[3] for pose in recorded_poses(request_)] == pytest.approx([0, 90, 180, 270], abs=0.07)


def test_second_scan_needs_no_homing(rig, request_, tmp_path):
    """The position stays known as long as nothing happens to the board."""
    driver, board = rig()
    driver.prepare()
    driver.scan(request_, RecordingMonitor())
    driver.scan(make_request(tmp_path / "datasets", index=1), RecordingMonitor())
    assert board.homed == 1


def test_turntable_takes_the_shortest_way(rig, request_):
    """From 350 degrees it goes on to 370, not back to 10; the pose is recorded as 10."""
    configuration = path_of([10, 10, 350], [10, 10, 10], [10, 10, 350])
    driver, board = rig(invert=[])
    driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert [goal[2] for goal in board.goals] == pytest.approx([-10, 10, -10], abs=0.1)
    assert [pose[3] for pose in recorded_poses(request_)] == pytest.approx([350, 10, 350], abs=0.1)


def test_turntable_never_leaves_its_limits(rig, request_):
    """Where the shortest way does, it takes the other one: cables would wind up."""
    configuration = path_of([10, 10, 120], [10, 10, 240], [10, 10, 0])
    driver, board = rig(invert=[], pan=[0, 360])
    driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert [goal[2] for goal in board.goals] == pytest.approx([120, 240, 360], abs=0.1)
    driver, board = rig(invert=[], pan=[0, 360])
    configuration = path_of([10, 10, 120], [10, 10, 240], [10, 10, 0], [10, 10, 60])
    driver.scan(make_request(request_.dataset_dir.parent, index=1, configuration=configuration), RecordingMonitor())
    assert board.goals[-1][2] == pytest.approx(60, abs=0.1)


def test_axis_that_a_waypoint_leaves_out_stays_where_it_is(rig, request_):
    """A move to where the arm stands isn't sent at all."""
    configuration = path_of([10], [20], [20], scheme=["x"])
    driver, board = rig()
    driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert [goal[:2] for goal in board.goals] == [(-10, 0), (-20, 0)]


def test_feed_moves_with_g1(rig, request_):
    """For arms that shake at full speed."""
    driver, board = rig(feed=3000)
    driver.scan(request_, RecordingMonitor())
    assert "G1 X-25.000 Y-375.000 Z0.000 F3000" in board.heard


def test_path_beyond_the_limits_moves_nothing(rig, request_):
    """`check` names the position when the definition is read, and so does the scan of an unchecked configuration."""
    driver, board = rig(x=[0, 700])
    faults = [str(fault) for fault in driver.check(CONFIGURATION)]
    assert faults == ["[ScanPath.kwargs] radius = 350: position 3 (x = 725 mm) leaves the gantry's 0-700 mm"]
    with pytest.raises(ScanFailed, match=r"position 3 \(x = 725 mm\) leaves the gantry's 0-700 mm"):
        driver.scan(request_, RecordingMonitor())
    assert board.heard == []


def test_unknown_camera_is_found_before_anything_moves(rig, request_):
    """By `check`, too, with the names of the rig's cameras."""
    driver, board = rig()
    configuration = {**CONFIGURATION, "side": {}}
    assert [str(fault) for fault in driver.check(configuration)] == [
        "side: the rig has no such camera; [drivers.grbl.cameras] has top"
    ]
    with pytest.raises(ScanFailed, match="no camera side; it has top"):
        driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert board.heard == []


# --- the board and its line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("alarm 1", r"GRBL alarm 1 \(a limit switch was hit on the way to x 375 y 25 pan 90\): check the belts"),
        ("reset", "the board restarted by itself"),
        ("unplug", "the cable was pulled or the board switched off"),
        ("silent", "asked for its state, the board doesn't answer; check its power"),
        ("noise", "asked for its state, the board sends noise .* check the baud rate"),
        ("short", "the arm stands at x 380 y 30 .* and not at x 375 y 25 pan 90, where it was sent"),
        ("error 20", r"GRBL error 20 \(an unknown G-code as an answer to 'G0 X-375.000 Y-25.000 Z-90.000'\)"),
    ],
)
def test_fault_during_a_move_fails_the_attempt(rig, request_, fault, said):
    """Where it lasts, the attempt fails and the error says what to do; the driver never hangs."""
    driver, _ = rig(fault=fault, at=2, lasting=True)
    with pytest.raises(ScanFailed, match=said):
        driver.scan(request_, RecordingMonitor())


@pytest.mark.parametrize("fault", ["alarm 1", "reset", "short", "silent", "error 20"])
def test_next_attempt_homes_first(rig, request_, fault):
    """Nothing moves while the position is unknown; a board that has crashed is restarted."""
    driver, board = rig(fault=fault, at=2, lasting=True)
    with pytest.raises(ScanFailed):
        driver.scan(request_, RecordingMonitor())
    homed, board.fault = board.homed, ""
    driver.scan(request_, RecordingMonitor())
    assert board.homed == homed + 1


@pytest.mark.parametrize(
    ("fault", "homed", "note"),
    [
        ("alarm 2", 2, "GRBL alarm 2 (the goal is outside the board's soft limits on the way to x 375 y 25 pan 90)"),
        ("silent", 2, "asked for its state, the board doesn't answer"),
        ("short", 1, "the board was asked again"),
        ("error 20", 1, "the board was asked again"),
    ],
)
def test_fault_that_passes_costs_no_attempt(rig, request_, fault, homed, note):
    """The arm is homed where its position is in doubt, goes again, and the scan's note tells it."""
    driver, board = rig(fault=fault, at=2)
    result = driver.scan(request_, RecordingMonitor())
    assert (result.pictures, board.homed) == (4, homed)
    assert note in result.note


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("alarm 1", "GRBL alarm 1"),
        ("alarm 3", "GRBL alarm 3"),
        ("alarm 10", "GRBL alarm 10"),
        ("reset", "the board restarted by itself"),
    ],
)
def test_arm_that_hit_something_or_was_stopped_does_not_move_by_itself(rig, request_, fault, said):
    """A limit switch, an emergency stop, a restart on the way: a person may have a hand in there."""
    driver, board = rig(fault=fault, at=2)
    with pytest.raises(ScanFailed, match=said):
        driver.scan(request_, RecordingMonitor())
    assert (board.homed, board.moves) == (1, 2)


def test_repair_of_a_manual_move_is_not_in_the_note_of_a_scan(rig, request_):
    """A note says what happened in its own scan."""
    driver, _ = rig(fault="error 20", at=1)
    driver.go_to(Pose(x=100.0), RecordingMonitor())
    assert driver.scan(request_, RecordingMonitor()).note == ""


def test_homing_in_a_scan_is_progress(rig, request_):
    """Both moves and the homing between them may together last longer than a stall."""
    driver, _ = rig(fault="alarm 2", at=2)
    steps = []
    with reporting_to(steps.append):
        driver.scan(request_, RecordingMonitor())
    before, after = (number for number, step in enumerate(steps) if "ready again" in step)
    assert after == before + 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rig_scans_with_each_firmware_of_the_family(rig, request_, dialect):
    """What a firmware doesn't list in `$$` is in the options."""
    settings = {f"${number}": float(SETTINGS[number]) for number in DIALECTS[dialect].unlisted if number != 26}
    driver, board = rig(dialect=dialect, settings=settings)
    result = driver.scan(request_, RecordingMonitor())
    assert (result.pictures, result.note, board.homed) == (4, "", 1)


def test_setting_that_the_firmware_does_not_list_is_asked_for_by_name(rig):
    """And nothing moves."""
    driver, board = rig(dialect="fluidnc")
    said = r'write in \[drivers.grbl.settings\] "\$3" \(the axes that count the other way round, .*\), "\$24" \(homing'
    with pytest.raises(ScannerNotReady, match=said):
        driver.prepare()
    assert board.homed == 0


@pytest.mark.parametrize("fault", ["garbage", "idle first"])
def test_noise_on_the_line_is_ignored(rig, request_, fault):
    """A damaged answer is asked for again; a board that hasn't started the move yet has not arrived."""
    driver, board = rig(fault=fault, at=2, polls=3)
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 1


@pytest.mark.parametrize(("fault", "state"), [("stuck", "Run"), ("hold", "Hold")])
def test_move_that_never_ends_is_given_up_and_stopped(rig, request_, monkeypatch, fault, state):
    """Its deadline follows from its length and the speeds of the board."""
    monkeypatch.setattr("plantimager.timelapse.drivers.gantry.board_settings.DEADLINE_MARGIN", 0.0)
    driver, board = rig(fault=fault, at=1)
    with pytest.raises(ScanFailed, match=f"not arrived at x 5 y 0 pan 0 after 0 s, the board is in state {state}"):
        driver.scan(make_request(request_.dataset_dir.parent, configuration=path_of([5, 0, 0])), RecordingMonitor())
    rig.take_away()  # then it has received everything
    assert board.heard[-1] == "^X"
    assert board.goal is None


def test_soft_limit_fails_the_attempt_and_the_next_one_works(rig, request_):
    """The board doesn't answer after it, until it is reset."""
    span = {"invert": [], "x": [-740, 0], "y": [-740, 0], "pan": [-720, 0]}
    driver, board = rig(board={20: "1", 23: "0", 27: "0", 132: "10000.000"}, **span)
    driver.prepare()
    board.settings[130] = "15.000"
    request = make_request(request_.dataset_dir.parent, configuration=path_of([-10, 0, -10], [-20, -200, -10]))
    with pytest.raises(ScanFailed, match=r"GRBL alarm 2 \(the goal is outside the board's soft limits on the way to"):
        driver.scan(request, RecordingMonitor())
    homed, board.settings[130] = board.homed, "740.000"
    driver.scan(request, RecordingMonitor())
    assert board.homed == homed + 1


@pytest.mark.parametrize(
    ("board", "said"),
    [
        ({"fault": "deaf"}, "the board doesn't answer; check its power, the port and the cable"),
        (
            {"fault": "marlin"},
            "the board answers 'echo:Unknown command', which is not the language of GRBL; look which",
        ),
        ({"board": {13: "1"}}, r"it reports inches; set \$13=0"),
        ({"board": {22: "0"}}, r"homing is switched off; set \$22=1, or write homing = false"),
        ({"board": {110: "0.000"}}, r"\$110 must be 0.5 or more, or nothing moves"),
        ({"board": {20: "1"}}, r"soft limits are on \(\$20=1\) and leave x only -20 to 720"),
    ],
)
def test_rig_is_not_ready_with_an_unsuitable_board(rig, request_, board, said):
    """No attempt is used: a person may correct it within the grace period."""
    driver, _ = rig(**board)
    with pytest.raises(ScannerNotReady, match=said):
        driver.scan(request_, RecordingMonitor())
    with pytest.raises(ScannerNotReady, match=said):
        driver.prepare()


def test_settings_of_the_board_are_compared_with_the_options(rig, request_):
    """A board that lost its settings would move in the wrong direction, or the wrong distance."""
    driver, board = rig(settings={"$100": 250, "$101": 80, "$140": 1})
    with pytest.raises(
        ScannerNotReady, match=r"\$100 = 80, but \[drivers.grbl.settings\] has 250; it doesn't report \$140, which"
    ):
        driver.prepare()
    assert board.homed == 0


def test_homing_that_finds_no_switch_fails_the_attempt(rig, request_):
    """For `prepare` the rig isn't ready."""
    driver, _ = rig(fault="no home")
    with pytest.raises(ScannerNotReady, match=r"GRBL alarm 9 \(homing did not find a limit switch\): check the motors"):
        driver.prepare()
    with pytest.raises(ScanFailed, match="GRBL alarm 9"):
        driver.scan(request_, RecordingMonitor())


def test_homing_that_never_ends_is_given_up(rig, request_, monkeypatch):
    """Its deadline follows from the settings of the board."""
    monkeypatch.setattr("plantimager.timelapse.drivers.gantry.board_settings.DEADLINE_MARGIN", 0.2)
    monkeypatch.setattr("plantimager.timelapse.drivers.gantry.board_settings.MAX_HOMING_TIME", 0.0)
    driver, board = rig(fault="home for ever")
    with pytest.raises(ScannerNotReady, match=r"asked '\$H', the board doesn't answer"):
        driver.scan(request_, RecordingMonitor())
    rig.take_away()  # then it has received everything
    assert board.heard[-1] == "^X"


def test_driver_waits_for_a_board_that_boots_when_its_port_is_opened(rig, request_):
    """Most Arduinos do, and hear nothing for two seconds."""
    driver, board = rig(fault="boots")
    driver.prepare()
    assert board.homed == 1


def test_board_that_restarted_between_two_scans_is_homed(rig, request_):
    """It has lost its work coordinates."""
    driver, board = rig()
    driver.prepare()
    board.hear("\x18")
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 2


def test_arm_that_another_program_moved_is_homed(rig, request_):
    """Its position is not the one where it was left."""
    driver, board = rig()
    driver.prepare()
    board.machine = (-50.0, -20.0, -331.988)
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 2


def test_board_may_report_work_positions(rig, request_):
    """With an even `$10`."""
    driver, _ = rig(board={10: "114"})
    driver.scan(request_, RecordingMonitor())
    assert [pose[0] for pose in recorded_poses(request_)] == [25, 375, 725, 375]


def test_rig_is_not_ready_while_another_program_has_the_port_open(rig, request_):
    """Two programs on one line would get each other's answers."""
    driver, _ = rig()
    driver.prepare()
    second = GrblDriver(dict(driver.options))
    with pytest.raises(ScannerNotReady, match="another program has it open"):
        second.prepare()
    second.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"port": "/dev/no-such-port"}, "there is no such port; check the cable"),
        ({"port": "/dev/null"}, "/dev/null: "),
    ],
)
def test_rig_is_not_ready_without_its_port(rig, options, said):
    """The error has the path, and says what to do."""
    driver, _ = rig(**options)
    with pytest.raises(ScannerNotReady, match=said):
        driver.prepare()


def test_rig_is_not_ready_without_its_usb_adapter(rig):
    """The error says which adapters are plugged in."""
    driver, _ = rig()
    options = {key: value for key, value in driver.options.items() if key != "port"}
    second = GrblDriver({**options, "usb": "ffff:fffe"})
    with pytest.raises(ScannerNotReady, match="no USB serial adapter ffff:fffe is plugged in"):
        second.prepare()
    second.close()


# --- stopping --------------------------------------------------------------------------------------


def test_cancelled_move_is_held_before_the_reset(rig, request_):
    """It loses no steps: the reset comes when the arm is at rest."""
    driver, board = rig(fault="stuck", at=2)
    states = []
    hear = board.hear

    def record(byte):
        if byte in "!\x18":
            states.append((byte, board.state))
        return hear(byte)

    board.hear = record

    class Late(RecordingMonitor):
        def wait(self, seconds):
            if seconds and board.moves == 2:
                self.cancel()
            return super().wait(seconds)

    with pytest.raises(ScanCancelled, match="brought to a stand"):
        driver.scan(request_, Late())
    rig.take_away()  # then it has received everything
    assert ("!", "Run") in states
    assert [state for byte, state in states if byte == "\x18"][1] == "Hold:0"


def test_homing_can_be_cancelled(rig, request_):
    """It takes most of a minute."""
    driver, board = rig(fault="home for ever")

    class WhenHoming(RecordingMonitor):
        def wait(self, seconds):
            if "$H" in board.heard:
                self.cancel()
            return super().wait(seconds)

    with pytest.raises(ScanCancelled, match="while the rig got ready"):
        driver.scan(request_, WhenHoming())
    rig.take_away()  # then it has received everything
    assert board.heard[-1] == "^X"


def test_standby_parks_and_closes_the_port(rig, request_):
    """Another program may use the rig then; afterwards it is homed."""
    driver, board = rig(park={"x": 100, "pan": 0})
    driver.prepare()
    driver.standby()
    assert board.goals[-1][0] == -100
    second = GrblDriver(dict(driver.options))
    second.prepare()
    second.close()
    assert board.homed == 2


def test_standby_reports_everything_that_failed(rig):
    """And does the rest."""
    no = {"role": "gantry_power", "on": ["true"], "off": ["false"]}
    driver, _ = rig(switches={"power": no}, power_up=0, park={"x": 100}, fault="alarm 1", lasting=True)
    driver.prepare()
    with pytest.raises(DriverError, match=r"GRBL alarm 1 .*; power \(gantry_power\) could not be switched off"):
        driver.standby()


# --- cameras ---------------------------------------------------------------------------------------


def test_several_cameras_expose_at_the_same_time(rig, request_, tmp_path):
    """Each waits for the other: one after the other, neither would get a picture."""
    picture = tmp_path / "picture.jpg"
    wait = """
import os, sys, pathlib, shutil
mine, other, source, output = sys.argv[1:]
for fifo in (mine, other):
    if not os.path.exists(fifo):
        try: os.mkfifo(fifo)
        except FileExistsError: pass
if mine < other:
    open(mine, "w").close(); open(other).close()
else:
    open(other).close(); open(mine, "w").close()
shutil.copy(source, output)
"""
    script = tmp_path / "wait.py"
    script.write_text(wait)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    argv = [sys.executable, "-S", "-E", str(script)]
    cameras = {
        "left": {"kind": "command", "argv": [*argv, a, b, str(picture), "{output}"]},
        "right": {"kind": "command", "argv": [*argv, b, a, str(picture), "{output}"]},
    }
    driver, _ = rig(cameras=cameras)
    configuration = {"ScanPath": CONFIGURATION["ScanPath"], "left": {}, "right": {"offset": {"z": -100}}}
    request = make_request(request_.dataset_dir.parent, configuration=configuration)
    assert driver.scan(request, RecordingMonitor()).pictures == 8
    assert len(recorded_poses(request)) == 8


def test_attempt_fails_with_one_of_its_cameras(rig, request_, tmp_path):
    """All that failed are named."""
    cameras = {
        "left": {"kind": "command", "argv": ["false", "{output}"]},
        "right": {"kind": "command", "argv": ["true", "{output}"]},
    }
    driver, _ = rig(cameras=cameras)
    configuration = {"ScanPath": CONFIGURATION["ScanPath"], "left": {}, "right": {}}
    with pytest.raises(
        ScanFailed, match=r"camera left: false exited with 1 \(.*\); camera right: true .* wrote no picture"
    ):
        driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())


def test_attempt_fails_with_an_exposure_that_hangs(rig, request_):
    """The position of the arm stays known."""
    driver, board = rig(
        cameras={"top": {"kind": "command", "argv": ["sh", "-c", "sleep 1000", "{output}"]}},
        exposure_timeout="1s",
        exposure_retries=0,
    )
    with pytest.raises(ScanFailed, match="camera top: sh had not finished after 1 s"):
        driver.scan(request_, RecordingMonitor())
    with pytest.raises(ScanFailed, match="camera top: sh"):
        driver.scan(request_, RecordingMonitor())
    assert board.homed == 1


# --- lights and disk -------------------------------------------------------------------------------


def test_growth_light_is_interrupted_only_for_a_scan(rig, request_, switches):
    """Warm-up switches power on, the scan interrupts the light, its end releases it, standby powers down."""
    options, log = switches
    driver, _ = rig(switches=options, power_up=0)
    driver.prepare()
    assert log() == [*RELEASED, "gantry_power on"]
    driver.scan(request_, RecordingMonitor())
    assert log()[3:] == [*INTERRUPTED, *RELEASED]
    driver.standby()
    assert log()[7:] == ["gantry_power off"]
    driver.standby()
    assert len(log()) == 8


@pytest.mark.parametrize("fault", ["alarm 1", "unplug"])
def test_growth_light_is_released_however_a_scan_ends(rig, request_, switches, fault):
    """Also when it fails."""
    options, log = switches
    driver, _ = rig(switches=options, power_up=0, fault=fault, at=2, lasting=True)
    with pytest.raises(ScanFailed):
        driver.scan(request_, RecordingMonitor())
    assert log()[-2:] == RELEASED


def test_growth_light_is_released_after_a_crash(rig, request_, switches):
    """The daemon calls `recover` for the scan that was interrupted."""
    options, log = switches
    driver, _ = rig(switches=options)
    assert driver.recover(request_) is None
    assert log() == RELEASED


def test_growth_light_that_can_not_be_released_costs_no_scan(rig, request_, tmp_path):
    """It is reported in the scan's note, which goes to the journal."""
    once = ["sh", "-c", f"test ! -e {tmp_path}/once && touch {tmp_path}/once"]
    driver, _ = rig(switches={"grow": {"role": "growth_light", "on": once, "off": ["true"]}})
    result = driver.scan(request_, RecordingMonitor())
    assert result.pictures == 4
    assert result.note == "grow (growth_light) could not be switched on: sh exited with 1"


def test_what_a_switch_has_left_and_nobody_may_end_is_told_with_the_scan(rig, request_, tmp_path, monkeypatch):
    """A process of another user refuses every signal, and one more stays with each scan."""
    pid, stays = tmp_path / "pid", "exec sleep 1000 >/dev/null 2>&1 </dev/null"
    on = f"setsid sh -c 'echo $$ > {pid}; {stays}' & while ! [ -s {pid} ]; do sleep 0.01; done"
    driver, _ = rig(switches={"scan": {"role": "scan_light", "on": ["sh", "-c", on], "off": ["true"]}})
    monkeypatch.setattr(processes, "_send", lambda pidfd, _: os.close(pidfd))
    note = driver.scan(request_, RecordingMonitor()).note
    left = int(pid.read_text())
    assert f"could not be ended and may go on writing: sleep of {getpass.getuser()} (pid {left})" in note
    os.kill(left, signal.SIGKILL)


def test_scan_light_that_can_not_be_switched_on_fails_the_attempt(rig, request_):
    """Dark pictures are worth nothing."""
    driver, _ = rig(switches={"led": {"role": "scan_light", "on": ["false"], "off": ["true"]}})
    with pytest.raises(ScanFailed, match=r"led \(scan_light\) could not be switched on: false exited with 1"):
        driver.scan(request_, RecordingMonitor())


def test_driver_that_only_checked_switches_nothing(rig, switches):
    """`timelapsectl check` makes one while that of the daemon is at work."""
    options, log = switches
    driver, board = rig(switches=options)
    driver.check(CONFIGURATION)
    driver.close()
    assert log() == []
    assert board.heard == []


def test_full_disk_is_found_before_anything_moves(rig, request_):
    """No attempt is used: a person may free space."""
    driver, board = rig(keep_free="1000 TB")
    with pytest.raises(ScannerNotReady, match=r"datasets: .* free, 19 kB needed for this scan, and .* kept free; move"):
        driver.scan(request_, RecordingMonitor())
    assert board.heard == []


def test_no_thread_or_process_outlives_the_driver(rig, request_):
    """A daemon that runs for weeks makes thousands of scans."""
    driver, _ = rig()
    before = threading.active_count()
    driver.scan(request_, RecordingMonitor())
    camera = driver._rig.cameras["top"]
    assert camera.is_open
    driver.close()
    assert not camera.is_open
    assert threading.active_count() <= before
