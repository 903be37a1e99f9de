"""Every key that a person may write is declared once, and all documents say what the declaration says.

The OPTIONS of timelapsed.toml(5) and timelapse.toml(5) are written from the declarations: name, unit, help, default.
The commented examples in ``config`` are written by hand, since they guide a first reader, and are checked.
"""

import importlib
import re
import tomllib
from importlib.metadata import distribution

import documents
import pytest
from documents import CAMERAS, TABLES, example, has_default, options, prose_of_settings, uncommented
from msgspec import Struct
from tree import MANUALS, TREE

from plantimager.timelapse.drivers import DISTRIBUTION, ENTRY_POINT_GROUP, load_driver
from plantimager.timelapse.drivers.cameras import KINDS
from plantimager.timelapse.scan.lights import Role
from plantimager.timelapse.scan.miappe import MIAPPE_TABLES
from plantimager.timelapse.scan.paths import PATHS, Circle
from plantimager.timelapse.settings.config import LOG_LEVELS, ClockPolicy, Missed, read_config
from plantimager.timelapse.settings.definition import IGNORED_KEYS, read_definition
from plantimager.timelapse.support.faults import MISSING, Table
from plantimager.timelapse.support.keys import keys_of

DRIVERS = sorted(distribution(DISTRIBUTION).entry_points.select(group=ENTRY_POINT_GROUP).names)

FREE = {"drivers.command.environment", "drivers.grbl.settings"}
"""Tables whose keys are a person's choice."""

IN_THE_HEAD = {
    "mm": "Lengths are in mm",
    "degrees": "angles in degrees",
    "duration": "Durations are seconds",
    "size": "Sizes are text",
}
"""Units that an example explains once for all keys, and the words with which it does."""


@pytest.mark.parametrize("file", TABLES)
def test_declaration_manual_page_and_example_agree(file):
    """A key that is added, renamed or given another default in one place only is found here, with what to do."""
    wrong = [*undeclared_tables(), *faults_of_the_page(file), *faults_of_the_example(file)]
    assert not wrong, "\n".join(wrong)


def undeclared_tables():
    """Yield the structs with keys that `documents.TABLES` leaves out: they would be in no document."""
    known = {kind for tables in TABLES.values() for kinds in tables.values() for kind in kinds}
    for path in sorted((TREE / "src").rglob("*.py")):
        if re.search(r"^from plantimager\.timelapse\.support\.keys import .*\bKey\b", path.read_text(), re.MULTILINE):
            parts = path.relative_to(TREE / "src").with_suffix("").parts
            module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
            for kind in vars(module).values():
                declares = isinstance(kind, type) and issubclass(kind, Struct) and kind.__module__ == module.__name__
                if declares and not kind.__name__.startswith("_") and keys_of(kind) and kind not in known:
                    yield f"{kind.__name__} declares keys; add it to TABLES of tests/support/documents.py"


def faults_of_the_page(file):
    """Yield where the manual page isn't what is written from the declarations."""
    written = documents.blocks_of(file)
    for kind in (kind for kinds in TABLES[file].values() for kind in kinds):
        if written.pop(kind.__name__, None) != documents.block(kind):
            yield f"{file}(5): {kind.__name__} is not as declared; run tests/support/documents.py"
    yield from (f"{file}(5): nothing declares the keys of {name}" for name in written)


def faults_of_the_example(file):
    """Yield where the example lacks a key, has one that doesn't exist, or says something else of one."""
    said = prose_of_keys(file)
    head = documents.head(file)
    for (table, kind), keys in declared(file).items():
        for key in keys.values():
            place = f"config/{file}: [{table}] {key.name}"
            prose = said.pop((table, kind, key.name), None)
            if not prose:
                yield f"{place} has no help"
                continue
            if not states_absence(key, prose):
                yield f"{place}: what is said isn't {documents.absence_of(key)}"
            if key.unit and key.unit.lower() not in prose.lower() and IN_THE_HEAD.get(key.unit, key.unit) not in head:
                yield f"{place} doesn't say its unit, {key.unit}"
    yield from (f"config/{file}: nothing declares {place}" for place in said)


def declared(file):
    """Return the keys of all tables that the example shows, by table and kind of camera.

    It shows one scan path; the manual page has all of them.
    """
    keys = {}
    for table, kinds in TABLES[file].items():
        kind_of = dict(zip(kinds, ("", *KINDS), strict=True)) if table == CAMERAS else dict.fromkeys(kinds, "")
        for struct, kind in kind_of.items():
            if table != "ScanPath.kwargs" or struct is Circle:
                keys[table, kind] = keys.get((table, kind), {}) | keys_of(struct)
    return keys


def table_of(name):
    """Return the name under which `documents.TABLES` has a table; names that people choose stand for any."""
    name = re.sub(r"^(drivers\.grbl\.(?:cameras|switches))\.\w+", r"\1.NAME", name)
    name = re.sub(r"^relay\.deliver\.\w+", "relay.deliver.NAME", name)
    return re.sub(r"^picamera2?\b", "CAMERA", name)


def prose_of_keys(file):
    """Return what an example says of each key; of a key that stands there several times, the first time."""
    kinds = {
        f"drivers.grbl.cameras.{name}": camera["kind"]
        for name, camera in tomllib.loads(uncommented())["drivers"]["grbl"]["cameras"].items()
    }
    said = {}
    for (table, key), prose in prose_of_settings(file).items():
        free = {"scan", "Metadata", *MIAPPE_TABLES, *FREE}
        if free.isdisjoint((table.split(".")[0], table, f"{table}.{key}")):
            said.setdefault((table_of(table), kinds.get(table, "") if key != "kind" else "", key), prose)
    if park := said.pop(("drivers.grbl", "", "park"), None):
        said |= {("drivers.grbl.park", "", key): park for key in options("grbl", alternatives=False)["park"]}
    return said


def states_absence(key, prose):
    """Whether prose says what holds where the key is absent; where words say it, in words of its own."""
    if has_default(key):
        stated = prose.rpartition("Default: ")[2]
        try:
            return key.read(tomllib.loads(f"value = {stated}")["value"]) == key.default
        except ValueError:  # not TOML, or nothing that the key may be
            return False
    if key.default is MISSING or key.absent.startswith("Required"):
        return "Required" in prose or "Or, instead of" in prose
    return "Default: " in prose


# --- what the code does ------------------------------------------------------------------------


def test_code_reads_no_key_that_is_not_declared(tmp_path, monkeypatch):
    """Both files are read, and every driver is made, with all that the examples have."""
    seen = set()

    def noted(table, key, *arguments, **more):
        seen.add((table.name, key))
        return read(table, key, *arguments, **more)

    read = Table.read
    monkeypatch.setattr(Table, "read", noted)
    (tmp_path / "timelapsed.toml").write_text(uncommented().partition("[scan.")[0])
    read_config(tmp_path / "timelapsed.toml")
    for driver in DRIVERS:
        load_driver(driver, options(driver, alternatives=False)).close()
    read_definition(example("timelapse.toml"))
    tables = [(table, keys) for file in TABLES for (table, _), keys in declared(file).items()]
    known = {(table, key.name) for table, keys in tables for key in keys.values()}
    assert {(table_of(table), key) for table, key in seen if table not in FREE} <= known
    assert ("drivers.grbl.cameras.webcam", "skip") in seen


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("alternatives", [False, True], ids=["first", "alternatives"])
def test_driver_accepts_all_that_a_person_uncomments(driver, alternatives):
    """All settings are tried at once; where two exclude each other, either is."""
    load_driver(driver, options(driver, alternatives=alternatives)).close()


def test_alternatives_are_found():
    """The test above finds them by their words."""
    assert "usb" not in options("grbl", alternatives=False)
    assert "port" not in options("grbl", alternatives=True)


def test_uncommenting_a_key_that_has_a_default_changes_nothing():
    """It stands in the example with its default."""
    values = tomllib.loads(uncommented())
    changed = []
    for (table, _), keys in declared("timelapsed.toml").items():
        place = values
        for part in table.split(".") if table else ():
            place = place.get(part, {})
        shown = [key for key in keys.values() if key.name in place and has_default(key)]
        changed += [(table, key.name) for key in shown if key.read(place[key.name]) != key.default]
    assert changed == []


def test_every_kind_of_camera_and_driver_is_shown():
    """Which keys a table has depends on them."""
    drivers = tomllib.loads(uncommented())["drivers"]
    assert sorted(drivers) == DRIVERS
    assert {camera["kind"] for camera in drivers["grbl"]["cameras"].values()} == {*KINDS}


@pytest.mark.parametrize("word", [*DRIVERS, *KINDS, *Role, *Missed, *ClockPolicy, *LOG_LEVELS, "endless"], ids=str)
def test_every_word_that_a_key_may_have_is_in_the_documents(word):
    """It stands there in quotes, as it is written."""
    assert f'"{word}"' in uncommented()
    assert f'"{word}"' in page("timelapsed.toml")


@pytest.mark.parametrize("word", [*PATHS, "interval", "one_shot", "fixed_times", "skip_scan", "fail_timelapse"])
def test_every_word_of_a_definition_is_in_the_documents(word):
    """It stands there in quotes, as it is written."""
    assert f'"{word}"' in uncommented("timelapse.toml")
    assert f'"{word}"' in page("timelapse.toml")


def test_ignored_keys_are_in_the_manual_page():
    """Under a heading of their own, so that nobody looks for what they do."""
    section = page("timelapse.toml").partition(".SS Ignored keys")[2].partition(".SS ")[0]
    assert {*re.findall(r"^\.TP\n\.B (\w+)$", section, re.MULTILINE)} == {*IGNORED_KEYS}


def test_documents_send_nobody_into_the_sources():
    """A person who reads them has an installed machine."""
    pages = "".join(re.sub(r'(?m)^\.\\".*$', "", page(file)) for file in TABLES)
    assert "src/" not in "".join(uncommented(file) for file in TABLES) + pages


def page(file):
    """Return a manual page, its dashes as people write them."""
    return (MANUALS / f"{file}.5").read_text().replace("\\-", "-")
