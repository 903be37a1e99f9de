"""`timelapsectl` as people run it: a process, with a real store, and where it matters a real daemon."""

import io
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from daemon_process import CTL, DAEMON, PATIENCE
from tree import STORES
from virtual_time import VirtualClock

from plantimager.timelapse.channel.inbox import Answer, Inbox, inbox_path
from plantimager.timelapse.channel.live import LiveFile
from plantimager.timelapse.channel.lock import InstanceLock, running_daemon
from plantimager.timelapse.cli.parser import parse
from plantimager.timelapse.cli.requests import DaemonNotThere, run_start
from plantimager.timelapse.cli.session import Scope, Session, places_of
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.support.inotify import FileWatch

DEFINITION = """\
[timelapse]
name = "{name}"
mode = "interval"
interval = "1h"
n_shots = 3
warmup_period = 0
"""


class Host:
    """One user's directories, and the programs run in them."""

    def __init__(self, root):
        self.root = root
        self.store = root / "data" / "plant-imager3-app" / "timelapse_storage.json"
        self.files = root / "config" / "plant-imager3-app"
        self.files.mkdir(parents=True)
        self.configure('clock = "trust"\n[drivers.simulated]\ntime_per_position = 0\nimage_width = 32\n')
        keep = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        own = {"XDG_DATA_HOME": f"{root}/data", "XDG_CONFIG_HOME": f"{root}/config", "TMPDIR": str(root)}
        self.environment = {**keep, **own, "TZ": "CET-1CEST,M3.5.0,M10.5.0/3", "PYTHONWARNINGS": "error"}

    def configure(self, text):
        (self.files / "timelapsed.toml").write_text(text)

    def define(self, name="col0_ld", **changes):
        """Write a definition; return its path."""
        path = self.root / f"{name}.toml"
        text = DEFINITION.format(name=name)
        for key, value in changes.items():
            text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        path.write_text(text)
        return path

    def holds(self, name):
        """Have the store be one of the community's."""
        self.store.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(STORES / name, self.store)

    def command(self, *arguments):
        return [*CTL, *map(str, arguments)]

    def ctl(self, *arguments, **changes):
        """Run timelapsectl to its end."""
        environment = {**self.environment, **changes}
        done = subprocess.run(
            self.command(*arguments), env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert "Traceback" not in done.stderr
        return done

    @contextmanager
    def daemon(self, *, until="idle:"):
        """Run a daemon; it is there when it has said ``until``."""
        process = subprocess.Popen(DAEMON, env=self.environment, stderr=subprocess.PIPE)
        try:
            read_until(process.stderr, until)
            yield process
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def read_until(stream, word):
    """Return what comes out of ``stream`` up to the line with ``word`` in it."""
    text = ""
    while word not in text:
        assert select.select([stream], [], [], PATIENCE)[0], f"{word!r} didn't come after {text!r}"
        chunk = os.read(stream if isinstance(stream, int) else stream.fileno(), 65536).decode(errors="replace")
        assert chunk, f"it ended without {word!r}: {text!r}"
        text += chunk
    return text


@pytest.fixture
def host(tmp_path):
    """Return a host of its own."""
    return Host(tmp_path)


# --- looking --------------------------------------------------------------------------------------------


def test_status_without_a_timelapse_is_no_failure(host):
    """A fresh rig has none; it says how to begin."""
    done = host.ctl("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"no timelapse in {host.store}; define one with timelapsectl start FILE\n")


@pytest.mark.parametrize("name", sorted(path.name for path in STORES.glob("*.json")))
@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["timeline"], ["timeline", "--svg", "-"]])
def test_every_real_store_can_be_looked_at(host, name, command):
    """Without a daemon, and without a change to any file."""
    host.holds(name)
    before = {path: path.read_bytes() for path in host.store.parent.iterdir()}
    done = host.ctl(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path: path.read_bytes() for path in host.store.parent.iterdir()} == before
    if "--json" in command:
        assert json.loads(done.stdout)["timelapse"]["n_slots"] > 0
    if "--svg" in command:
        assert ET.fromstring(done.stdout).tag.endswith("svg")  # noqa: S314 - our own picture


def test_token_in_a_store_appears_nowhere(host):
    """Neither on a screen nor in JSON, nor in a picture."""
    host.holds("interval-utc-interrupted.json")
    raw = json.loads(host.store.read_text())
    raw["extra"] = {"api_token": "s3cr3t-t0ken"}
    raw["scans"][4]["error"] = {"msg": "401 Unauthorized: s3cr3t-t0ken"}
    host.store.write_text(json.dumps(raw))
    for command in (["status"], ["status", "--json"], ["timeline"], ["timeline", "--svg", "-"]):
        done = host.ctl(*command)
        assert done.returncode == 0
        assert "s3cr3t" not in done.stdout + done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_is_the_same_in_every_encoding(host, encoding):
    """JSON is UTF-8, whatever the terminal has; and a program must not get `?` for a sign that a person wrote."""
    host.holds("interval-utc-interrupted.json")
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


@pytest.mark.parametrize(
    "command", [["status"], ["status", "--json"], ["status", "--follow"], ["timeline"], ["cancel"]]
)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda store: store.write_text("{"), "not JSON"),
        (lambda store: store.write_text(""), "empty"),
        (lambda store: store.mkdir(), "directory"),
        (os.mkfifo, "FIFO"),
    ],
    ids=["cut off", "empty", "directory", "fifo"],
)
def test_store_that_can_not_be_read_is_told_in_one_line(host, command, make, words):
    """And is left as it is."""
    host.store.parent.mkdir(parents=True)
    make(host.store)
    done = host.ctl(*command)
    assert done.returncode == 1
    assert re.fullmatch(rf"error: {re.escape(str(host.store))}: .*{words}.*\n(hint: .*\n)?", done.stderr)


def test_archived_timelapse_can_be_drawn_by_its_name(host):
    """The figure for the paper is made long after the next timelapse has begun."""
    host.holds("interval-completed.json")
    history = host.store.parent / "history"
    history.mkdir()
    shutil.copy(STORES / "fixed-times-dst.json", history / "dst_check.json")
    figure = host.root / "figure.svg"
    done = host.ctl("timeline", "dst_check", "--svg", figure)
    assert (done.returncode, done.stdout) == (0, f"{figure}: 3 rows, 5 slots\n")
    assert "dst_check" in figure.read_text()
    assert host.ctl("timeline", "done_tl").stdout.startswith("done_tl\n")
    unknown = host.ctl("timeline", "nobody")
    assert unknown.returncode == 1
    assert "hint: there are dst_check" in unknown.stderr
    host.store.write_text("{")
    assert host.ctl("timeline", "dst_check").stdout.startswith("dst_check\n")
    assert "not JSON" in host.ctl("timeline", "done_tl").stderr


def test_picture_that_can_not_be_written_is_told(host):
    """With its name."""
    host.holds("interval-completed.json")
    done = host.ctl("timeline", "--svg", "/no/such/directory/figure.svg")
    assert (done.returncode, done.stderr) == (1, "error: /no/such/directory/figure.svg: no such file or directory\n")


def test_check_and_preview_use_the_files_that_the_daemon_would(host):
    """And the exit code says that a file is at fault."""
    assert host.ctl("check").returncode == 0
    (host.files / "timelapse.toml").write_text(DEFINITION.format(name="col0_ld"))
    assert "col0_ld  interval, every 1 h" in host.ctl("preview").stdout
    (host.files / "timelapse.toml").write_text(DEFINITION.format(name="a/b"))
    assert host.ctl("check").returncode == 78
    faulty = host.ctl("preview")
    assert (faulty.returncode, faulty.stdout) == (78, "")
    assert "1 fault\n" in faulty.stderr


def test_reader_that_has_seen_enough_is_no_accident(host):
    """`timelapsectl preview --all | head -1` ends quietly."""
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
    """Nobody hears what is said there; nothing of it ends up elsewhere."""
    host.holds("interval-completed.json")
    closing_them = " ".join(f"{number}>&-" for number in closed)
    for arguments, code in ((["status"], 0), (["cancel"], 1), (["frobnicate"], 2)):
        command = ["sh", "-c", f'exec "$@" {closing_them}', "sh", *host.command(*arguments)]
        done = subprocess.run(command, env=host.environment, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == code
        assert (done.stdout != b"") == (code == 0 and "1" not in closed)
        assert (done.stderr != b"") == (code != 0 and "2" not in closed)


def test_output_needs_no_unicode(host):
    """A terminal of the seventies gets stand-ins, not a traceback."""
    host.holds("interval-utc-interrupted.json")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in (["status"], ["timeline"]):
        done = host.ctl(*command, **ascii_only)
        assert done.returncode == 0
        assert done.stdout.isascii()


def test_log_becomes_journalctl(host, tmp_path):
    """With the right unit, and all arguments."""
    fake = tmp_path / "bin" / "journalctl"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    done = host.ctl("--system", "--rig", "north", "log", "-n", "20", "SLOT=7", PATH=path)
    assert done.stdout.split() == ["--unit=plant-imager-timelapsed@north", "-n", "20", "SLOT=7"]
    nowhere = host.ctl("log", PATH=path)
    assert nowhere.returncode == 1
    assert "where it was started" in nowhere.stderr


def test_log_without_journalctl_says_so(host, tmp_path):
    """On a machine without systemd."""
    done = host.ctl("--system", "log", PATH=str(tmp_path))
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "error: journalctl is not installed; without it the daemon logs to its standard error",
    )


# --- asking -----------------------------------------------------------------------------------------------


def test_start_and_cancel_are_answered_by_the_daemon(host):
    """What it says is passed on; the store says who did it."""
    with host.daemon():
        started = host.ctl("start", host.define())
        assert (started.returncode, started.stderr) == (0, "")
        assert "3 slots" in started.stdout
        facts = json.loads(host.ctl("status", "--json").stdout)
        assert facts["timelapse"]["id"] == "col0_ld"
        assert facts["daemon"]["driver"] == "simulated"
        cancelled = host.ctl("cancel", "--why", "the pot fell over")
        assert (cancelled.returncode, cancelled.stderr) == (0, "")
        ending = json.loads(host.ctl("status", "--json").stdout)["timelapse"]["ending"]
        assert ending["why"] == "the pot fell over"
        assert ending["who"]
    assert list(inbox_path(host.store).iterdir()) == []


def test_refusal_of_the_daemon_is_a_failure(host):
    """With its reason, and what to do."""
    with host.daemon():
        host.ctl("start", host.define())
        refused = host.ctl("start", host.define("other"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: other can't start: col0_ld is active")


def test_nothing_begins_under_another_configuration_than_that_on_disk(host):
    """A daemon that kept the one before would take pictures of nothing; what runs may be ended all the same."""
    with host.daemon():
        host.configure('driver = "grbl"\n[drivers.grbl]\nprot = "/dev/ttyACM0"\n')
        kept = "timelapsed.toml: 3 faults; the configuration before is in use, with the simulated driver"
        for command in (("start", host.define()), ("rig", "check")):
            done = host.ctl(*command)
            assert (done.returncode, kept in done.stderr) == (1, True), done
        assert kept in host.ctl("status").stdout
        host.configure('clock = "trust"\n')
        assert host.ctl("start", host.define()).returncode == 0
        host.configure("clock = 1\n")
        assert host.ctl("cancel", "--why", "x").returncode == 0


def test_fault_that_only_the_driver_sees_is_told_by_the_persons_file_name(host):
    """Not by the name under which the request was left; nor does the journal name that, which is gone by then."""
    path = host.define()
    path.write_text(
        path.read_text()
        + '[ScanPath]\nclass_name = "Circle"\n[ScanPath.kwargs]\n'
        + "center_x = 375\ncenter_y = 375\nz = 0\ntilt = 0\nradius = 450\nn_points = 4\n"
    )
    with host.daemon() as daemon:
        refused = host.ctl("start", path)
        read_until(daemon.stderr, "request_refused: start: 1 fault")
    assert refused.returncode == 1
    assert str(path) in refused.stderr
    assert ".requests" not in refused.stderr


def test_definition_at_fault_is_not_even_left(host):
    """All its faults are told; the daemon hears nothing of it."""
    path = host.define(n_shots='"many"', interval='"often"')
    done = host.ctl("start", path)
    assert done.returncode == 78
    assert done.stderr.startswith(f"error: {path}: 2 faults\n")
    assert not inbox_path(host.store).exists()


def test_definition_that_is_over_is_refused_with_a_daemon_and_without(host):
    """A year mistyped; the name stays free."""
    path = host.define(n_shots='3\nstart_at = "2020-06-22T08:00:00Z"')
    alone = host.ctl("start", path)
    with host.daemon():
        asked = host.ctl("start", path)
    for refused in (alone, asked):
        assert refused.returncode == 1
        assert "error: col0_ld can't start: its last slot was " in refused.stderr
        assert refused.stderr.endswith("look at the dates in it, the year included\n")
    assert not host.store.exists()


def test_without_a_daemon_the_request_waits_for_it(host):
    """The exit code says that nobody was there; the daemon takes it up when it starts."""
    done = host.ctl("start", host.define())
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == (
        "error: no daemon is running; col0_ld will be taken up when it starts\n"
        f"hint: XDG_DATA_HOME={host.root}/data timelapsed\n"
    )
    with host.daemon(until="definition_accepted:"):
        pass
    cancelled = host.ctl("cancel")
    assert (cancelled.returncode, cancelled.stdout) == (69, "")
    with host.daemon(until="timelapse_cancelled:"):
        pass
    assert json.loads(host.ctl("status", "--json").stdout)["timelapse"]["state"] == "cancelled"


def test_without_a_daemon_the_configuration_is_checked_too(host):
    """Nobody else would, before the next boot."""
    host.configure('driver = "robot"')
    done = host.ctl("start", host.define())
    assert done.returncode == 78
    assert "no such driver" in done.stderr
    assert not inbox_path(host.store).exists()


def test_without_a_daemon_nothing_is_promised_that_it_will_refuse(host):
    """Whether a timelapse is active, or another one waits to be; where that is to be cancelled, the promise is kept."""
    with host.daemon():
        host.ctl("start", host.define("first"))
    refused = host.ctl("start", host.define("second"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: second can't start: first is active, ")
    assert host.ctl("cancel").returncode == 69
    assert host.ctl("start", host.define("second")).returncode == 69
    late = host.ctl("start", host.define("third"))
    (waiting,) = inbox_path(host.store).glob("start-*")
    assert (late.returncode, late.stderr) == (
        1,
        (
            "error: third can't start: second comes first, and waits for the daemon\n"
            f"hint: take {waiting} away to withdraw that\n"
        ),
    )
    with host.daemon(until="definition_accepted: second"):
        pass


def test_without_a_daemon_nothing_is_refused_that_it_will_take_up(host):
    """What stands ahead has ended when it starts: all slots of the one went by, and the other is over already."""
    host.holds("interval-utc-interrupted.json")
    over = host.define("over", n_shots='3\nstart_at = "2020-06-22T08:00:00Z"')
    over.rename(host.files / "timelapse.toml")
    assert host.ctl("start", host.define("other")).returncode == 69
    with host.daemon(until="definition_accepted: other"):
        pass


def test_definition_that_lies_ready_comes_before_a_request(host):
    """The daemon takes it up first; the same file may be asked for as well."""
    lying = host.files / "timelapse.toml"
    lying.write_text(host.define("lying").read_text())
    refused = host.ctl("start", host.define("other"))
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (1, f"hint: take {lying} away to withdraw that")
    assert host.ctl("start", lying).returncode == 69
    with host.daemon(until="definition_accepted: lying"):
        pass


def test_zone_that_the_service_does_not_share_is_noted(host):
    """It reads times without an offset in the host's; where that makes the same slots, there is nothing to say."""
    nowhere = "<+1330>-13:30"
    host.configure("")
    path = host.define("naive")
    path.write_text(path.read_text() + 'start_at = "2100-06-22T08:00:00"\n')
    asked = host.ctl("--user", "start", path, TZ=nowhere)
    assert asked.returncode == 69
    words = "note: the service reads times without an offset in the host's zone, not in TZ: the first slot is at 2100-"
    assert words in asked.stdout
    (request,) = Inbox(host.store).pending()
    request.path.unlink()
    path.write_text(path.read_text().replace("08:00:00", "08:00:00+02:00"))
    assert host.ctl("--user", "start", path, TZ=nowhere).stdout == ""


def test_nothing_to_cancel_is_told_without_a_daemon(host):
    """Whether there never was a timelapse, or it has ended."""
    assert host.ctl("cancel").stderr == "error: there is no active timelapse to cancel\n"
    host.holds("interval-completed.json")
    done = host.ctl("cancel")
    assert (done.returncode, done.stderr) == (
        1,
        "error: there is no active timelapse to cancel; done_tl is completed\n",
    )


def test_daemon_that_dies_before_it_answers_is_told(host):
    """The command doesn't wait for what will never come."""
    with host.daemon() as daemon:
        with asking_a_daemon_that_stands_still(host, daemon, "start", host.define()) as asking:
            daemon.kill()
            daemon.wait()
            assert "ended before it answered" in asking.communicate(timeout=PATIENCE)[1]
        assert asking.returncode == 69


@contextmanager
def asking_a_daemon_that_stands_still(host, daemon, *arguments):
    """Run a command that asks the daemon for something; yield it when its request is there."""
    daemon.send_signal(signal.SIGSTOP)
    inbox_path(host.store).mkdir(mode=0o700, exist_ok=True)
    command, pipe = host.command(*arguments), subprocess.PIPE
    with (
        FileWatch(inbox_path(host.store)) as watch,
        subprocess.Popen(command, env=host.environment, stdout=pipe, stderr=pipe, text=True) as asking,
    ):
        while not Inbox(host.store).pending():
            assert asking.poll() is None
            watch.wait(1)
        yield asking


@pytest.mark.parametrize("command", ["start", "cancel"])
def test_who_does_not_wait_for_the_answer_withdraws_the_request(host, command):
    """Nothing is carried out later that nobody has heard of; a cancel can't be undone."""
    with host.daemon() as daemon:
        host.ctl("start", host.define("first"))
        arguments = ["start", host.define("second")] if command == "start" else ["cancel"]
        with asking_a_daemon_that_stands_still(host, daemon, *arguments) as asking:
            asking.send_signal(signal.SIGINT)
            said, complained = asking.communicate(timeout=PATIENCE)
        assert (asking.returncode, complained) == (130, "")
        assert said.startswith("withdrawn")
        assert list(inbox_path(host.store).iterdir()) == []
        daemon.send_signal(signal.SIGCONT)
        daemon.send_signal(signal.SIGHUP)
        told = read_until(daemon.stderr, "reloaded:")
        assert ("request_refused" in told, "cancelled" in told) == (False, False)


@pytest.mark.parametrize(
    ("leaves_answer", "words"),
    [
        (True, "too late to withdraw it: tl from {path}: 3 slots\n"),
        (False, "too late to withdraw it; timelapsectl status shows what became of it\n"),
    ],
    ids=["answered", "no room for the answer"],
)
def test_request_that_the_daemon_was_quicker_with_is_not_called_withdrawn(host, monkeypatch, leaves_answer, words):
    """What became of it is told instead."""
    monkeypatch.setenv("XDG_DATA_HOME", str(host.root / "data"))

    def do_it_and_press_ctrl_c(*_):
        inbox = Inbox(host.store)
        (request,) = inbox.pending()
        if leaves_answer:
            inbox.answer(request, Answer(accepted=True, message=f"tl from {request.path}: 3 slots"))
        request.path.unlink(missing_ok=True)
        raise KeyboardInterrupt

    path = host.define()
    with this_process_as_daemon(host, do_it_and_press_ctrl_c) as session, pytest.raises(KeyboardInterrupt):
        run_start(parse(["start", str(path)]), session)
    assert session.screen.stream.getvalue() == words.format(path=path)
    assert list(inbox_path(host.store).iterdir()) == []


@contextmanager
def this_process_as_daemon(host, hear=signal.SIG_IGN):
    """Hold the lock and ``hear`` the signal as a daemon would; yield a session of a person who asks it."""
    host.store.parent.mkdir(parents=True)
    before = signal.signal(signal.SIGHUP, hear)
    lock = InstanceLock(host.store)
    lock.take()
    try:
        yield Session(
            environment={},
            scope=Scope.OWN,
            places=places_of(Scope.OWN, host.environment),
            clock=ImpatientClock(),
            screen=Screen(io.StringIO()),
        )
    finally:
        lock.release()
        signal.signal(signal.SIGHUP, before)


class ImpatientClock(VirtualClock):
    """Twenty seconds pass from one look to the next."""

    def monotonic(self):
        self.pass_time(timedelta(seconds=20))
        return super().monotonic()


def test_daemon_that_does_not_answer_in_time_is_told(host, monkeypatch):
    """It may wait for the clock; what it says of itself is passed on, and the request stays."""
    monkeypatch.setenv("XDG_DATA_HOME", str(host.root / "data"))
    with this_process_as_daemon(host) as session:
        LiveFile(host.store).show({"status": "clock not trusted yet"})
        with pytest.raises(DaemonNotThere, match=r"has not answered within 15 s \(clock not trusted yet\)") as told:
            run_start(parse(["start", str(host.define())]), session)
    assert told.value.exit_code == 69
    assert len(list(inbox_path(host.store).glob("start-*.toml"))) == 1


# --- following ---------------------------------------------------------------------------------------------


def test_follow_writes_a_line_for_each_change_where_nobody_draws(host):
    """And ends quietly with Ctrl-C."""
    with host.daemon():
        following = subprocess.Popen(host.command("status", "--follow"), env=host.environment, stdout=subprocess.PIPE)
        read_until(following.stdout, "no timelapse")
        host.ctl("start", host.define(interval='"1s"', n_shots=1))
        read_until(following.stdout, "col0_ld: completed; 1 taken")
        following.send_signal(signal.SIGINT)
        assert following.wait(PATIENCE) == 0
        following.stdout.close()


def test_follow_knows_that_nobody_goes_on_with_a_scan(host):
    """Its line says what `status` says: the store alone may call it running long after."""
    host.holds("interval-utc-interrupted.json")
    following = subprocess.Popen(host.command("status", "--follow"), env=host.environment, stdout=subprocess.PIPE)
    line = read_until(following.stdout, "\n")
    following.terminate()
    assert following.wait(PATIENCE) == 0
    following.stdout.close()
    slot = re.search(r"was taking slot (\d+)", host.ctl("status").stdout)[1]
    assert f": was taking slot {slot} of " in line
    assert "; trouble: the daemon is not running" in line


def test_follow_as_json_writes_an_object_a_line(host):
    """For a program that wants to know at once."""
    with host.daemon():
        command = host.command("status", "--follow", "--json")
        following = subprocess.Popen(command, env=host.environment, stdout=subprocess.PIPE)
        text = read_until(following.stdout, "\n")
        host.ctl("start", host.define())
        text += read_until(following.stdout, '"col0_ld"')
        following.terminate()
        assert following.wait(PATIENCE) == 0
        text += following.stdout.read().decode()
        following.stdout.close()
    assert [json.loads(line)["version"] for line in text.splitlines()]


def test_follow_draws_on_a_terminal_and_leaves_it_as_it_was(host):
    """Alternate screen, no cursor; both are given back, and the last state stays to be read."""
    host.holds("interval-completed.json")
    leader, follower = pty.openpty()
    environment = {**host.environment, "TERM": "xterm"}
    following = subprocess.Popen(
        host.command("status", "--follow"), env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    drawn = read_until(leader, "daemon:")
    assert drawn.startswith("\x1b[?1049h\x1b[?25l")
    following.send_signal(signal.SIGINT)
    left = read_until(leader, "daemon: ").partition("\x1b[?25h\x1b[?1049l")[2]
    assert "done_tl" in left
    assert following.wait(PATIENCE) == 0
    os.close(leader)


# --- the demo -----------------------------------------------------------------------------------------------


def test_demo_shows_a_kill_and_a_resume_and_checks_itself(host):
    """Every slot taken, the one that was cut off in its second attempt; the pictures are where it says."""
    done = host.ctl("demo")
    assert (done.returncode, done.stderr) == (0, "")
    cut = re.search(r"POWER CUT: SIGKILL for PID \d+, slot (\d), picture \d+ of 12", done.stdout)
    assert cut
    assert f"was scanning slot {cut[1]} when the daemon was killed" in done.stdout
    assert "7 of 7" in done.stdout
    datasets = Path(re.search(r"pictures: (\S+)/demo_0 to demo_6", done.stdout)[1])
    assert datasets.is_relative_to(host.root)
    for slot in range(7):
        pictures = sorted((datasets / f"demo_{slot}" / "images").iterdir())
        assert len(pictures) == 12
        assert all(picture.read_bytes().startswith(b"\xff\xd8") for picture in pictures)
    assert "sudo systemd/install" in done.stdout
    assert "sudo timelapsectl start" in done.stdout
    assert "name its driver in /etc/plant-imager3-app/timelapsed.toml" in done.stdout


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_demo_that_is_ended_takes_its_daemon_along(host, ending):
    """By Ctrl-C, by whoever started it, or because its terminal was closed."""
    command = ["env", "--default-signal", *host.command("demo")]  # these tests may be run under nohup
    with subprocess.Popen(command, env=host.environment, stdout=subprocess.PIPE) as demo:
        read_until(demo.stdout, "scan_started")
        (lock,) = host.root.glob("timelapsed-demo-*/data/plant-imager3-app/*.lock")
        store = lock.with_suffix("")
        pid = running_daemon(store)
        assert pid is not None
        demo.send_signal(ending)
        demo.stdout.read()
        assert demo.wait(PATIENCE) == 130
    assert running_daemon(store) is None
