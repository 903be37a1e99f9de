"""The needs of settings that this environment doesn't meet: programs that can't be run, modules that can't be imported.

The answer holds for the process that asks: its account, its sandbox, its Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers import install_hint
from plantimager.timelapse.drivers.programs.environment import ProgramMissing, find_program
from plantimager.timelapse.support.faults import Fault
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plantimager.timelapse.support.clock import Clock
    from plantimager.timelapse.support.needs import Need

HOMES: Final = ("/home", "/root", "/run/user")
"""What ``ProtectHome=`` of the unit hides."""
UNSEEN: Final = "the service may not run it or can't see it (homes and the /tmp of others are hidden from it)"
"""Why a program may be there for others."""
CURE: Final = "put it into /usr/local/bin"
"""That of a program which is hidden."""

IMPORT_SECONDS: Final = 30.0
"""The longest that the imports together may take: minutes of a card would be a fault of their own."""


def find_unmet(needs: Iterable[Need], *, unseen: str = "", clock: Clock | None = None) -> Iterator[Fault]:
    """Yield a fault for each need that isn't met here.

    ``unseen`` says why a program may be there for others. With a ``clock`` each module is imported, in a process of its
    own, all of them in `IMPORT_SECONDS`; else it is only looked for.
    """
    ends = clock.monotonic() + IMPORT_SECONDS if clock is not None else 0.0

    @cache
    def problem_of_import(module: str) -> str:
        return "" if clock is None else _import_problem(module, ends - clock.monotonic())

    for need in needs:
        if need.program:
            problem = _problem_of_program(need, unseen)
        elif not _is_installed(need.module):
            problem = f"{need.module} isn't installed{_cure(need)}"
        elif problem := problem_of_import(need.module):
            problem = f"{need.module} can't be imported: {problem}{_cure(need)}"
        if problem:
            yield Fault(need.table, need.key, need.value, problem)


def _problem_of_program(need: Need, unseen: str) -> str:
    is_file = os.path.isfile(need.program)  # noqa: PTH113 - a Path raises where the directory is closed to us
    if need.is_guess and not is_file and os.path.exists(need.program):  # noqa: PTH110 - as above
        return ""  # a device, or a directory
    try:
        find_program(need.program)
    except ProgramMissing as missing:
        return f"{missing}{unseen}{_cure(need)}"
    return ""


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is a part of
        return False


def _cure(need: Need) -> str:
    cure = need.cure or (need.extra and install_hint(need.extra))
    return cure and f"; {cure}"


def _import_problem(module: str, seconds: float) -> str:
    """Return why a module can't be imported in that time; empty where it can."""
    if seconds <= 0:
        return f"not tried, as the imports before it took {IMPORT_SECONDS:g} s"
    command = [sys.executable, "-P", "-c", "import importlib, sys; importlib.import_module(sys.argv[1])", module]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"it takes longer than {seconds:.0f} s"
    except OSError as problem:
        return one_line(str(problem))
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return one_line(said[-1] if said else f"exit status {done.returncode}") if done.returncode else ""
