"""The command driver with real programs, well-behaved and otherwise."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from daemon_process import PLAINLY

from plantimager.timelapse.drivers.command.driver import CommandDriver
from plantimager.timelapse.drivers.programs import find
from plantimager.timelapse.drivers.testing import CONFIGURATION, RecordingMonitor, make_request, scan_until_killed
from plantimager.timelapse.scan.request import ScanResult
from plantimager.timelapse.support.errors import DriverError, FaultsFound, ScanCancelled, ScanFailed, ScannerNotReady


@pytest.fixture
def datasets(tmp_path):
    """Return the directory of the datasets."""
    directory = tmp_path / "datasets"
    directory.mkdir()
    return directory


@pytest.fixture
def does(tmp_path):
    """Return options whose program is the given source."""

    def make(source, **options):
        script = tmp_path / f"program-{len([*tmp_path.iterdir()])}.py"
        script.write_text(source)
        return {"argv": [sys.executable, "-S", str(script)], **options}

    return make


def is_running(pid):
    """Whether a process goes on; one that nobody waited for has ended all the same."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except FileNotFoundError:
        return False


def wait_for_its_end(pid):
    """Wait until a process that is no child of ours has ended."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(int(pid))
        try:
            ended, _, _ = select.select([pidfd], [], [], 60)
            assert ended
        finally:
            os.close(pidfd)


# What the program is told.

TELLS = """
import json, os, sys
json.dump({"environment": dict(os.environ), "stdin": json.load(sys.stdin), "here": os.getcwd(), "argv": sys.argv},
          open("told.json", "w"))
"""


def told(datasets, options, **request):
    """Return what a program that tells everything was told."""
    request = make_request(datasets, **request)
    CommandDriver(options).scan(request, RecordingMonitor())
    return json.loads((request.dataset_dir / "told.json").read_text())


def test_the_request_is_in_the_environment_and_on_stdin(datasets, does):
    """A shell script reads the one, anything else the other."""
    heard = told(datasets, does(TELLS), index=3, attempt=2)
    attempt_dir = str(datasets / ".col0_3.attempt-2")
    assert {name: heard["environment"][name] for name in ("TIMELAPSE_ID", "SCAN_ID", "SLOT", "ATTEMPT")} == {
        "TIMELAPSE_ID": "col0", "SCAN_ID": "col0_3", "SLOT": "3", "ATTEMPT": "2",
    }  # fmt: skip
    assert heard["environment"]["SCHEDULED_AT"] == "2026-06-22T08:00:00+00:00"
    assert heard["environment"]["DATASET_DIR"] == heard["here"] == attempt_dir
    assert heard["stdin"] == {
        "timelapse_id": "col0",
        "scan_id": "col0_3",
        "index": 3,
        "attempt": 2,
        "scheduled_at": "2026-06-22T08:00:00+00:00",
        "dataset_dir": attempt_dir,
        "configuration": CONFIGURATION,
    }


def test_the_daemons_own_environment_stays_its_own(datasets, does, monkeypatch):
    """A program behaves the same whoever started the daemon, and sees none of its secrets."""
    monkeypatch.setenv("API_TOKEN", "secret")
    environment = told(datasets, does(TELLS, environment={"GPIO_CHIP": "gpiochip0"}))["environment"]
    assert "API_TOKEN" not in environment
    assert environment["GPIO_CHIP"] == "gpiochip0"
    assert environment["PATH"] == find.SEARCH_PATH


def test_no_shell_reads_the_arguments(datasets, does):
    """What a person writes in argv is what the program gets."""
    options = does(TELLS)
    options["argv"] += ["$(reboot)", "; rm -rf /", "a b", ""]
    assert told(datasets, options)["argv"][1:] == ["$(reboot)", "; rm -rf /", "a b", ""]


def test_a_program_that_reads_no_stdin_is_not_waited_for(datasets, does):
    """A configuration is larger than a pipe."""
    configuration = {"Metadata": {"object": {"notes": "x" * 1_000_000}}}
    request = make_request(datasets, configuration=configuration)
    assert CommandDriver(does("")).scan(request, RecordingMonitor()) == ScanResult()


# What the program tells.


def test_progress_pictures_and_notes_are_understood(datasets, does):
    """The status line shows them, the record keeps them."""
    source = """
print('{"progress": [1, 2], "note": "picamera"}')
print('{"progress": [2, 2]}')
print('{"pictures": 72, "note": "a bit dark"}')
"""
    monitor = RecordingMonitor()
    result = CommandDriver(does(source)).scan(make_request(datasets), monitor)
    assert result == ScanResult(pictures=72, note="a bit dark")
    assert monitor.recorded[-1] == (2, 2, "a bit dark")


@pytest.mark.parametrize(
    "line",
    [
        "homing …", "", "{", "{}", "[1, 2]", '{"progress": 5}', '{"progress": [5, 2]}', '{"progress": ["1", 2]}',
        '{"progress": [-1, 2]}', '{"progress": [true, true]}', '{"pictures": -1}', '{"pictures": true}',
        '{"pictures": "many"}', '{"note": 7}', "[" * 5000, '{"a":' * 3000,
    ],
)  # fmt: skip
def test_any_other_line_is_tolerated(datasets, does, line):
    """A program may say what it likes; only its exit status decides."""
    monitor = RecordingMonitor()
    result = CommandDriver(does(f"print({line!r})")).scan(make_request(datasets), monitor)
    assert result.pictures is None
    assert {told[:2] for told in monitor.recorded} == {(0, 0)}


def test_any_line_is_a_sign_of_life(datasets, does):
    """A program that only logs is not held to be stalled."""
    monitor = RecordingMonitor()
    CommandDriver(does("print('homing')")).scan(make_request(datasets), monitor)
    assert (0, 0, "homing") in monitor.recorded


def test_control_characters_do_not_reach_the_journal(datasets, does):
    """A note is shown on terminals."""
    source = r"""print('{"note": "\\u001b[2Jgone\\u0007\\nnext"}')"""
    assert CommandDriver(does(source)).scan(make_request(datasets), RecordingMonitor()).note == "[2Jgone next"


@pytest.mark.parametrize("ending", ["\n", ""], ids=["lines", "one line without an end"])
def test_a_flood_of_output_is_neither_kept_nor_waited_for(datasets, does, ending):
    """A program in debug mode must not eat the daemon's memory; its last words still count."""
    source = f"""
import sys
for _ in range(64):
    sys.stdout.write(("x" * 65535 + {ending!r}) * 8)
    sys.stderr.write("e" * 65536)
print()
print('{{"pictures": 3}}')
"""
    driver, request = CommandDriver(does(source)), make_request(datasets)
    tracemalloc.start()
    try:
        assert driver.scan(request, RecordingMonitor()).pictures == 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_nothing_of_the_end_is_lost_where_pipes_hold_more(datasets, does):
    """As on a Raspberry Pi 5, whose pages are four times as large: its last words count, however much came before."""

    class Busy(RecordingMonitor):
        def progress(self, done, total, note=""):
            super().progress(done, total, note)
            if note.isdecimal():
                wait_for_its_end(note)

    source = """
import fcntl, os, sys
for stream in (1, 2):
    fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, 1 << 18)
os.write(1, b'{"note": "%d"}\\n' % os.getpid())
os.write(1, b"chatter\\n" * 25_000 + b'{"pictures": 72}\\n')
os.write(2, b"chatter\\n" * 25_000 + b"the lens is dirty\\n")
sys.exit(int(sys.argv[1]))
"""
    options = does(source)
    good, bad = ({**options, "argv": [*options["argv"], status]} for status in "01")
    assert CommandDriver(good).scan(make_request(datasets), Busy()).pictures == 72
    with pytest.raises(ScanFailed, match="the lens is dirty"):
        CommandDriver(bad).scan(make_request(datasets, index=1), Busy())


# How it ends.


def test_a_program_may_write_protect_what_it_took(datasets, does):
    """As people do with pictures that nobody is to change: the receipt still comes into the directory."""
    source = """
import os
open("0.jpg", "w").write("a picture")
os.chmod("0.jpg", 0o400)
os.chmod(".", 0o500)
"""
    work = """
import json, sys
from pathlib import Path
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
from plantimager.timelapse.drivers.command.driver import CommandDriver
CommandDriver(json.loads(sys.argv[1])).scan(make_request(Path(sys.argv[2])), RecordingMonitor())
"""
    scan = [*PLAINLY, sys.executable, "-c", work, json.dumps(does(source)), str(datasets)]
    subprocess.run(scan, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True)
    assert (datasets / "col0_0" / "0.jpg").read_text() == "a picture"


def test_a_failure_tells_the_end_of_stderr(datasets, does):
    """The journal line names the cause, not merely a number."""
    source = """
import sys
print("a long story\\n" * 5000, file=sys.stderr)
print("\\x1b[31mcamera 2: no answer", file=sys.stderr)
sys.exit(3)
"""
    with pytest.raises(ScanFailed, match=r"exited with 3: .*camera 2: no answer$") as caught:
        CommandDriver(does(source)).scan(make_request(datasets), RecordingMonitor())
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


def test_a_signal_is_named(datasets, does):
    """A crash of a camera library reads as what it is."""
    source = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(ScanFailed, match="SIGSEGV"):
        CommandDriver(does(source)).scan(make_request(datasets), RecordingMonitor())


def test_a_failed_attempts_pictures_are_kept_aside(datasets, does):
    """Half a time point may still be worth something to its owner."""
    source = "open('0.jpg', 'w').write('half'); raise SystemExit(1)"
    with pytest.raises(ScanFailed):
        CommandDriver(does(source)).scan(make_request(datasets), RecordingMonitor())
    assert (datasets / ".col0_0.attempt-1" / "0.jpg").read_text() == "half"


def test_a_missing_program_is_a_rig_that_is_not_ready(datasets, tmp_path):
    """It may lie on a disk that is still to be mounted; `check` says so before."""
    driver = CommandDriver({"argv": [str(tmp_path / "take-scan")], "prepare": ["no-such-program-anywhere"]})
    with pytest.raises(ScannerNotReady, match="take-scan is not there"):
        driver.scan(make_request(datasets), RecordingMonitor())
    with pytest.raises(ScannerNotReady, match="no-such-program-anywhere is not there"):
        driver.prepare()
    assert [(fault.key, fault.problem.split()[-2:]) for fault in driver.check({})] == [
        ("argv", ["not", "there"]),
        ("prepare", ["not", "there"]),
    ]


def test_a_file_without_the_executable_bit_is_told_apart(datasets, tmp_path):
    """The usual slip after copying a script."""
    script = tmp_path / "take-scan"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(ScannerNotReady, match="is not executable"):
        CommandDriver({"argv": [str(script)]}).scan(make_request(datasets), RecordingMonitor())


def test_sigterm_is_asked_before_sigkill(datasets, does):
    """A program that hears SIGTERM brings the rig to a safe point; it hasn't finished its scan, though."""
    source = """
import signal, sys
def park(*_):
    open("parked", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, park)
print('{"progress": [1, 2]}', flush=True)
signal.pause()
"""
    with pytest.raises(ScanCancelled):
        CommandDriver(does(source)).scan(make_request(datasets), RecordingMonitor(cancel_after=1))
    assert (datasets / ".col0_0.attempt-1" / "parked").exists()


DEAF = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("pid", "w").write(str(os.getpid()))
print('{"progress": [1, 2]}', flush=True)
while True:
    signal.pause()
"""


def test_a_program_that_is_deaf_to_sigterm_is_killed(datasets, does):
    """After the grace period, and it is gone when the scan is."""
    with pytest.raises(ScanCancelled, match="SIGKILL"):
        CommandDriver(does(DEAF, stop_grace=0.1)).scan(make_request(datasets), RecordingMonitor(cancel_after=1))
    assert not is_running((datasets / ".col0_0.attempt-1" / "pid").read_text())


@pytest.mark.parametrize("own_session", [False, True], ids=["in the group", "in a session of its own"])
def test_nothing_that_the_program_started_goes_on(datasets, does, own_session):
    """A grandchild that holds the pipes open neither hangs the scan nor outlives it."""
    source = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"], start_new_session={own_session})
open("pid", "w").write(str(child.pid))
"""
    request = make_request(datasets)
    CommandDriver(does(source)).scan(request, RecordingMonitor())
    assert not is_running((request.dataset_dir / "pid").read_text())


# A killed daemon.


def test_what_a_killed_daemon_left_running_is_ended(datasets, does):
    """The deaf program goes on after its daemon's death, but not after `recover`: two attempts never overlap."""
    options, request = does(DEAF, stop_grace=0.1), make_request(datasets)
    scan_until_killed("command", options, request)
    pid = (datasets / ".col0_0.attempt-1" / "pid").read_text()
    assert is_running(pid)
    assert CommandDriver(options).recover(request) is None
    assert not is_running(pid)


def test_the_next_attempt_ends_a_leftover_too(datasets, does):
    """Where the store could not be saved, nobody asks to recover."""
    request = make_request(datasets)
    scan_until_killed("command", does(DEAF), request)
    pid = (datasets / ".col0_0.attempt-1" / "pid").read_text()
    CommandDriver(does("", stop_grace=0.1)).scan(request, RecordingMonitor())
    assert not is_running(pid)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="without util-linux's setpriv it goes on until `recover`")
def test_the_program_is_asked_to_stop_when_its_daemon_dies(datasets, does):
    """Nobody holds it to its time-outs any more."""
    source = """
import os, signal
def park(*_):
    open("parked", "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, park)
open("pid", "w").write(str(os.getpid()))
print('{"progress": [1, 2]}', flush=True)
while True:
    signal.pause()
"""
    request = make_request(datasets)
    scan_until_killed("command", does(source), request)
    left = datasets / ".col0_0.attempt-1"
    wait_for_its_end((left / "pid").read_text())
    assert (left / "parked").exists()


def test_a_sandbox_without_setpriv_keeps_no_program_from_running(datasets, does, tmp_path, monkeypatch):
    """As that of the service, whose system call filter refuses what it asks for; there systemd ends what is left."""
    refused = tmp_path / "bin" / "setpriv"
    refused.parent.mkdir()
    refused.write_text('#!/bin/sh\necho "setpriv: activate capabilities: Operation not permitted" >&2\nexit 127\n')
    refused.chmod(0o755)
    monkeypatch.setattr(find, "SEARCH_PATH", f"{refused.parent}:{find.SEARCH_PATH}")
    CommandDriver(does('open("taken", "w").close()')).scan(make_request(datasets), RecordingMonitor())
    assert (datasets / "col0_0" / "taken").exists()


def test_other_slots_and_other_rigs_programs_are_left_alone(datasets, does, tmp_path):
    """Only this dataset's attempts are ended: a second rig of the same host scans on."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = does(DEAF, stop_grace=0.1)
    request, others = make_request(datasets), make_request(elsewhere)
    scan_until_killed("command", options, others)
    pid = (elsewhere / ".col0_0.attempt-1" / "pid").read_text()
    CommandDriver(options).recover(request)
    assert is_running(pid)
    CommandDriver(options).recover(others)
    assert not is_running(pid)


@pytest.mark.parametrize(("status", "recovered"), [(0, True), (1, False), (75, False)])
def test_the_recover_program_knows_better(datasets, does, tmp_path, status, recovered):
    """It looks where only it can look, such as in a ledger; with 0 it says that the attempt had finished."""
    source = """
import signal
open("0.jpg", "w").write("all of it")
print('{"progress": [1, 1]}', flush=True)
signal.pause()
"""
    request = make_request(datasets)
    scan_until_killed("command", does(source), request)
    says = f"import os; assert os.environ['SLOT'] == '0' and os.path.exists('0.jpg'); raise SystemExit({status})"
    driver = CommandDriver(does("", recover=does(says)["argv"]))
    assert (driver.recover(request) is not None) == recovered
    assert request.dataset_dir.exists() == recovered


def test_a_recover_program_that_hangs_or_is_missing_finished_nothing(datasets, does, tmp_path):
    """The boot goes on."""
    request = make_request(datasets)
    scan_until_killed("command", does(DEAF, stop_grace=0.1), request)
    hangs = does("import signal; signal.pause()")["argv"]
    for recover in (hangs, ["/no/such/program"]):
        driver = CommandDriver(does("", recover=recover, recover_timeout=0.1, stop_grace=0.1))
        assert driver.recover(request) is None


# Prepare and standby.


def test_a_prepare_that_fails_is_a_rig_that_is_not_ready(does):
    """It is asked again before the scan."""
    driver = CommandDriver(does("", prepare=does("raise SystemExit('no power')")["argv"]))
    with pytest.raises(ScannerNotReady, match=r"prepare: .* exited with 1: no power"):
        driver.prepare()


def test_a_standby_that_fails_says_so(does):
    """A lamp that stays on all night is worth a line in the journal."""
    driver = CommandDriver(does("", standby=does("raise SystemExit('lamp')")["argv"]))
    with pytest.raises(DriverError, match=r"standby: .* exited with 1: lamp"):
        driver.standby()


def test_a_prepare_that_hangs_is_ended(does):
    """However much it writes meanwhile."""
    source = "while True: print('homing')"
    driver = CommandDriver(does("", prepare=does(source)["argv"], prepare_timeout=0.1, stop_grace=0.1))
    with pytest.raises(ScannerNotReady, match=r"took longer than 0.1 s"):
        driver.prepare()


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "argv: required"),
        ({"argv": "take-scan"}, "argv = "),
        ({"argv": []}, "argv = "),
        ({"argv": ["./take-scan"]}, "whole path"),
        ({"argv": ["take-scan", "a\0b"]}, "NUL"),
        ({"argv": ["x"], "stop_grace": "soon"}, "stop_grace"),
        ({"argv": ["x"], "environment": "A=1"}, "write a table"),
        ({"argv": ["x"], "environment": {"SLOT": "1"}}, "the driver itself sets"),
        ({"argv": ["x"], "environment": {"A B": "1"}}, "not the name of a variable"),
        ({"argv": ["x"], "environment": {"A": 1}}, "in quotes"),
        ({"argv": ["x"], "prepar": ["x"]}, "did you mean prepare"),
    ],
)
def test_options_that_can_not_be_are_refused(options, message):
    """With the key and what is allowed."""
    with pytest.raises(FaultsFound, match=message):
        CommandDriver(options)


def test_a_program_that_can_not_be_killed_fails_the_scan_only(monkeypatch, datasets, does):
    """One that waits in the kernel for a device must not take the daemon with it."""
    wait = subprocess.Popen.wait

    def wait_in_vain(process, timeout=None):
        wait(process)
        raise subprocess.TimeoutExpired(process.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_in_vain)
    with pytest.raises(ScanFailed, match="waits in the kernel"):
        CommandDriver(does("")).scan(make_request(datasets), RecordingMonitor())
