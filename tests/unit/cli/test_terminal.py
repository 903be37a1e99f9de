"""Output on terminals, pipes and files."""

import io
import os
import termios
import unicodedata

import pytest
import wcwidth

from plantimager.timelapse.cli.terminal import _NARROW, Screen, Style, detect_screen, fit, flow, truncate
from plantimager.timelapse.support.text import one_line


@pytest.fixture
def terminal():
    """Return a real terminal of 100 columns and 40 lines."""
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (40, 100))
    with os.fdopen(follower, "w") as stream:
        yield stream
    os.close(leader)


def test_terminal_has_colour_and_a_size(terminal):
    """The size is the terminal's present one."""
    screen = detect_screen(terminal, {"TERM": "xterm"})
    assert (screen.interactive, screen.colour, screen.columns, screen.lines) == (True, True, 100, 40)


@pytest.mark.parametrize("value", ["1", "0", "yes"])
def test_no_color_removes_colour(terminal, value):
    """It counts with any value; the terminal stays interactive."""
    screen = detect_screen(terminal, {"TERM": "xterm", "NO_COLOR": value})
    assert (screen.interactive, screen.colour) == (True, False)


def test_dumb_terminal_gets_no_escape_codes(terminal):
    """It would print them as letters."""
    screen = detect_screen(terminal, {"TERM": "dumb"})
    assert (screen.interactive, screen.colour) == (False, False)


def test_file_or_pipe_has_lines_of_any_length():
    """Programs such as grep read it."""
    screen = detect_screen(io.StringIO(), {"TERM": "xterm"})
    assert (screen.interactive, screen.colour, screen.columns) == (False, False, None)


@pytest.mark.parametrize(
    ("value", "columns"),
    [("40", 40), ("0", None), ("wide", None), ("-5", None), ("", None), ("٤٠", None), ("9" * 5000, None)],
)
def test_columns_variable_counts_if_it_is_a_number(value, columns):
    """Any other value is ignored."""
    assert detect_screen(io.StringIO(), {"COLUMNS": value}).columns == columns


def test_signs_that_an_encoding_lacks_are_replaced():
    """One for one, so that columns stay aligned."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    screen = Screen(stream)
    screen.write("[■■··] 8:00 → 9:00 – ░●◐✗○▶│…", "42 µm")
    assert stream.buffer.getvalue().decode() == "[##..] 8:00 > 9:00 - :oc*_>|~\n42 ?m\n"


def test_paint_adds_nothing_without_colour():
    """Nor to an empty text."""
    assert Screen(io.StringIO()).paint("x", Style.RED) == "x"
    assert Screen(io.StringIO(), colour=True).paint("", Style.RED) == ""
    screen = Screen(io.StringIO(), colour=True)
    assert screen.showable(screen.paint("x", Style.BOLD, Style.RED)) == "\x1b[1;31mx\x1b[0m"


def test_style_that_a_text_brings_along_is_shown_as_text():
    """Also one of ours, beside a painted text and within it."""
    foreign = "\x1b[100mx\x1b[0m"
    screen = Screen(io.StringIO(), colour=True, columns=40)
    screen.write(*fit([foreign, screen.paint(f"{foreign} " * 5, Style.RED)], 40))
    shown = " [100mx [0m"
    lines = screen.stream.getvalue().splitlines()
    assert lines[0] == shown
    assert (lines[1].startswith(f"\x1b[31m{shown}"), lines[-1].endswith("\x1b[0m")) == (True, True)
    assert screen.stream.getvalue().count("\x1b") == 2


def test_text_by_others_stays_on_one_line():
    """Control characters, line breaks and marks that change the reading order become blanks."""
    assert one_line("a\x1b[2J\r\n\tb\u202ec  d") == "a [2J b c d"


@pytest.mark.parametrize(("text", "columns", "cut"), [("abcdef", 6, "abcdef"), ("abcdef", 4, "abc…"), ("ab", 0, "…")])
def test_long_text_is_cut(text, columns, cut):
    """An ellipsis marks the cut."""
    assert truncate(text, columns) == cut


def test_parts_flow_over_lines_and_are_never_cut():
    """Each part is whole, also where it is longer than a line."""
    assert flow(["aaaa", "bbb", "cc"], 10) == ["aaaa   bbb", "cc"]
    assert flow(["a long word"], 3) == ["a long word"]
    assert flow([], 3) == []


def test_widths_without_the_library_are_the_librarys():
    """It is loaded only for texts with other signs than these."""
    narrow = [chr(code) for code in range(0x3000) if _NARROW.fullmatch(chr(code))]
    assert {sign: wcwidth.width(sign) for sign in narrow} == dict.fromkeys(narrow, 1)


@pytest.mark.parametrize(
    ("text", "columns", "cut"),
    [("日本語", 6, "日本語"), ("日本語", 5, "日本…"), ("日本語", 4, "日 …"), ("e\u0301te\u0301s", 3, "e\u0301t…")],
)
def test_wide_letters_are_cut_by_columns(text, columns, cut):
    """A letter of two columns isn't cut in half, and an accent stays with its letter."""
    assert unicodedata.normalize("NFC", truncate(text, columns)) == unicodedata.normalize("NFC", cut)
