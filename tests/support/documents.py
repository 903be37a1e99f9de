"""The manual pages' OPTIONS, written from the declared keys; and what the commented examples say of each key.

Run as a program it writes the OPTIONS again: ``.venv-test/bin/python tests/support/documents.py``.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
import tomllib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct
from tree import CONFIG, MANUALS

from plantimager.timelapse.domain.durations import format_exact_duration
from plantimager.timelapse.drivers.cameras import (
    CameraTable,
    CommandCameraOptions,
    Gphoto2Options,
    Picamera2Options,
    V4l2Options,
)
from plantimager.timelapse.drivers.command.command_options import CommandOptions
from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
from plantimager.timelapse.drivers.grbl.rig_options import Park, RigOptions
from plantimager.timelapse.drivers.simulated import SimulatedOptions
from plantimager.timelapse.drivers.switches import SwitchOptions
from plantimager.timelapse.scan.cameras import Camera, Offset
from plantimager.timelapse.scan.paths import PATHS, ScanPath
from plantimager.timelapse.settings.config import Config, Logging
from plantimager.timelapse.settings.definition import Definition
from plantimager.timelapse.settings.deliver_config import DeliverTarget, RetentionRules
from plantimager.timelapse.settings.relay_config import HeartbeatSettings, LookSettings, MetricsSettings, NotifySettings
from plantimager.timelapse.support.faults import MISSING
from plantimager.timelapse.support.keys import Key, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CAMERAS: Final = "drivers.grbl.cameras.NAME"

TABLES: Final[Mapping[str, Mapping[str, tuple[type[Struct], ...]]]] = {
    "timelapsed.toml": {
        "": (Config,),
        "logging": (Logging,),
        "relay.deliver.NAME": (DeliverTarget,),
        "relay.retention": (RetentionRules,),
        "relay.notify": (NotifySettings,),
        "relay.heartbeat": (HeartbeatSettings,),
        "relay.metrics": (MetricsSettings,),
        "relay.look": (LookSettings,),
        "drivers.simulated": (SimulatedOptions,),
        "drivers.command": (CommandOptions,),
        "drivers.grbl": (ArmOptions, RigOptions),
        "drivers.grbl.park": (Park,),
        CAMERAS: (CameraTable, Gphoto2Options, V4l2Options, Picamera2Options, CommandCameraOptions),
        "drivers.grbl.switches.NAME": (SwitchOptions,),
    },
    "timelapse.toml": {
        "timelapse": (Definition,),
        "ScanPath": (ScanPath,),
        "ScanPath.kwargs": tuple(PATHS.values()),
        "CAMERA": (Camera,),
        "CAMERA.offset": (Offset,),
    },
}
"""The tables of both files, by their names, and the structs that declare their keys."""

_WIDTH: Final = 79
_BLOCK: Final = re.compile(
    r'(?ms)^\.\\" Keys of (?P<kind>\w+), written by tests/support/documents\.py\n(?P<text>.*?)^\.\\" End\n'
)


class Entry(NamedTuple):
    """Keys with one help."""

    keys: tuple[Key, ...]
    help: str


def entries_of(kind: type[Struct]) -> Iterator[Entry]:
    """Yield the keys that a struct declares; a docstring is that of all keys since the last one."""
    help_of = _docstrings(kind)
    group: list[Key] = []
    for field, key in keys_of(kind).items():
        group.append(key)
        if field in help_of:
            yield Entry(tuple(group), help_of[field])
            group = []
    assert not group, f"{kind.__name__}.{group[0].name} has no help; write a docstring below it"


def _docstrings(kind: type) -> dict[str, str]:
    """Return the docstrings of a class's fields, on one line each; also of fields that it inherits."""
    found: dict[str, str] = {}
    for cls in reversed(kind.__mro__[: kind.__mro__.index(Struct)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined] - of a class
        for field, below in itertools.pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


# --- absent keys -------------------------------------------------------------------------------


def absence_of(key: Key) -> str:
    """Return what holds where the key is absent: ``Default: "10m"``, ``Required``."""
    if key.default is MISSING:
        return "Required"
    if key.absent:
        return key.absent if key.absent.startswith("Required") else f"Default: {key.absent}"
    return f"Default: {_as_written(key) if has_default(key) else 'none'}"


def has_default(key: Key) -> bool:
    """Whether the key has a default that a person could write."""
    return key.default is not MISSING and not key.absent and (bool(key.default) or key.default in (0, timedelta(0)))


def _as_written(key: Key) -> str:
    """Return the default as TOML has it: the first spelling that the key reads as its default."""
    for spelling in _spellings(key):
        value = tomllib.loads(f"value = {spelling}")["value"]
        try:
            if key.read(value) == key.default:
                return spelling
        except ValueError:
            continue
    raise AssertionError(f"nobody could write the default of {key.name}: {key.default!r}")


def _spellings(key: Key) -> Iterator[str]:
    default = key.default
    match default:
        case bool():
            yield str(default).lower()
        case timedelta():
            if key.unit == "s" or not default:
                yield f"{default.total_seconds():g}"
            yield f'"{format_exact_duration(default)}"'
        case int() | float():
            if key.unit == "size":
                yield f'"{default / 1e9:g} GB"' if default >= 1e9 else f'"{default / 1e6:g} MB"'
            yield f"{default:g}" if isinstance(default, float) else str(default)
        case tuple():
            inner = [f'"{item}"' if isinstance(item, str) else f"{item:g}" for item in default]
            if len(inner) == 1:
                yield inner[0]
            yield f"[{', '.join(inner)}]"
        case _:
            yield f'"{default}"'


# --- the manual pages -------------------------------------------------------------------------


def page_of(file: str) -> Path:
    """Return the manual page of a file."""
    return MANUALS / f"{file}.5"


def blocks_of(file: str) -> dict[str, str]:
    """Return the parts of a manual page that are written from declarations, by the names of the structs."""
    return {match["kind"]: match["text"] for match in _BLOCK.finditer(page_of(file).read_text())}


def block(kind: type[Struct]) -> str:
    """Return what the manual page says of the keys of a struct."""
    return "".join(_roff_entry(entry) for entry in entries_of(kind))


def _roff_entry(entry: Entry) -> str:
    names = " ".join(key.name for key in entry.keys)
    alike = {(key.unit, absence_of(key)) for key in entry.keys}
    assert len(alike) == 1, f"{names} share a help, but not unit and default; write a docstring below each"
    ((unit, absence),) = alike
    tag = f'.BR "{_escape(names)}" " ({_escape(unit)})"' if unit else f".B {_escape(names)}"
    sentences = re.split(r"(?<=\.) (?=[A-Z])", entry.help)
    lines = [line for sentence in (*sentences, absence) for line in _wrap(sentence)]
    return "\n".join([".TP", tag, *lines]) + "\n"


def _wrap(sentence: str) -> list[str]:
    lines = textwrap.wrap(_escape(sentence), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"\\&{line}" if line.startswith((".", "'")) else line for line in lines]


def _escape(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"``(.+?)``", r"\\fI\1\\fP", text)


def write_pages() -> None:
    """Write the OPTIONS of both manual pages again."""
    for file, tables in TABLES.items():
        kinds = {kind.__name__: kind for structs in tables.values() for kind in structs}
        text = page_of(file).read_text()
        for match in reversed([*_BLOCK.finditer(text)]):
            start, end = match.span("text")
            text = text[:start] + block(kinds[match["kind"]]) + text[end:]
        page_of(file).write_text(text)


# --- the commented examples -------------------------------------------------------------------

_COMMENTED: Final = re.compile(r'^#(?=[\["a-z])', re.MULTILINE)
"""The sign before a setting or the heading of a table; prose has a blank behind it."""
_HEADING: Final = re.compile(r"#?\[(.+)\]")
_SETTING: Final = re.compile(r'#?("?[\w$]+"?) = ')
_REMARK: Final = re.compile(r"\s{2,}# (.*)$")
_INSTEAD: Final = re.compile(r"Or, instead of (\w+):")


def example(file: str) -> Path:
    """Return the commented example of a file."""
    return CONFIG / file


def uncommented(file: str = "timelapsed.toml") -> str:
    """Return an example with every setting that stands behind a ``#`` taken up."""
    return _COMMENTED.sub("", example(file).read_text())


def head(file: str) -> str:
    """Return what an example says of all its tables: its comments up to the first setting."""
    lines = example(file).read_text().splitlines()
    first = next(index for index, line in enumerate(lines) if _SETTING.match(line))
    return " ".join(line[1:].strip() for line in lines[:first])


def prose_of_settings(file: str = "timelapsed.toml") -> dict[tuple[str, str], str]:
    """Return what an example says of each setting, by table and key.

    It is the comment above the setting, or above its group, and the one behind it on the line.
    """
    said: dict[tuple[str, str], str] = {}
    table, above, ended = "", "", False
    for line in example(file).read_text().splitlines():
        if heading := _HEADING.fullmatch(line):
            table = heading[1]
        elif setting := _SETTING.match(line):
            remark = _REMARK.search(line)
            said[table, setting[1].strip('"')] = f"{above} {remark[1] if remark else ''}".strip()
            ended = True
        else:
            above = f"{above} {line[1:].strip()}".strip() if line and not ended else line[1:].strip()
            ended = False
    return said


def options(driver: str, *, alternatives: bool) -> dict[str, Any]:
    """Return the whole table of a driver; of settings that exclude each other the first, or the ``alternatives``."""
    values = tomllib.loads(uncommented())
    for (table, key), prose in prose_of_settings().items():
        former = _INSTEAD.match(prose)
        if former is not None:
            place = values
            for part in table.split("."):
                place = place[part]
            place.pop(former[1] if alternatives else key)
    chosen: dict[str, Any] = values["drivers"][driver]
    return chosen


if __name__ == "__main__":
    write_pages()
