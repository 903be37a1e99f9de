"""Manual pages and completions, read by groff and the shells."""

import argparse
import re
import shutil
import subprocess

import completions
import pytest
from tree import SYSTEMD

from plantimager.timelapse.cli.parser import build_parser

COMPLETION = SYSTEMD / "completion" / "timelapsectl.bash"

PARSER = build_parser()


def choices(parser):
    """Return the commands of a parser, each with its own parser."""
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices


COMMANDS = choices(PARSER)
ACTIONS = choices(COMMANDS["rig"])


def complete(*words, cwd=None):
    """Return what bash offers for the last of ``words``."""
    script = """
        source "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _timelapsectl
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    command = ["bash", "--norc", "-c", script, "bash", str(COMPLETION), "timelapsectl", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd)
    assert done.stderr == ""
    return set(done.stdout.split())


def long_options(parser):
    """Return the long options of a parser."""
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")}


def test_completion_offers_every_command_and_option():
    """Those that the parser knows."""
    assert complete("") == {*COMMANDS, *long_options(PARSER)}


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_completion_offers_the_options_of_a_manual_command(action):
    """Behind `rig`, also with options between them."""
    offered = {word for word in complete("rig", "--user", action, "-") if word.startswith("--")}
    assert offered == long_options(ACTIONS[action])


def test_completion_offers_manual_commands():
    """And on and off behind lights."""
    assert {word for word in complete("rig", "") if not word.startswith("-")} == {*ACTIONS}
    assert complete("rig", "lights", "o") == {"on", "off"}


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"log"}))
def test_completion_offers_the_options_of_a_command(command):
    """And no others."""
    assert {word for word in complete(command, "-") if word.startswith("--")} == long_options(COMMANDS[command])


def test_completion_finds_the_command_behind_options_with_values():
    """The name of a rig is no command."""
    assert "--follow" in complete("--rig", "status", "--system", "status", "--f")
    assert "--follow" not in complete("--rig", "status", "--")


def test_completion_offers_definitions(tmp_path):
    """TOML files and directories, also with blanks in their names."""
    for name in ("a.toml", "b.txt"):
        (tmp_path / name).touch()
    (tmp_path / "rigs").mkdir()
    assert complete("start", "", cwd=tmp_path) == {"a.toml", "rigs"}
    assert complete("timeline", "--svg", "", cwd=tmp_path) == {"a.toml", "b.txt", "rigs"}


def test_completion_of_log_offers_journal_fields():
    """They are hard to remember."""
    assert complete("log", "S") == {"SLOT=", "STATE=", "SCAN_ID="}


@pytest.mark.parametrize("file", completions.FILES, ids=lambda file: file.name)
def test_completions_of_zsh_and_fish_are_written_from_the_parser(file):
    """They offer what bash offers; after a change of the parser, run tests/support/completions.py."""
    assert file.read_text() == completions.FILES[file]()


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"rig"}))
def test_completions_of_zsh_and_fish_have_every_option(command):
    """Every long option stands behind its command, or among those that all commands have."""
    zsh, fish = (file.read_text() for file in completions.FILES)
    common = zsh.partition(")\n\n")[0]
    mine = zsh.partition(f"_timelapsectl_{command}() {{")[2].partition("\n}\n")[0]
    for option in long_options(COMMANDS[command]):
        assert f"{option}[" in common + mine or f",{option}}}" in common + mine
        assert re.search(rf"-n '(__timelapsectl_at {command}|not __timelapsectl_at log)'.* -l {option[2:]} ", fish)


def test_shells_that_are_installed_accept_their_completion():
    """Their own syntax checks find nothing."""
    for shell, option, file in (("zsh", "-n", "_timelapsectl"), ("fish", "--no-execute", "timelapsectl.fish")):
        if shutil.which(shell):
            done = subprocess.run([shell, option, str(SYSTEMD / "completion" / file)], capture_output=True, check=True)
            assert done.stderr == b""


@pytest.mark.parametrize("page", sorted((SYSTEMD / "man").iterdir()), ids=lambda page: page.name)
def test_manual_page_is_sound_roff(page):
    """Groff has no warnings, at the usual width and at a narrow one."""
    groff = shutil.which("groff") or shutil.which("nroff")
    if groff is None:
        pytest.skip("groff is not installed")
    for width in ("78n", "50n"):
        command = [groff, "-man", "-ww", "-Tutf8", f"-rLL={width}", str(page)]
        done = subprocess.run(command, capture_output=True, check=True)
        assert done.stderr == b""
        assert done.stdout
