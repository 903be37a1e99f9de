"""The command line of `timelapsectl`."""

import pytest

from plantimager.timelapse.cli.main import load_command
from plantimager.timelapse.cli.parser import build_parser, parse


def refusal_of(arguments, capsys):
    """Return what standard error says of a command line that isn't one."""
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--rig", "north", "status"], ["status", "--rig", "north"]])
def test_common_options_may_stand_before_and_behind_the_command(arguments):
    """People write them in either place."""
    assert parse(arguments).rig == "north"


def test_option_before_the_command_keeps_its_value_behind_it():
    """The command's own defaults don't replace it."""
    options = parse(["--system", "--rig", "north", "cancel", "--why", "tired"])
    assert (options.scope, options.rig, options.why) == ("system", "north", "tired")


@pytest.mark.parametrize(
    "arguments", [["-f"], ["-n", "20", "SLOT=7"], ["--since", "today", "-x"], ["--rig", "north"], ["--system"], []]
)
def test_arguments_behind_log_are_journalctls(arguments):
    """Also those that look like our own options."""
    assert parse(["log", *arguments]).arguments == arguments


def test_log_has_help_of_its_own(capsys):
    """Journalctl's help has nothing about slots."""
    with pytest.raises(SystemExit) as ended:
        parse(["log", "--help"])
    assert ended.value.code in (0, None)
    assert "SLOT=7" in capsys.readouterr().out


def test_help_says_when_a_user_means_the_system_service():
    """As the manual does: that of a user who has none of their own."""
    assert "or the system service's again where they have none" in build_parser().format_help()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["start"],
        ["status", "--jsn"],
        ["status", "--js"],
        ["status", "-n", "many"],
        ["status", "-n", "-1"],
        ["--system", "--user", "status"],
        ["rig"],
        ["rig", "dance"],
        ["rig", "goto"],
        ["rig", "goto", "5"],
        ["rig", "goto", "--x", "left"],
        ["rig", "goto", "--x", "nan"],
        ["rig", "goto", "--x", "inf"],
        ["rig", "lights"],
        ["rig", "lights", "dim"],
    ],
)
def test_usage_errors_exit_with_2(arguments, capsys):
    """The usage is written to standard error."""
    assert "usage: timelapsectl" in refusal_of(arguments, capsys)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["status", "-n", "many"], "argument -n/--records: 'many' is no number of slots; write 0 or more"),
        (["status", "--records=-1"], "argument -n/--records: '-1' is no number of slots; write 0 or more"),
        (["rig", "goto", "--x", "left"], "argument --x: 'left' is no place; write a number, such as 120.5"),
        (["rig", "goto", "--pan", "nan"], "argument --pan: 'nan' is no place; write a number, such as 120.5"),
    ],
)
def test_usage_error_says_what_to_write(arguments, sentence, capsys):
    """It doesn't name the function that reads the value."""
    errors = refusal_of(arguments, capsys)
    assert sentence in errors
    assert "_c" not in errors


def test_coordinate_may_be_negative():
    """Angles of the turntable are."""
    options = parse(["--rig", "north", "rig", "goto", "--pan", "-90", "--y", "1e2"])
    assert (options.rig, options.action, options.x, options.y, options.pan) == ("north", "goto", None, 100, -90)


def test_every_command_has_its_module():
    """Each command of the parser is run by the function `run_<command>` in the module of its name."""
    commands = next(action for action in build_parser()._actions if action.dest == "command")
    assert all(callable(load_command(name)) for name in commands.choices)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", ""],
        ["preview", ""],
        ["start", ""],
        ["amend", ""],
        ["timeline", ""],
        ["timeline", "--svg", ""],
        ["datasets", "migrate", ""],
        ["deliver", "--forget", ""],
        ["rig", "snapshot", "--output", ""],
        ["rig", "snapshot", "--camera", ""],
        ["cancel", "--why", ""],
        ["pause", "--until", ""],
        ["pause", "--for", ""],
        ["--config", "", "status"],
    ],
)
def test_empty_name_is_no_name(capsys, arguments):
    """It is a variable of a shell that isn't set, and no person means the current directory by it."""
    assert "an empty text names nothing" in refusal_of(arguments, capsys)
