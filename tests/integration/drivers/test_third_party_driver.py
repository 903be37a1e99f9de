"""A driver of another distribution, installed beside ours into an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import daemon_process
import pytest
from daemon_process import statuses
from tiny_scan import definition
from tree import SUPPORT, TREE

EXAMPLE = SUPPORT / "third_party_driver"
CONTRACT = "contract_of_paper_rig.py"


class Environment:
    """A fresh virtual environment with both distributions; it shares the libraries of the one that runs the tests."""

    def __init__(self, directory: Path, sources: Path) -> None:
        self.directory = directory
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        self.python = directory / "bin" / "python"
        (site,) = directory.glob("lib/python*/site-packages")
        # Read after this environment's own packages. Our own distribution, an editable install there, is not read:
        # Python ignores the .pth files of such a directory.
        shared = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        (site / "shared.pth").write_text("".join(f"{path}\n" for path in shared))
        install = [sys.executable, "-m", "pip", "--quiet", "--python", self.python, "install"]
        # Offline: the libraries are there, the build backend among them.
        offline = ["--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed"]
        subprocess.run([*install, *offline, TREE, sources], check=True)

    def run(self, *arguments: str | Path) -> str:
        """Run the environment's Python, and return its output; it fails where Python does."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        ended = subprocess.run(
            [self.python, *arguments], cwd=self.directory, env=environment, text=True, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return the environment."""
    sources = tmp_path_factory.mktemp("sources") / "paper_rig"
    shutil.copytree(EXAMPLE, sources)
    return Environment(tmp_path_factory.mktemp("fresh") / "environment", sources)


def test_environment_has_its_own_installs_of_both_distributions(environment):
    """Otherwise the other tests here would prove nothing."""
    for module in ("plantimager.timelapse.drivers.testing", "paper_rig"):
        path = environment.run("-c", f"import {module}; print({module}.__file__)").strip()
        assert Path(path).is_relative_to(environment.directory)


def test_suite_runs_over_the_driver(environment):
    """An author needs a kit, and nothing of our source tree."""
    report = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / CONTRACT)
    suite = environment.run("-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", EXAMPLE / CONTRACT)
    tests = [line for line in suite.splitlines() if "::TestPaperDriver::" in line]
    assert len(tests) > 20
    assert f"{len(tests)} passed" in report


def test_daemon_takes_slots_with_the_driver(environment, place, monkeypatch):
    """It is configured by the name of its entry point, as those of ours are."""
    command = [str(environment.python), *daemon_process.STRICT_DAEMON[1:]]
    monkeypatch.setattr(daemon_process, "STRICT_DAEMON", command)
    place.configure('driver = "paper"\nclock = "trust"\n[drivers.paper]\nbehave = "well"\n')
    place.define(definition(2))
    place.run_until("timelapse_completed")
    assert statuses(place.read()) == ["succeeded", "succeeded"]
    for slot in range(2):
        assert [path.name for path in (place.datasets / f"tl_{slot}" / "images").iterdir()] == ["paper-00000.png"]
