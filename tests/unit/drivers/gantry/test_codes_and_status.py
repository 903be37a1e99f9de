"""The error and alarm numbers of a board, and its status."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.drivers.gantry import codes
from plantimager.timelapse.drivers.gantry.replies import Status, describe_heard, read_firmware, read_status


def test_every_code_of_grbl_1_1_has_a_meaning_and_a_cure():
    """Alarms 1 to 9, errors 1 to 17 and 20 to 38."""
    assert [*codes.ALARMS] == [*range(1, 10)]
    assert sorted(codes.ERRORS) == [*range(1, 18), *range(20, 39)]
    for code in (*codes.ALARMS.values(), *codes.ERRORS.values()):
        assert code.meaning
        assert code.cure
        assert not code.cure.endswith(".")


def test_code_is_described_in_a_sentence():
    """Its meaning, where it happened, and what to do."""
    assert codes.describe_alarm("1", "at x = 741 mm") == (
        "GRBL alarm 1 (a limit switch was hit at x = 741 mm): "
        "check the belts, and what stands in the arm's way, then `timelapsectl rig home`"
    )
    assert codes.describe_error("5", "$H").startswith("GRBL error 5 (homing is switched off as an answer to '$H'): ")
    assert "look it up" in codes.describe_alarm("99")


def test_error_in_words_is_cited_and_has_the_cure_of_its_number():
    """Some firmwares write no numbers."""
    assert codes.describe_alarm("Hard limit", "at x = 741 mm") == (
        "GRBL alarm 'Hard limit' (at x = 741 mm): "
        "check the belts, and what stands in the arm's way, then `timelapsectl rig home`"
    )
    assert codes.describe_error("Wobble", "G90") == (
        "GRBL error 'Wobble' (as an answer to 'G90'): look it up in the manual of the board's firmware"
    )


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Grbl 1.1h ['$' for help]", "Grbl 1.1h"),
        ("GrblHAL 1.1f ['$' or '$HELP' for help]", "GrblHAL 1.1f"),
        ("Grbl 3.7 [FluidNC v3.7.10 (wifi) '$' for help]", "Grbl 3.7 FluidNC v3.7.10 (wifi)"),
        ("µCNC 1.8.4 ['$' for help]", "µCNC 1.8.4"),
        ("gnea/grbl-Mega-5X 1.2 ['$' for help]", "gnea/grbl-Mega-5X 1.2"),
        ("[MSG:'$H'|'$X' to unlock]", None),
        ("[HLP:$$ $# $G $I $N $x=val]", None),
        ("echo:Marlin 2.1", None),
    ],
)
def test_firmware_is_known_by_the_name_in_its_banner(line, name):
    """Any firmware of the family ends its banner in the same way."""
    assert read_firmware(line) == name


@pytest.mark.parametrize(
    ("lines", "is_grbl", "said"),
    [
        ([], False, "doesn't answer; check its power, the port and the cable"),
        (["\ufffd~&#ok<Idl"], True, "sends noise"),
        (["start", "echo:Marlin 2.1", "ok"], False, "answers 'echo:Marlin 2.1', which is not the language of GRBL"),
        (["dle|MPos:0,0,0>"], True, "says 'dle|MPos:0,0,0>' instead; keep the cable off the motors'"),
        (["[MSG:here I am]"], False, "says '[MSG:here I am]' instead"),
    ],
)
def test_missing_answer_is_explained_by_what_was_heard(lines, is_grbl, said):
    """An answer in another language is no fault of the cable."""
    assert describe_heard(lines, is_grbl=is_grbl).startswith(said)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("<Idle|MPos:0.000,-1.500,3.000|FS:0,0>", Status("Idle", None, (0, -1.5, 3), None, None)),
        ("<Hold:1|MPos:0,0,0|FS:0,0|WCO:1.000,2.000,3.000>", Status("Hold", 1, (0, 0, 0), None, (1, 2, 3))),
        ("<Run|WPos:1.000,2.000,3.000|Bf:15,128|FS:500,0>", Status("Run", None, None, (1, 2, 3), None)),
        ("<Run|MPos:1.000,2.000|FS:0,0>", None),
        ("<Run|MPos:1.000,2.0x0,3.000|FS:0,0>", None),
        ("<Run|FS:0,0>", None),
        ("<Idle|MPos:0.000,0.000,0.000", None),
        ("Idle|MPos:0.000,0.000,0.000>", None),
        ("<Alarm:11|MPos:0,0,0,7.000|Bf:35,1024>", Status("Alarm", 11, (0, 0, 0), None, None)),
        ("<Idle|WPos:1,2,3,4,5,6>", Status("Idle", None, None, (1, 2, 3), None)),
        ("<Idle|WPos:1,2,3,4,5,6,7>", None),
        ("ok", None),
    ],
)
def test_status_is_read_completely_or_not_at_all(line, status):
    """A damaged one is asked for again."""
    assert read_status(line) == status


@given(st.text(max_size=200))
def test_any_line_is_read_or_ignored(line):
    """Noise of the motors may damage a line in any way."""
    assert read_status(f"<{line}>") is None or ":" in line
