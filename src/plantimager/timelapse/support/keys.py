"""The keys of the tables that people write, each declared once: as the field that holds its value.

::

    class WebcamOptions(Struct, frozen=True):
        device: Annotated[str, Key(text)]
        "The device, such as ``/dev/video0``."
        skip: Annotated[int, Key(whole_number(0, 100), "pictures")] = 5
        "Pictures that are thrown away before each one that counts."

Name and default of the key are those of the field; a field without a default is a required key. The docstring of the
field is the help of the key, in sentences for the person who writes the file; several fields share the docstring that
stands below the last of them. `read_keys` takes the keys out of a table and reports what is wrong with them. The
manual pages are written from the same declarations, and the commented example files are checked against them
(``tests/unit/settings/test_documents.py``).

A module that declares keys does without ``from __future__ import annotations``, because its annotations are read.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields, replace

from plantimager.timelapse.support.faults import MISSING, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

S = TypeVar("S", bound=Struct)


class Key(Struct, frozen=True):
    """One key that a person may write."""

    read: Callable[[Any], Any]
    """Takes the TOML value and returns it checked; raises `ValueError` with what is allowed."""
    unit: str = ""
    """The unit of the value: ``mm``, ``pixels``; ``duration`` stands for text like "1h30m", ``size`` for "500 MB"."""
    absent: str = ""
    """The meaning of an absent key, in words, where the default value doesn't give it: "as the board's $110 says",
    "Required in mode interval"."""
    is_program: bool = False
    """Whether the value is a program and its arguments, see `needs`."""
    name: str = ""
    """The key; `keys_of` fills in the name of the field."""
    default: Any = MISSING
    """The value of an absent key, `MISSING` where the key is required; `keys_of` fills in the default of the field."""


@cache
def keys_of(kind: type[Struct]) -> Mapping[str, Key]:
    """Return the keys that a struct declares, by the names of its fields; fields without a `Key` are left out."""
    keys = {}
    for field in fields(kind):
        for key in getattr(field.type, "__metadata__", ()):
            if isinstance(key, Key):
                default = MISSING if field.default is NODEFAULT else field.default
                keys[field.name] = replace(key, name=key.name or field.name, default=default)
    return keys


def read_key(table: Table, key: Key, read: Callable[[Any], Any] | None = None) -> Any:
    """Return the value of a key; ``read`` replaces its reader where that depends on other values."""
    return table.read(key.name, read or key.read, key.default)


def read_keys(kind: type[Struct], table: Table) -> dict[str, Any]:
    """Read all keys that a struct declares from a table; return their values by the names of the fields.

    A key that is required and missing or faulty is ``None``: look at the faults before the values are used.
    """
    return {field: read_key(table, key) for field, key in keys_of(kind).items()}


def read_table(kind: type[S], table: Table) -> S:
    """Return a struct that is a whole table, and report its unknown keys, too. See `read_keys`."""
    result = kind(**read_keys(kind, table))
    table.finish()
    return result
