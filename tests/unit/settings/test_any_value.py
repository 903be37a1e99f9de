"""Every key that is declared, with values of every type: each is accepted, or refused with place, value and remedy."""

from datetime import UTC, date, datetime, time

import pytest
from documents import TABLES

from plantimager.timelapse.support.faults import MAX_VALUE_CHARS, Table
from plantimager.timelapse.support.keys import keys_of

KEYS = {
    (table, key.name): key
    for tables in TABLES.values()
    for table, kinds in tables.items()
    for kind in kinds
    for key in keys_of(kind).values()
}
NUMBERS = (-1, 0, 1, 10**18, -(2**63), 0.0, 1.5, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    *("", "x", "\0", "/\0", "\x1b[31m", "\u202e", "a" * 10_000, f"/{'a' * 5000}", "~", "0", "٣", "-1h", "999999999d"),
    *("1e999", "http://[", "http://a:99999/", "22:00-22:00", "25:00-26:00", "a:b", "0 MB", "-5 %", "2026-13-45"),
)
LISTS = ([], [[]], [1], ["", ""], ["/x\0"], ["x", 1], [{}], [[[[1]]]], [float("nan")] * 2, [True])
TABLES_IN_IT = ({}, {"a": 1}, {"class_name": []}, {"class_name": "CalibrationPath", "kwargs": {}})
NAIVE = map(datetime.fromisoformat, ("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"))
TIMES = (*NAIVE, datetime(2026, 1, 1, tzinfo=UTC), date.max, date.min, time(1), time.max)
VALUES = (True, False, *NUMBERS, *TEXTS, *LISTS, *TABLES_IN_IT, *TIMES)
MAX_PROBLEM_CHARS = 500


@pytest.mark.parametrize("place", KEYS, ids=" ".join)
def test_every_value_of_a_key_is_accepted_or_refused(place):
    """No reader raises anything but what is allowed, and the fault names the key, shows the value, and can be shown."""
    table, name = place
    for value in VALUES:
        faults = []
        Table({name: value}, table, faults).read(name, KEYS[place].read, None)
        for line in map(str, faults):
            assert line.startswith(f"[{table}] {name}" if table else name)
            assert line.isprintable()
            assert len(line) <= len(table) + len(name) + MAX_VALUE_CHARS + MAX_PROBLEM_CHARS, line


def test_the_values_find_a_reader_that_forgets_a_type():
    """The list of values is worth something: each kind of carelessness below is met by one of them."""

    def all_refused(read):
        for value in VALUES:
            Table({"key": value}, "", []).read("key", read, None)

    for careless in (lambda value: value + 1, lambda value: value.strip(), lambda value: value[0], dict):
        with pytest.raises((TypeError, AttributeError, KeyError, IndexError)):
            all_refused(careless)
