"""The Debian package as the tree builds it, and versions of it that differ in the daemon."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from gated_rigs import rewrite_daemon
from host import run_on_host
from tree import TREE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from container import Rig

PACKAGE: Final = "plant-imager-timelapsed"
WHEELS: Final = f"usr/lib/{PACKAGE}/wheels"


def check_out(directory: Path) -> set[str]:
    """Put the files of this tree that git knows into a directory, as they are now; return their names."""
    listed = ["git", "-c", f"safe.directory={TREE}", "-C", str(TREE), "ls-files", "-z"]
    known = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
    names = {name for name in known if (TREE / name).is_file()}  # others were removed since
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TREE / name, directory / name)
    return names


def build_package(directory: Path, *options: str) -> Path:
    """Build the package in ``directory``, out of a clean checkout, which stays one; return its path."""
    checkout = directory / "checkout"
    names = check_out(checkout)
    build = [str(checkout / "systemd/debian/build"), "--output", str(directory), *options]
    done = subprocess.run(build, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert {str(path.relative_to(checkout)) for path in checkout.rglob("*") if path.is_file()} == names
    return directory / done.stdout.splitlines()[-1]


HOOK: Final = "/root/at-script"
"""Where it is there, the maintainer scripts of `other_version` and `hook_scripts` begin with it, and fail with it."""


def _hooked(script: str, version: str) -> str:
    first, _, rest = script.partition("\n")
    hook = f'[[ ! -e {HOOK} ]] || sh {HOOK} "{version} $DPKG_MAINTSCRIPT_NAME $1" || exit 1'
    return f"{first}\n{hook}\n{rest}"


def hook_scripts(machine: Rig) -> None:
    """Give `HOOK` to the maintainer scripts of the package that is installed, as those of version ``old``."""
    for script in machine.path("/var/lib/dpkg/info").glob(f"{PACKAGE}.p*"):
        script.write_text(_hooked(script.read_text(), "old"))


def other_version(package: Path, version: str, change: Callable[[str], str]) -> Path:
    """Return a package of another version, whose daemon is changed; its scripts call `HOOK` as version ``new``."""
    unpacked = package.with_name(f"unpacked-{version}")
    run_on_host(["dpkg-deb", "--raw-extract", str(package), str(unpacked)])
    (wheel,) = (unpacked / WHEELS).glob("plantimager_timelapse-*.whl")
    rewrite_daemon(wheel, change)
    control = unpacked / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text("".join(f"Version: {version}\n" if line.startswith("Version:") else line for line in lines))
    for script in (unpacked / "DEBIAN").glob("p*"):
        script.write_text(_hooked(script.read_text(), "new"))
    made = package.with_name(f"{PACKAGE}_{version}.deb")
    _build(unpacked, made)
    return made


def _build(root: Path, made: Path) -> None:
    run_on_host(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(made)])
    shutil.rmtree(root)


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
Package: {name}
Version: {version}
Architecture: all
Maintainer: nobody <nobody@plant-imager.invalid>
{fields}
Description: a package of a test
"""


def python_package(directory: Path, version: str, answer: str, first: str = "") -> Path:
    """Return a package with another ``/usr/bin/python3`` for Debian 12, which gives another version of itself."""
    fields = "Replaces: python3-minimal"
    program = PYTHON.format(answer=answer, first=first)
    return _small_package(directory, "python3-of-tomorrow", version, fields, "usr/bin/python3", program)


def refused_package(directory: Path, name: str, fields: str) -> Path:
    """Return a package with more ``fields`` of control, whose installation fails before it begins."""
    return _small_package(directory, name, "1", fields, "DEBIAN/preinst", "#!/bin/sh\nexit 1\n")


def _small_package(directory: Path, name: str, version: str, fields: str, program: str, text: str) -> Path:
    root = directory / name
    for file, content in (
        ("DEBIAN/control", CONTROL.format(name=name, version=version, fields=fields)),
        (program, text),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(content)
    (root / program).chmod(0o755)
    made = directory / f"{name}_{version}.deb"
    _build(root, made)
    return made


def install_file(machine: Rig, package: Path, *options: str) -> tuple[str, ...]:
    """Put a package on a machine; return the command that installs it by dpkg alone, which shows what it calls."""
    shutil.copy(package, machine.path("/root"))
    return ("dpkg", "--debug=2", *options, "--install", f"/root/{package.name}")
