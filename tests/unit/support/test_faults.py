"""Checking configuration values: every fault is found at once."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.support.errors import EXIT_CONFIG, FaultsFound
from plantimager.timelapse.support.faults import (
    MAX_VALUE_CHARS,
    MISSING,
    Fault,
    Table,
    argv,
    boolean,
    format_value,
    number,
    one_of,
    text,
    whole_number,
)

TOML_VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.integers(5000, 5001).map(lambda digits: 16**digits),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def faults_of(values, read):
    """Read a table with ``read`` and return its faults as a person sees them."""
    faults = []
    read(Table(values, "table", faults))
    return [str(fault) for fault in faults]


def test_a_value_that_is_right_is_returned_as_read():
    """There is no fault."""
    faults = []
    table = Table({"count": 3}, "table", faults)
    assert table.read("count", whole_number(1)) == 3
    table.finish()
    assert faults == []


def test_every_fault_of_a_table_is_found_in_one_reading():
    """A missing key, a wrong type, a value out of range and an unknown key don't hide each other."""

    def read(table):
        assert table.read("absent", text) is None
        assert table.read("wrong", text) is None
        assert table.read("large", whole_number(1, 9), 5) == 5
        table.finish()

    assert faults_of({"wrong": 3, "large": 10, "larch": 1, "else": 2}, read) == [
        "[table] absent: required, but missing",
        "[table] wrong = 3: write a text in quotes",
        "[table] large = 10: out of range; write a whole number from 1 to 9",
        "[table] larch: unknown key; did you mean large?",
        "[table] else: unknown key; known are absent, wrong, large",
    ]


def test_a_default_is_not_checked_and_may_be_none():
    """An absent key gets its default unchanged."""
    table = Table({}, "table", [])
    assert table.read("key", whole_number(1), None) is None
    assert table.read("other", whole_number(1), -5) == -5
    assert table.faults == []


def test_tables_within_tables_are_named_with_dots():
    """A fault has the table's name as in its header, and all faults are in one list."""

    def read(table):
        inner = table.subtable("inner")
        inner.read("key", boolean)
        inner.finish()
        table.subtable("absent").finish()
        table.finish()

    assert faults_of({"inner": {"key": "yes"}}, read) == ['[table.inner] key = "yes": write true or false']


@pytest.mark.parametrize("value", [3, "text", [1], True])
def test_a_value_in_place_of_a_table_is_a_fault_of_the_table_around_it(value):
    """A person wrote ``inner = 3`` instead of ``[table.inner]``."""
    assert faults_of({"inner": value}, lambda table: table.subtable("inner").finish()) == [
        f"[table] inner = {format_value(value)}: write a table"
    ]


def test_the_rest_of_a_table_counts_as_known():
    """Some tables have keys that belong to another program."""
    faults = []
    table = Table({"mine": 1, "theirs": 2}, "", faults)
    table.read("mine", whole_number(0))
    assert table.rest() == {"theirs": 2}
    table.finish()
    assert faults == []


def test_an_unknown_key_does_not_show_its_value():
    """Its meaning is unknown: it may be a password."""
    assert "hunter2" not in "".join(faults_of({"password": "hunter2"}, Table.finish))


def test_an_error_lists_every_fault_under_the_name_of_the_file():
    """A line with their number is followed by a line for each. Systemd doesn't restart on the exit code."""
    error = FaultsFound([Fault("a", "x", 1, "wrong"), Fault("", "y", MISSING, "missing")]).named("/etc/f.toml")
    assert str(error) == "/etc/f.toml: 2 faults\n  [a] x = 1: wrong\n  y: missing"
    assert str(FaultsFound([Fault("", "y", 0, "no")], "f")) == "f: 1 fault\n  y = 0: no"
    assert error.exit_code == EXIT_CONFIG


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("text", '"text"'),
        ("Größe", '"Größe"'),
        ('a "quoted"\nline', '"a \\"quoted\\"\\nline"'),
        (True, "true"),
        (1.0, "1.0"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ([1, "a"], '[1, "a"]'),
        ({"a": 1}, '{"a": 1}'),
        (datetime(2026, 6, 22, 8, tzinfo=UTC), "2026-06-22T08:00:00+00:00"),
        (date(2026, 6, 22), "2026-06-22"),
        ("\x1b[31m\x9b31m\u202e", '"\\u001b[31m\\u009b31m\\u202e"'),
        pytest.param(16**5000, "a number of thousands of digits", id="huge number"),
        ([16**5000], "a number of thousands of digits"),
        ("x" * 100, '"' + "x" * 58 + "…"),
    ],
)
def test_values_are_shown_on_one_line_as_toml_has_them(value, line):
    """Long values are cut, and no character is left that a terminal would obey."""
    assert format_value(value) == line


@given(TOML_VALUES)
def test_every_value_of_toml_is_shown_on_one_line(value):
    """The line is printable and has a bounded length."""
    line = format_value(value)
    assert line.isprintable()
    assert len(line) <= MAX_VALUE_CHARS


@given(st.dictionaries(st.text(), TOML_VALUES, max_size=4), st.text())
def test_every_table_can_be_read_with_every_reader(values, key):
    """Readers raise no other exception than ValueError, so a table is read to its end. Each fault is one line."""
    faults = []
    table = Table(values, "table", faults)
    for key_read in (*values, key):
        for read in (text, boolean, whole_number(0), whole_number(1, 5), number, one_of("a", "b"), argv):
            table.read(key_read, read, None)
    table.finish()
    assert all(str(fault).isprintable() for fault in faults)


def test_keys_are_shown_on_one_line_too():
    """A quoted key may contain any character."""
    fault = str(Fault("a", "k\n\x1b[2J" + "k" * 100, MISSING, "unknown key"))
    assert fault.isprintable()
    assert len(fault) < 100


@pytest.mark.parametrize("value", [1.5, True, "3", None, [3]])
def test_a_whole_number_is_neither_text_nor_truth(value):
    """`bool` is an `int` in Python, not in TOML."""
    with pytest.raises(ValueError, match="write a whole number of at least 1"):
        whole_number(1)(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "3"])
def test_a_number_is_finite(value):
    """Later arithmetic can't fail on it."""
    with pytest.raises(ValueError, match="write a number"):
        number(value)


@pytest.mark.parametrize("value", [[], "take-scan", [1], ["a", 2], None, {}])
def test_a_program_is_a_list_of_texts(value):
    """A single text is refused, since no shell splits it."""
    with pytest.raises(ValueError, match="write a list of texts, the program first"):
        argv(value)


def test_a_program_has_a_name():
    """An empty first text is a mistake."""
    with pytest.raises(ValueError, match="the program"):
        argv(["", "x"])
    assert argv(["a", ""]) == ("a", "")
