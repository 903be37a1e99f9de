"""The GRBL driver on a board on a pseudo-terminal: what goes wrong at a rig, and what is said of it then."""

import contextlib
import json
import sys
import threading

import pytest
from grbl_stand_in import SETTINGS, Board, StandIn
from PIL import Image

from plantimager.timelapse.drivers.base import EventMonitor, Part
from plantimager.timelapse.drivers.gantry import arm
from plantimager.timelapse.drivers.gantry.port import SerialLine
from plantimager.timelapse.drivers.grbl.driver import GrblDriver
from plantimager.timelapse.drivers.testing import CONFIGURATION, RecordingMonitor, make_request
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.support.errors import (
    DriverError,
    FaultsFound,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)

ANSWER_TIMEOUTS = {"deaf": "0.3s", "silent": "1s", "noise": "1s", "boots": "1s"}
"""Where the test waits until the board should have answered; all others wait for nothing."""


@pytest.fixture
def rig(tmp_path, monkeypatch):
    """Return what makes a board and a driver for it, whose camera is a program that copies a picture."""
    picture = tmp_path / "picture.jpg"
    Image.linear_gradient("L").convert("RGB").save(picture)
    argv = ["cp", str(picture), "{output}"]
    monkeypatch.setattr(arm, "POLL_INTERVAL", 0.01)  # the board's time is that of the questions
    made = []

    def make(*, board=None, fault="", at=1, polls=1, **options):
        stand_in = StandIn(Board({**SETTINGS, **(board or {})}, fault=fault, at=at, polls=polls))
        driver = GrblDriver(
            {
                "port": stand_in.port,
                "settle": 0,
                "answer_timeout": ANSWER_TIMEOUTS.get(fault, "20s"),
                "keep_free": "1 MB",
                "cameras": {"top": {"kind": "command", "argv": argv}},
                **options,
            }
        )
        made.append((driver, stand_in))
        return driver, stand_in.board

    def take_away():
        for _, stand_in in made:
            stand_in.close()

    class Restarting(SerialLine):
        """A line that restarts its board when it is opened again, unless told otherwise: an Arduino's, by DTR."""

        def __init__(self, port, *arguments, **settings):
            stand_in = next((stand_in for _, stand_in in made if stand_in.port == port), None)
            again = stand_in is not None and stand_in.board.resets
            restarts = again and stand_in.restarts_when_opened
            super().__init__(port, *arguments, **settings)
            if restarts:
                stand_in.board.restart()

    monkeypatch.setattr(arm, "SerialLine", Restarting)
    make.take_away = take_away
    yield make
    for driver, _ in made:
        with contextlib.suppress(DriverError):
            driver.close()
    take_away()


@pytest.fixture
def request_(tmp_path):
    """Return a request in a directory of its own."""
    (tmp_path / "datasets").mkdir()
    return make_request(tmp_path / "datasets")


def path_of(*waypoints, scheme=("x", "y", "pan")):
    """Return a scan's configuration that goes where the waypoints say."""
    kwargs = {"scheme": list(scheme), "waypoints": [list(waypoint) for waypoint in waypoints]}
    return {"ScanPath": {"class_name": "CustomPath", "kwargs": kwargs}, "top": CONFIGURATION["top"]}


def poses_of(request):
    """Return the recorded poses of a dataset."""
    files = sorted((request.dataset_dir / "metadata" / "images").iterdir())
    return [json.loads(file.read_text())["approximate_pose"] for file in files]


# --- going there -----------------------------------------------------------------------------------


def test_the_arm_is_homed_once_and_goes_where_the_path_says(rig, request_):
    """Inverted axes ($3=7) count the other way round; the poses that are recorded are the ones read back."""
    driver, board = rig()
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 1
    assert board.heard[:6] == ["^X", "$$", "$H", "G21", "G90", "G92 X0.000 Y0.000 Z0.000"]
    assert [tuple(round(at, 3) for at in goal) for goal in board.goals] == [
        (-25, -375, 0), (-375, -25, -90), (-725, -375, -180), (-375, -725, -270),
    ]  # fmt: skip
    # Steps are a ninth of a degree, so that is how finely the turntable stands.
    assert [pose[:3] for pose in poses_of(request_)] == [
        [25, 375, -100], [375, 25, -100], [725, 375, -100], [375, 725, -100],
    ]  # fmt: skip
    assert [pose[3] for pose in poses_of(request_)] == pytest.approx([0, 90, 180, 270], abs=0.07)


def test_a_second_scan_needs_no_homing(rig, request_, tmp_path):
    """The position is known as long as nothing happened to the board."""
    driver, board = rig()
    driver.prepare()
    driver.scan(request_, RecordingMonitor())
    driver.scan(make_request(tmp_path / "datasets", index=1), RecordingMonitor())
    assert board.homed == 1


def test_the_turntable_takes_the_shortest_way(rig, request_):
    """From 350 degrees to 10 it goes on, and doesn't go back; it is recorded as 10."""
    configuration = path_of([10, 10, 350], [10, 10, 10], [10, 10, 350])
    driver, board = rig(invert=[])
    driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert [goal[2] for goal in board.goals] == pytest.approx([-10, 10, -10], abs=0.1)
    assert [pose[3] for pose in poses_of(request_)] == pytest.approx([350, 10, 350], abs=0.1)


def test_the_turntable_never_winds_its_cables_up(rig, request_):
    """Where the shortest way leaves the limits, it goes the other way round."""
    configuration = path_of([10, 10, 120], [10, 10, 240], [10, 10, 0])
    driver, board = rig(invert=[], pan=[0, 360])
    driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert [goal[2] for goal in board.goals] == pytest.approx([120, 240, 360], abs=0.1)
    driver, board = rig(invert=[], pan=[0, 360])
    configuration = path_of([10, 10, 120], [10, 10, 240], [10, 10, 0], [10, 10, 60])
    driver.scan(make_request(request_.dataset_dir.parent, index=1, configuration=configuration), RecordingMonitor())
    assert board.goals[-1][2] == pytest.approx(60, abs=0.1)


def test_a_waypoint_that_leaves_an_axis_out_leaves_it_where_it_is(rig, request_):
    """And a move to where the arm stands already isn't sent at all."""
    configuration = path_of([10], [20], [20], scheme=["x"])
    driver, board = rig()
    driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert [goal[:2] for goal in board.goals] == [(-10, 0), (-20, 0)]


def test_a_feed_moves_with_g1(rig, request_):
    """For arms that shake at full speed."""
    driver, board = rig(feed=3000)
    driver.scan(request_, RecordingMonitor())
    assert "G1 X-25.000 Y-375.000 Z0.000 F3000" in board.heard


def test_a_path_beyond_the_limits_moves_nothing(rig, request_):
    """`check` names the offending point when the definition is read, and so does a scan that came by another way."""
    driver, board = rig(x=[0, 700])
    faults = [str(fault) for fault in driver.check(CONFIGURATION)]
    assert faults == ["[ScanPath.kwargs] radius = 350: point 3 (x = 725 mm) leaves the gantry's 0-700 mm"]
    with pytest.raises(ScanFailed, match=r"point 3 \(x = 725 mm\) leaves the gantry's 0-700 mm"):
        driver.scan(request_, RecordingMonitor())
    assert board.heard == []


def test_a_camera_that_the_rig_has_not_is_found_before_anything_moves(rig, request_):
    """By `check`, too, with the names that there are."""
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
        ("silent", "the board doesn't tell its state; check its power"),
        ("noise", "the board doesn't tell its state"),
        ("short", "the arm stands at x 380 y 30 .* and not at x 375 y 25 pan 90, where it was sent"),
        ("error 20", r"GRBL error 20 \(an unknown G-code as an answer to 'G0 X-375.000 Y-25.000 Z-90.000'\)"),
    ],
)
def test_what_happens_in_mid_move_fails_the_attempt(rig, request_, fault, said):
    """With a sentence that says what to do; never with a hang."""
    driver, _ = rig(fault=fault, at=2)
    with pytest.raises(ScanFailed, match=said):
        driver.scan(request_, RecordingMonitor())


@pytest.mark.parametrize("fault", ["alarm 1", "reset", "short", "silent", "error 20"])
def test_the_next_attempt_homes_first(rig, request_, fault):
    """Where the position is in doubt nothing moves before; a board that has crashed is restarted for it."""
    driver, board = rig(fault=fault, at=2)
    with pytest.raises(ScanFailed):
        driver.scan(request_, RecordingMonitor())
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 2


@pytest.mark.parametrize("fault", ["garbage", "idle first"])
def test_noise_on_the_line_is_passed_over(rig, request_, fault):
    """A damaged answer is asked for again; a board that is about to start isn't one that has arrived."""
    driver, board = rig(fault=fault, at=2, polls=3)
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 1


@pytest.mark.parametrize(("fault", "state"), [("stuck", "Run"), ("hold", "Hold")])
def test_a_move_that_never_ends_is_given_up_and_stopped(rig, request_, monkeypatch, fault, state):
    """Its length and the board's own speeds say when; the arm is brought to a stand."""
    monkeypatch.setattr("plantimager.timelapse.drivers.gantry.board_settings.DEADLINE_MARGIN", 0.0)
    driver, board = rig(fault=fault, at=1)
    with pytest.raises(ScanFailed, match=f"not arrived at x 5 y 0 pan 0 after 0 s, the board is in state {state}"):
        driver.scan(make_request(request_.dataset_dir.parent, configuration=path_of([5, 0, 0])), RecordingMonitor())
    rig.take_away()  # it has heard everything then
    assert board.heard[-1] == "^X"
    assert board.goal is None


def test_a_soft_limit_is_told_and_undone(rig, request_):
    """The board says nothing at all after it, until it is reset."""
    span = {"invert": [], "x": [-740, 0], "y": [-740, 0], "pan": [-720, 0]}
    driver, board = rig(board={20: "1", 23: "0", 27: "0", 132: "10000.000"}, **span)
    driver.prepare()
    board.settings[130] = "15.000"
    request = make_request(request_.dataset_dir.parent, configuration=path_of([-10, 0, -10], [-20, -200, -10]))
    with pytest.raises(ScanFailed, match=r"GRBL alarm 2 \(the goal lies beyond the board's soft limits on the way to"):
        driver.scan(request, RecordingMonitor())
    board.settings[130] = "740.000"
    driver.scan(request, RecordingMonitor())
    assert board.homed == 2


@pytest.mark.parametrize(
    ("board", "said"),
    [
        ({"fault": "deaf"}, "the board doesn't answer; check its power, the port and the baud rate"),
        ({"board": {13: "1"}}, r"it reports inches; set \$13=0"),
        ({"board": {22: "0"}}, r"homing is switched off; set \$22=1, or write homing = false"),
        ({"board": {110: "0.000"}}, r"\$110 must be 0.5 or more, or nothing moves"),
        ({"board": {20: "1"}}, r"soft limits are on \(\$20=1\) and leave x only -20 to 720"),
    ],
)
def test_a_board_that_is_not_fit_is_not_ready(rig, request_, board, said):
    """No attempt is used: somebody may put it right within the grace period."""
    driver, _ = rig(**board)
    with pytest.raises(ScannerNotReady, match=said):
        driver.scan(request_, RecordingMonitor())
    with pytest.raises(ScannerNotReady, match=said):
        driver.prepare()


def test_the_boards_settings_are_compared(rig, request_):
    """A board that lost its memory would move the wrong way, or the wrong distance."""
    driver, board = rig(settings={"$100": 250, "$101": 80, "$140": 1})
    with pytest.raises(ScannerNotReady, match=r"\$100 = 80, but \[drivers.grbl.settings\] has 250; \$140 = nan"):
        driver.prepare()
    assert board.homed == 0


def test_homing_that_finds_no_switch_fails_the_attempt(rig, request_):
    """And leaves a warm-up not ready."""
    driver, _ = rig(fault="no home")
    with pytest.raises(ScannerNotReady, match=r"GRBL alarm 9 \(homing did not find a limit switch\): check the motors"):
        driver.prepare()
    with pytest.raises(ScanFailed, match="GRBL alarm 9"):
        driver.scan(request_, RecordingMonitor())


def test_homing_that_never_ends_is_given_up(rig, request_, monkeypatch):
    """After the time that the board's own settings allow it."""
    monkeypatch.setattr("plantimager.timelapse.drivers.gantry.board_settings.DEADLINE_MARGIN", 0.2)
    monkeypatch.setattr("plantimager.timelapse.drivers.gantry.board_settings.MAX_HOMING_TIME", 0.0)
    driver, board = rig(fault="home for ever")
    with pytest.raises(ScannerNotReady, match=r"didn't answer '\$H'"):
        driver.scan(request_, RecordingMonitor())
    rig.take_away()  # it has heard everything then
    assert board.heard[-1] == "^X"


def test_a_board_that_boots_when_its_port_is_opened_is_waited_for(rig, request_):
    """Most Arduinos do, and hear nothing for two seconds."""
    driver, board = rig(fault="boots")
    driver.prepare()
    assert board.homed == 1


def test_a_board_that_restarted_between_two_scans_is_homed(rig, request_):
    """It has forgotten its work coordinates."""
    driver, board = rig()
    driver.prepare()
    board.hear("\x18")
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 2


def test_an_arm_that_was_moved_by_others_is_homed(rig, request_):
    """Its position isn't the one it was left at."""
    driver, board = rig()
    driver.prepare()
    board.machine = (-50.0, -20.0, -331.988)
    driver.scan(request_, RecordingMonitor())
    assert board.homed == 2


def test_a_board_without_limit_switches_is_taken_at_its_word(rig, request_):
    """Until its position is lost: then only a person knows where the arm is."""
    driver, board = rig(board={22: "0"}, homing=False, fault="alarm 1", at=2)
    with pytest.raises(ScanFailed, match="GRBL alarm 1"):
        driver.scan(request_, RecordingMonitor())
    with pytest.raises(ScannerNotReady, match=r"nobody knows where the arm stands, and homing = false"):
        driver.scan(request_, RecordingMonitor())
    assert board.homed == 0


def test_a_board_that_tells_work_positions_is_read_as_well(rig, request_):
    """`$10` even."""
    driver, _ = rig(board={10: "114"})
    driver.scan(request_, RecordingMonitor())
    assert [pose[0] for pose in poses_of(request_)] == [25, 375, 725, 375]


def test_a_port_that_others_have_open_is_not_ready(rig, request_):
    """Two programs on one line understand nothing."""
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
def test_a_port_that_is_none_is_not_ready(rig, options, said):
    """With the path and what to do."""
    driver, _ = rig(**options)
    with pytest.raises(ScannerNotReady, match=said):
        driver.prepare()


def test_a_board_that_is_not_plugged_in_is_told_by_its_usb_id(rig):
    """And what is plugged in instead."""
    driver, _ = rig()
    options = {key: value for key, value in driver.options.items() if key != "port"}
    second = GrblDriver({**options, "usb": "ffff:fffe"})
    with pytest.raises(ScannerNotReady, match="no USB serial adapter ffff:fffe is plugged in"):
        second.prepare()
    second.close()


# --- stopping --------------------------------------------------------------------------------------


def test_a_cancelled_move_is_held_then_reset(rig, request_):
    """Without losing steps: the reset comes when the arm stands."""
    driver, board = rig(fault="stuck", at=2)
    states = []
    hear = board.hear

    def noted(byte):
        if byte in "!\x18":
            states.append((byte, board.state))
        return hear(byte)

    board.hear = noted

    class Late(RecordingMonitor):
        def wait(self, seconds):
            if seconds and board.moves == 2:
                self.cancel()
            return super().wait(seconds)

    with pytest.raises(ScanCancelled, match="brought to a stand"):
        driver.scan(request_, Late())
    rig.take_away()  # it has heard everything then
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
    rig.take_away()  # it has heard everything then
    assert board.heard[-1] == "^X"


def test_standby_parks_and_lets_go_of_the_port(rig, request_):
    """Another program may use the rig meanwhile; afterwards it is homed."""
    driver, board = rig(park={"x": 100, "pan": 0})
    driver.prepare()
    driver.standby()
    assert board.goals[-1][0] == -100
    second = GrblDriver(dict(driver.options))
    second.prepare()
    second.close()
    assert board.homed == 2


def test_standby_tells_everything_that_failed(rig):
    """And does the rest."""
    no = {"role": "gantry_power", "on": ["true"], "off": ["false"]}
    driver, _ = rig(switches={"power": no}, power_up=0, park={"x": 100}, fault="alarm 1")
    driver.prepare()
    with pytest.raises(DriverError, match=r"GRBL alarm 1 .*; power \(gantry_power\) could not be switched off"):
        driver.standby()


# --- without limit switches --------------------------------------------------------------------------

NO_SWITCHES = {"board": {3: "0", 22: "0"}, "homing": False}
NOBODY_KNOWS = "nobody knows where the arm stands, and homing = false: move the arm to its zero by hand, switch the"
ZERO = (0.0, 0.0, 0.0)


def test_without_switches_the_arm_rests_at_its_zero_between_scans(rig, request_, tmp_path):
    """A power cut there does no harm: the board counts from zero afterwards, and that is where the arm stands."""
    driver, board = rig(**NO_SWITCHES)
    for index in range(3):
        request = make_request(tmp_path / "datasets", index=index)
        assert driver.scan(request, RecordingMonitor()).note == ""
        assert [pose[:2] for pose in poses_of(request)] == [[25, 375], [375, 25], [725, 375], [375, 725]]
        assert board.machine == ZERO
        board.restart()
        if index:
            driver.standby()


def test_without_switches_opening_the_port_again_restarts_no_board(rig):
    """Each command by hand is a process of its own, and leaves the arm where the person wants it."""
    driver, _ = rig(**NO_SWITCHES)
    driver.go_to(Pose(x=100), EventMonitor())
    driver.leave()
    assert driver.go_to(Pose(y=10), EventMonitor()) == "the arm stands at x 100 y 10 pan 0"


@pytest.mark.parametrize("let_go", [False, True])
def test_without_switches_a_board_that_restarted_elsewhere_moves_nothing_any_more(rig, request_, let_go):
    """It counts from zero wherever the arm stands; until a person has moved that, and the service is restarted."""
    driver, board = rig(**NO_SWITCHES)
    driver.go_to(Pose(x=100), EventMonitor())
    if let_go:
        driver.leave()
    board.restart()
    for call in (driver.prepare, driver.prepare, lambda: driver.scan(request_, RecordingMonitor())):
        with pytest.raises(ScannerNotReady, match=NOBODY_KNOWS):
            call()
    driver.standby()
    assert board.moves == 1
    board.restart()
    GrblDriver(dict(driver.options)).scan(request_, RecordingMonitor())
    assert board.machine == ZERO


def test_without_switches_an_attempt_that_was_cut_off_leaves_the_arm_anywhere(rig, request_):
    """What counts from zero then isn't believed; the next process, which finds nothing cut off, does believe it."""
    driver, board = rig(**NO_SWITCHES)
    driver.recover(request_)
    with pytest.raises(ScannerNotReady, match=NOBODY_KNOWS):
        driver.prepare()
    driver.close()
    assert board.moves == 0
    GrblDriver(dict(driver.options)).prepare()


def test_without_switches_an_endless_turntable_that_was_turned_has_not_restarted(rig, request_):
    """Only a count of zero on all axes is that of a board that was just switched on."""
    driver, board = rig(**NO_SWITCHES, pan="endless")
    board.machine = (0.0, 0.0, 720.0)
    driver.recover(request_)
    driver.prepare()
    assert board.moves == 0


@pytest.mark.parametrize("call", [GrblDriver.prepare, GrblDriver.standby])
def test_without_switches_an_arm_whose_board_still_counts_is_brought_back(rig, request_, call):
    """A killed daemon leaves it where it was, and the power may fail later."""
    driver, board = rig(**NO_SWITCHES)
    board.machine = (375.0, 25.0, 90.0)
    driver.recover(request_)
    call(driver)
    assert board.goals == [ZERO]


def test_without_switches_a_scan_that_fails_leaves_the_arm_at_zero(rig, request_):
    """As far as it is known where the arm stands."""
    driver, board = rig(**NO_SWITCHES, cameras={"top": {"kind": "command", "argv": ["false", "{output}"]}})
    with pytest.raises(ScanFailed, match="camera top: false exited with 1"):
        driver.scan(request_, RecordingMonitor())
    assert board.goals[-1] == ZERO


def test_without_switches_standby_brings_the_arm_of_a_cancelled_scan_to_zero(rig, request_):
    """The scan itself has to end soon, however slow the gantry; a move that was broken off loses no steps."""

    class Late(RecordingMonitor):
        def wait(self, seconds):
            if seconds and board.moves == 2:
                self.cancel()
            return super().wait(seconds)

    driver, board = rig(**NO_SWITCHES, fault="stuck", at=2)
    with pytest.raises(ScanCancelled):
        driver.scan(request_, Late())
    assert board.goals[-1] != ZERO
    driver.standby()
    assert (board.goals[-1], board.machine) == (ZERO, ZERO)


def test_without_switches_an_arm_that_does_not_get_back_costs_no_scan(rig, request_):
    """It is told in the scan's note, and the next one finds the position lost."""
    driver, _ = rig(**NO_SWITCHES, fault="alarm 1", at=5)
    result = driver.scan(request_, RecordingMonitor())
    assert result.pictures == 4
    assert result.note.startswith("GRBL alarm 1 (a limit switch was hit on the way to x 0 y 0 pan 0)")
    with pytest.raises(ScannerNotReady, match=NOBODY_KNOWS):
        driver.prepare()


@pytest.mark.parametrize(("pan", "rests_at"), [([-360, 720], 0), ("endless", 360)])
def test_without_switches_cables_are_unwound_before_the_arm_rests(rig, request_, pan, rests_at):
    """After a power cut nobody would know of the turn in them; a turntable without any just looks ahead again."""
    configuration = path_of([10, 10, 120], [10, 10, 240], [10, 10, 350])
    driver, board = rig(**NO_SWITCHES, pan=pan)
    driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert board.goals[-1] == (0, 0, rests_at)
    driver.standby()
    driver.prepare()
    assert len(board.goals) == 4, "it rests already"


def test_without_switches_the_gantry_has_power_for_the_way_back(rig, request_, switches):
    """After a crash its relay may have fallen; a board on USB would count steps that no motor makes."""
    options, told = switches
    driver, board = rig(**NO_SWITCHES, switches=options, power_up=0)
    board.machine = (375.0, 25.0, 90.0)
    driver.recover(request_)
    driver.standby()
    assert board.goals == [ZERO]
    assert told() == [*BACK, "gantry_power on", "gantry_power off"]


def test_without_switches_there_is_nothing_to_home_to(rig):
    """`rig home` says what a person does instead, and the position stays known."""
    driver, board = rig(**NO_SWITCHES)
    driver.go_to(Pose(x=100), EventMonitor())
    with pytest.raises(ScannerNotReady, match=r"there are no limit switches to home to .* by hand, switch the gantry"):
        driver.home(EventMonitor())
    assert driver.examine()[0].says.endswith("standing at x 100 y 0 pan 0")
    assert "$H" not in board.heard


# --- cameras ---------------------------------------------------------------------------------------


def test_several_cameras_expose_at_the_same_time(rig, request_, tmp_path):
    """Each waits for the other; one after the other, neither would ever get a picture."""
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
    assert len(poses_of(request)) == 8


def test_one_camera_that_fails_fails_the_attempt(rig, request_, tmp_path):
    """And all that failed are named."""
    cameras = {
        "left": {"kind": "command", "argv": ["false", "{output}"]},
        "right": {"kind": "command", "argv": ["true", "{output}"]},
    }
    driver, _ = rig(cameras=cameras)
    configuration = {"ScanPath": CONFIGURATION["ScanPath"], "left": {}, "right": {}}
    with pytest.raises(ScanFailed, match=r"camera left: false exited with 1; camera right: true .* wrote no picture"):
        driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())


def test_an_exposure_that_hangs_fails_the_attempt_in_time(rig, request_):
    """The arm keeps its position: it is the camera that is in doubt."""
    driver, board = rig(
        cameras={"top": {"kind": "command", "argv": ["sh", "-c", "sleep 1000", "{output}"]}}, exposure_timeout="1s"
    )
    with pytest.raises(ScanFailed, match="camera top: sh had not finished after 1 s"):
        driver.scan(request_, RecordingMonitor())
    with pytest.raises(ScanFailed, match="camera top: sh"):
        driver.scan(request_, RecordingMonitor())
    assert board.homed == 1


# --- lights and disk -------------------------------------------------------------------------------


@pytest.fixture
def switches(tmp_path):
    """Return switches that note what they were told, and how to read that."""
    log = tmp_path / "switches.log"
    log.touch()
    write = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n')"

    def switch(role):
        def argv(way):
            return [sys.executable, "-S", "-E", "-c", write, str(log), f"{role} {way}"]

        return {"role": role, "on": argv("on"), "off": argv("off")}

    roles = ("growth_light", "scan_light", "gantry_power")
    return {role: switch(role) for role in roles}, lambda: log.read_text().splitlines()


BACK = ["scan_light off", "growth_light on"]
BORROWED = ["growth_light off", "scan_light on"]


def test_the_plants_light_is_borrowed_for_a_scan_alone(rig, request_, switches):
    """Warm-up gives power, the scan takes the light, its end gives it back, standby powers down."""
    options, told = switches
    driver, _ = rig(switches=options, power_up=0)
    driver.prepare()
    assert told() == [*BACK, "gantry_power on"]
    driver.scan(request_, RecordingMonitor())
    assert told()[3:] == [*BORROWED, *BACK]
    driver.standby()
    assert told()[7:] == ["gantry_power off"]
    driver.standby()
    assert len(told()) == 8


@pytest.mark.parametrize("fault", ["alarm 1", "unplug"])
def test_the_plants_light_comes_back_however_a_scan_ends(rig, request_, switches, fault):
    """Also when it fails."""
    options, told = switches
    driver, _ = rig(switches=options, power_up=0, fault=fault, at=2)
    with pytest.raises(ScanFailed):
        driver.scan(request_, RecordingMonitor())
    assert told()[-2:] == BACK


def test_the_plants_light_comes_back_after_a_crash(rig, request_, switches):
    """The daemon asks what became of the scan that was cut off."""
    options, told = switches
    driver, _ = rig(switches=options)
    assert driver.recover(request_) is None
    assert told() == BACK


def test_a_light_that_does_not_come_back_is_told_but_costs_no_scan(rig, request_, tmp_path):
    """In the scan's note, which goes to the journal."""
    once = ["sh", "-c", f"test ! -e {tmp_path}/once && touch {tmp_path}/once"]
    driver, _ = rig(switches={"grow": {"role": "growth_light", "on": once, "off": ["true"]}})
    result = driver.scan(request_, RecordingMonitor())
    assert result.pictures == 4
    assert result.note == "grow (growth_light) could not be switched on: sh exited with 1"


def test_a_scan_light_that_does_not_come_on_fails_the_attempt(rig, request_):
    """Dark pictures are none."""
    driver, _ = rig(switches={"led": {"role": "scan_light", "on": ["false"], "off": ["true"]}})
    with pytest.raises(ScanFailed, match=r"led \(scan_light\) could not be switched on: false exited with 1"):
        driver.scan(request_, RecordingMonitor())


def test_a_driver_that_only_checked_switches_nothing(rig, switches):
    """`timelapsectl check` makes one while the daemon's own is at work."""
    options, told = switches
    driver, board = rig(switches=options)
    driver.check(CONFIGURATION)
    driver.close()
    assert told() == []
    assert board.heard == []


def test_a_disk_that_is_too_full_is_told_before_anything_moves(rig, request_):
    """No attempt is used: somebody may make room."""
    driver, board = rig(keep_free="1000 TB")
    with pytest.raises(ScannerNotReady, match=r"datasets: .* free, 0 MB needed for this scan, and .* kept free; move"):
        driver.scan(request_, RecordingMonitor())
    assert board.heard == []


# --- options, and what `timelapsectl rig` needs ----------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, '[drivers.grbl] port: required, but missing; write port = "/dev/ttyUSB0", or usb = "1a86:7523"'),
        ({"port": "ttyUSB0"}, '[drivers.grbl] port = "ttyUSB0": write the device\'s whole path'),
        ({"usb": "1a86"}, '[drivers.grbl] usb = "1a86": write vendor:product as lsusb shows them'),
        ({"port": "/dev/x", "usb": "1a86:7523"}, "[drivers.grbl] usb: write port or usb, not both"),
        ({"baudrate": 9}, "[drivers.grbl] baudrate = 9: out of range"),
        ({"x": [740, 0]}, "[drivers.grbl] x = [740, 0]: write the lowest first"),
        ({"y": 740}, "[drivers.grbl] y = 740: write the lowest and the highest"),
        ({"pan": [0, 350]}, "[drivers.grbl] pan = [0, 350]: write a whole turn or more"),
        ({"pan": "free"}, '[drivers.grbl] pan = "free": write how far the cables let it turn'),
        ({"invert": ["z"]}, '[drivers.grbl] invert = ["z"]: write a list of axes out of x, y, pan'),
        ({"feed": 0}, "[drivers.grbl] feed = 0: write mm a minute"),
        ({"homing": "no"}, '[drivers.grbl] homing = "no": write true or false'),
        ({"park": {"x": 800}}, "[drivers.grbl.park] x = 800: leaves the limits 0-740"),
        ({"park": {"z": 0}}, "[drivers.grbl.park] z: unknown key"),
        ({"homing": False, "park": {"y": 5}}, "[drivers.grbl.park] y = 5: write 0, where the arm rests with homing ="),
        ({"homing": False, "park": {"z": 0}}, "[drivers.grbl.park] z: unknown key"),
        ({"homing": False, "x": [5, 740]}, "[drivers.grbl] x = [5.0, 740.0]: write limits with 0 between them, where"),
        ({"homing": False, "pan": [10, 400]}, "[drivers.grbl] pan = [10.0, 400.0]: write limits with 0 between them"),
        ({"settle": "soon"}, '[drivers.grbl] settle = "soon": not a duration'),
        ({"exposure_timeout": "1h"}, '[drivers.grbl] exposure_timeout = "1h": write a duration from 1s to 4m'),
        ({"keep_free": 5}, '[drivers.grbl] keep_free = 5: write a size such as "500 MB"'),
        ({"settings": {"100": 80}}, '[drivers.grbl.settings] 100: not a setting of GRBL; write "$100" = 80'),
        ({"settings": {"$100": "80"}}, '[drivers.grbl.settings] $100 = "80": write a number'),
        ({"cameras": {}}, "[drivers.grbl] cameras: names no camera; write [drivers.grbl.cameras.NAME]"),
        ({"cameras": {"top": {}}}, "[drivers.grbl.cameras.top] kind: required, but missing"),
        ({"cameras": {"top": {"kind": "film"}}}, '[drivers.grbl.cameras.top] kind = "film": write one of'),
        ({"cameras": {"a b": {"kind": "gphoto2"}}}, "[drivers.grbl.cameras] a b: not a camera's name"),
        ({"cameras": {"top": {"kind": "v4l2"}}}, "[drivers.grbl.cameras.top] device: required, but missing"),
        ({"cameras": {"top": {"kind": "command", "argv": ["x"]}}}, "[drivers.grbl.cameras.top] argv = "),
        ({"cameras": {"top": {"kind": "gphoto2", "device": 0}}}, "[drivers.grbl.cameras.top] device: unknown key"),
        ({"switches": {"s": {"line": 17}}}, "[drivers.grbl.switches.s] role: required, but missing"),
        ({"switches": {"s": {"role": "sun", "line": 1}}}, '[drivers.grbl.switches.s] role = "sun": write'),
        ({"switches": {"s": {"role": "scan_light"}}}, "[drivers.grbl.switches.s] line: write either a GPIO line, or"),
        ({"switches": {"s": {"role": "scan_light", "on": ["x"]}}}, "[drivers.grbl.switches.s] off: required, but"),
    ],
)  # fmt: skip
def test_every_fault_of_the_options_is_named(options, fault):
    """With table, key, value and what is allowed."""
    whole = {"cameras": {"top": {"kind": "gphoto2"}}, **options}
    if options and not {"port", "usb"} & options.keys():
        whole["port"] = "/dev/ttyUSB0"
    with pytest.raises(FaultsFound) as caught:
        GrblDriver(whole)
    assert len(caught.value.faults) == 1
    assert str(caught.value.faults[0]).startswith(fault)


def test_missing_libraries_are_found_by_check(rig):
    """Before the first slot finds them missing."""
    driver, _ = rig(cameras={"top": {"kind": "picamera2"}})
    (fault,) = driver.check({})
    assert str(fault).startswith('[drivers.grbl.cameras.top] kind = "picamera2": picamera2 isn\'t installed; pip')


def test_every_part_of_the_rig_says_how_it_is(rig):
    """Also where the first one doesn't answer; nothing moves."""
    driver, board = rig(
        cameras={
            "top": {"kind": "command", "argv": ["true", "{output}"]},
            "usb": {"kind": "v4l2", "device": "/dev/no"},
        },
        switches={"grow": {"role": "growth_light", "on": ["true"], "off": ["true"]}},
    )
    port = driver.options["port"]
    assert driver.examine() == [
        Part("switches", True, "switched: grow (growth_light)"),
        Part("gantry", True, f"GRBL 1.1h on {port}, not homed yet"),
        Part("camera top", True, "command, open"),
        Part("camera usb", False, "/dev/no: it isn't there; check the cable"),
    ]
    assert (board.homed, board.moves) == (0, 0)


def test_a_position_that_is_known_stays_known_when_the_rig_is_examined(rig):
    """The next scan needs no homing for it."""
    driver, board = rig()
    driver.home(EventMonitor())
    driver.go_to(Pose(x=10), EventMonitor())
    assert driver.examine()[0].says.endswith(", standing at x 10 y 0 pan 0")
    driver.prepare()
    assert board.homed == 1


def test_a_board_that_says_nothing_is_a_part_that_does_not_answer(rig):
    """The others are asked all the same."""
    driver, _ = rig(fault="deaf")
    gantry, camera = driver.examine()
    assert (gantry.answers, camera.answers) == (False, True)


def test_a_switch_that_fails_is_a_part_that_does_not_answer(rig):
    """The others are asked all the same."""
    driver, _ = rig(switches={"grow": {"role": "growth_light", "on": ["false"], "off": ["true"]}})
    switches, gantry, _ = driver.examine()
    assert switches.says.startswith("grow (growth_light) could not be switched on: false exited with 1")
    assert (switches.answers, gantry.answers) == (False, True)


def test_a_person_can_home_go_and_look(rig):
    """Within the limits, as a scan does."""
    driver, board = rig()
    assert driver.home(EventMonitor()) == "homed; the arm stands at x 0 y 0 pan 0"
    assert driver.go_to(Pose(x=10, pan=90), EventMonitor()).startswith("the arm stands at x 10 y 0 pan 9")
    with pytest.raises(ScannerNotReady, match=r"^x = 1000 mm leaves the gantry's 0-740 mm$"):
        driver.go_to(Pose(x=1000), EventMonitor())
    assert [camera.name for camera in driver.cameras({"side": {}})] == ["top"]
    assert driver.cameras(CONFIGURATION)[0].res_x == 80
    assert driver.snapshot(Camera(name="top"), EventMonitor()).startswith(b"\xff\xd8\xff")
    with pytest.raises(ScannerNotReady, match="no camera side"):
        driver.snapshot(Camera(name="side"), EventMonitor())
    driver.home(EventMonitor())
    assert board.homed == 2


def test_an_alarm_by_hand_is_told_with_its_cure_and_homing_ends_it(rig):
    """What the hint says is what helps."""
    driver, _ = rig(fault="alarm 1")
    with pytest.raises(ScannerNotReady, match=r"GRBL alarm 1 \(a limit switch .* then `timelapsectl rig home`$"):
        driver.go_to(Pose(x=10), EventMonitor())
    assert driver.home(EventMonitor()).startswith("homed")
    assert driver.go_to(Pose(x=10), EventMonitor()) == "the arm stands at x 10 y 0 pan 0"


def test_homing_that_never_ends_can_be_broken_off(rig):
    """And the board is reset, so that the arm stands."""
    driver, board = rig(fault="home for ever")
    monitor = EventMonitor()
    monitor.cancel()
    with pytest.raises(ScanCancelled, match="brought to a stand"):
        driver.home(monitor)
    rig.take_away()  # it has heard everything then
    assert board.heard[-1] == "^X"


def test_lights_stay_as_they_are_left_and_go_off_at_a_close(rig, tmp_path):
    """`leave` is for who comes back, `close` for who goes."""
    light = {"role": "scan_light", "on": ["touch", str(tmp_path / "lit")], "off": ["rm", "-f", str(tmp_path / "lit")]}
    driver, _ = rig(switches={"scan": light})
    driver.light(on=True)
    driver.leave()
    assert (tmp_path / "lit").exists()
    driver.close()
    assert (tmp_path / "lit").exists(), "nothing was touched since"
    driver.light(on=True)
    driver.close()
    assert not (tmp_path / "lit").exists()


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
