"""Our distribution and the community's controller in one environment: in any order, both programs run after each step.

The controller is a stand-in that owns the same four files: of its package only the store's documented face is ours, and
we put it where no file belongs to both.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from tree import TREE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS, THEIRS = "plantimager-timelapse", "plantimager.controller"
BUILD_BACKENDS = ("hatchling>=1.27", "setuptools>=75")
TOOLS = ["pip", *filter(shutil.which, ["uv"])]
"""What installs, uv where this machine has it."""
LIMIT = 120
"""Seconds."""
QUIETLY = ("--quiet", "--disable-pip-version-check", "--no-input")

STAND_IN = {
    "plantimager/controller/__init__.py": "",
    "plantimager/controller/scanner/__init__.py": "",
    "plantimager/controller/scanner/timelapse_store.py": "OWNER = 'theirs'\n",
    "plantimager/controller/scanner/timelapse.py": "from .timelapse_store import OWNER\ndef main(): print(OWNER)\n",
}
PROJECT = f"""
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{THEIRS}"
version = "1.0"
[project.scripts]
controller = "plantimager.controller.scanner.timelapse:main"
"""
LAYOUTS = {
    "found": ("", ""),
    "listed": ("", 'tool.setuptools.packages = ["plantimager.controller", "plantimager.controller.scanner"]\n'),
    "in src": ("src", ""),
}
"""The directory of its files in its project, and what its pyproject.toml begins with. Where it is editable, setuptools
installs each of these in another way, by a finder or by a path."""


# --- what is installed ------------------------------------------------------------------------------


def output_of(*command: object) -> list[str]:
    """Return the lines that a program prints; away from this tree, so that nothing is imported from it by chance."""
    words = [*map(str, command)]
    run = subprocess.run(words, check=False, capture_output=True, text=True, timeout=LIMIT, cwd="/")
    assert run.returncode == 0, f"{words}: {run.stderr}"
    return run.stdout.splitlines()


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Path:
    """Return a directory with what we import, linked from the environment of this test, with pip and build backends."""
    directory = tmp_path_factory.mktemp("libraries")
    output_of(sys.executable, "-m", "pip", "install", *QUIETLY, "--target", directory, *BUILD_BACKENDS)
    wanted, seen = ["pip", *requirements_of(OURS)], set()
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen.add(name)
            wanted += requirements_of(name)
            distribution = importlib.metadata.distribution(name)
            for part in {file.parts[0] for file in distribution.files or ()} - {".."}:
                if not (directory / part).exists():
                    (directory / part).symlink_to(distribution.locate_file(part))
    return directory


def requirements_of(name: str) -> Iterator[str]:
    """Yield the distributions that one needs here, extras left out."""
    for requirement in importlib.metadata.requires(name) or ():
        if ";" not in requirement:
            yield re.split(r"[^A-Za-z0-9._-]", requirement)[0]


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    """Return the projects: a copy of ours, and the controller's in each layout."""
    directory = tmp_path_factory.mktemp("sources")
    ours = directory / "ours"
    shutil.copytree(TREE / "src", ours / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TREE / name, ours)
    projects = {"ours": ours}
    for layout, (place, head) in LAYOUTS.items():
        projects[layout] = directory / layout
        for name, text in STAND_IN.items():
            path = projects[layout] / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (projects[layout] / "pyproject.toml").write_text(head + PROJECT)
    return projects


@pytest.fixture(scope="module")
def wheels(tmp_path_factory, libraries, sources) -> dict[str, Path]:
    """Return the wheels of both."""
    directory = tmp_path_factory.mktemp("wheels")
    builder = Environment(tmp_path_factory.mktemp("builder"), libraries)
    builder.pip("wheel", "--no-deps", "--no-build-isolation", "-w", directory, sources["ours"], sources["found"])
    (ours,), (theirs,) = directory.glob("plantimager_timelapse*"), directory.glob("plantimager_controller*")
    return {"ours": ours, "theirs": theirs}


class Environment:
    """A virtual environment that sees the libraries, and nothing else that is installed here."""

    def __init__(self, directory: Path, libraries: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        self.programs = directory / "bin"
        (self.site,) = directory.glob("lib/python3*/site-packages")
        (self.site / "libraries.pth").write_text(f"{libraries}\n")

    def pip(self, *words: object) -> None:
        """Run pip in this environment: with ``--python`` it would start itself twice."""
        output_of(self.programs / "python", "-m", "pip", *words, *QUIETLY)

    def uv(self, command: str, *words: object) -> None:
        """Run uv for this environment; it links the files of a wheel to its cache where pip copies them."""
        output_of("uv", "pip", command, "--quiet", "--offline", "--python", self.programs / "python", *words)

    def install(self, *what: object) -> None:
        """Install a wheel or, after ``-e``, a project; again where it is installed."""
        self.pip(
            "install", "--no-index", "--no-deps", "--no-compile", "--no-build-isolation", "--force-reinstall", *what
        )

    def said(self, program: str, *words: str) -> list[str]:
        """Return the lines that one of its programs prints."""
        return output_of(self.programs / program, *words)

    def check(self, installed: set[str]) -> None:
        """Check that each installed program runs, and whose store module the documented name gives."""
        if OURS in installed:
            assert self.said("timelapsed", "--version")[0].startswith("timelapsed ")
            assert self.said("timelapsectl", "--help")
        if THEIRS in installed:
            assert self.said("controller") == ["theirs"]
        owner = "theirs" if THEIRS in installed else "ours" if OURS in installed else "nobody"
        assert self.said("python", "-c", WHOSE) == [owner]


WHOSE = """
try:
    import plantimager.controller.scanner.timelapse_store as store
    print("ours" if hasattr(store, "TimelapseStore") else store.OWNER)
except ImportError:
    print("nobody")
"""


@pytest.fixture
def environment(tmp_path, libraries) -> Environment:
    """Return a fresh environment."""
    return Environment(tmp_path / "environment", libraries)


# --- in any order -----------------------------------------------------------------------------------


def test_our_wheel_has_no_file_of_the_controllers_packages(wheels) -> None:
    """A file that belonged to both would go with the one that is uninstalled first."""
    names = zipfile.ZipFile(wheels["ours"]).namelist()
    assert "plantimager/timelapse/__init__.py" in names
    assert not [
        name for name in names if name == "plantimager/__init__.py" or name.startswith("plantimager/controller")
    ]


@pytest.mark.parametrize("order", [(OURS, THEIRS), (THEIRS, OURS)], ids=" ".join)
@pytest.mark.parametrize("tool", TOOLS)
def test_both_programs_run_after_each_step_in_any_order(environment, wheels, tool, order) -> None:
    """Both are installed, installed again and uninstalled, first the one and then the other."""
    wheel = {OURS: wheels["ours"], THEIRS: wheels["theirs"]}
    first, second = order
    installed: set[str] = set()
    for name in (first, second, first, second):
        if tool == "uv":
            environment.uv("install", "--no-index", "--no-deps", "--reinstall", wheel[name])
        else:
            environment.install(wheel[name])
        installed.add(name)
        environment.check(installed)
    for name in order:
        environment.uv("uninstall", name) if tool == "uv" else environment.pip("uninstall", "--yes", name)
        installed.remove(name)
        environment.check(installed)
    left = [path.name for path in environment.site.rglob("*") if not path.is_dir()]
    assert [name for name in left if tool == "pip" or not name.endswith(".pyc")] == ["libraries.pth"]


def test_programs_run_from_a_directory_that_is_on_the_path(environment, wheels, tmp_path) -> None:
    """``--target`` installs into one. No .pth file of it is read, so the documented name needs `site.addsitedir`."""
    directory = tmp_path / "target"
    environment.pip("install", "--no-index", "--no-deps", "--target", directory, wheels["ours"])
    on_path = f"import sys; sys.path.insert(0, {str(directory)!r}); sys.argv[1:] = ['--version']\n"
    for program in ("daemon", "cli", "relay"):
        main = f"from plantimager.timelapse.{program}.main import main; sys.exit(main())"
        assert "0." in environment.said("python", "-c", on_path + main)[0]
    assert environment.said("python", "-c", on_path + WHOSE) == ["nobody"]
    added = f"import site; site.addsitedir({str(directory)!r})\n"
    assert environment.said("python", "-c", added + WHOSE) == ["ours"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_programs_run_where_both_are_editable(environment, sources, layout) -> None:
    """In whatever way the controller's build backend makes it so."""
    environment.install("-e", sources["ours"])
    environment.install("-e", sources[layout])
    environment.check({OURS, THEIRS})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_programs_run_where_the_controller_alone_is_editable(environment, sources, wheels, layout) -> None:
    """Ours is a wheel."""
    environment.install("-e", sources[layout])
    environment.install(wheels["ours"])
    environment.check({OURS, THEIRS})
    environment.pip("uninstall", "--yes", THEIRS)
    environment.check({OURS})


def test_both_programs_run_where_ours_alone_is_editable(environment, sources, wheels) -> None:
    """The controller is a wheel."""
    environment.install("-e", sources["ours"])
    environment.check({OURS})
    environment.install(wheels["theirs"])
    environment.check({OURS, THEIRS})
    environment.pip("uninstall", "--yes", OURS)
    environment.check({THEIRS})


@pytest.mark.parametrize("is_editable", [False, True], ids=["wheel", "editable"])
def test_a_controller_that_has_no_store_yet_is_given_ours(environment, sources, wheels, is_editable) -> None:
    """An older one: its packages are regular, and the documented module isn't among theirs."""
    environment.install(*(("-e", sources["ours"]) if is_editable else (wheels["ours"],)))
    for name in STAND_IN:
        path = environment.site / name
        if path.name == "__init__.py":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    environment.check({OURS})
