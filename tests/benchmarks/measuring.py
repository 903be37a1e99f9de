"""What all benchmarks need: the command line, the clock, memory, and where the numbers go."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def options_for(doc: str) -> argparse.ArgumentParser:
    """Return the command line of a benchmark; ``doc`` is its module's docstring."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    return parser


def write_numbers(path: Path | None, **numbers: object) -> None:
    """Write what was measured where that was asked for, with the machine's name."""
    if path is not None:
        machine = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
        path.write_text(json.dumps({"machine": machine, **numbers}, indent=2) + "\n", encoding="utf-8")


def milliseconds(action: Callable[[], object]) -> float:
    """Return how long an action takes; letting go of its result is no part of it."""
    begin = time.perf_counter()
    result = action()
    end = time.perf_counter()
    del result
    return (end - begin) * 1000


def memory(pid: int | str = "self") -> Mapping[str, int]:
    """Return the resident memory of a process and its peak, in kB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {"now": int(fields["VmRSS"].split()[0]), "peak": int(fields["VmHWM"].split()[0])}
