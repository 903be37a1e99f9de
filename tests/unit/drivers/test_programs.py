"""Where an operator's program is found, and what prevents that it runs."""

from pathlib import Path

import pytest

from plantimager.timelapse.drivers.programs import run
from plantimager.timelapse.drivers.programs.environment import ProgramMissing, find_program


@pytest.fixture
def program(tmp_path):
    """Return a function that writes a program which begins with a line."""

    def write(first):
        path = tmp_path / "take"
        path.write_bytes(first)
        path.chmod(0o755)
        return str(path)

    return write


@pytest.mark.parametrize(
    "first",
    [
        b"#!/bin/sh\n",
        b"#! /bin/sh -e",
        b"#!\t/usr/bin/env sh\n",
        b"#!/usr/bin/env -S LANG=C sh -e\n",
        b"\x7fELF",
        b"",
        b"#!",
        b"#!\n",
    ],
)
def test_program_that_can_be_run_is_found(program, first):
    """A script with its interpreter, and what is no script: the kernel says what that is."""
    path = program(first)
    assert find_program(path) == path


@pytest.mark.parametrize(
    ("first", "absent"),
    [
        (b"#!/opt/no/python3\n", "/opt/no/python3"),
        (b"#!/usr/bin/env no-such-python\n", "no-such-python"),
        (b"#!/usr/bin/env -S no-such-python -u\n", "no-such-python"),
        (b"#!/bin/sh\r\necho\r\n", "/bin/sh with a line end of Windows"),
        (b"#!/usr/bin/env sh\r\n", "sh with a line end of Windows"),
        (b"#!/opt/" + b"a" * 500, "/opt/" + "a" * 249),
    ],
)
def test_script_without_its_interpreter_can_not_be_run(program, first, absent):
    """The kernel says only that the script is not there."""
    path = program(first)
    with pytest.raises(ProgramMissing) as missing:
        find_program(path)
    assert str(missing.value) == f"{path} can't be run: {absent}, which its first line names, is not there"


def test_command_that_could_not_be_tried_is_tried_again(program):
    """A machine that is busy, or short of memory, has not shown that its sandbox refuses it."""
    path = Path(program(b"#!/bin/sh\nexit 0\n"))
    path.chmod(0o644)
    assert run._if_usable(str(path), "-n") == ()
    path.chmod(0o755)
    assert run._if_usable(str(path), "-n") == (str(path), "-n")
