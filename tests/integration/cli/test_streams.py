"""Standard streams that take nothing, are closed, or are no terminal: a sentence at most, never a traceback."""

import os
import subprocess

import pytest
from daemon_process import PATIENCE

COMMANDS = [["status"], ["--help"], ["nonsense"], ["names", "archives"], ["timeline", "--svg", "-"]]
UGLY = ("Traceback", "Exception ignored", "fault in timelapsectl", "\x1b")


@pytest.fixture
def run(host):
    """Return a function that runs a command by a shell's redirection; it returns its exit code and what it says."""
    host.copy_store("interval-completed.json")

    def in_shell(words, redirection, **environment):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$@" {redirection}', "sh", *host.command(*words)],
            env={**host.environment, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        said = done.stdout + done.stderr
        assert not [word for word in UGLY if word in said], (words, redirection, said)
        return done.returncode, said

    return in_shell


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_full_disk_behind_the_output_is_said_in_one_line(run, words):
    """As of ``timelapsectl status >report`` on a disk that is full."""
    code, said = run(words, ">/dev/full")
    assert code in ((2,) if words == ["nonsense"] else (0, 1) if words[0] == "names" else (1,))
    assert words != ["status"] or said == "error: no space left on device\n"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_streams_that_are_closed_or_full_cost_no_exit_code_of_its_own(run, words):
    """Also all three at once, as a service manager's hook may have them."""
    usual = run(words, "")[0]
    for redirection in ("2>/dev/full", "<&-", "2>&-", "<&- >&- 2>&-"):
        assert run(words, redirection)[0] == usual, redirection


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_reader_that_ends_early_is_no_fault(host, words):
    """``timelapsectl status | head -1``: the rest isn't wanted."""
    host.copy_store("interval-completed.json")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        host.command(*words), env=host.environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert not [word for word in UGLY if word in done.stderr]
    assert words == ["nonsense"] or done.stderr == ""


@pytest.mark.parametrize(
    "environment",
    [
        {"COLUMNS": "1"},
        {"COLUMNS": "9" * 30},
        {"TERM": "dumb"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"HOME": ""},
        {"HOME": "/proc"},
        {"PATH": ""},
        {"TZ": "Nonsense/Zone"},
    ],
    ids=str,
)
def test_odd_environment_costs_no_status(run, environment):
    """As cron, su, or a newcomer's mistake leave it."""
    code, said = run(["status"], "</dev/null", **environment)
    assert code == 0, said
    assert "trouble" in said


@pytest.mark.parametrize("rig", ["ä b", "", "../x", "\x1b[2J", "a" * 300, ".", "a/b", "north\n", "%i", "$(id)"])
def test_odd_name_of_a_rig_is_refused_in_a_sentence(run, rig):
    """With what a name may have."""
    code, said = run([f"--rig={rig}", "status"], "")
    assert code in (2, 78), said
    assert said.startswith(("error: ", "usage: "))
