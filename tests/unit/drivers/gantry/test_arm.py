"""The arm behind boards that differ from GRBL's own, and the words for those that can't be used."""

import contextlib
import re

import pytest
from grbl_stand_in import DIALECTS, SETTINGS, Board
from wild_board import Sheet, wild_arm

from plantimager.timelapse.drivers.gantry.board_settings import MEANINGS
from plantimager.timelapse.drivers.gantry.gantry_faults import Alarm, GantryFault
from plantimager.timelapse.support.progress import reporting_to

PATH = [(10.0, 20.0, 30.0), (110.0, 20.0, 350.0), (0.0, 250.0, 0.0)]


class Smoothie(Board):
    """Smoothieware in its GRBL mode: it knows no ``$$``, and a reset locks it without restarting it."""

    def _reset(self):
        self.mute, self.goal, self.state, self._line = False, None, "Alarm", ""
        return "ALARM: Abort during cycle\r\n"

    def _obey(self, line):
        return "error:Invalid statement\r\n" if line == "$$" else super()._obey(line)


class Greeter(Board):
    """A board that is reset by the opening of its port and once more, later, by the driver's reset."""

    lines = 0

    def hear(self, byte):
        said = super().hear(byte)
        self.lines += byte == "\n"
        return said + self._banner() if byte == "\n" and self.lines == 2 else said


class Echo(Board):
    """A board that echoes what it hears."""

    def hear(self, byte):
        said = super().hear(byte)
        return said if byte in "?!~\x18" else byte + said


class Verbose(Board):
    """A board whose status has all fields that the family has, and some of its own, and which reports unasked."""

    def hear(self, byte):
        said = super().hear(byte)
        return said + self._status() if said and byte != "?" and not self.mute else said

    def _status(self):
        more = "|Ov:100,100,100|A:SFM|Pn:PXYZ|SD:12.50,/a b.nc|H:1,7|MPG:0|T:0|SC:|D:>"
        return super()._status().replace(">", more)


class Booting(Board):
    """An ESP32, whose boot loader talks before the firmware does."""

    def _banner(self):
        loader = "ets Jun  8 2016 00:22:57\r\nrst:0x1 (POWERON_RESET),boot:0x17 (SPI_FAST_FLASH_BOOT)\r\n"
        return f"{loader}[MSG:Grbl_ESP32 Ver 1.3a Date 20210522]\r\n{super()._banner()}"


class ReturnsOnly(Board):
    """A board that ends its lines by CR alone."""

    def hear(self, byte):
        return super().hear(byte).replace("\n", "")


class EchoesAll(Board):
    """A line that sends back every byte, questions included."""

    def hear(self, byte):
        return byte + super().hear(byte)


class HomesSilently(Board):
    """A board whose ``ok`` after homing is lost each time."""

    def _home_at_last(self):
        return super()._home_at_last().replace("ok\r\n", "")


class OddFields(Board):
    """A board whose status has fields that are empty, and a file's name."""

    def _status(self):
        return super()._status().replace("|Bf", "||Pn:|SD:1,a<b|Bf")


class Foreign(Board):
    """A board whose banner is in another language than GRBL's."""

    def _banner(self):
        return "\r\nGew\xe4chshaus-Gr\xfcbl 2 ['$' f\xfcr Hilfe]\r\n"


class RarelyOffset(Board):
    """A board that reports its offset after a change, and then with each tenth status, as real ones do."""

    rest = 0

    def _status(self):
        said = super()._status()
        self.rest = self.rest - 1 if self.rest else 9
        return said if self.rest == 9 else re.sub(r"\|WCO:[^>|]*", "", said)

    def _gcode(self, line):
        self.rest = 0 if line.startswith("G92") else self.rest
        return super()._gcode(line)


class RestartsOnce(Board):
    """A board that restarts in the middle of its first answer to a line."""

    def __init__(self, line):
        super().__init__()
        self.line = line

    def _obey(self, line):
        said = super()._obey(line)
        if self.line and line.startswith(self.line):
            self.line = ""
            self.restart()
            return said[: len(said) // 2] + self._banner()
        return said


class OkOnly(Board):
    """A printer's board, which takes everything for a command and says ok."""

    def hear(self, byte):
        return "ok\r\n" if byte == "\n" else ""


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        (Smoothie(), MEANINGS),
        (Greeter(), ()),
        (Echo(), ()),
        (Verbose(), ()),
        (Booting(), ()),
        (ReturnsOnly(), ()),
        (EchoesAll(), ()),
        (HomesSilently(), ()),
        (OddFields(), ()),
        (Foreign(), ()),
        (RarelyOffset(), ()),
        *((RestartsOnce(line), ()) for line in ("$$", "$H", "G90", "$G", "G92")),
        (Board({**SETTINGS, 32: "1"}), ()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scan_is_taken_with_a_board_of_other_habits(board, expected):
    """Whatever it says besides, and whichever of its settings only the options know."""
    with wild_arm(Sheet(), board=board, expected=expected) as (arm, line):
        arm.make_ready(line.wait)
        assert [arm.go(goal, line.wait) for goal in PATH] == [pytest.approx(goal, abs=0.1) for goal in PATH]


def test_second_banner_is_no_fault_of_a_check():
    """Such a board only starts twice; a check moves nothing, and so asks again at once."""
    with wild_arm(Sheet(), board=Greeter()) as (arm, _):
        assert "not homed yet" in arm.examine()


@pytest.mark.parametrize(
    ("board", "homing", "said"),
    [
        (Smoothie(), True, r"it doesn't report some settings; write in \[drivers.grbl.settings\] \"\$3\" .* \"\$132\""),
        (Board(), False, r"is locked until it has homed \(\$22=1\), but homing = false; set \$22=0"),
        (Board(dialect=DIALECTS["grblhal"]), False, r"is locked until it has homed"),
        (OkOnly(), True, "answers 'ok', which is not the language of GRBL"),
    ],
)
def test_board_that_can_not_be_used_is_told_with_its_own_cure(board, homing, said):
    """Whose cure doesn't end in the same words."""
    with wild_arm(Sheet(homing=homing), board=board) as (arm, line), pytest.raises(GantryFault, match=said):
        arm.make_ready(line.wait)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("Door:0", "the safety door is open"),
        ("Hold:0", "look at its hold input"),
        ("Check", "it only checks G-code"),
        ("Sleep", "it sleeps"),
        ("ConfigAlarm", "see with a terminal what it says"),
    ],
)
def test_state_in_which_nothing_moves_has_its_own_cure(state, said):
    """After homing, as well as on the way."""

    class Resting(Board):
        def _status(self):
            return super()._status().replace("<Idle", f"<{state}")

    with (
        wild_arm(Sheet(), board=Resting()) as (arm, line),
        pytest.raises(GantryFault, match=f"state {state.partition(':')[0]} after homing: {said}"),
    ):
        arm.make_ready(line.wait)


@pytest.mark.parametrize("every", [0.05, 0.1, 0.3])
def test_board_may_report_its_status_all_the_time(every):
    """Unasked, so that the line is never quiet, and what is read may be older than the question."""
    with wild_arm(Sheet(), board=Board(polls=30)) as (arm, line):
        line.reports_every = every
        arm.make_ready(line.wait)
        assert [arm.go(goal, line.wait) for goal in PATH] == [pytest.approx(goal, abs=0.1) for goal in PATH]
        assert (line.board.homed, arm.take_notes()) == (1, [])


class Secretive(Board):
    """A board that names itself in no known way, restarts half-way at a poll of a move, and then isn't locked."""

    move, poll, polled, true = 2, 0, 0, (0.0, 0.0, 0.0)

    def _banner(self):
        return "\r\nready\r\n"

    def _status(self):
        if self.moves == self.move:
            self.polled += 1
            if self.polled == self.poll:
                ends = zip(self.machine, self.goal or self.machine, strict=True)
                halfway = ((at + to) / 2 for at, to in ends)
                self.true = tuple(at + more for at, more in zip(halfway, self.true, strict=True))
                self.restart()
                self.state = "Idle"
        return super()._status()

    def _home_at_last(self):
        self.true = (0.0, 0.0, 0.0)
        return super()._home_at_last()


class SecretiveToo(Secretive, RarelyOffset):
    """One that reports its offset rarely."""

    def restart(self):
        super().restart()
        self.rest = 0


@pytest.mark.parametrize("homing", [True, False])
@pytest.mark.parametrize("move", range(1, 5))
@pytest.mark.parametrize("poll", range(1, 9))
@pytest.mark.parametrize("rarely", [False, True])
def test_restart_that_goes_unnoticed_costs_no_wrong_picture(rarely, poll, move, homing):
    """Where the banner isn't known, or was damaged: the board then counts from where it woke up."""
    board = (SecretiveToo if rarely else Secretive)({**SETTINGS, 22: "1" if homing else "0"}, polls=4)
    board.poll, board.move = poll, move
    origin = (-20.0, -20.0, -331.988) if homing else (0.0, 0.0, 0.0)
    with wild_arm(Sheet(homing=homing), board=board) as (arm, line):
        arm.make_ready(line.wait)
        with contextlib.suppress(GantryFault):
            for goal in (*PATH, (0.0, 0.0, 0.0)):
                arm.go(goal, line.wait) if any(goal) else arm.go_to_zero(line.wait)
                true = (at + more for at, more in zip(board.machine, board.true, strict=True))
                assert [zero - at for zero, at in zip(origin, true, strict=True)] == pytest.approx(goal, abs=0.08)


def test_position_that_is_the_goal_by_a_damaged_byte_is_no_arrival():
    """The board reports Idle once more before it moves, and one byte makes the goal of where it stands."""

    class Idle(Board):
        def _status(self):
            said = super()._status()
            if self.moves == 2 and self.goal is not None and self.asked == 1:
                return said.replace("<Run", "<Idle").replace("-100.000", "-110.000")
            return said

    with wild_arm(Sheet(), board=Idle(polls=3)) as (arm, line):
        arm.make_ready(line.wait)
        arm.go((80.0, 0.0, 0.0), line.wait)
        arm.go((90.0, 0.0, 0.0), line.wait)
        assert line.board.machine[0] == -110.0


@pytest.mark.parametrize("cut", [0, 1, 10, 30])
def test_alarm_in_the_middle_of_a_status_stops_the_rig(cut):
    """The arm doesn't drive at the same obstacle again."""

    class Interrupting(Board):
        def _move_on(self):
            alarm = super()._move_on()
            return f"{'<Run|MPos:-20.000,-20.000,-331.988|FS:0,0'[:cut]}{alarm}" if alarm else ""

    with wild_arm(Sheet(), board=Interrupting(fault="alarm 1")) as (arm, line):
        arm.make_ready(line.wait)
        with pytest.raises(Alarm, match="a limit switch was hit"):
            arm.go(PATH[0], line.wait)
        assert (line.board.homed, line.board.moves) == (1, 1)


def test_speed_that_lost_a_digit_costs_no_slot():
    """The arm is far too slow then; it is stopped, homed, and goes again."""

    class Slow(Board):
        def _begin(self, place):
            self.polls = 2 if self.moves else 1_000_000
            return super()._begin(place)

    with wild_arm(Sheet(), board=Slow(), feed=6000) as (arm, line):
        arm.make_ready(line.wait)
        arm.go(PATH[0], line.wait)
        assert (line.board.homed, line.board.moves) == (2, 2)


class CutShort(Board):
    """A board without switches that restarts half-way on a move, when some of the move's ``ok`` has come.

    Without ``banner`` it names itself in no known way.
    """

    cut_move, came, banner = 1, "", True

    def _begin(self, place):
        said = super()._begin(place)
        if self.moves == self.cut_move:
            self.restart()
            return self.came + (self._banner() if self.banner else "ready\r\n")
        return said


@pytest.mark.parametrize("came", ["", "o", "k", "\n", "o\r\n", "\x0fk\r\n", "okk\r\n", "ok", "ok\r\n"])
@pytest.mark.parametrize("banner", [True, False])
@pytest.mark.parametrize("cut_move", [1, 2])
def test_restart_on_the_way_loses_the_position_whatever_is_left_of_the_answer(cut_move, banner, came):
    """Without switches the board's count of zero is wrong then, and so nothing moves any more."""
    board = CutShort({**SETTINGS, 22: "0"})
    board.cut_move, board.came, board.banner = cut_move, came, banner
    with wild_arm(Sheet(homing=False), board=board) as (arm, line):
        arm.make_ready(line.wait)
        with pytest.raises(GantryFault, match="the board restarted by itself"):
            [arm.go(goal, line.wait) for goal in PATH]
        board.machine = (30.0, 20.0, 10.0)  # nor is any other count right
        with pytest.raises(GantryFault, match="nobody knows where the arm stands"):
            arm.make_ready(line.wait)
        assert board.moves == cut_move


class Forgetful(Board):
    """A board that doesn't take work coordinates after its first homing."""

    def _gcode(self, line):
        return "ok\r\n" if line.startswith("G92") and self.homed == 1 else super()._gcode(line)


@pytest.mark.parametrize("board", [RestartsOnce("G92"), Forgetful()], ids=lambda board: type(board).__name__)
def test_second_homing_is_reported(board):
    """Each may last nearly as long as a stall, so that both together would be one."""
    reports = []
    with wild_arm(Sheet(), board=board) as (arm, line), reporting_to(lambda said: reports.append((said, board.homed))):
        arm.make_ready(line.wait)
    assert board.homed == 2
    [(said, homed)] = reports
    assert (said.endswith("; the arm is made ready again"), homed) == (True, 1)


class StaysLocked(Board):
    """A board that stays locked after homing, as one of its axes has no switch."""

    def _home_at_last(self):
        said = super()._home_at_last()
        self.state = "Alarm"
        return said


@pytest.mark.parametrize(("place", "homed"), [((0.0, 0.0, 0.0), 1), ((-20.0, -20.0, -331.987), 2)])
@pytest.mark.parametrize("dialect", ["grbl", "grblhal", "fluidnc"])
def test_board_that_stays_locked_is_told_so_when_it_has_homed(dialect, place, homed):
    """And not that its cable is bad; it homes again only where nothing was seen of the first homing."""
    board = StaysLocked(dialect=DIALECTS[dialect])
    board.machine = place
    with wild_arm(Sheet(), dialect=board.dialect, board=board) as (arm, line):
        with pytest.raises(GantryFault, match="in state Alarm after homing: it is locked; `timelapsectl rig home`"):
            arm.make_ready(line.wait)
        assert board.homed == (1 if board.dialect.tells_homing else homed)
