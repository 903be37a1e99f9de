"""Needs of settings that this environment doesn't meet, each said with its cure."""

import re
import subprocess
from datetime import timedelta
from pathlib import Path

from virtual_time import VirtualClock

import plantimager.timelapse
from plantimager.timelapse.drivers.programs import unmet
from plantimager.timelapse.drivers.programs.unmet import IMPORT_SECONDS, find_unmet
from plantimager.timelapse.support.needs import Need

SOURCES = [*Path(plantimager.timelapse.__path__[0]).rglob("*.py")]


def problems(*needs, **options):
    """Return what is said of these needs."""
    return [fault.problem for fault in find_unmet(needs, **options)]


def test_module_is_not_imported_from_the_current_directory(tmp_path, monkeypatch):
    """Whoever may write there would have the service run it."""
    (tmp_path / "colorsys.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    assert problems(Need("kind", "own", module="colorsys", extra="own"), clock=VirtualClock()) == []


def test_part_of_a_package_that_is_missing_is_a_need_like_any_other():
    """And hides none after it."""
    needs = Need("pin", 17, module="no_such_package.part"), Need("pin", 18, module="no_such_module")
    assert problems(*needs) == ["no_such_package.part isn't installed", "no_such_module isn't installed"]


def test_module_without_an_extra_has_the_cure_of_its_need(tmp_path, monkeypatch):
    """A driver by others has no extra of this distribution."""
    (tmp_path / "broken.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cure = "sudo apt install python3-rpi.gpio"
    assert problems(Need("pin", 17, module="no_such_module", cure=cure)) == [f"no_such_module isn't installed; {cure}"]
    (problem,) = problems(Need("pin", 17, module="broken", cure=cure), clock=VirtualClock())
    assert problem.endswith(f"No module named 'no_such_module'; {cure}")


def test_imports_have_one_time_for_all_of_them(monkeypatch):
    """The person who waits gives up."""
    clock, timeouts = VirtualClock(), []

    def run(*_, timeout, **__):
        timeouts.append(timeout)
        clock.pass_time(timedelta(seconds=IMPORT_SECONDS * 0.75))
        return subprocess.CompletedProcess((), 0, stderr=b"")

    monkeypatch.setattr(unmet.subprocess, "run", run)
    found = problems(*(Need("kind", name, module=name) for name in ("json", "csv", "colorsys")), clock=clock)
    assert timeouts == [IMPORT_SECONDS, IMPORT_SECONDS / 4]
    assert found == ["colorsys can't be imported: not tried, as the imports before it took 30 s"]


def test_no_python_is_started_that_imports_from_the_current_directory():
    """As above, for all of them."""
    first = {word for path in SOURCES for word in re.findall(r"\bsys\.executable,\s*([^,\]\s]+)", path.read_text())}
    assert first == {'"-P"'}
