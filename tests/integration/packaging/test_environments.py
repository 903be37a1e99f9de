"""`systemd/update.bash`: the Python environment of a version, whatever the caller's settings of pip."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
from tree import SYSTEMD

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ensurepip")

DO = """
home=$1/home
. "$2/update.bash"
"${@:3}"
"""
MAKE = ("make_environment", "new", "", "", "--no-index", "--find-links")
RUNS = "def main(): print('timelapsed 1')"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
PROJECT = """\
[build-system]
requires = ["daemon"]
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """\
import pathlib, shutil
import daemon

def build_wheel(directory, config_settings=None, metadata_directory=None):
    (wheel,) = (pathlib.Path(__file__).parent / "ready").iterdir()
    return pathlib.Path(shutil.copy(wheel, directory)).name
"""


def make_wheel(directory: Path, name: str, module: str) -> None:
    """Make a wheel of one module; that of ``daemon`` has the program ``timelapsed``."""
    directory.mkdir(parents=True, exist_ok=True)
    with ZipFile(directory / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", module)
        wheel.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{name}-1.dist-info/WHEEL", WHEEL)
        wheel.writestr(f"{name}-1.dist-info/entry_points.txt", "[console_scripts]\ntimelapsed = daemon:main\n")
        wheel.writestr(f"{name}-1.dist-info/RECORD", "")


@pytest.fixture
def do(tmp_path):
    """Return a function that calls one of the file, for a caller with more variables."""

    def call(*function: str | Path, **of_caller: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        command = ["bash", "-euc", DO, "do", tmp_path, SYSTEMD, *function]
        return subprocess.run(
            command, env={**environment, **of_caller}, capture_output=True, text=True, timeout=120, check=False
        )

    return call


def test_no_setting_of_pip_makes_an_environment_without_packages(tmp_path, do):
    """Variables of the caller lead elsewhere, and a file for the whole machine, as /etc/pip.conf, installs nothing."""
    make_wheel(tmp_path / "wheels", "daemon", RUNS)
    subprocess.run(["python3", "-I", "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/pip.conf").write_text("[install]\ndry-run = true\n")
    settings = {
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_PYTHON": str(tmp_path / "other/bin/python3"),
        "PIP_CONFIG_FILE": str(tmp_path / "pip/pip.conf"),
        "XDG_CONFIG_DIRS": str(tmp_path),
    }
    done = do(*MAKE, tmp_path / "wheels", "daemon", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    said = subprocess.run([tmp_path / "home/new/bin/timelapsed"], capture_output=True, text=True, check=True).stdout
    assert said == "timelapsed 1\n"


def test_environment_whose_daemon_does_not_run_has_failed(tmp_path, do):
    """It never comes into use, and nothing is left of it."""
    make_wheel(tmp_path / "wheels", "daemon", "import absent")
    done = do(*MAKE, tmp_path / "wheels", "daemon")
    assert (done.returncode, (tmp_path / "home").exists()) == (1, False)
    assert "No module named 'absent'" in done.stderr


def test_sources_are_built_with_the_callers_index_and_nothing_else_of_his(tmp_path, do):
    """What a build needs comes from where the caller's pip finds packages, and goes where it is looked for."""
    make_wheel(tmp_path / "wheels", "daemon", RUNS)
    make_wheel(tmp_path / "source/ready", "ours", "")
    (tmp_path / "source/pyproject.toml").write_text(PROJECT)
    (tmp_path / "source/backend.py").write_text(BACKEND)
    settings = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_REQUIRE_VIRTUALENV": "1",
    }
    build = ("run_pip", "python3", "wheel", "--use-pep517", "--wheel-dir", tmp_path / "made", tmp_path / "source")
    done = do(*build, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["ours-1-py3-none-any.whl"]
