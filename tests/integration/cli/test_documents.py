"""Manual pages and completions, read by groff and the shells."""

import argparse
import os
import pty
import re
import shutil
import subprocess

import completions
import pytest
from ctl_host import read_until
from daemon_process import PATIENCE
from tree import SYSTEMD

from plantimager.timelapse.cli.parser import build_parser

COMPLETION = SYSTEMD / "completion" / "timelapsectl.bash"

PARSER = build_parser()


def choices(parser):
    """Return the commands of a parser, each with its own parser."""
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices


COMMANDS = choices(PARSER)
ACTIONS = choices(COMMANDS["rig"])


def complete(*words, cwd=None, env=None):
    """Return what bash offers for the last of ``words``."""
    script = """
        source "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _timelapsectl
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    command = ["bash", "--norc", "-c", script, "bash", str(COMPLETION), "timelapsectl", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd, env=env)
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


@pytest.fixture
def named(tmp_path):
    """Return the environment of a shell whose timelapsectl has some names, and writes down how it was called."""
    (tmp_path / "timelapsectl").write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/called\n'
        "for kind; do :; done\n"
        "case $kind in rigs) echo east; echo north ;; archives) echo drought ;; slots) seq 0 12 ;; esac\n"
    )
    (tmp_path / "timelapsectl").chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_completion_offers_rigs_archives_and_slots(named, tmp_path):
    """Those of the service that the words before it mean."""
    assert complete("--rig", "", env=named) == {"east", "north"}
    assert complete("status", "--rig", "n", env=named) == {"north"}
    assert complete("--system", "--rig", "north", "timeline", "", env=named) == {"drought"}
    assert complete("log", "SLOT=", env=named) == {f"SLOT={slot}" for slot in range(13)}
    assert complete("log", "SLOT", "=", "1", env=named) == {"1", "10", "11", "12"}
    called = (tmp_path / "called").read_text().splitlines()
    assert called == ["names rigs", "names rigs", "--system --rig north names archives", "names slots", "names slots"]


@pytest.mark.parametrize("shell", ["_timelapsectl", "timelapsectl.fish"])
def test_completions_of_zsh_and_fish_offer_them_as_well(shell):
    """Each asks `timelapsectl names`."""
    text = (SYSTEMD / "completion" / shell).read_text()
    for kind in ("rigs", "archives", "slots"):
        assert re.search(rf"__?timelapsectl_names {kind}", text)
    assert "timelapsectl $whose names $" in text


@pytest.mark.parametrize(
    ("line", "offered", "asked"),
    [
        ("--rig ", {"east", "north"}, "names rigs"),
        ("status --rig n", {"north"}, "names rigs"),
        ("--system --rig north timeline ", {"drought"}, "--system --rig north names archives"),
        ("log SLOT=1", {f"SLOT={slot}" for slot in (1, 10, 11, 12)}, "names slots"),
    ],
)
def test_fish_offers_rigs_archives_and_slots(named, tmp_path, line, offered, asked):
    """Of the service that the words before it mean."""
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    script = f"source {SYSTEMD}/completion/timelapsectl.fish; complete -C 'timelapsectl {line}'"
    environment = {**named, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    said = {entry.partition("\t")[0] for entry in done.stdout.splitlines()}
    assert {word for word in said if not word.startswith("-")} == offered
    assert asked in (tmp_path / "called").read_text().splitlines()


@pytest.mark.parametrize(
    ("line", "completed", "asked"),
    [
        ("--rig n", "north", "names rigs"),
        ("status --rig e", "east", "names rigs"),
        ("--system --rig north timeline d", "drought", "--system --rig north names archives"),
        ("log SLOT=1", "12", "names slots"),
    ],
)
def test_zsh_offers_rigs_archives_and_slots(named, tmp_path, line, completed, asked):
    """As a person meets it: the tabulator is pressed behind these words."""
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    leader, follower = pty.openpty()
    environment = {**named, "HOME": str(tmp_path), "TERM": "dumb"}
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], env=environment, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    try:
        load = f"fpath=({SYSTEMD}/completion $fpath); autoload -Uz compinit; compinit -u -d {tmp_path}/dump"
        os.write(leader, f"{load}; print ready-$((6*7))\n".encode())
        read_until(leader, "ready-42")
        os.write(leader, f"timelapsectl {line}\t\t".encode())
        read_until(leader, completed)
    finally:
        shell.kill()
        shell.wait(PATIENCE)
        os.close(leader)
    assert asked in (tmp_path / "called").read_text().splitlines()


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
