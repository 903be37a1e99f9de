"""The machine that runs the system tests: its commands, its control groups, and a place in memory for the rigs.

Two test runs on one host share nothing but the base roots: each has a directory and control groups of its own, and
removes what a run that was killed left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from waiting import RigError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PREFIX = "timelapsed"
"""The first part of the names of containers and control groups; the test run's PID and a number follow."""

KILL_WITHIN = 60.0
"""Seconds that the processes of a control group may take to die."""


def run_on_host(command: Sequence[str]) -> None:
    """Run a command; `RigError` repeats its output if it fails."""
    checked(subprocess.run(command, check=False, capture_output=True, text=True))


def checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Return ``done`` if its exit code is 0, else raise `RigError` with the end of its output."""
    if done.returncode:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise RigError(f"{' '.join(done.args)}\nended with {done.returncode}:\n{output}")
    return done


def cache_directory() -> Path:
    """Return the directory of what outlives a test run, and of the runs that go on."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "timelapsed-tests"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; waits for other test runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a file system in memory for one test run; unmount it at the end, with all that is mounted below it.

    An overlay's upper layer can't be on another overlay, which the root of a CI's container often is. Memory always
    serves, and its content survives the power cuts of the rigs.
    """
    runs = cache_directory() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    with locked(cache_directory() / "lock"):
        for other in runs.iterdir():
            _sweep(other)
        _sweep_control_groups()
        here = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=runs))
        # Until this process ends, the lock shows other runs that this one is alive.
        claim = os.open(here, os.O_RDONLY)
        fcntl.flock(claim, fcntl.LOCK_EX)
    try:
        files = here / "files"
        files.mkdir()
        run_on_host(["mount", "-t", "tmpfs", "-o", "mode=0755", PREFIX, str(files)])
        yield files
    finally:
        with locked(cache_directory() / "lock"):
            os.close(claim)
            _sweep(here)


def _sweep(run: Path) -> None:
    """Remove a test run's directory unless that run is alive."""
    claim = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        for mounted in _mounts_below(run):
            subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
        # rmdir, not rmtree: if something is still mounted, nothing of it is deleted.
        for directory in (run / "files", run):
            with contextlib.suppress(FileNotFoundError):
                directory.rmdir()
    finally:
        os.close(claim)


def _mounts_below(top: Path) -> list[str]:
    """Return the mount points below ``top``, the innermost first."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in table]
    return sorted((point for point in points if point.startswith(f"{top}/")), key=len, reverse=True)


def own_control_group() -> Path | None:
    """Return this process's directory in the unified control group tree, ``None`` if it can't be written to."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == "cgroup2":
            paths = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
            inner = next((path[3:] for path in paths if path.startswith("0::")), "/")
            own = Path(left.split()[4] + inner)
            return own if os.access(own, os.W_OK) else None
    return None


def remove_control_group(top: Path) -> None:
    """Kill the processes of a control group, and remove it."""
    (top / "cgroup.kill").write_text("1", encoding="ascii")
    events = top / "cgroup.events"
    wait_until(lambda: "populated 0" in events.read_text(encoding="ascii"), within=KILL_WITHIN, what="all are dead")
    for group, _, _ in os.walk(top, topdown=False):  # noqa: TID251 - what is passed over fails rmdir
        Path(group).rmdir()


def _sweep_control_groups() -> None:
    """Remove the control groups of test runs that were killed."""
    own = own_control_group()
    for group in own.glob(f"{PREFIX}-*-*") if own else ():
        if not Path("/proc", group.name.split("-")[1]).exists():
            remove_control_group(group)
