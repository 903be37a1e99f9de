"""The manual pages say what the programs understand."""

import argparse
import re

import pytest
from msgspec.structs import replace
from tree import MANUALS

from plantimager.timelapse.cli.parser import build_parser
from plantimager.timelapse.cli.status_json import snapshot_as_json
from plantimager.timelapse.daemon import main as timelapsed
from plantimager.timelapse.support.errors import EXIT_CONFIG, EXIT_UNAVAILABLE


def manual(name):
    """Return a manual page as words, its macros and fonts taken away."""
    text = (MANUALS / name).read_text()
    text = re.sub(r"\\f.|\\c", "", text).replace("\\-", "-").replace("\\ ", " ")
    return re.sub(r"^\.\w+ ", "", text, flags=re.MULTILINE)


def words_of(parser):
    """Yield every option and command of a parser, and of the commands' own."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield name
                yield from words_of(command)


def words_of_timelapsed():
    """Return the options of the daemon."""
    return set(words_of(timelapsed.build_parser()))


@pytest.mark.parametrize("word", sorted(set(words_of(build_parser()))))
def test_manual_of_timelapsectl_has_every_option_and_command(word):
    """Each stands there as a word of its own."""
    assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", manual("timelapsectl.1"))


def test_manual_of_timelapsectl_has_no_option_that_is_gone():
    """What it names, the parser knows."""
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", manual("timelapsectl.1")))
    assert named <= set(words_of(build_parser()))


def test_manual_of_timelapsed_has_every_option():
    """And no other."""
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", manual("timelapsed.8").partition("SIGNALS")[0]))
    assert words_of_timelapsed() == named - {"-imager"}


def test_manual_of_timelapsectl_has_every_key_of_the_json(scanning):
    """What a program may rely on stands where its author looks."""
    ended = replace(scanning, timelapse=scanning.timelapse.cancel(scanning.at, "ann", "done"))
    keys = {*keys_of(snapshot_as_json(scanning, 10)), *keys_of(snapshot_as_json(ended, 10))}
    section = (MANUALS / "timelapsectl.1").read_text().partition(".SH JSON")[2].partition(".SH EXAMPLES")[0]
    assert keys <= set(re.findall(r"\w+", section))


def keys_of(value):
    """Yield every key of an object and of those within it."""
    inner = value if isinstance(value, list) else []
    if isinstance(value, dict):
        yield from value
        inner = value.values()
    for item in inner:
        yield from keys_of(item)


@pytest.mark.parametrize("name", ["timelapsectl.1", "timelapsed.8"])
def test_manual_names_the_exit_codes(name):
    """By the same numbers as the code."""
    codes = {str(EXIT_CONFIG)} | ({str(EXIT_UNAVAILABLE)} if name.startswith("timelapsectl") else set())
    assert codes <= set(re.findall(r"^\d+$", manual(name), flags=re.MULTILINE))


@pytest.mark.parametrize("page", sorted(MANUALS.iterdir()), ids=lambda page: page.name)
def test_manuals_refer_to_each_other(page):
    """Whoever has found one finds the others."""
    others = {other.name for other in MANUALS.iterdir()} - {page.name}
    seen = page.read_text().partition(".SH SEE ALSO")[2]
    assert others <= {f"{name}.{section}" for name, section in re.findall(r"^\.BR (\S+) \((\d)\)", seen, re.MULTILINE)}
