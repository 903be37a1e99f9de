"""Rigs for the system tests: a bare one, and one on which timelapsed is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from container import Rig, RigError, base_root, missing, scratch
from timelapse_service import TimelapseService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
TREE = HERE.parent.parent
SOURCES = "/usr/src/timelapsed"
"""Where a rig has the project's systemd/ and config/, and the wheels in wheels/."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory, and skip it where no container can be booted."""
    why = missing()
    if not why and sys.version_info[:2] != (3, 11):
        why = "the rigs' Debian 12 has Python 3.11, and only that builds wheels for them"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Put a failed test's journal beside its traceback, while the rig still has it."""
    report = yield
    if report.when == "call" and report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Rig):
                report.sections.append((f"console of {name}", value.console()))
                try:
                    report.sections.append((f"journal of {name}", value.journal_text("--lines=150")))
                except (RigError, subprocess.TimeoutExpired) as failure:
                    report.sections.append((f"no journal of {name}", str(failure)))
    return report


@pytest.fixture(scope="session")
def layers() -> Iterator[Path]:
    """Return the place of every rig's files."""
    with scratch() as place:
        yield place


@pytest.fixture(scope="session")
def base() -> Path:
    """Return the root of a bare Debian 12; made once, and failed once, for all tests."""
    return base_root()


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of wheels: the project as it stands, and all that it and a rig with a gantry need."""
    # From a copy: setuptools takes up what an earlier build left in build/.
    copy = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TREE / name, copy)
    shutil.copytree(TREE / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    made = tmp_path_factory.mktemp("wheels")
    # Later ones may lack libgphoto2's virtual camera.
    packages = (f"{copy}[grbl,gphoto2,gpio]", "gphoto2==2.6.4")
    # sdnotify comes as a source only, and Debian's pip builds those the old way unless told.
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--use-pep517", "--wheel-dir", made, *packages],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return made


@pytest.fixture(scope="session")
def sources(wheels: Path, layers: Path) -> Path:
    """Return a layer that has the project's files in `SOURCES`, not yet installed."""
    layer = layers / "sources"
    target = layer / SOURCES.lstrip("/")
    target.mkdir(parents=True)
    for name in ("systemd", "config"):
        shutil.copytree(TREE / name, target / name)
    shutil.copytree(wheels, target / "wheels")
    (target / "wheels").chmod(0o755)  # a temporary directory is its maker's alone; users install from here, too
    return layer


@pytest.fixture(scope="session")
def installed(base: Path, sources: Path, layers: Path) -> Iterator[tuple[Path, ...]]:
    """Return the layers of a machine on which timelapsed is installed, to start at its next boot."""
    builder = Rig(layers, [sources, base])
    try:
        builder.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels")
        yield (builder.upper, sources, base)
    finally:
        builder.remove()


@pytest.fixture
def new_rig(layers: Path) -> Iterator[Callable[..., Rig]]:
    """Return a maker of rigs out of layers; they are gone at the end of the test."""
    made: list[Rig] = []

    def make(*of: Path, hostname: str = "rig") -> Rig:
        made.append(Rig(layers, of, hostname=hostname))
        return made[-1]

    yield make
    for rig in made:
        rig.remove()


@pytest.fixture
def bare_rig(new_rig: Callable[..., Rig], sources: Path, base: Path) -> Rig:
    """Return a Debian 12 that never saw timelapsed, with the project in `SOURCES`; off."""
    return new_rig(sources, base)


@pytest.fixture
def rig(new_rig: Callable[..., Rig], installed: tuple[Path, ...]) -> Rig:
    """Return a machine on which timelapsed is installed and starts at boot; off."""
    return new_rig(*installed)


@pytest.fixture
def service(rig: Rig) -> TimelapseService:
    """Return the service of a machine that is off, on which nobody has asked for a timelapse yet."""
    service = TimelapseService(rig)
    service.configure()
    return service
