"""The commands that only read: `status`, `timeline`, `check`, `preview` and `log`, as processes."""

import json
import os
import re
import shutil
import subprocess
from xml.etree import ElementTree as ET

import pytest
import wcwidth
from ctl_host import DEFINITION
from daemon_process import PATIENCE
from tree import STORES


def test_status_without_a_timelapse_is_no_failure(host):
    """A new rig has none; the status says how to start one."""
    done = host.ctl("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"no timelapse in {host.store}; define one with timelapsectl start FILE\n")


@pytest.mark.parametrize("path", ["-", "picture.svg"])
def test_picture_of_no_timelapse_is_a_failure(host, tmp_path, path):
    """A script goes on with a picture that isn't there, or with a sentence in its place."""
    done = host.ctl("timeline", "--svg", path if path == "-" else tmp_path / path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: no timelapse in {host.store}\nhint: define one with")


@pytest.mark.parametrize("name", sorted(path.name for path in STORES.glob("*.json")))
@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["timeline"], ["timeline", "--svg", "-"]])
def test_every_real_store_can_be_shown(host, name, command):
    """No daemon runs, and no file is changed."""
    host.copy_store(name)
    before = {path: path.read_bytes() for path in host.store.parent.iterdir()}
    done = host.ctl(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path: path.read_bytes() for path in host.store.parent.iterdir()} == before
    if "--json" in command:
        assert json.loads(done.stdout)["timelapse"]["n_slots"] > 0
    if "--svg" in command:
        assert ET.fromstring(done.stdout).tag.endswith("svg")  # noqa: S314 - our own picture


def test_token_in_a_store_is_never_shown(host):
    """It is on no screen, in no JSON and in no picture."""
    host.copy_store("interval-utc-interrupted.json")
    raw = json.loads(host.store.read_text())
    raw["extra"] = {"api_token": "s3cr3t-t0ken"}
    raw["scans"][4]["error"] = {"msg": "401 Unauthorized: s3cr3t-t0ken"}
    host.store.write_text(json.dumps(raw))
    for command in (["status"], ["status", "--json"], ["timeline"], ["timeline", "--svg", "-"]):
        done = host.ctl(*command)
        assert done.returncode == 0
        assert "s3cr3t" not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize(
    "command",
    [["status"], ["timeline"], ["check"], ["verify"], ["preview", "--all"], ["datasets", "migrate"], ["deliver"]],
)
def test_no_line_is_wider_than_the_terminal(host, columns, command):
    """Nor where letters take two columns; from 40 on, as a phone shows them."""
    host.copy_store("interval-utc-interrupted.json")
    raw = json.loads(host.store.read_text())
    raw["timelapse_id"] = "植物" * 20
    host.store.write_text(json.dumps(raw))
    if command[0] == "datasets":
        command = [*command, str(host.store.parent)]
    if command[0] == "deliver":
        host.configure('[relay.deliver.lab]\nremote = "lab:plants"\nrclone_config = "/x"\n')
    done = subprocess.run(
        host.command(*command, *([host.define(interval='"1h"')] if command[0] == "preview" else [])),
        env={**host.environment, "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if wcwidth.wcswidth(line) > columns] == []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_is_the_same_in_every_encoding(host, encoding):
    """A program must not get `?` for a sign that the terminal's encoding lacks."""
    host.copy_store("interval-utc-interrupted.json")
    raw = json.loads(host.store.read_text())
    raw["scans"][0] |= {"status": "failed", "error": "zu heiß, 30 °C → Töpfe »tot«"}
    host.store.write_text(json.dumps(raw))
    text = subprocess.run(
        host.command("status", "--json"),
        env={**host.environment, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    ).stdout
    assert json.loads(text)["records"][-1]["error"] == "zu heiß, 30 °C → Töpfe »tot«"


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["status", "--follow"], ["timeline"]])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda store: store.write_text("{"), "not JSON"),
        (lambda store: store.write_text(""), "empty"),
        (lambda store: store.mkdir(), "directory"),
        (os.mkfifo, "FIFO"),
    ],
    ids=["cut off", "empty", "directory", "fifo"],
)
def test_unreadable_store_is_reported_in_one_line(host, command, make, reason):
    """The line has the path and the reason."""
    host.store.parent.mkdir(parents=True)
    make(host.store)
    done = host.ctl(*command)
    assert done.returncode == 1
    assert re.fullmatch(rf"error: {re.escape(str(host.store))}: .*{reason}.*\n(hint: .*\n)?", done.stderr)


def test_json_of_a_store_that_can_not_be_read_is_json(host):
    """A program reads the reason where it reads everything else."""
    host.store.mkdir(parents=True)
    done = host.ctl("status", "--json")
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["version"], facts["service"]) == (1, 1, None)
    assert "directory" in facts["error"]
    assert done.stderr.startswith(f"error: {facts['error']}\n")


def test_archived_timelapse_can_be_drawn_by_its_name(host):
    """A figure for a paper is made long after the next timelapse has begun."""
    host.copy_store("interval-completed.json")
    history = host.store.parent / "history"
    history.mkdir()
    shutil.copy(STORES / "fixed-times-dst.json", history / "dst_check.json")
    figure = host.root / "figure.svg"
    done = host.ctl("timeline", "dst_check", "--svg", figure)
    assert (done.returncode, done.stdout) == (0, f"{figure}: 3 rows, 5 slots\n")
    assert "dst_check" in figure.read_text()
    assert host.ctl("timeline", "done_tl").stdout.startswith("done_tl\n")
    unknown = host.ctl("timeline", "unknown")
    assert unknown.returncode == 1
    assert "hint: there are dst_check" in unknown.stderr
    host.store.write_text("{")
    assert host.ctl("timeline", "dst_check").stdout.startswith("dst_check\n")
    assert "not JSON" in host.ctl("timeline", "done_tl").stderr


def test_picture_that_can_not_be_written_is_named(host):
    """The error has its path."""
    host.copy_store("interval-completed.json")
    done = host.ctl("timeline", "--svg", "/no/such/directory/figure.svg")
    assert (done.returncode, done.stderr) == (1, "error: /no/such/directory/figure.svg: no such file or directory\n")


def test_check_and_preview_use_the_files_that_the_daemon_would(host):
    """The exit code is 78 for a file with faults."""
    assert host.ctl("check").returncode == 0
    (host.files / "timelapse.toml").write_text(DEFINITION.format(name="col0_ld"))
    assert "col0_ld  interval, every 1 h" in host.ctl("preview").stdout
    (host.files / "timelapse.toml").write_text(DEFINITION.format(name="a/b"))
    assert host.ctl("check").returncode == 78
    faulty = host.ctl("preview")
    assert (faulty.returncode, faulty.stdout) == (78, "")
    assert "1 fault\n" in faulty.stderr


def test_closed_pipe_ends_the_output_quietly(host):
    """As in `timelapsectl preview --all | head -1`."""
    path = host.define(n_shots=90_000, interval='"1m"')
    process = subprocess.Popen(
        host.command("preview", "--all", path), env=host.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


@pytest.mark.parametrize("closed", ["0", "1", "2", "012"])
def test_standard_streams_may_be_closed(host, closed):
    """Their output is lost; it must not end up in another file."""
    host.copy_store("interval-completed.json")
    closing_them = " ".join(f"{number}>&-" for number in closed)
    for arguments, code in ((["status"], 0), (["cancel"], 69), (["frobnicate"], 2)):
        command = ["sh", "-c", f'exec "$@" {closing_them}', "sh", *host.command(*arguments)]
        done = subprocess.run(command, env=host.environment, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == code
        assert (done.stdout != b"") == (code == 0 and "1" not in closed)
        assert (done.stderr != b"") == (code != 0 and "2" not in closed)


def test_output_needs_no_unicode(host):
    """A terminal with ASCII alone gets replacements."""
    host.copy_store("interval-utc-interrupted.json")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in (["status"], ["timeline"]):
        done = host.ctl(*command, **ascii_only)
        assert done.returncode == 0
        assert done.stdout.isascii()


def write_programs(directory, **scripts):
    """Write programs of these names; return a PATH with them in front."""
    directory.mkdir()
    for name, script in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def test_log_says_why_the_service_does_not_run(host, tmp_path):
    """On the standard error, before the lines: the last of them may be days old."""
    shown = "LoadState=masked\nActiveState=inactive"
    path = write_programs(tmp_path / "bin", systemctl=f"cat <<'END'\n{shown}\nEND", journalctl="echo the lines")
    done = host.ctl("--system", "--rig", "north", "log", PATH=path)
    assert done.stdout == "the lines\n"
    assert "note: the service is masked: nothing can start it; " in done.stderr
    assert "systemctl unmask plant-imager-timelapsed@north" in done.stderr
    path = write_programs(tmp_path / "up", systemctl="echo LoadState=loaded; echo ActiveState=active", journalctl="")
    assert "note: the service" not in host.ctl("--system", "--rig", "north", "log", PATH=path).stderr


def test_timeline_says_why_no_daemon_goes_on_with_it(host):
    """A person who looks at the slots to come should know that nothing takes them; the picture is for a paper."""
    host.copy_store("interval-utc-interrupted.json")
    assert "service: not running: no daemon runs on this store\n  hint: " in host.ctl("timeline").stdout
    assert "service:" not in host.ctl("timeline", "--svg", "-").stdout
    host.copy_store("interval-completed.json")
    assert "service:" not in host.ctl("timeline").stdout


def test_log_runs_journalctl(host, tmp_path):
    """It passes the rig's unit and all arguments."""
    fake = tmp_path / "bin" / "journalctl"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    done = host.ctl("--system", "--rig", "north", "log", "-n", "20", "SLOT=7", PATH=path)
    assert done.stdout.split() == ["--unit=plant-imager-timelapsed@north", "-n", "20", "SLOT=7"]
    own = host.ctl("log", PATH=path)
    assert own.returncode == 1
    assert "where it was started" in own.stderr


def test_log_without_journalctl_says_so(host, tmp_path):
    """A machine without systemd has none."""
    done = host.ctl("--system", "log", PATH=str(tmp_path))
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "error: journalctl is not installed; without it the daemon logs to its standard error",
    )


def test_status_names_what_stands_aside(host):
    """Pictures of an attempt that was cut off, what was in a dataset's place, and stores that were set aside."""
    host.copy_store("interval-utc-interrupted.json")
    store, datasets = host.store, host.store.parent / "datasets"
    attempt, empty, earlier = (datasets / name for name in (".tl_3.attempt-1", ".tl_4.attempt-1", "tl_2.earlier-1"))
    for directory in (attempt, empty, earlier, datasets / "tl_2"):
        directory.mkdir(parents=True)
    (attempt / "0.jpg").write_bytes(b"a picture")
    stores = [store.with_name(f"{store.name}.{kind}-20260622T080000Z") for kind in ("corrupt", "foreign")]
    for path in stores:
        path.write_text("{}")
    facts = json.loads(host.ctl("status", "--json").stdout)
    assert sorted(thing["path"] for thing in facts["aside"]) == sorted(map(str, (attempt, earlier, *stores)))
    shown = host.ctl("status").stdout
    assert f"aside: {attempt}: 1 file of an attempt at tl_3 that was not finished\n" in shown
