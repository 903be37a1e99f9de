"""The error and alarm numbers of a board, and its status."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.drivers.gantry import codes
from plantimager.timelapse.drivers.gantry.protocol import Status, read_status


def test_every_code_of_grbl_1_1_has_a_meaning_and_a_cure():
    """Alarms 1 to 9, errors 1 to 17 and 20 to 38."""
    assert [*codes.ALARMS] == [*range(1, 10)]
    assert [*codes.ERRORS] == [*range(1, 18), *range(20, 39)]
    for code in (*codes.ALARMS.values(), *codes.ERRORS.values()):
        assert code.meaning
        assert code.cure
        assert not code.cure.endswith(".")


def test_code_is_described_in_a_sentence():
    """Its meaning, where it happened, and what to do."""
    assert codes.describe_alarm(1, "at x = 741 mm") == (
        "GRBL alarm 1 (a limit switch was hit at x = 741 mm): "
        "check the belts, and what stands in the arm's way, then `timelapsectl rig home`"
    )
    assert codes.describe_error(5, "$H").startswith("GRBL error 5 (homing is switched off as an answer to '$H'): ")
    assert "look it up" in codes.describe_alarm(99)


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
