"""Holds the test run to what this machine can test: a skipped test is no passed one."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

STRICT = "--no-skips"
ALLOWED = "--may-skip"


def pytest_configure() -> None:
    """Have the programs that tests start hear Ctrl-C, also where this run was started in the background, deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that tests/run gives; a plain `pytest` skips as usual."""
    group = parser.getgroup("timelapsed")
    group.addoption(STRICT, action="store_true", help="a skipped test is a failure")
    group.addoption(ALLOWED, action="append", default=[], metavar="WORD", help="unless its reason has this word")


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
        report.longrepr = f"{reason}\nThis machine is to run every test; so skipping is a failure."
