"""Rigs for the system tests: a bare one, and one on which timelapsed is installed, of each release of Debian."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from container import Rig, missing
from debian import BOOKWORM, RELEASES, Debian, Release, build_wheels
from host import scratch
from timelapse_service import TimelapseService
from waiting import RigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory, and skip it where no container can be booted."""
    why = missing()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Add the journal to a failed test's report, while the rig still has it."""
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
def debians(layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Release, Debian]]:
    """Return the layers of rigs of every release; each is made once, and fails once, for all tests."""
    packages = cache(lambda: build_wheels(tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("project")))
    made = {release: Debian(release, layers, packages) for release in RELEASES}
    yield made
    for debian in made.values():
        debian.remove()


@pytest.fixture
def release() -> Release:
    """Return the release that a test's rigs have; a test with `on_every_release` runs once for each."""
    return BOOKWORM


@pytest.fixture
def debian(debians: dict[Release, Debian], release: Release) -> Debian:
    """Return the layers of rigs of the test's release."""
    return debians[release]


@pytest.fixture(scope="session")
def installed(debians: dict[Release, Debian]) -> tuple[Path, ...]:
    """Return the layers of a Debian 12 on which timelapsed is installed, for rigs that several tests share."""
    return debians[BOOKWORM].installed


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
def bare_rig(new_rig: Callable[..., Rig], debian: Debian) -> Rig:
    """Return a machine that never had timelapsed, with the project in `debian.SOURCES`; off."""
    return new_rig(*debian.with_sources)


@pytest.fixture
def rig(new_rig: Callable[..., Rig], debian: Debian) -> Rig:
    """Return a machine on which timelapsed is installed and starts at boot; off."""
    return new_rig(*debian.installed)


@pytest.fixture
def service(rig: Rig) -> TimelapseService:
    """Return the service of a machine that is off, for which nobody has defined a timelapse yet."""
    service = TimelapseService(rig)
    service.configure()
    return service
