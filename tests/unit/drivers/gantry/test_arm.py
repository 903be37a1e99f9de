"""The arm behind boards that differ from GRBL's own, and the words for those that can't be used."""

import pytest
from grbl_stand_in import DIALECTS, SETTINGS, Board
from wild_board import Sheet, wild_arm

from plantimager.timelapse.drivers.gantry.board_settings import MEANINGS
from plantimager.timelapse.drivers.gantry.gantry_faults import GantryFault

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
