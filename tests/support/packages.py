"""The Debian package as the tree builds it, and versions of it that differ in the daemon."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from gated_rigs import rewrite_daemon
from host import run_on_host
from tree import SYSTEMD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from container import Rig

PACKAGE: Final = "plant-imager-timelapsed"
WHEELS: Final = f"usr/lib/{PACKAGE}/wheels"


def build_package(directory: Path, *options: str) -> Path:
    """Build the package into ``directory``; return its path."""
    build = [str(SYSTEMD / "debian/build"), "--output", str(directory), *options]
    done = subprocess.run(build, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    return directory / done.stdout.splitlines()[-1]


def other_version(package: Path, version: str, change: Callable[[str], str]) -> Path:
    """Return a package of another version, whose daemon is changed."""
    unpacked = package.with_name(f"unpacked-{version}")
    run_on_host(["dpkg-deb", "--raw-extract", str(package), str(unpacked)])
    (wheel,) = (unpacked / WHEELS).glob("plantimager_timelapse-*.whl")
    rewrite_daemon(wheel, change)
    control = unpacked / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text("".join(f"Version: {version}\n" if line.startswith("Version:") else line for line in lines))
    made = package.with_name(f"{PACKAGE}_{version}.deb")
    run_on_host(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(unpacked), str(made)])
    shutil.rmtree(unpacked)
    return made


def apt_install(machine: Rig, package: Path) -> tuple[str, ...]:
    """Put a package on a machine; return the command that installs it."""
    shutil.copy(package, machine.path("/root"))
    return ("apt-get", "install", "--yes", f"/root/{package.name}")


PYTHON: Final = """\
#!/bin/sh
case "$*" in *"import sys; print(*sys.version_info[:2])") echo {answer}; exit ;; esac
{first}
exec /usr/bin/python3.11 "$@"
"""
CONTROL: Final = """\
Package: python3-of-tomorrow
Version: {version}
Architecture: all
Maintainer: nobody <nobody@plant-imager.invalid>
Replaces: python3-minimal
Description: another /usr/bin/python3
"""


def python_package(directory: Path, version: str, answer: str, first: str = "") -> Path:
    """Return a package with another ``/usr/bin/python3`` for Debian 12, which gives another version of itself."""
    root = directory / f"python-{version}"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(CONTROL.format(version=version))
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/python3").write_text(PYTHON.format(answer=answer, first=first))
    (root / "usr/bin/python3").chmod(0o755)
    made = directory / f"python-{version}.deb"
    run_on_host(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(made)])
    return made


def install_file(machine: Rig, package: Path) -> tuple[str, ...]:
    """Put a package on a machine; return the command that installs it by dpkg alone."""
    shutil.copy(package, machine.path("/root"))
    return ("dpkg", "--install", f"/root/{package.name}")
