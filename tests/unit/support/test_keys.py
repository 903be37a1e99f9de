"""Keys that are declared once, as fields of a struct."""

from typing import Annotated

import pytest
from msgspec import Struct

from plantimager.timelapse.support.faults import MISSING, Table, boolean, text, whole_number
from plantimager.timelapse.support.keys import Key, keys_of, read_key, read_keys, read_table


class Base(Struct, frozen=True, kw_only=True):
    """A struct with a required key."""

    device: Annotated[str, Key(text)]


class Options(Base, frozen=True, kw_only=True):
    """A struct with keys of its own, an inherited one, and a field that is no key."""

    skip: Annotated[int, Key(whole_number(0, 100), "pictures")] = 5
    is_low: Annotated[bool, Key(boolean, name="active_low")] = False
    note: str = ""


@pytest.fixture
def read():
    """Return a function that reads a table, and returns the options and the faults as a person sees them."""

    def run(values):
        faults = []
        options = read_table(Options, Table(values, "drivers.mine", faults))
        return options, [str(fault) for fault in faults]

    return run


def test_key_has_the_name_and_the_default_of_its_field():
    """It may have a name of its own; a field without a default is a required key."""
    keys = keys_of(Options)
    assert [(field, key.name, key.default) for field, key in keys.items()] == [
        ("device", "device", MISSING),
        ("skip", "skip", 5),
        ("is_low", "active_low", False),
    ]


def test_table_becomes_its_struct(read):
    """Absent keys have their defaults."""
    assert read({"device": "/dev/video0", "active_low": True}) == (Options(device="/dev/video0", is_low=True), [])


def test_every_fault_of_a_declared_table_is_reported(read):
    """A required key that is missing, a faulty value, and an unknown key with the closest declared one."""
    assert read({"skip": 1000, "activ_low": True})[1] == [
        "[drivers.mine] device: required, but missing",
        "[drivers.mine] skip = 1000: out of range; write a whole number from 0 to 100",
        "[drivers.mine] activ_low: unknown key; did you mean active_low?",
    ]


def test_field_that_is_no_key_is_not_read(read):
    """Its name in a file is an unknown key."""
    assert "note: unknown key" in read({"device": "x", "note": "mine"})[1][0]


def test_reader_that_depends_on_other_values_replaces_the_declared_one():
    """Name and default stay those of the declaration."""
    table = Table({"skip": "many"}, "", [])
    assert read_key(table, keys_of(Options)["skip"], len) == 4
    assert read_key(Table({}, "", []), keys_of(Options)["skip"], len) == 5


def test_keys_of_a_struct_can_be_taken_out_of_a_larger_table():
    """Unknown keys are left for the reader of the rest."""
    faults = []
    table = Table({"device": "x", "other": 1}, "", faults)
    assert read_keys(Options, table) == {"device": "x", "skip": 5, "is_low": False}
    assert faults == []
