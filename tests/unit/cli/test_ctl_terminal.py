"""What output looks like where."""

import io
import os
import termios

import pytest

from plantimager.timelapse.cli.terminal import Screen, Style, fitted, flowing, screen_of
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
    """As it is now, not as a variable remembers it."""
    screen = screen_of(terminal, {"TERM": "xterm"})
    assert (screen.interactive, screen.colour, screen.columns, screen.lines) == (True, True, 100, 40)


@pytest.mark.parametrize("value", ["1", "0", "yes"])
def test_no_color_is_honoured(terminal, value):
    """Whatever its value; the terminal is still one."""
    screen = screen_of(terminal, {"TERM": "xterm", "NO_COLOR": value})
    assert (screen.interactive, screen.colour) == (True, False)


def test_dumb_terminal_gets_neither_colour_nor_cursor_tricks(terminal):
    """It would print them as letters."""
    screen = screen_of(terminal, {"TERM": "dumb"})
    assert (screen.interactive, screen.colour) == (False, False)


def test_what_is_no_terminal_has_lines_of_any_length():
    """A file or a pipe is for grep."""
    screen = screen_of(io.StringIO(), {"TERM": "xterm"})
    assert (screen.interactive, screen.colour, screen.columns) == (False, False, None)


@pytest.mark.parametrize(("value", "columns"), [("40", 40), ("0", None), ("wide", None), ("-5", None), ("", None)])
def test_columns_is_honoured_where_it_is_a_number(value, columns):
    """Anything else is ignored."""
    assert screen_of(io.StringIO(), {"COLUMNS": value}).columns == columns


def test_signs_that_a_terminal_lacks_have_stand_ins():
    """One for one, so that columns stay."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    screen = Screen(stream)
    screen.write("[■■··] 8:00 → 9:00 – ░●◐✗○▶│…", "42 µm")
    assert stream.buffer.getvalue().decode() == "[##..] 8:00 > 9:00 - :oc*_>|~\n42 ?m\n"


def test_paint_adds_nothing_without_colour():
    """Nor to nothing."""
    assert Screen(io.StringIO()).paint("x", Style.RED) == "x"
    assert Screen(io.StringIO(), colour=True).paint("", Style.RED) == ""
    assert Screen(io.StringIO(), colour=True).paint("x", Style.BOLD, Style.RED) == "\x1b[1;31mx\x1b[0m"


def test_foreign_words_stay_on_their_line():
    """Control characters, line breaks and marks that turn the reading order become blanks."""
    assert one_line("a\x1b[2J\r\n\tb\u202ec  d") == "a [2J b c d"


@pytest.mark.parametrize(("text", "columns", "cut"), [("abcdef", 6, "abcdef"), ("abcdef", 4, "abc…"), ("ab", 0, "…")])
def test_text_is_cut_to_what_fits(text, columns, cut):
    """With a sign that it was."""
    assert fitted(text, columns) == cut


def test_words_flow_and_are_never_cut():
    """Each stands whole on some line."""
    assert flowing(["aaaa", "bbb", "cc"], 10) == ["aaaa   bbb", "cc"]
    assert flowing(["a long word"], 3) == ["a long word"]
    assert flowing([], 3) == []
