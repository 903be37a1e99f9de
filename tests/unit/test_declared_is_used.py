"""What is declared is used: a step of CONTRIBUTING's lists that is forgotten is named by one of these tests.

What documents have to say of it is held by the tests of the documents.
"""

import inspect
import re
from functools import cache
from importlib.metadata import distribution

import pytest
from documents import TABLES
from tree import TESTS, TREE

from plantimager.timelapse.channel.live import LiveStatus
from plantimager.timelapse.daemon.journal import Action
from plantimager.timelapse.domain import events
from plantimager.timelapse.drivers import DISTRIBUTION, ENTRY_POINT_GROUP
from plantimager.timelapse.relay.actions import RelayAction
from plantimager.timelapse.support.keys import keys_of

DRIVERS = {entry.name: entry.value for entry in distribution(DISTRIBUTION).entry_points.select(group=ENTRY_POINT_GROUP)}
KINDS = {kind for tables in TABLES.values() for kinds in tables.values() for kind in kinds}
"""The structs that declare the keys of both files."""


@cache
def source() -> str:
    """Return the text of all modules."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((TREE / "src").rglob("*.py")))


@cache
def words() -> set[str]:
    """Return the names of attributes, and the strings of one word, in all modules."""
    return {*re.findall(r"\.(\w+)", source()), *re.findall(r"[\"'](\w+)(?=[\"'])", source())}


@pytest.mark.parametrize("kind", sorted(KINDS, key=str), ids=lambda kind: kind.__name__)
def test_every_key_is_used(kind):
    """A key that is declared and documented, and that no code looks at, does nothing for the person who writes it."""
    assert [field for field in keys_of(kind) if field not in words()] == []


@pytest.mark.parametrize("kind", [Action, RelayAction])
def test_every_action_is_logged(kind):
    """A line that the manual page promises, and that no code logs, is never read."""
    assert [action.name for action in kind if not re.search(rf"\.{action.name}\b", source())] == []


def test_every_event_is_yielded():
    """An event that no transition yields reaches no subscriber."""
    of_module = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    leaves = {kind.__name__ for kind in of_module if not of_module & {*kind.__subclasses__()}}
    text = inspect.getsource(events).replace("class ", "class_")
    assert [name for name in sorted(leaves) if not re.search(rf"\b{name}[(,\]:)]|else {name}\b", text)] == []


def test_every_driver_is_registered_and_held_to_the_contract():
    """A driver is found by its entry point, and the contract's suite runs over each of them."""
    assert [name for name in DRIVERS if not (TESTS / f"integration/drivers/test_{name}_contract.py").is_file()] == []
    ours = re.findall(r"^class (\w+)\((?:\w+, )*ScannerDriver\b", source(), re.MULTILINE)
    assert {*ours} == {value.rpartition(":")[2] for value in DRIVERS.values()}


def test_every_sink_is_made():
    """A sink that `relay.sinks` doesn't make for its table never runs."""
    found = re.findall(r"^class (\w+Sink)\b(?!\(Protocol)", source(), re.MULTILINE)
    ours = [name for name in found if not re.search(rf"^class \w+Sink\({name}\b", source(), re.MULTILINE)]
    made = (TREE / "src/plantimager/timelapse/relay/sinks.py").read_text(encoding="utf-8")
    assert ours
    assert [name for name in ours if not re.search(rf"\b{name}\(", made)] == []


def test_every_key_of_the_live_status_is_said_and_read():
    """The daemon says each, and a command or the relay asks for it."""
    said = re.search(r" LiveStatus\(\n(.*?)\n        \)", source(), re.DOTALL)
    assert {*re.findall(r"^ {12}(\w+)=", said[1], re.MULTILINE)} == {*LiveStatus.__struct_fields__}
    asked = {*re.findall(r"\b(?:live|says)\.(\w+)", source())}
    assert "is_clock_trusted" in asked
    assert {*LiveStatus.__struct_fields__} - asked - {"clock"} == set()
