"""When modules are loaded: what the loop needs before READY, since an update may replace the files at any time."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "plantimager.timelapse"
ONLY_BESIDE = ("daemon.judgement", "daemon.stored_files", "drivers.programs.unmet", "store.inspection")
"""What a request alone needs that is answered beside the loop, where whatever is raised is an answer."""
ONLY_BEFORE = ("support.distribution", "platformdirs", "argparse")
"""What is needed before the loop begins, or without it: ``--version``, the user's own directories, arguments."""
LISTING = f"import sys, {PACKAGE}.daemon.service; print(*sys.modules)"


def loaded_by_a_start() -> set[str]:
    program = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    return set(program.stdout.split())


def imported_in_functions(module: str) -> Iterator[str]:
    """Yield the modules that functions of a module import when they are called."""
    spec = find_spec(module)
    assert spec is not None
    if spec.origin is None:
        return
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    for node in (node for function in functions for node in ast.walk(function)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if node.module == PACKAGE else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_start_loads_no_module_that_is_needed_beside_the_loop_alone():
    """Each of them costs a start a third of a million instructions, however small it is."""
    loaded = loaded_by_a_start()
    assert f"{PACKAGE}.daemon.request_handler" in loaded
    assert loaded & {f"{PACKAGE}.{name}" for name in ONLY_BESIDE} == set()


def test_start_loads_whatever_the_loop_may_need():
    """A module of the next version, or one half written, would end the daemon in mid-scan."""
    loaded = loaded_by_a_start()
    ours = sorted(name for name in loaded if name.startswith(PACKAGE))
    late = {name.removeprefix(f"{PACKAGE}.") for module in ours for name in imported_in_functions(module)}
    known = {name.removeprefix(f"{PACKAGE}.") for name in loaded}
    assert late - known - {*ONLY_BESIDE, *ONLY_BEFORE} == set()
