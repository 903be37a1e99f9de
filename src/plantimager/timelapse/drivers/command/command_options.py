"""The table ``[drivers.command]``."""

# Annotations are evaluated here, since `CommandOptions` declares keys.

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from msgspec import Struct

from plantimager.timelapse.datasets.disk_space import KEEP_FREE, read_size
from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.drivers.command.exchange import SCAN_VARIABLES
from plantimager.timelapse.support.faults import Fault, Table, program, whole_number
from plantimager.timelapse.support.keys import Key, read_keys

TABLE: Final = "drivers.command"

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class CommandOptions(Struct, frozen=True, kw_only=True):
    """The programs of a rig, and how long each may take."""

    argv: Annotated[tuple[str, ...], Key(program, is_program=True)]
    """The program that scans; see below."""
    prepare: Annotated[tuple[str, ...] | None, Key(program, is_program=True)] = None
    """A program that gets the rig ready before a scan. The rig is ready if it exits with 0. What it leaves running in a
    session of its own (``setsid``), such as what holds a light on, is ended after the next standby; all that ``argv``
    and ``recover`` leave running is ended at once."""
    standby: Annotated[tuple[str, ...] | None, Key(program, is_program=True)] = None
    """A program that powers the rig down, when the next scan is far off. What it leaves running is ended when the
    service ends."""
    recover: Annotated[
        tuple[str, ...] | None, Key(program, is_program=True, absent="none, and the slot is attempted again")
    ] = None
    """A program that says, after the daemon was killed in the middle of a scan, whether the scan had finished: it exits
    with 0 for yes. It sees what the program that scans saw, and what that left in its directory."""
    prepare_timeout: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(minutes=1)
    standby_timeout: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(minutes=1)
    recover_timeout: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(minutes=1)
    """The longest that each of these three may take."""
    stop_grace: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(seconds=10)
    """How long a program that has to stop gets from SIGTERM to SIGKILL."""
    expect: Annotated[int, Key(whole_number(1), "files")] = 1
    """How many files the program leaves at the least. With fewer the attempt has failed, whatever the exit status."""
    keep_free: Annotated[int, Key(read_size, "size")] = KEEP_FREE
    """With less than this free on the disk of the datasets no scan is begun."""
    environment: Mapping[str, str] = {}
    """The variables of ``[drivers.command.environment]``."""


def read_command_options(values: Mapping[str, Any], faults: list[Fault]) -> CommandOptions:
    """Return the options of ``[drivers.command]``, and add what is wrong with the table to ``faults``."""
    table = Table(dict(values), TABLE, faults)
    options = CommandOptions(**read_keys(CommandOptions, table), environment=_read_environment(table))
    table.finish()
    return options


def _read_environment(parent: Table) -> Mapping[str, str]:
    table = parent.subtable("environment")
    return {name: table.read(name, _value_of(name), "") for name in table.rest()}


def _value_of(name: str) -> Callable[[object], str]:
    """Return the reader of a variable."""

    def read(value: object) -> str:
        if name in SCAN_VARIABLES:
            raise ValueError("the driver itself sets this variable")
        if not _VARIABLE.fullmatch(name):
            raise ValueError("not the name of a variable; write letters, digits and _")
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("write a text in quotes")
        return value

    return read
