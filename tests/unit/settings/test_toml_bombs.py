"""TOML that would take minutes to read, or all memory: refused at once, and nothing else is."""

from pathlib import Path

import pytest
from fuzzing import TimeLimit

from plantimager.timelapse.settings.toml_file import MAX_FILE_BYTES, MAX_KEY_PARTS, parse_toml
from plantimager.timelapse.support.errors import FileUnusable

PATH = Path("timelapse.toml")
PARTS = "line 1: a key has more than 16 parts between dots"
DEEP = "nested deeper than 50"
MANY = "has more than 500000 brackets, commas, dots and equals signs"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b".".join([b"a"] * 30_000) + b" = 1", PARTS, id="key"),
        pytest.param(b" . ".join([b'"a.b"'] * 30_000) + b" = 1", PARTS, id="quoted key"),
        pytest.param(b"[" + b".".join([b"a"] * 30_000) + b"]", PARTS, id="table"),
        pytest.param(b"x = { " + b".".join([b"a"] * 30_000) + b" = 1 }", PARTS, id="key of an inline table"),
        pytest.param(b"x = " + b"[" * 100_000, DEEP, id="lists"),
        pytest.param(b"x = " + b"{a = " * 100_000, DEEP, id="inline tables"),
    ],
)
def test_bomb_is_refused_in_milliseconds(content, problem):
    """The test allows a second of processor time, on any machine."""
    with TimeLimit(), pytest.raises(FileUnusable, match=problem):
        parse_toml(content, PATH)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"x = [" + b"{}," * 600_000 + b"]", MANY),
        (b"[[a]]\n" * 200_000, MANY),
        (b"".join(b"k%d.b.c = 1\n" % number for number in range(200_000)), MANY),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than 8 MB"),
    ],
)
def test_millions_of_values_are_refused(content, problem):
    """They would take a hundred bytes of memory each, and minutes of a small computer."""
    with pytest.raises(FileUnusable, match=problem):
        parse_toml(content, PATH)


@pytest.mark.parametrize(
    "content",
    [
        'x = "' + "a." * 100 + '" # ' + "a." * 100,
        "x = '" + "[{" * 100 + "'",
        'x = """\n' + "a.b.c = [\n" * 100 + '"" \\""" end""""',
        "x = '''\n" + "a.b.c = [\n" * 100 + "''''",
        'x = "\\\\" # " [[[[\ny = "[\\"["',
        ".".join(["a"] * MAX_KEY_PARTS) + " = 1",
        "x = [" + "1.5, " * 1000 + "]",
        "x = " + "[" * 49 + "]" * 49,
        "[a.b]\n" + "".join(f"c.d.e{number} = 2026-06-22T08:00:00.5Z\n" for number in range(1000)),
        "x = [\n" + '"2026-06-22T08:00:00Z",\n' * 100_000 + "]",
    ],
    ids=lambda content: content[:20],
)
def test_what_people_write_is_read(content):
    """Dots and brackets in texts and comments count for nothing; the greatest schedule is within the limits."""
    assert parse_toml(content.encode(), PATH).values


@pytest.mark.parametrize("content", ['"', "'", '"""', "'''", '\\"', '""', "''", "\"\"\"'''", '"\\', "x = '\n"])
def test_text_without_an_end_takes_no_longer_than_its_length(content):
    """Its quotes may be mixed in any way."""
    with TimeLimit(), pytest.raises(FileUnusable):
        parse_toml((content * 100_000).encode()[:200_000] + b"\n]", PATH)
