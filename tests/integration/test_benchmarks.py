"""The benchmarks run in an environment of their own, which has less than that of the tests."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tree import TESTS

BENCHMARKS = TESTS / "benchmarks"
RUN = runpy.run_path(str(BENCHMARKS / "run"))
IMPORT = """
import importlib, sys

absent, *names = (argument.split(",") for argument in sys.argv[1:])
sys.modules.update(dict.fromkeys(absent))  # importing one of these raises ModuleNotFoundError
for name, in names:
    importlib.import_module(name)
"""


def needed_by(requirement: Requirement, extras: frozenset[str], found: set[str]) -> None:
    """Add the distributions that an installation of a requirement brings along."""
    found.add(canonicalize_name(requirement.name))
    for text in requires(requirement.name) or ():
        further = Requirement(text)
        is_wanted = further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
        if is_wanted and (canonicalize_name(further.name) not in found or further.extras):
            try:
                needed_by(further, frozenset(further.extras), found)
            except PackageNotFoundError:
                continue  # for another platform


def test_benchmarks_import_only_what_their_environment_has():
    """What tests/benchmarks/run installs is enough: no helper of the tests brings along what only the tests have."""
    present: set[str] = set()
    needed_by(Requirement("plantimager-timelapse"), frozenset(RUN["EXTRAS"]), present)
    absent = {
        package
        for package, owners in packages_distributions().items()
        if present.isdisjoint(map(canonicalize_name, owners))
    }
    assert "hypothesis" in absent
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    assert len(names) > len(RUN["QUICK"])
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT, ",".join(sorted(absent)), *names],
        env={**os.environ, "PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{TESTS / 'support'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
