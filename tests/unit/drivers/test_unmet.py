"""Needs of settings that this environment doesn't meet, each said with its cure."""

import re
from pathlib import Path

import plantimager.timelapse
from plantimager.timelapse.drivers.programs.unmet import find_unmet
from plantimager.timelapse.support.needs import Need

SOURCES = [*Path(plantimager.timelapse.__path__[0]).rglob("*.py")]


def problems(*needs, **options):
    """Return what is said of these needs."""
    return [fault.problem for fault in find_unmet(needs, **options)]


def test_module_is_not_imported_from_the_current_directory(tmp_path, monkeypatch):
    """Whoever may write there would have the service run it."""
    (tmp_path / "colorsys.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    assert problems(Need("kind", "own", module="colorsys", extra="own"), imports=True) == []


def test_no_python_is_started_that_imports_from_the_current_directory():
    """As above, for all of them."""
    first = {word for path in SOURCES for word in re.findall(r"\bsys\.executable,\s*([^,\]\s]+)", path.read_text())}
    assert first == {'"-P"'}
