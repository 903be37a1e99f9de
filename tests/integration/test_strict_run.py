"""The rules of tests/conftest.py: a skipped test is a failure, and the machine's own rigs are hidden."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hiding import directories_of_the_machine
from tree import SUPPORT, TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFTEST = TESTS / "conftest.py"

MIXED = """
import pytest

def test_runs():
    pass

def test_skips():
    pytest.skip("strace is not installed")

@pytest.mark.xfail(strict=True, reason='it is known')
def test_is_known_to_fail():
    assert False
"""

SKIPPED_MODULE = """
import pytest

pytest.skip("strace is not installed", allow_module_level=True)
"""

DIES = """
import os

def test_kills_its_process():
    os.abort()
"""

ON_TWO_PROCESSORS = ("--numprocesses=2", "--dist=loadfile", "--max-worker-restart=0")

Outcome = tuple[int, str]
"""Exit code, and the counts of the last line."""


@pytest.fixture
def outcome(tmp_path) -> Callable[..., Outcome]:
    """Return a function that runs a file of tests, and another one that passes, in a pytest of their own."""
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n", encoding="utf-8")

    def run(text: str, *options: str) -> Outcome:
        (tmp_path / "test_example.py").write_text(text, encoding="utf-8")
        settings = ["-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-o", f"pythonpath={SUPPORT}"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *settings, *options, tmp_path],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        return done.returncode, done.stdout.splitlines()[-1].strip("= ").partition(" in ")[0]

    return run


@pytest.mark.parametrize("processors", [(), ON_TWO_PROCESSORS], ids=["one", "two"])
def test_skipping_fails_the_run(outcome, processors):
    """With `--no-skips` the skipped test is a failed one; one that is known to fail is not."""
    assert outcome(MIXED, "--no-skips", *processors) == (1, "1 failed, 2 passed, 1 xfailed")


@pytest.mark.parametrize("processors", [(), ON_TWO_PROCESSORS], ids=["one", "two"])
def test_skipping_a_whole_module_fails_the_run(outcome, processors):
    """A module that skips itself has no test that could be counted, but it is an error."""
    code, counts = outcome(SKIPPED_MODULE, "--no-skips", *processors)
    assert code != 0
    assert "1 error" in counts


@pytest.mark.parametrize("processors", [(), ON_TWO_PROCESSORS], ids=["one", "two"])
def test_allowed_reason_may_skip(outcome, processors):
    """A program that tests/run could not install, and said so, may be a reason."""
    allowed = outcome(MIXED, "--no-skips", "--may-skip=strace", *processors)
    assert allowed == (0, "2 passed, 1 skipped, 1 xfailed")
    assert outcome(MIXED, "--no-skips", "--may-skip=debootstrap", *processors)[0] == 1


def test_plain_pytest_skips_as_usual(outcome):
    """A developer's own `pytest` is not strict."""
    assert outcome(MIXED) == (0, "2 passed, 1 skipped, 1 xfailed")


def test_death_of_a_process_fails_the_run(outcome):
    """The test that killed its process is a failed one, and the other tests still run."""
    assert outcome(DIES, "--no-skips", *ON_TWO_PROCESSORS) == (1, "1 failed, 1 passed")


HIDE = """
import os, sys
from pathlib import Path
from hiding import hide

directory = Path(sys.argv[1])
hide([directory])
print(os.listdir(directory), os.getuid() == os.geteuid() == int(sys.argv[2]), flush=True)
os.execvp("ls", ["ls", directory, sys.argv[3]])
"""

NOBODY = 65534
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    # To read Python and this checkout, which may be in root's home.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """Return a directory that every user of the machine may look into."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.parametrize("user", sorted({os.geteuid(), NOBODY}) if os.geteuid() == 0 else [os.geteuid()])
def test_hidden_directory_is_empty_for_the_process_and_its_children_alone(public_directory, user):
    """The machine's own view does not change, and an ordinary user stays that user, with no more rights."""
    (rig := public_directory / "rig").mkdir(mode=0o755)
    (rig / "timelapsed.toml").touch()
    (closed := public_directory / "closed").mkdir(mode=0)
    become = [] if user == os.geteuid() else AS_NOBODY
    if user and subprocess.run([*become, "unshare", "--user", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine gives no user namespaces")
    done = subprocess.run(
        [*become, sys.executable, "-c", HIDE, rig, str(user), closed],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "LANG": "C.UTF-8"},
    )
    assert done.stdout.splitlines()[:1] == ["[] True"], done.stderr
    assert done.returncode == (2 if user else 0)
    assert ("Permission denied" in done.stderr) == bool(user)
    assert [path.name for path in rig.iterdir()] == ["timelapsed.toml"]


def test_tests_find_no_rig_of_the_machine_or_of_a_person(home: Path):
    """The home directory of a run is new, and the directories of a rig that is installed here are empty."""
    assert os.environ["HOME"] == str(home)
    found = [path for path in home.glob("**/plant-imager*") if path.parent != home / "run"]  # sockets of tests before
    assert found == []
    for directory in directories_of_the_machine():
        assert [*directory.iterdir()] == []
