"""The example of the configuration and its manual page tell every option that the code reads, and no other.

What the code reads is asked of the code: each driver is made with the example's options, while the tables that it
reads note what they are asked for.
"""

import re
import tomllib
from importlib.metadata import distribution
from typing import NamedTuple

import pytest
from configuration_example import options, prose_of_settings, uncommented
from tree import MANUALS

from plantimager.timelapse.drivers import DISTRIBUTION, GROUP, load_driver
from plantimager.timelapse.drivers.cameras import KINDS, v4l2
from plantimager.timelapse.scan.lights import Role
from plantimager.timelapse.settings.config import LOG_LEVELS, ClockPolicy, Missed, read_config
from plantimager.timelapse.support.faults import MISSING, Table
from plantimager.timelapse.support.keys import keys_of

PAGE = MANUALS / "timelapsed.toml.5"

DRIVERS = sorted(distribution(DISTRIBUTION).entry_points.select(group=GROUP).names)

CAMERAS = "drivers.grbl.cameras"

ANY = "NAME"
"""Stands for a name that is a person's choice."""

TOLD_IN_WORDS = {"fail_attempts", "stall_attempts"}
"""Options whose default is a number in the code, but "all of them" to a person."""


class Option(NamedTuple):
    """How the code takes an option."""

    read: object
    default: object


class Code:
    """What the code reads, noted while it does."""

    def __init__(self):
        self.asked = []
        self.free = set()
        """The tables in which names are a person's choice."""
        self.kinds = {}
        """Of each camera's table."""

    def watch(self, monkeypatch):
        """Have all tables note what they are asked for."""
        take, rest = Table.take, Table.rest

        def noted_take(table, key, read, default=MISSING):
            value = take(table, key, read, default)
            self.asked.append((table.name, key, Option(read, default)))
            if key == "kind":
                self.kinds[table.name] = value
            return value

        def noted_rest(table):
            left = rest(table)
            assert left or table.name == "scan", (
                f"the example has to have something in [{table.name}], to see what is read there"
            )
            self.free.add(table.name)
            return left

        monkeypatch.setattr(Table, "take", noted_take)
        monkeypatch.setattr(Table, "rest", noted_rest)

    def name(self, table, key):
        """Return table and key as the page names them."""
        kind = self.kinds.get(table)
        for free in self.free - {"drivers"}:
            if table == free:
                key = ANY
            elif table.startswith(f"{free}."):
                table = f"{free}.{ANY}"
        return (f"{table}, kind {kind}" if kind and key != "kind" else table), key

    @property
    def options(self):
        """Every option by its name."""
        return {self.name(table, key): option for table, key, option in self.asked}


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """Read the configuration and make every driver, both with all that the example has."""
    code, file = Code(), tmp_path_factory.mktemp("config") / "timelapsed.toml"
    file.write_text(uncommented().partition("[scan.")[0])  # how to scan is the definition's to tell
    with pytest.MonkeyPatch.context() as monkeypatch:
        code.watch(monkeypatch)
        read_config(file)
        for driver in DRIVERS:
            load_driver(driver, options(driver, alternatives=False)).close()
    return code


@pytest.fixture(scope="module")
def example(code):
    """Return what the example says of each option, by its name; of one that stands there twice, the first time."""
    said = {}
    for (table, key), prose in prose_of_settings().items():
        if not re.match(r"scan\b", table):
            said.setdefault(code.name(table, key), prose)
    park = said.pop(("drivers.grbl", "park"))
    environment = said.pop(("drivers.command", "environment"))
    inline = {("drivers.grbl.park", key): park for key in options("grbl", alternatives=False)["park"]}
    return said | inline | {("drivers.command.environment", ANY): environment}


@pytest.fixture(scope="module")
def page():
    """Return what the manual page says of each option, by its name."""
    said, table = {}, None
    for part in re.split(r"^(?=\.(?:SH|SS|TP|PP)\b)", PAGE.read_text().replace("\\-", "-"), flags=re.MULTILINE):
        macro, _, rest = part.partition("\n")
        if macro.startswith((".SH", ".SS")):
            heading = re.fullmatch(r"\.SS \[(\S+)\](, kind \w+)?", macro)
            table = f"{heading[1]}{heading[2] or ''}" if heading else "" if macro == ".SS Top level" else None
        elif macro == ".TP" and table is not None:
            tag, _, text = rest.partition("\n")
            words = " ".join(re.sub(r"^\.\w+ ", "", text, flags=re.MULTILINE).split())
            for key in tag.split()[1:]:
                assert (table, key) not in said
                said[table, key] = words
    return said


@pytest.fixture(params=["example", "page"])
def document(request):
    """Return either of them."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("alternatives", [False, True], ids=["first", "alternatives"])
def test_whatever_a_person_uncomments_the_driver_takes(driver, alternatives):
    """All settings at once; where two exclude each other, either."""
    load_driver(driver, options(driver, alternatives=alternatives)).close()


def test_alternatives_are_found():
    """The test above sees them by their words."""
    assert "usb" not in options("grbl", alternatives=False)
    assert "port" not in options("grbl", alternatives=True)


def test_every_option_is_told_and_no_other(document, code):
    """Of every driver, every kind of camera and both ways to switch."""
    assert sorted(document) == sorted(code.options)


def test_every_kind_of_camera_and_driver_is_shown(code):
    """Which options there are hangs on these names, so all of them have to be seen."""
    assert set(code.kinds.values()) == {*KINDS}
    assert sorted(tomllib.loads(uncommented())["drivers"]) == DRIVERS


@pytest.mark.parametrize("word", [*DRIVERS, *KINDS, *Role, *Missed, *ClockPolicy, *LOG_LEVELS, "endless"], ids=str)
def test_every_word_that_an_option_may_be_is_told(word):
    """In quotes, as it is written."""
    assert f'"{word}"' in uncommented()
    assert f'"{word}"' in PAGE.read_text().replace("\\-", "-")


def test_defaults_are_the_codes(document, code):
    """What is said to be the default is read as the code's own; what has none is said to be required."""
    wrong = {}
    for name, option in code.options.items():
        said = document.get(name, "")
        if option.default is MISSING:
            told = said.endswith("Required") or name[1] == ANY
        elif option.default or isinstance(option.default, bool):
            stated = re.search(r"Default: (.*)$", said)
            told = stated is not None and (name[1] in TOLD_IN_WORDS or meant(option, stated[1]) == option.default)
        else:  # none, in as many words
            told = "Default: " in said or "Or, instead of" in said or "Required" in said
        if not told:
            wrong[name] = said
    assert wrong == {}


def meant(option, stated):
    """Return what the code makes of a default that is stated."""
    return option.read(tomllib.loads(f"default = {stated}")["default"])


def test_uncommenting_an_option_that_has_a_default_changes_nothing(code):
    """It stands in the example with its default."""
    values = tomllib.loads(uncommented())
    changed = []
    for table, key, option in code.asked:
        place = values
        for part in table.split(".") if table else ():
            place = place.get(part, {})
        told = option.default is MISSING or not (option.default or isinstance(option.default, bool))
        if key in place and not told and key not in TOLD_IN_WORDS and option.read(place[key]) != option.default:
            changed.append((table, key))
    assert changed == []


def test_what_a_camera_needs_is_said_to_be_required(document):
    """Its kind tells, not the reader of its keys."""
    for kind, takes in KINDS.items():
        for name, key in keys_of(takes.options).items():
            said = document[f"{CAMERAS}.{ANY}, kind {kind}", name]
            assert said.endswith("Required") == (key.default is MISSING)


def test_how_many_pictures_a_webcam_throws_away_is_the_codes(document):
    """A default that the camera itself knows, not the reader of its keys."""
    assert document[f"{CAMERAS}.{ANY}, kind v4l2", "skip"].endswith(f"Default: {v4l2.SKIP}")


def test_nobody_is_sent_into_the_sources():
    """Whoever reads these has an installed machine."""
    assert "src/" not in uncommented() + PAGE.read_text()
