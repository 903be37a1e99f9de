"""The tables of faults in the manual: each message is one that the drivers have, and each of theirs is in a table."""

import ast
import re

import pytest
from tree import MANUALS, TREE

DRIVERS = TREE / "src" / "plantimager" / "timelapse" / "drivers"
TABLES = {"timelapsed.8": "FAULTS OF GANTRY AND SWITCHES", "timelapsed.toml.5": "MESSAGES OF CAMERAS"}

FAULTS = {"CameraFault", "GantryFault", "LineLost", "NoAnswer", "PositionUnknown", "BoardLocked", "SwitchFault"}
"""The classes whose words a person reads."""

MAY_BE_OF_OTHERS = 12
"""Characters of a sentence's part, such as ``, and ``, that names no fault."""


def messages(page):
    """Return the messages of a page's table."""
    (table,) = re.findall(rf"^\.SH {TABLES[page]}$(.*?)^\.SH ", (MANUALS / page).read_text(), re.DOTALL | re.MULTILINE)
    return [message.replace(r"\(aq", "'") for message in re.findall(r'^\.B "(.*)"$', table, re.MULTILINE)]


@pytest.mark.parametrize("page", TABLES)
def test_every_message_of_a_table_is_one_of_the_drivers(page):
    """A person looks up what was read in the journal."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(DRIVERS.rglob("*.py")))
    joined = re.sub(r'"\s+f?"', "", text)  # sentences that go on in the next line
    assert len(messages(page)) > 15
    assert [message for message in messages(page) if message not in joined] == []


def words(node):
    """Return the words of a sentence, with … for what is only known when it is said."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(words, parts))
        case ast.FormattedValue():
            return "…" + "".join(words(part) for part in ast.walk(node) if isinstance(part, ast.Constant))
    return ""


def sentences(path):
    """Return the sentences of a module's faults, as far as they stand where the fault is raised."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[said, *_]) if name in FAULTS:
                found.append(words(said))
            case ast.AnnAssign(target=ast.Name(id="CURES"), value=ast.Dict(values=cures)):
                found += [words(cure) for cure in cures]
    return [said for said in found if len(said.replace("…", "").strip(" :;,")) > MAY_BE_OF_OTHERS]


def test_every_fault_of_cameras_gantry_and_switches_is_in_a_table():
    """With its cause and its cure; those of a board's codes carry their own."""
    known = [message for page in TABLES for message in messages(page)]
    paths = [*(DRIVERS / "cameras").glob("*.py"), *(DRIVERS / "gantry").glob("*.py"), DRIVERS / "switches.py"]
    said = [sentence for path in sorted(paths) for sentence in sentences(path)]
    assert len(said) > 40
    assert [sentence for sentence in said if not any(message in sentence for message in known)] == []
