"""Rules for every test: none is skipped unless allowed, none has a deadline, none reads the machine's own rig."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hiding import directories_of_the_machine, hide

if TYPE_CHECKING:
    from collections.abc import Iterator

STRICT = "--no-skips"
ALLOWED = "--may-skip"
VISIBLE = pytest.StashKey[str]()

OF_THE_MACHINE = (
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "PI3_TIMELAPSE_FILE_NAME"),
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "SUDO_USER", "NO_COLOR", "COLUMNS"),
)
"""Variables that the program reads, and that a shell or a service manager around this run may have set."""

# A machine under load is slow; how slow is not what these tests are about. `tests/run unit` names "quick".
hypothesis.settings.register_profile(
    "timelapsed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("quick", hypothesis.settings.get_profile("timelapsed"), max_examples=25)
hypothesis.settings.load_profile("timelapsed")


def pytest_configure(config: pytest.Config) -> None:
    """Hide this machine's own rigs, and let the programs that tests start receive SIGINT.

    A shell starts background jobs with SIGINT ignored, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The workers of pytest-xdist are children of the process in which this is done.
    if not hasattr(config, "workerinput") and (directories := directories_of_the_machine()):
        try:
            hide(directories)
        except OSError as refusal:
            config.stash[VISIBLE] = f"visible to the tests: {', '.join(map(str, directories))} ({refusal})"


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what of this machine could not be hidden."""
    return [config.stash[VISIBLE]] if VISIBLE in config.stash else []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that tests/run gives; a plain `pytest` skips as usual."""
    group = parser.getgroup("timelapsed")
    group.addoption(STRICT, action="store_true", help="a skipped test is a failure")
    group.addoption(ALLOWED, action="append", default=[], metavar="WORD", help="unless its reason has this word")


def pytest_collection_finish() -> None:
    """Leave the thousands of tests out of what the garbage collector looks through again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Turn the skipping of a test into its failure."""
    report = yield
    _judge(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Turn the skipping of a whole module into its failure."""
    report = yield
    _judge(report, collector.config)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if not report.skipped or hasattr(report, "wasxfail") or not config.getoption(STRICT):
        return
    _, _, reason = report.longrepr
    if not any(word in reason for word in config.getoption(ALLOWED)):
        report.outcome = "failed"
        report.longrepr = f"{reason}\nThis machine must run every test, so a skipped one is a failure."


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the run a home directory of its own, so that no test finds a person's configuration or store.

    The cache stays: it holds downloads, which no test reads for what they say.
    """
    own = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"))
        patch.setenv("HOME", str(own))
        runtime = own / "run"
        runtime.mkdir(mode=0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        for variable in OF_THE_MACHINE:
            patch.delenv(variable, raising=False)
        yield own
