"""What tests/run asks of pytest: a skipped test that this machine should run is a failure."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from tree import TESTS

CONFTEST = TESTS / "conftest.py"

TESTS = """
import pytest

def test_runs():
    pass

def test_skips():
    pytest.skip("strace is not installed")

@pytest.mark.xfail(strict=True)
def test_is_known_to_fail():
    assert False
"""


@pytest.fixture
def outcome(tmp_path):
    """Return a function that runs the tests above in a pytest of their own: exit code and last line."""
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_example.py").write_text(TESTS, encoding="utf-8")

    def run(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", *options, tmp_path],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        return done.returncode, done.stdout.splitlines()[-1].strip("= ").partition(" in ")[0]

    return run


def test_skipping_fails_the_run(outcome):
    """With `--no-skips` the skipped test is a failed one; one that is known to fail is not."""
    assert outcome("--no-skips") == (1, "1 failed, 1 passed, 1 xfailed")


def test_allowed_reason_may_skip(outcome):
    """What tests/run could not install, and said so, may be skipped."""
    assert outcome("--no-skips", "--may-skip=strace") == (0, "1 passed, 1 skipped, 1 xfailed")
    assert outcome("--no-skips", "--may-skip=debootstrap")[0] == 1


def test_plain_pytest_skips_as_usual(outcome):
    """A developer's own `pytest` is not held to that."""
    assert outcome() == (0, "1 passed, 1 skipped, 1 xfailed")
