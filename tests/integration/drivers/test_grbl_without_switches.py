"""The GRBL driver without limit switches: what it believes of the arm's position, and where the arm rests."""

import pytest
from grbl_scans import RELEASED, path_of, recorded_poses

from plantimager.timelapse.drivers.base import EventMonitor
from plantimager.timelapse.drivers.grbl.driver import GrblDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.support.errors import ScanCancelled, ScanFailed, ScannerNotReady

NO_SWITCHES = {"board": {3: "0", 22: "0"}, "homing": False}
POSITION_LOST = "nobody knows where the arm stands, and homing = false: move the arm to its zero by hand, switch the"
ZERO = (0.0, 0.0, 0.0)


def test_without_switches_the_boards_count_is_believed_until_the_position_is_lost(rig, request_):
    """Then only a person knows where the arm is."""
    driver, board = rig(board={22: "0"}, homing=False, fault="alarm 1", at=2)
    with pytest.raises(ScanFailed, match="GRBL alarm 1"):
        driver.scan(request_, RecordingMonitor())
    with pytest.raises(ScannerNotReady, match=r"nobody knows where the arm stands, and homing = false"):
        driver.scan(request_, RecordingMonitor())
    assert board.homed == 0


def test_without_switches_the_arm_rests_at_its_zero_between_scans(rig, request_, tmp_path):
    """A power cut does no harm there: the board counts from zero afterwards, which is where the arm stands."""
    driver, board = rig(**NO_SWITCHES)
    for index in range(3):
        request = make_request(tmp_path / "datasets", index=index)
        assert driver.scan(request, RecordingMonitor()).note == ""
        assert [pose[:2] for pose in recorded_poses(request)] == [[25, 375], [375, 25], [725, 375], [375, 725]]
        assert board.machine == ZERO
        board.restart()
        if index:
            driver.standby()


def test_without_switches_a_refused_move_leaves_the_position_known(rig):
    """The arm has not left its zero, so that the board's count of zero is right."""
    driver, board = rig(**NO_SWITCHES, fault="error 20", lasting=True)
    with pytest.raises(ScannerNotReady, match="GRBL error 20"):
        driver.go_to(Pose(x=100), EventMonitor())
    board.fault = ""
    assert driver.go_to(Pose(x=100), EventMonitor()) == "the arm stands at x 100 y 0 pan 0"


def test_without_switches_opening_the_port_again_does_not_restart_the_board(rig):
    """Each manual command is a process of its own, and leaves the arm where the person wants it."""
    driver, _ = rig(**NO_SWITCHES)
    driver.go_to(Pose(x=100), EventMonitor())
    driver.leave()
    assert driver.go_to(Pose(y=10), EventMonitor()) == "the arm stands at x 100 y 10 pan 0"


@pytest.mark.parametrize("let_go", [False, True])
def test_without_switches_nothing_moves_after_a_board_restarted_elsewhere(rig, request_, let_go):
    """It counts from zero wherever the arm stands, until a person has moved the arm and restarted the service."""
    driver, board = rig(**NO_SWITCHES)
    driver.go_to(Pose(x=100), EventMonitor())
    if let_go:
        driver.leave()
    board.restart()
    for call in (driver.prepare, driver.prepare, lambda: driver.scan(request_, RecordingMonitor())):
        with pytest.raises(ScannerNotReady, match=POSITION_LOST):
            call()
    driver.standby()
    assert board.moves == 1
    board.restart()
    GrblDriver(dict(driver.options)).scan(request_, RecordingMonitor())
    assert board.machine == ZERO


def test_without_switches_zero_is_not_believed_after_an_interrupted_attempt(rig, request_):
    """The next process, which finds no interrupted attempt, believes it."""
    driver, board = rig(**NO_SWITCHES)
    driver.recover(request_)
    with pytest.raises(ScannerNotReady, match=POSITION_LOST):
        driver.prepare()
    driver.close()
    assert board.moves == 0
    GrblDriver(dict(driver.options)).prepare()


def test_without_switches_a_count_of_whole_turns_is_believed(rig, request_):
    """Only a board that was just switched on counts zero on all axes."""
    driver, board = rig(**NO_SWITCHES, pan="endless")
    board.machine = (0.0, 0.0, 720.0)
    driver.recover(request_)
    driver.prepare()
    assert board.moves == 0


@pytest.mark.parametrize("call", [GrblDriver.prepare, GrblDriver.standby])
def test_without_switches_the_arm_is_brought_back_after_an_interrupted_attempt(rig, request_, call):
    """A killed daemon leaves it where it was, and the power may fail later."""
    driver, board = rig(**NO_SWITCHES)
    board.machine = (375.0, 25.0, 90.0)
    driver.recover(request_)
    call(driver)
    assert board.places == [ZERO]


def test_without_switches_a_failed_scan_leaves_the_arm_at_zero(rig, request_):
    """As long as its position is known."""
    driver, board = rig(**NO_SWITCHES, cameras={"top": {"kind": "command", "argv": ["false", "{output}"]}})
    with pytest.raises(ScanFailed, match="camera top: false exited with 1"):
        driver.scan(request_, RecordingMonitor())
    assert board.places[-1] == ZERO


def test_without_switches_standby_brings_the_arm_of_a_cancelled_scan_to_zero(rig, request_):
    """The scan itself has to end soon, however slow the gantry; an interrupted move loses no steps."""

    class Late(RecordingMonitor):
        def wait(self, seconds):
            if seconds and board.moves == 2:
                self.cancel()
            return super().wait(seconds)

    driver, board = rig(**NO_SWITCHES, fault="stuck", at=2)
    with pytest.raises(ScanCancelled):
        driver.scan(request_, Late())
    assert board.places[-1] != ZERO
    driver.standby()
    assert (board.places[-1], board.machine) == (ZERO, ZERO)


def test_without_switches_a_failed_return_to_zero_costs_no_scan(rig, request_):
    """It is reported in the scan's note, and the position is lost for the next one."""
    driver, _ = rig(**NO_SWITCHES, fault="alarm 1", at=5)
    result = driver.scan(request_, RecordingMonitor())
    assert result.pictures == 4
    assert result.note.startswith("GRBL alarm 1 (a limit switch was hit on the way to x 0 y 0 pan 0)")
    with pytest.raises(ScannerNotReady, match=POSITION_LOST):
        driver.prepare()


def test_without_switches_a_repair_on_the_way_to_zero_is_in_the_note_of_its_scan(rig, request_):
    """It belongs to that scan, and not to the next one."""
    driver, _ = rig(**NO_SWITCHES, fault="error 20", at=5)
    assert "the board was asked again" in driver.scan(request_, RecordingMonitor()).note


@pytest.mark.parametrize(("pan", "rests_at"), [([-360, 720], 0), ("endless", 360)])
def test_without_switches_cables_are_unwound_before_the_arm_rests(rig, request_, pan, rests_at):
    """After a power cut nobody would know of the turn in them; a turntable without limits goes to a whole turn."""
    configuration = path_of([10, 10, 120], [10, 10, 240], [10, 10, 350])
    driver, board = rig(**NO_SWITCHES, pan=pan)
    driver.scan(make_request(request_.dataset_dir.parent, configuration=configuration), RecordingMonitor())
    assert board.places[-1] == (0, 0, rests_at)
    driver.standby()
    driver.prepare()
    assert len(board.places) == 4, "it rests already"


def test_without_switches_the_gantry_has_power_for_the_way_back(rig, request_, switches):
    """After a crash its relay may be open; a board powered by USB would count steps that no motor makes."""
    options, log = switches
    driver, board = rig(**NO_SWITCHES, switches=options, power_up=0)
    board.machine = (375.0, 25.0, 90.0)
    driver.recover(request_)
    driver.standby()
    assert board.places == [ZERO]
    assert log() == [*RELEASED, "gantry_power on", "gantry_power off"]


def test_without_switches_a_manual_home_is_refused(rig):
    """The error says what a person does instead, and the position stays known."""
    driver, board = rig(**NO_SWITCHES)
    driver.go_to(Pose(x=100), EventMonitor())
    with pytest.raises(ScannerNotReady, match=r"there are no limit switches to home to .* by hand, switch the gantry"):
        driver.home(EventMonitor())
    assert driver.examine()[0].says.endswith("standing at x 100 y 0 pan 0")
    assert "$H" not in board.heard
