"""`systemd/install`, `systemd/debian/build`: what they refuse or leave alone before they change anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from tree import SYSTEMD

if TYPE_CHECKING:
    from pathlib import Path

MAKE_ENVIRONMENT = """
home=$1/home
. "$2/update.bash"
environment_name '' </dev/null
make_environment new '' --without-pip || true
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command in a directory; return all that it says."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "HOME": str(cwd)}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("program", ["install --dry-run", "debian/build"])
def test_two_versions_among_the_wheels_are_refused_by_their_names(tmp_path: Path, program: str) -> None:
    """The shell's order would take the oldest one."""
    if program == "debian/build" and shutil.which("dpkg") is None:
        pytest.skip("it asks dpkg for this machine's architecture")
    names = [f"plantimager_timelapse-{version}-py3-none-any.whl" for version in ("1.9.0", "1.10.0")]
    for name in names:
        (tmp_path / name).touch()
    path, *options = program.split()
    said = run(SYSTEMD / path, *options, "--wheels", tmp_path, cwd=tmp_path)
    assert all(name in said for name in names), said


def test_no_module_of_the_callers_directory_is_imported(tmp_path: Path) -> None:
    """Whoever may write there would be root, where root runs the installer."""
    for name in ("ensurepip", "venv", "tomllib", "sysconfig", "glob", "importlib", "os"):
        (tmp_path / f"{name}.py").write_text("open('was_imported', 'a').close()\n")
    run(SYSTEMD / "install", "--dry-run", "--extras", "picamera2", cwd=tmp_path)
    run("bash", "-c", MAKE_ENVIRONMENT, "make", tmp_path, SYSTEMD, cwd=tmp_path)
    assert not (tmp_path / "was_imported").exists()
