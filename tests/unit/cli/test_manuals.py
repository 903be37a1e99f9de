"""The manual pages say what the programs understand."""

import argparse
import ast
import logging
import re

import pytest
from msgspec.structs import replace
from tree import MANUALS, TREE

from plantimager.timelapse.cli.parser import build_parser
from plantimager.timelapse.cli.status_json import snapshot_as_json
from plantimager.timelapse.daemon import main as timelapsed
from plantimager.timelapse.daemon.journal import Action
from plantimager.timelapse.support.errors import EXIT_CONFIG, EXIT_UNAVAILABLE


def manual(name):
    """Return the text of a manual page without macros and fonts."""
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
    return set(words_of(timelapsed.argument_parser()))


@pytest.mark.parametrize("word", sorted(set(words_of(build_parser()))))
def test_manual_of_timelapsectl_has_every_option_and_command(word):
    """Each stands there as a word of its own."""
    assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", manual("timelapsectl.1"))


def test_manual_of_timelapsectl_has_no_option_that_does_not_exist():
    """The parser knows every option that it names."""
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", manual("timelapsectl.1")))
    assert named <= set(words_of(build_parser()))


def test_manual_of_timelapsed_has_every_option():
    """And no others."""
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", manual("timelapsed.8").partition("SIGNALS")[0]))
    assert words_of_timelapsed() == named - {"-imager"}


def test_manual_of_timelapsectl_has_every_key_of_the_json(scanning):
    """The manual page is where the author of a program looks."""
    ended = replace(scanning, timelapse=scanning.timelapse.cancel(scanning.at, "ann", "done"))
    keys = {*keys_of(snapshot_as_json(scanning, 10)), *keys_of(snapshot_as_json(ended, 10))}
    section = (MANUALS / "timelapsectl.1").read_text().partition(".SH JSON")[2].partition(".SH EXAMPLES")[0]
    assert keys <= set(re.findall(r"\w+", section))


def test_manual_of_timelapsed_has_every_action():
    """With its level, its fields and whether it has an entry in the message catalog."""
    section = (MANUALS / "timelapsed.8").read_text().partition(".SH JOURNAL")[2].partition(".SH SEE ALSO")[0]
    entries = re.findall(r'^\.TP\n\.BR (\w+) " \((\w+)\)"\n(?:[^.].+\n)+(?:\.br\n(.+)\n)?', section, re.MULTILINE)
    listed = {word: (level, {*fields.split()}) for word, level, fields in entries}
    assert len(listed) == len(entries)
    assert {word: (level, "MESSAGE_ID" in fields) for word, (level, fields) in listed.items()} == {
        action.word: (logging.getLevelName(action.level).lower(), action.message_id is not None) for action in Action
    }
    passed = fields_in_the_code()
    assert {word: missing for word, fields in passed.items() if (missing := fields - listed[word][1])} == {}
    assert passed["scan_started"] == {"TIMELAPSE_ID", "STATE", "SLOT"}


def fields_in_the_code():
    """Return the fields that the calls of `log_event` in the daemon pass, by the words of their actions."""
    of_argument = {"timelapse": {"TIMELAPSE_ID", "STATE"}, "slot": {"SLOT"}, "error": {"EXCEPTION"}}
    fields = {}
    for module in sorted((TREE / "src" / "plantimager" / "timelapse" / "daemon").glob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="log_event"), args=[ast.Attribute(value=ast.Name(id="Action"), attr=name), *_]
                ):
                    passed = [of_argument.get(word.arg, {word.arg.upper()}) for word in node.keywords if word.arg]
                    fields[Action[name].word] = fields.get(Action[name].word, set()).union(*passed)
    return fields


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
    """A reader of one finds the others."""
    others = {other.name for other in MANUALS.iterdir()} - {page.name}
    seen = page.read_text().partition(".SH SEE ALSO")[2]
    assert others <= {f"{name}.{section}" for name, section in re.findall(r"^\.BR (\S+) \((\d)\)", seen, re.MULTILINE)}


def test_manual_explains_messages_of_cameras_that_there_are():
    """A row whose message nobody writes any more would be searched for in vain."""
    table = manual("timelapsed.toml.5").partition("MESSAGES OF CAMERAS\n")[2].partition("FILES\n")[0]
    messages = re.findall(r'^"(.+)"$', table, flags=re.MULTILINE)
    drivers = TREE / "src/plantimager/timelapse/drivers"
    writers = [*drivers.glob("cameras/*.py"), drivers / "device_access.py", *drivers.glob("grbl/*.py")]
    written = "".join(path.read_text() for path in writers)
    written = re.sub(r'"\s*\n\s*f?"', "", written)
    assert len(messages) > 20
    assert [message for message in messages if message not in written] == []
