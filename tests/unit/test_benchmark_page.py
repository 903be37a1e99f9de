"""The page of the benchmarks has a place for each table that a run fills in."""

from __future__ import annotations

import runpy

import pytest
from tree import TESTS

FIGURES = runpy.run_path(str(TESTS / "benchmarks/figures.py"))
PAGE = (TESTS / "benchmarks/README.md").read_text(encoding="utf-8")


def test_each_table_has_its_place():
    """No place is left without a table, either."""
    places = [line for line in PAGE.splitlines() if line.startswith("<!-- ")]
    assert places == [line for name in FIGURES["TABLES"] for line in (f"<!-- {name} -->", "<!-- end -->")]


def test_figures_of_a_run_replace_those_before():
    """The text around a table stays."""
    pending = {"100": [0.002, 40_000], "10000": [0.004, 60_000]}
    page = FIGURES["with_figures"](PAGE, {"pending": {"pending": pending}})
    assert "| 10 000 | 4.00 | 2.00 | 60.0 | 1.50 |\n<!-- end -->" in page
    assert page.partition("<!-- pending -->")[0] == PAGE.partition("<!-- pending -->")[0]


def test_page_without_a_place_is_refused():
    """A table that was renamed is not lost without a word."""
    with pytest.raises(LookupError, match="no place for the table pending"):
        FIGURES["with_figures"]("", {"pending": {"pending": {"100": [0.1, 1]}}})
