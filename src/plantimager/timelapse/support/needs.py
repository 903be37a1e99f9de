"""What settings need of the environment of the service: programs, and modules of extras.

A key whose value is a program says so (`Key.is_program`). A struct that needs more has a property ``needs``. `needs_of`
finds them all in any settings, however deep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.support.keys import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Need(Struct, frozen=True):
    """A program, or a module of an extra."""

    key: str
    """The key that needs it, and its value."""
    value: object
    program: str = ""
    module: str = ""
    extra: str = ""
    """The extra of this distribution that has the module, if any has."""
    cure: str = ""
    """How a person gets it; an extra says so itself."""
    table: str = ""
    """Dotted name of the table of the key; `needs_of` fills it in."""
    is_guess: bool = False
    """Whether it may be none: see `programs_in`."""


def needs_of(settings: object, table: str = "") -> Iterator[Need]:
    """Yield what settings need, in a struct that was read from ``table`` and in all that it holds."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from needs_of(value, f"{table}.{name}")
    elif isinstance(settings, tuple | list):
        for value in settings:
            yield from needs_of(value, f"{table}.{getattr(value, 'name', '')}")
    elif isinstance(settings, Struct):
        for need in (*getattr(settings, "needs", ()), *_programs(settings)):
            yield replace(need, table=table)
        for name in settings.__struct_fields__:
            yield from needs_of(getattr(settings, name), f"{table}.{name}".lstrip("."))


def programs_in(value: object, table: str = "") -> Iterator[Need]:
    """Yield as a guess what begins a list of texts with a path, a program perhaps: for options that declare nothing."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from programs_in(inner, f"{table}.{name}")
    elif isinstance(value, list | tuple):
        if value and isinstance(value[0], str) and value[0].startswith("/"):
            where, _, key = table.rpartition(".")
            yield Need(key, [*value], program=value[0], table=where, is_guess=True)
        for inner in value:
            yield from programs_in(inner, table)


def _programs(settings: Struct) -> Iterator[Need]:
    try:
        keys = keys_of(type(settings))
    except NameError:  # its module doesn't evaluate annotations, and so declares no keys
        return
    for name, key in keys.items():
        words = getattr(settings, name)
        if key.is_program and words:
            yield Need(key.name, [*words], program=words[0])
