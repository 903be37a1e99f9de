"""The releases of Debian that rigs run: a bare root for each, and one with timelapsed installed.

`base_root` is a Debian as debootstrap makes it. It is made once and kept in the user's cache. The rest is made in each
test run that asks for it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import pytest
from container import Rig
from host import cache_directory, locked, run_on_host
from tree import CONFIG, SYSTEMD, TREE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

PACKAGES: Final = ("systemd", "systemd-sysv", "dbus", "libpam-systemd", "python3", "python3-venv")
"""What a Debian server has and the minimal variant lacks; libpam-systemd is logind's part for lingering."""

ADMINISTERED: Final = (*PACKAGES, "python3-apt", "prometheus-node-exporter", "sudo")
"""With what Ansible's playbook installs, since a machine in a test has no network, and with sudo."""

SOURCES: Final = "/usr/src/timelapsed"
"""Where a rig has the project's systemd/ and config/, and the Python packages in wheels/."""


INSTALL_WITHIN: Final = 600.0
"""Seconds that an installation in a rig may take: it makes a Python environment, which takes ten on a quiet machine."""


@dataclass(frozen=True)
class Release:
    """A release of Debian."""

    name: str
    python: str
    """The version of its ``python3``."""

    def __str__(self) -> str:
        return self.name


BOOKWORM: Final = Release("bookworm", "3.11")
TRIXIE: Final = Release("trixie", "3.13")
RELEASES: Final = (BOOKWORM, TRIXIE)

on_every_release: Final = pytest.mark.parametrize("release", RELEASES, ids=str)
"""Mark of a test that boots rigs of every release; the other tests boot rigs of the fixture's own."""


def base_root(release: Release, packages: tuple[str, ...] = PACKAGES, architecture: str = "") -> Path:
    """Return a directory that holds a bare Debian with ``packages``; nothing may write to it.

    It is of another ``architecture`` than this machine's where one is named.

    Its name is made of the recipe, and it gets that name only when it is whole: a run that was killed in the middle
    leaves nothing that looks finished.
    """
    recipe = hashlib.sha256(repr((release.name, packages)).encode()).hexdigest()[:12]
    name = f"{release}{'-' if architecture else ''}{architecture}"
    whole = cache_directory() / f"{name}-{recipe}"
    with locked(cache_directory() / f"{name}.lock"):
        if not whole.exists():
            partial = whole.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            # In a mount namespace of its own, with which the mounts of debootstrap in the root end.
            make = ["unshare", "--mount", "debootstrap", "--variant=minbase"]
            make += [f"--arch={architecture}"] if architecture else []
            run_on_host([*make, f"--include={','.join(packages)}", release.name, str(partial)])
            # With this directory the journal survives a power cut.
            (partial / "var/log/journal").mkdir(exist_ok=True)
            partial.rename(whole)
    return whole


class once(Generic[T]):  # noqa: N801 - a property, as cached_property is
    """A property that is made when it is first asked for; a failure is kept as well, and raised each time."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, instance: Any, _: type) -> T:
        name = f"_{self._make.__name__}"
        if name not in vars(instance):
            future: Future[T] = Future()
            vars(instance)[name] = future
            try:
                future.set_result(self._make(instance))
            except BaseException as failure:  # noqa: BLE001 - whatever it is, the next test fails of it, too
                future.set_exception(failure)
        return vars(instance)[name].result()


class Debian:
    """The layers of rigs of one release, each made when a test first asks for it.

    ``layers`` is where rigs have their files, ``packages`` returns a directory with our wheel and sdnotify's,
    ``debs`` are the Debian packages of the bare machine, ``extras`` those of our wheel that it can install.
    """

    def __init__(
        self,
        release: Release,
        layers: Path,
        packages: Callable[[], Path],
        *,
        debs: tuple[str, ...] = PACKAGES,
        extras: str = "grbl,gphoto2,gpio,relay,notify",
    ) -> None:
        self.release = release
        self._layers = layers
        self._packages = packages
        self._debs = debs
        self._extras = extras
        self._builder: Rig | None = None

    @once
    def bare(self) -> tuple[Path, ...]:
        """Return the layers of a machine that never had anything of ours."""
        return (base_root(self.release, self._debs),)

    @once
    def with_sources(self) -> tuple[Path, ...]:
        """Return the layers of a machine with the project's files in `SOURCES`, not yet installed."""
        layer = self._layers / f"sources-{self.release}"
        target = layer / SOURCES.lstrip("/")
        target.mkdir(parents=True)
        for directory in (SYSTEMD, CONFIG):
            shutil.copytree(directory, target / directory.name)
        download_wheels(self.release, self._packages(), target / "wheels", self._extras)
        return (layer, *self.bare)

    @once
    def installed(self) -> tuple[Path, ...]:
        """Return the layers of a machine on which timelapsed is installed, to start at its next boot."""
        self._builder = Rig(self._layers, self.with_sources)
        self._builder.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels")
        return (self._builder.upper, *self.with_sources)

    def remove(self) -> None:
        """Remove what was made, except the base root."""
        if self._builder is not None:
            self._builder.remove()


def build_wheels(directory: Path, place: Path) -> Path:
    """Return a directory with the wheels that no registry has: the project as it stands, and sdnotify.

    sdnotify comes as a source only, which is pure Python: one wheel is for every version. ``place`` is an empty
    directory for a copy of the project, since building leaves files beside the sources.
    """
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TREE / name, place)
    shutil.copytree(TREE / "src", place / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    _pip("wheel", "--use-pep517", "--no-deps", "--wheel-dir", directory, place, "sdnotify~=0.3.2")
    return directory


def download_wheels(release: Release, ours: Path, directory: Path, extras: str) -> None:
    """Put all wheels into ``directory`` that a rig with these extras needs, for the release's Python.

    The host's Python may be another one, so nothing is built here.
    """
    (wheel,) = ours.glob("plantimager_timelapse-*.whl")
    # The release of gphoto2 is fixed because later ones may lack libgphoto2's virtual camera.
    packages = (f"{wheel}[{extras}]", "gphoto2==2.6.4")
    only = ("--python-version", release.python, "--only-binary", ":all:")
    _pip("download", *only, "--find-links", ours, "--dest", directory, *packages)


def _pip(command: str, *arguments: str | Path) -> None:
    words = [sys.executable, "-m", "pip", command, "--quiet", *arguments]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
