"""The documents name files, modules and headings that exist."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

import pytest
from tree import TESTS, TREE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE: Final = TREE / "src/plantimager/timelapse"

DOCUMENTS: Final = sorted(
    [TREE / "README.md", TREE / "CHANGELOG.md", *TREE.glob(".github/*.md"), *TESTS.glob("**/README.md")]
)

OF_A_RIG: Final = {"history", "timelapsed.toml", "timelapse.toml"}
"""What a document may name that is a file of a rig and not of this tree."""

MAX_WORDS_IN_README: Final = 1500

_FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
_QUOTED: Final = re.compile(r"`([^`\n]+)`")
_FILE: Final = re.compile(r"\.?\w[\w.@-]*(?:/[\w.@-]+)*/?")
_PLACEHOLDER: Final = re.compile(r"NAME|SCAN_ID|TIME")
_TEST_FILE: Final = re.compile(r"\b(?:unit|integration|system|support)/[\w/]+\.py\b")
_SOURCE_FILE: Final = re.compile(r"``([\w/]+/\w+\.py)``")
_MODULE: Final = re.compile(r"plantimager(?:\.\w+)+")


def prose_of(document: Path) -> str:
    """Return the text of a document without its code blocks."""
    return _FENCED.sub("", document.read_text())


def named_files(document: Path) -> Iterator[str]:
    """Yield what a document shows as a path: with a slash, or with the suffix of a source or a document."""
    for quoted in _QUOTED.findall(prose_of(document)):
        is_path = "/" in quoted or quoted.endswith((".py", ".md", ".toml", ".cff"))
        if is_path and _FILE.fullmatch(quoted) and not _PLACEHOLDER.search(quoted):
            yield quoted


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose_of(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def in_tree(name: str, document: Path) -> bool:
    """Return whether a path exists: as seen from the document, the tree, the package or the tests."""
    return any((base / name).exists() for base in (document.parent, TREE, PACKAGE, TESTS, TREE / "src"))


def label(document: Path) -> str:
    """Return the name of a document for the name of a test."""
    return str(document.relative_to(TREE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=label)
def test_link_leads_to_a_file_and_heading_that_exist(document: Path) -> None:
    """Relative links, seen from the document, and the headings in them."""
    dead = []
    for target, heading in _LINK.findall(prose_of(document)):
        file = document.parent / target if target else document
        exists = file.exists() and (not heading or heading in anchors_of(file))
        if not exists:
            dead.append(f"{target}#{heading}")
    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=label)
def test_named_file_exists(document: Path) -> None:
    """Paths in backticks; those of a rig apart."""
    names = set(named_files(document))
    assert {name for name in names if name.rstrip("/") not in OF_A_RIG and not in_tree(name, document)} == set()


def test_files_that_scripts_and_docstrings_name_exist() -> None:
    """Those of the tests in the scripts that run them, and those in double backticks in a docstring of ours."""
    absent = {
        f"{script.name}: {name}"
        for script in (TESTS / "soak", TESTS / "run", TREE / ".ci/run")
        for name in _TEST_FILE.findall(script.read_text())
        if not (TESTS / name).exists()
    }
    for module in sorted(PACKAGE.rglob("*.py")):
        names = set(_SOURCE_FILE.findall(module.read_text()))
        absent |= {f"{module.name}: {name}" for name in names if not in_tree(name, module)}
    assert absent == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=label)
def test_named_module_exists(document: Path) -> None:
    """Dotted names in backticks that begin with ours; the last part may be a name in the module."""
    absent = set()
    for quoted in _QUOTED.findall(prose_of(document)):
        if _MODULE.fullmatch(quoted) and quoted != "plantimager.scanner_drivers":  # an entry-point group
            place = TREE / "src" / quoted.replace(".", "/")
            if not (place.is_dir() or place.with_suffix(".py").exists() or place.parent.with_suffix(".py").exists()):
                absent.add(quoted)
    assert absent == set()


def test_every_row_of_the_reliability_table_names_its_test() -> None:
    """A fault without a test is a promise."""
    table = prose_of(TESTS / "README.md").partition("## Reliability")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    assert [row for row in rows if not re.search(r"\]\((?:unit|integration|system)/[\w/]+\.py\) \|$", row)] == []


def test_readme_is_short_enough_to_be_read() -> None:
    """Words, those of tables and code included."""
    assert len((TREE / "README.md").read_text().split()) <= MAX_WORDS_IN_README


def test_who_carries_on_finds_a_way_in() -> None:
    """How to run it, and a short list of files for each thing that is added again and again; the rooms on a page."""
    contributing = TREE / ".github/CONTRIBUTING.md"
    things = ("a-configuration-key", "a-driver", "a-command", "an-event", "a-sink", "a-field-to-the-record-of-a-slot")
    assert {"run-it", *(f"add-{thing}" for thing in things)} <= anchors_of(contributing)
    lists = re.findall(r"^## Add .*?(?=^## |\Z)", contributing.read_text(), re.MULTILINE | re.DOTALL)
    assert [text for text in lists if not 2 <= len(re.findall(r"^\d\. ", text, re.MULTILINE)) <= 5] == []
    table = (TREE / ".github/ARCHITECTURE.md").read_text().partition("## The rooms")[2]
    rooms = set(re.findall(r"^\| `(\w+)/` \|", table.partition("\n## ")[0], re.MULTILINE))
    assert rooms == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    others = (".github/DECISIONS.md", ".github/SECURITY.md", ".pre-commit-config.yaml", "CITATION.cff")
    assert [name for name in others if not (TREE / name).is_file()] == []


def test_version_is_the_same_everywhere() -> None:
    """That of the package, of the citation and of the newest dated entry of the changelog, and their dates."""
    package = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["version"]
    citation = dict(re.findall(r"^(version|date-released): (.+)$", (TREE / "CITATION.cff").read_text(), re.MULTILINE))
    version, date = re.findall(r"^## \[([\d.]+)\] - (.+)$", (TREE / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert (package, citation) == (version, {"version": version, "date-released": date})
