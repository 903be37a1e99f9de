"""The example of the configuration, as a person uses it and as it reads."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from tree import CONFIG

EXAMPLE: Final = CONFIG / "timelapsed.toml"

_COMMENTED: Final = re.compile(r'^#(?=[\["a-z])', re.MULTILINE)
"""The sign before a setting or the heading of a table; prose has a blank behind it."""

_HEADING: Final = re.compile(r"#\[(.+)\]")
_SETTING: Final = re.compile(r'#("?[\w$]+"?) = ')
_INSTEAD: Final = re.compile(r"Or, instead of (\w+):")


def uncommented() -> str:
    """Return the example with every setting that stands behind a ``#`` taken up."""
    return _COMMENTED.sub("", EXAMPLE.read_text())


def options(driver: str, *, alternatives: bool) -> dict[str, Any]:
    """Return the whole table of a driver; of settings that exclude each other the first, or the ``alternatives``."""
    values = tomllib.loads(uncommented())
    for (table, key), prose in prose_of_settings().items():
        former = _INSTEAD.match(prose)
        if former is not None:
            _table(values, table).pop(former[1] if alternatives else key)
    chosen: dict[str, Any] = values["drivers"][driver]
    return chosen


def prose_of_settings() -> dict[tuple[str, str], str]:
    """Return what is said of each setting, by table and key: the block of comments over it, or over its group."""
    said: dict[tuple[str, str], str] = {}
    table, block, ended = "", "", False
    for line in EXAMPLE.read_text().splitlines():
        if heading := _HEADING.fullmatch(line):
            table = heading[1]
        elif setting := _SETTING.match(line):
            said[table, setting[1].strip('"')] = block
            ended = True
        else:
            block = f"{block} {line[1:].strip()}".strip() if line and not ended else line[1:].strip()
            ended = False
    return said


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    for part in name.split("."):
        values = values[part]
    return values
