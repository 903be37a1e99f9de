"""Rules for the source tree as a whole: no circles between files, small files and classes, one meaning for each name.

`tests/run` checks the direction between the rooms with import-linter. This module checks the rest.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tree import TESTS, TREE

if TYPE_CHECKING:
    from collections.abc import Iterator

SRC: Final = TREE / "src"
ROOMS: Final = "plantimager.timelapse."

# --- the rules ----------------------------------------------------------------------------------------------

MAX_LINES: Final = 400
LONG_LINES: Final = 300
MAX_LONG_FILES: Final = 8
"""The number of files that may have more than `LONG_LINES`."""

MAX_ATTRIBUTES: Final = 10
"""The attributes that an object with behaviour may have."""
MAX_FIELDS: Final = 14
"""The fields that a value may have: a record of a file or of a person's table has as many as that has keys."""
VALUES: Final = {"Struct", "WithMoments", "NamedTuple", "TypedDict"}
"""The bases of values."""
DOCUMENTED_CLASSES: Final = {"Config", "Definition", "Store", "TimelapseStore"}
"""Classes whose attributes are the documented keys of a file."""

LIBRARY_ATTRIBUTES: Final = {
    "element.text",
    "package.submodule_search_locations",
    "root.handlers",
    "self._arrival.daemon",
    "setattr(attempt, point, _die)",  # the contract's suite kills a scan there
    "self._serial.timeout",
    "self._timer.daemon",
    "sys.stderr",
    "sys.stdin",
    "sys.stdout",
}
"""Attributes of other people's objects, which have no other way to be set."""

ENTRY_POINTS: Final = "main"
"""The module and the function that a program starts with, in each room that has a program."""
CONTRACT: Final = "base"
"""The module of an interface that the other modules of its folder implement."""

DIALECT: Final = re.compile(r"\b(tell|errand|wish|deed|hands|went by|spoken)\b", re.IGNORECASE)
"""Words that stood for the glossary's terms once."""
TELL_APART: Final = re.compile(r"tells? \w* ?apart", re.IGNORECASE)
"""The one usual sense of such a word."""


class SourceFile(NamedTuple):
    """A module of ours."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def n_lines(self) -> int:
        """The length of the file in lines."""
        return self.text.count("\n")


@cache
def source_files() -> dict[str, SourceFile]:
    """Return every module under ``src`` by its name, which is shortened by `ROOMS`."""
    files = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        files[short(name)] = SourceFile(path, text, ast.parse(text))
    return files


def short(name: str) -> str:
    """Return a module's name without `ROOMS`."""
    return name.removeprefix(ROOMS)


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    """Return all nodes of a module's syntax tree."""
    return tuple(ast.walk(source_files()[name].tree))


# --- circles ------------------------------------------------------------------------------------------------


def imports_of(name: str) -> Iterator[str]:
    """Yield the modules of ours that a module imports: at its top, in functions, and under ``TYPE_CHECKING``."""
    for node in nodes(name):
        if isinstance(node, ast.Import):
            yield from (short(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import"
            for alias in node.names:
                inside = short(f"{node.module}.{alias.name}")
                yield inside if inside in source_files() else short(str(node.module))


@cache
def import_graph() -> dict[str, set[str]]:
    """Return the modules of ours that each module of ours imports."""
    return {name: set(imports_of(name)) & (source_files().keys() - {name}) for name in source_files()}


def test_no_imports_form_a_circle():
    """A module can be understood, moved and tested without the modules that use it."""
    try:
        TopologicalSorter(import_graph()).prepare()
    except CycleError as circle:
        message = " <- ".join(circle.args[1])
        raise AssertionError(f"the imports form a circle: {message}") from None


def test_import_linter_makes_no_exceptions():
    """Whole packages are its rungs, and none of the rules that `tests/run` has it check leaves out an import."""
    contracts = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    assert [contract["name"] for contract in contracts if any("ignore" in key for key in contract)] == []
    rungs_of = {contract["containers"][0]: contract["layers"] for contract in contracts if contract["type"] == "layers"}
    rooms = {path.parent.name for path in (SRC / "plantimager/timelapse").glob("*/__init__.py")}
    assert {room for rung in rungs_of["plantimager.timelapse"] for room in rung.split(" | ")} == rooms


# --- sizes --------------------------------------------------------------------------------------------------


def test_no_file_is_longer_than_four_hundred_lines():
    """A module holds one idea."""
    assert [name for name, file in source_files().items() if file.n_lines > MAX_LINES] == []


def test_few_files_are_longer_than_three_hundred_lines():
    """The usual length is below that."""
    long = [name for name, file in source_files().items() if file.n_lines > LONG_LINES]
    assert len(long) <= MAX_LONG_FILES, long


def test_no_class_has_more_than_a_handful_of_attributes():
    """A class has one job. A value may be as wide as what it mirrors."""
    assert [*wide_classes()] == []


def wide_classes() -> Iterator[str]:
    """Yield the names of the classes with too many attributes."""
    for name in source_files():
        for node in nodes(name):
            if isinstance(node, ast.ClassDef) and node.name not in DOCUMENTED_CLASSES:
                attributes = {*fields_of(node), *attributes_assigned_in(node)}
                if len(attributes) > (MAX_FIELDS if is_value(node) else MAX_ATTRIBUTES):
                    yield node.name


def is_value(definition: ast.ClassDef) -> bool:
    """Return whether a class is a frozen value."""
    return any(ast.unparse(base).rpartition(".")[2] in VALUES for base in definition.bases)


def fields_of(definition: ast.ClassDef) -> Iterator[str]:
    """Yield the annotated fields of a class."""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            yield ast.unparse(node.target)


def attributes_assigned_in(definition: ast.ClassDef) -> Iterator[str]:
    """Yield the attributes that the methods of a class assign to ``self``."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


# --- assignments from outside -------------------------------------------------------------------------------


def test_no_object_is_assigned_attributes_from_outside():
    """What an object holds is changed by its own methods alone."""
    assert set(outside_assignments()) - LIBRARY_ATTRIBUTES == set()


def test_library_attributes_are_in_use():
    """An exception that nothing needs any more leaves `LIBRARY_ATTRIBUTES`."""
    assert set(outside_assignments()) >= LIBRARY_ATTRIBUTES


def outside_assignments() -> Iterator[str]:
    """Yield the attributes that are assigned or deleted on anything but ``self`` and ``cls``."""
    for name in source_files():
        for node in nodes(name):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                if ast.unparse(node.value) not in {"self", "cls"}:
                    yield ast.unparse(node)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"setattr", "delattr", "object.__setattr__"}:
                yield ast.unparse(node)


# --- names --------------------------------------------------------------------------------------------------


def test_each_name_has_one_meaning():
    """No two modules define a public function, class or type of one name; no two rooms have a module of one name."""
    assert shared_names() == set()


def shared_names() -> set[str]:
    """Return the names of functions, classes and types that are defined twice, and those of modules in two rooms."""
    definers: dict[str, set[str]] = defaultdict(set)
    rooms: dict[str, set[str]] = defaultdict(set)
    for name, file in source_files().items():
        definitions = {node.name for node in file.tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for definition in definitions | {*types_of(file.tree)}:
            definers[definition].add(name)
        if file.path.stem != "__init__" and not is_command(name, definitions):
            rooms[file.path.stem].add(name.partition(".")[0])
    return {
        name
        for places in (definers, rooms)
        for name, where in places.items()
        if len(where) > 1 and not name.startswith("_") and name not in {ENTRY_POINTS, CONTRACT}
    }


def types_of(tree: ast.Module) -> Iterator[str]:
    """Yield the aliases and variables of types that a module defines; a variable of one letter stands for any type."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            yield ast.unparse(node.target)
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("TypeVar("):
            yield from (name for name in map(ast.unparse, node.targets) if len(name) > 1)


def is_command(module: str, definitions: set[str]) -> bool:
    """Return whether a module is a command of ``timelapsectl``, which has the name that a person types."""
    return module.startswith("cli.") and any(name.startswith("run_") for name in definitions)


def test_no_word_stands_for_a_term_of_the_glossary():
    """The glossary has a term for each of them."""
    texts = {file.path: file.text for file in source_files().values()}
    texts |= {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py") if path != Path(__file__)}
    lines = [
        f"{path.relative_to(TREE)}:{number}: {line.strip()}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if DIALECT.search(line) and not TELL_APART.search(line)
    ]
    assert not lines, "\n".join(lines)
