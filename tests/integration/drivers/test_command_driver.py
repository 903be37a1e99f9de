"""The command driver, with real programs."""

import contextlib
import errno
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from daemon_process import PLAINLY

from plantimager.timelapse.datasets import attempt as attempt_module
from plantimager.timelapse.datasets.attempt import begin_attempt
from plantimager.timelapse.drivers.command.driver import CommandDriver
from plantimager.timelapse.drivers.programs import environment, processes, run
from plantimager.timelapse.drivers.testing import CONFIGURATION, RecordingMonitor, make_request, scan_until_killed
from plantimager.timelapse.scan.request import Owner, ScanResult
from plantimager.timelapse.support.errors import (
    DriverError,
    FaultsFound,
    PicturesUnreadable,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)


@pytest.fixture
def runs(tmp_path):
    """Return a function that makes options whose program has the given source."""

    def make(source, **options):
        script = tmp_path / f"program-{len([*tmp_path.iterdir()])}.py"
        script.write_text(source)
        return {"argv": [sys.executable, "-S", str(script)], "keep_free": "1 MB", **options}

    return make


def taking(pictures=1):
    """Return the source of a program that leaves some pictures."""
    return f"for number in range({pictures}): open(f'{{number}}.jpg', 'w').write('a picture')\n"


def is_running(pid):
    """Whether a process runs; one that has ended and was not waited for does not."""
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


# --- what the program is given ---------------------------------------------------------------------

REPORTS_ITS_INPUT = """
import json, os, sys
json.dump({"environment": dict(os.environ), "stdin": json.load(sys.stdin), "here": os.getcwd(), "argv": sys.argv},
          open("input.json", "w"))
"""


def given(datasets, options, **request):
    """Return what the program `REPORTS_ITS_INPUT` was given."""
    request = make_request(datasets, **request)
    CommandDriver(options).scan(request, RecordingMonitor())
    return json.loads((request.dataset_dir / "input.json").read_text())


def test_request_is_in_the_environment_and_on_stdin(datasets, runs):
    """The one is for shell scripts, the other for anything else."""
    program = given(datasets, runs(REPORTS_ITS_INPUT), index=3, attempt=2)
    attempt_dir = str(datasets / ".col0_3.attempt-2")
    assert {name: program["environment"][name] for name in ("TIMELAPSE_ID", "SCAN_ID", "SLOT", "ATTEMPT")} == {
        "TIMELAPSE_ID": "col0", "SCAN_ID": "col0_3", "SLOT": "3", "ATTEMPT": "2",
    }  # fmt: skip
    assert program["environment"]["SCHEDULED_AT"] == "2026-06-22T08:00:00+00:00"
    assert program["environment"]["DATASET_DIR"] == program["here"] == attempt_dir
    assert program["stdin"] == {
        "timelapse_id": "col0",
        "scan_id": "col0_3",
        "index": 3,
        "attempt": 2,
        "scheduled_at": "2026-06-22T08:00:00+00:00",
        "dataset_dir": attempt_dir,
        "configuration": CONFIGURATION,
    }


def test_environment_of_the_daemon_is_not_passed_on(datasets, runs, monkeypatch):
    """A program behaves the same whoever started the daemon, and gets none of its secrets."""
    monkeypatch.setenv("API_TOKEN", "secret")
    seen = given(datasets, runs(REPORTS_ITS_INPUT, environment={"GPIO_CHIP": "gpiochip0"}))["environment"]
    assert "API_TOKEN" not in seen
    assert seen["GPIO_CHIP"] == "gpiochip0"
    assert seen["PATH"] == environment.SEARCH_PATH


def test_no_shell_reads_the_arguments(datasets, runs):
    """The program gets the words that a person has written in argv."""
    options = runs(REPORTS_ITS_INPUT)
    options["argv"] += ["$(reboot)", "; rm -rf /", "a b", ""]
    assert given(datasets, options)["argv"][1:] == ["$(reboot)", "; rm -rf /", "a b", ""]


def test_driver_does_not_wait_for_a_program_that_reads_no_stdin(datasets, runs):
    """A configuration may be larger than a pipe."""
    configuration = {"Metadata": {"object": {"notes": "x" * 1_000_000}}}
    request = make_request(datasets, configuration=configuration)
    assert CommandDriver(runs(taking())).scan(request, RecordingMonitor()) == ScanResult()


# --- what the program reports ------------------------------------------------------------------------


def test_progress_pictures_and_notes_are_read(datasets, runs):
    """The status line shows them, and the record has them."""
    source = """
print('{"progress": [1, 2], "note": "picamera"}')
print('{"progress": [2, 2]}')
print('{"pictures": 72, "note": "a bit dark"}')
"""
    monitor = RecordingMonitor()
    result = CommandDriver(runs(taking(72) + source)).scan(make_request(datasets), monitor)
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
def test_any_other_line_is_accepted(datasets, runs, line):
    """A program may write anything; only its exit status decides."""
    monitor = RecordingMonitor()
    result = CommandDriver(runs(f"{taking()}print({line!r})")).scan(make_request(datasets), monitor)
    assert result.pictures is None
    assert {step[:2] for step in monitor.recorded} == {(0, 0)}


def test_any_line_is_a_sign_of_life(datasets, runs):
    """A program that only logs doesn't count as stalled."""
    monitor = RecordingMonitor()
    CommandDriver(runs(taking() + "print('homing')")).scan(make_request(datasets), monitor)
    assert (0, 0, "homing") in monitor.recorded


def test_control_characters_do_not_reach_the_journal(datasets, runs):
    """A note is shown on terminals."""
    source = r"""print('{"note": "\\u001b[2Jgone\\u0007\\nnext"}')"""
    driver = CommandDriver(runs(taking() + source))
    assert driver.scan(make_request(datasets), RecordingMonitor()).note == "[2Jgone next"


@pytest.mark.parametrize("ending", ["\n", ""], ids=["lines", "one line without an end"])
def test_flood_of_output_takes_little_memory(datasets, runs, ending):
    """A program in debug mode may write megabytes; its last lines still count."""
    source = f"""
import sys
for _ in range(64):
    sys.stdout.write(("x" * 65535 + {ending!r}) * 8)
    sys.stderr.write("e" * 65536)
print()
print('{{"pictures": 3}}')
"""
    driver, request = CommandDriver(runs(taking(3) + source)), make_request(datasets)
    tracemalloc.start()
    try:
        assert driver.scan(request, RecordingMonitor()).pictures == 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_last_lines_are_read_from_large_pipes(datasets, runs):
    """As on a Raspberry Pi 5, whose pages are four times as large, however much came before."""

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
    options = runs(taking(72) + source)
    good, bad = ({**options, "argv": [*options["argv"], status]} for status in "01")
    assert CommandDriver(good).scan(make_request(datasets), Busy()).pictures == 72
    with pytest.raises(ScanFailed, match="the lens is dirty"):
        CommandDriver(bad).scan(make_request(datasets, index=1), Busy())


# --- its end ---------------------------------------------------------------------------------------------


def test_program_may_write_protect_its_pictures(datasets, runs):
    """The receipt is still written into the directory."""
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
    scan = [*PLAINLY, sys.executable, "-c", work, json.dumps(runs(source)), str(datasets)]
    subprocess.run(scan, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True)
    assert (datasets / "col0_0" / "0.jpg").read_text() == "a picture"


def test_failure_has_the_end_of_stderr(datasets, runs):
    """The journal line has the cause, not only a number."""
    source = """
import sys
print("a long story\\n" * 5000, file=sys.stderr)
print("\\x1b[31mcamera 2: no answer", file=sys.stderr)
sys.exit(3)
"""
    with pytest.raises(ScanFailed, match=r"exited with 3: .*camera 2: no answer$") as caught:
        CommandDriver(runs(source)).scan(make_request(datasets), RecordingMonitor())
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


def test_signal_is_named(datasets, runs):
    """A crash of a camera library is recognisable."""
    source = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(ScanFailed, match="SIGSEGV"):
        CommandDriver(runs(source)).scan(make_request(datasets), RecordingMonitor())


def test_pictures_of_a_failed_attempt_are_kept(datasets, runs):
    """Half a time point may be worth something to its owner."""
    source = "open('0.jpg', 'w').write('half'); raise SystemExit(1)"
    with pytest.raises(ScanFailed):
        CommandDriver(runs(source)).scan(make_request(datasets), RecordingMonitor())
    assert (datasets / ".col0_0.attempt-1" / "0.jpg").read_text() == "half"


def test_rig_is_not_ready_without_its_program(datasets, tmp_path):
    """Its disk may not be mounted yet; `check` reports it before."""
    driver = CommandDriver({"argv": [str(tmp_path / "take-scan")], "prepare": ["no-such-program-anywhere"]})
    with pytest.raises(ScannerNotReady, match="take-scan is not there"):
        driver.scan(make_request(datasets), RecordingMonitor())
    with pytest.raises(ScannerNotReady, match="no-such-program-anywhere is not there"):
        driver.prepare()
    assert [(fault.key, fault.problem.split()[-2:]) for fault in driver.check({})] == [
        ("argv", ["not", "there"]),
        ("prepare", ["not", "there"]),
    ]


def test_file_without_the_executable_bit_is_reported_as_such(datasets, tmp_path):
    """The usual mistake after copying a script."""
    script = tmp_path / "take-scan"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(ScannerNotReady, match="is not executable"):
        CommandDriver({"argv": [str(script)]}).scan(make_request(datasets), RecordingMonitor())


def test_program_is_sent_sigterm_before_sigkill(datasets, runs):
    """It brings the rig to a safe point then, but hasn't finished its scan."""
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
        CommandDriver(runs(source)).scan(make_request(datasets), RecordingMonitor(cancel_after=1))
    assert (datasets / ".col0_0.attempt-1" / "parked").exists()


IGNORES_SIGTERM = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("pid", "w").write(str(os.getpid()))
print('{"progress": [1, 2]}', flush=True)
while True:
    signal.pause()
"""


def test_program_that_ignores_sigterm_is_killed(datasets, runs):
    """After `stop_grace`, and it is gone when the scan has ended."""
    with pytest.raises(ScanCancelled, match="SIGKILL"):
        CommandDriver(runs(IGNORES_SIGTERM, stop_grace=0.1)).scan(
            make_request(datasets), RecordingMonitor(cancel_after=1)
        )
    assert not is_running((datasets / ".col0_0.attempt-1" / "pid").read_text())


@pytest.mark.parametrize("own_session", [False, True], ids=["in the group", "in a session of its own"])
def test_nothing_that_the_program_started_goes_on(datasets, runs, own_session):
    """A grandchild that holds the pipes open neither blocks the scan nor outlives it."""
    source = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"], start_new_session={own_session})
open("pid", "w").write(str(child.pid))
"""
    request = make_request(datasets)
    CommandDriver(runs(source)).scan(request, RecordingMonitor())
    assert not is_running((request.dataset_dir / "pid").read_text())


DETACHES = """
import os, subprocess, sys, time
open("0.jpg", "w").write("a picture")
child = subprocess.Popen(
    [sys.executable, "-S", "-c", "import os, signal; signal.signal(15, signal.SIG_IGN); os.close(3); signal.pause()"],
    start_new_session=True, env={}, pass_fds=[os.dup2(os.pipe()[1], 3)],
)
open("pid", "w").write(str(child.pid))
"""
"""Leaves a process with a session and an environment of its own, which ignores SIGTERM."""


def test_process_without_session_and_environment_of_the_scan_is_ended(datasets, runs):
    """It would write into the finished dataset."""
    request = make_request(datasets)
    assert CommandDriver(runs(DETACHES, stop_grace=0.1)).scan(request, RecordingMonitor()).note == ""
    assert not is_running((request.dataset_dir / "pid").read_text())


def test_whole_family_of_a_detached_process_is_ended(datasets, runs):
    """The children of one that is ended come to the daemon."""
    source = """
import os, signal
open("0.jpg", "w").write("a picture")
ready, released = os.pipe()
for generation in range(4):
    if os.fork():
        os._exit(0) if generation else os.read(ready, 1) and os._exit(0)
    os.setsid()
open("pid", "w").write(str(os.getpid()))
os.write(released, b"x")
signal.pause()
"""
    request = make_request(datasets)
    CommandDriver(runs(source, stop_grace=0.1)).scan(request, RecordingMonitor())
    assert not is_running((request.dataset_dir / "pid").read_text())


def test_process_that_prepare_has_started_goes_on(datasets, runs, tmp_path):
    """It may be a server for the lights; only what the scan has started is ended."""
    pid = tmp_path / "pid"
    source = f"""
import subprocess, sys
waits = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
child = subprocess.Popen(waits, start_new_session=True, env={{}})
open({str(pid)!r}, "w").write(str(child.pid))
"""
    driver = CommandDriver(runs(taking(), prepare=runs(source)["argv"]))
    driver.scan(make_request(datasets, index=1), RecordingMonitor())
    driver.prepare()
    driver.scan(make_request(datasets), RecordingMonitor())
    try:
        assert is_running(pid.read_text())
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_what_can_not_be_ended_is_reported_with_each_scan_until_it_has_ended(datasets, runs, monkeypatch):
    """A process of another user refuses every signal."""
    with monkeypatch.context() as other_user:
        other_user.setattr(processes, "_send", lambda pidfd, _: os.close(pidfd))
        driver = CommandDriver(runs(DETACHES, stop_grace=0.1))
        notes = [driver.scan(make_request(datasets, index=n), RecordingMonitor()).note for n in range(2)]
    pids = [(datasets / f"col0_{n}" / "pid").read_text() for n in range(2)]
    assert re.fullmatch(
        rf"1 process that it started could not be ended .*: python\S* of \w+ \(pid {pids[0]}\)", notes[0]
    )
    assert re.match(r"2 processes that it started could not be ended", notes[1])
    for pid in map(int, pids):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert CommandDriver(runs(taking())).scan(make_request(datasets, index=2), RecordingMonitor()).note == ""
    assert driver.scan(make_request(datasets, index=3), RecordingMonitor()).note == ""


def test_program_has_no_protection_from_the_oom_killer(datasets, runs, monkeypatch, tmp_path):
    """The service's unit protects the daemon, so that it can record what became of a program that took all memory."""
    protected, adjusted = tmp_path / "oom_score_adj", []
    protected.write_text("-500\n")
    driver = CommandDriver(runs(taking()))
    monkeypatch.setattr(run, "OOM_SCORE", protected)
    write = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda path, text: adjusted.append((path.name, text)) or write(path, text))
    driver.scan(make_request(datasets), RecordingMonitor())
    assert adjusted == [("oom_score_adj", "0")]


# --- whether it was taken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "fault"),
    [
        ("", {}, r"exited with 0 and left no file$"),
        ("open('0.jpg', 'w')", {}, r"exited with 0 and left no file$"),
        ("import os; os.mkdir('images'); os.symlink('/dev/null', '0.jpg')", {}, r"left no file$"),
        (
            taking() + """print('{"pictures": 2}')""",
            {},
            r"exited with 0 and says that it took 2 pictures, and left 1 file",
        ),
        (taking(2), {"expect": 3}, r"exited with 0 and left 2 files, 3 are expected"),
    ],
)
def test_exit_status_zero_without_the_pictures_is_a_failure(datasets, runs, source, options, fault):
    """Fswebcam and gphoto2 exit with 0 after a failed capture."""
    request = make_request(datasets)
    with pytest.raises(ScanFailed, match=fault):
        CommandDriver(runs(source, **options)).scan(request, RecordingMonitor())
    assert not request.dataset_dir.exists()
    assert CommandDriver(runs("")).recover(request) is None


def test_as_many_files_as_expected_are_a_dataset(datasets, runs):
    """More may be there: a log, or metadata."""
    for index, pictures in enumerate((2, 3)):
        CommandDriver(runs(taking(pictures), expect=2)).scan(make_request(datasets, index=index), RecordingMonitor())


def test_files_are_reported_as_they_reach_the_disk(datasets, runs):
    """Progress stays where the program has left it."""
    monitor = RecordingMonitor()
    CommandDriver(runs(taking(2) + """print('{"progress": [2, 2]}')""")).scan(make_request(datasets), monitor)
    assert {(2, 2, f"putting file {number} of 2 on disk") for number in (1, 2)} <= set(monitor.recorded)


# --- a killed daemon -------------------------------------------------------------------------------------


def test_recover_ends_the_program_of_a_killed_daemon(datasets, runs):
    """A program that ignores SIGTERM outlives its daemon, but two attempts never overlap."""
    options, request = runs(IGNORES_SIGTERM, stop_grace=0.1), make_request(datasets)
    scan_until_killed("command", options, request)
    pid = (datasets / ".col0_0.attempt-1" / "pid").read_text()
    assert is_running(pid)
    assert CommandDriver(options).recover(request) is None
    assert not is_running(pid)


def test_next_attempt_ends_the_program_of_a_killed_daemon(datasets, runs):
    """Where the store could not be saved, `recover` isn't called."""
    request = make_request(datasets)
    scan_until_killed("command", runs(IGNORES_SIGTERM), request)
    pid = (datasets / ".col0_0.attempt-1" / "pid").read_text()
    CommandDriver(runs(taking(), stop_grace=0.1)).scan(request, RecordingMonitor())
    assert not is_running(pid)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="without util-linux's setpriv it goes on until `recover`")
def test_program_is_sent_sigterm_when_its_daemon_is_killed(datasets, runs):
    """No time-out ends it then."""
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
    scan_until_killed("command", runs(source), request)
    left = datasets / ".col0_0.attempt-1"
    wait_for_its_end((left / "pid").read_text())
    assert (left / "parked").exists()


def test_program_runs_in_a_sandbox_without_setpriv(datasets, runs, tmp_path, monkeypatch):
    """As that of the service, whose filter refuses its system calls; there systemd ends leftovers."""
    refused = tmp_path / "bin" / "setpriv"
    refused.parent.mkdir()
    refused.write_text('#!/bin/sh\necho "setpriv: activate capabilities: Operation not permitted" >&2\nexit 127\n')
    refused.chmod(0o755)
    monkeypatch.setattr(environment, "SEARCH_PATH", f"{refused.parent}:{environment.SEARCH_PATH}")
    CommandDriver(runs(taking())).scan(make_request(datasets), RecordingMonitor())
    assert (datasets / "col0_0" / "0.jpg").exists()


def test_programs_of_other_slots_and_rigs_go_on(datasets, runs, tmp_path):
    """Only this dataset's attempts are ended."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = runs(IGNORES_SIGTERM, stop_grace=0.1)
    request, others = make_request(datasets), make_request(elsewhere)
    scan_until_killed("command", options, others)
    pid = (elsewhere / ".col0_0.attempt-1" / "pid").read_text()
    CommandDriver(options).recover(request)
    assert is_running(pid)
    CommandDriver(options).recover(others)
    assert not is_running(pid)


@pytest.mark.parametrize(("status", "recovered"), [(0, True), (1, False), (75, False)])
def test_recover_program_decides_whether_the_attempt_had_finished(datasets, runs, tmp_path, status, recovered):
    """Exit status 0 means that it had."""
    source = """
import signal
open("0.jpg", "w").write("all of it")
print('{"progress": [1, 1]}', flush=True)
signal.pause()
"""
    request = make_request(datasets)
    scan_until_killed("command", runs(source), request)
    says = f"import os; assert os.environ['SLOT'] == '0' and os.path.exists('0.jpg'); raise SystemExit({status})"
    driver = CommandDriver(runs("", recover=runs(says)["argv"]))
    assert (driver.recover(request) is not None) == recovered
    assert request.dataset_dir.exists() == recovered


@pytest.mark.parametrize(("says", "pictures"), [("", 2), ("""print('{"pictures": 1}')""", 1)], ids=["counted", "says"])
def test_recovered_scan_has_its_picture_count(datasets, runs, says, pictures):
    """The `recover` program may report it; else the pictures are counted."""
    source = f"""{taking(2)}
import signal
open("log.txt", "w").write("all of it")
print('{{"progress": [1, 1]}}', flush=True)
signal.pause()
"""
    request = make_request(datasets)
    scan_until_killed("command", runs(source), request)
    result = CommandDriver(runs("", recover=runs(says)["argv"])).recover(request)
    assert result == ScanResult(pictures=pictures)


@pytest.mark.parametrize("number", [errno.EIO, errno.EUCLEAN, errno.EACCES])
def test_recovered_scan_that_the_disk_does_not_take_is_asked_about_again(datasets, runs, monkeypatch, number):
    """That it failed says nothing of the pictures, which are whole when it is back."""
    request = make_request(datasets)
    scan_until_killed("command", runs(IGNORES_SIGTERM, stop_grace=0.1), request)
    driver = CommandDriver(runs("", stop_grace=0.1, recover=runs("")["argv"]))

    def refuse(directory, _):
        raise OSError(number, os.strerror(number), str(directory))

    with monkeypatch.context() as disk:
        disk.setattr(attempt_module, "sync_tree", refuse)
        with pytest.raises(PicturesUnreadable, match=os.strerror(number)):
            driver.recover(request)
    assert driver.recover(request) is not None


def test_recovered_scan_without_its_pictures_is_a_failure(datasets, runs):
    """What the `recover` program says isn't there."""
    request = make_request(datasets)
    scan_until_killed("command", runs(IGNORES_SIGTERM, stop_grace=0.1), request)
    driver = CommandDriver(runs("", stop_grace=0.1, recover=runs("""print('{"pictures": 9}')""")["argv"]))
    with pytest.raises(ScanFailed, match="says that it took 9 pictures, and left 1 file"):
        driver.recover(request)


def test_program_of_another_rig_goes_on(datasets, runs):
    """Two rigs of one host may have one directory for their datasets, and timelapses of the same name."""
    ours, theirs = (make_request(datasets, owner=Owner(rig=rig, store=f"/{rig}.json")) for rig in "ab")
    options = runs(IGNORES_SIGTERM, stop_grace=0.1)
    with (
        begin_attempt(theirs) as attempt,
        subprocess.Popen(
            [*options["argv"]], cwd=datasets, start_new_session=True, env={"DATASET_DIR": str(attempt.directory)}
        ) as process,
    ):
        CommandDriver(options).recover(ours)
        assert process.poll() is None
        CommandDriver(options).recover(theirs)
        assert process.wait(60) < 0


def test_recover_program_that_hangs_or_is_missing_means_not_finished(datasets, runs, tmp_path):
    """The start goes on."""
    request = make_request(datasets)
    scan_until_killed("command", runs(IGNORES_SIGTERM, stop_grace=0.1), request)
    hangs = runs("import signal; signal.pause()")["argv"]
    for recover in (hangs, ["/no/such/program"]):
        driver = CommandDriver(runs("", recover=recover, recover_timeout=0.1, stop_grace=0.1))
        assert driver.recover(request) is None


# --- prepare and standby ---------------------------------------------------------------------------------


def test_rig_is_not_ready_where_prepare_fails(runs):
    """It is called again before the scan."""
    driver = CommandDriver(runs("", prepare=runs("raise SystemExit('no power')")["argv"]))
    with pytest.raises(ScannerNotReady, match=r"prepare: .* exited with 1: no power"):
        driver.prepare()


def test_standby_that_fails_is_reported(runs):
    """A lamp that stays on all night is worth a line in the journal."""
    driver = CommandDriver(runs("", standby=runs("raise SystemExit('lamp')")["argv"]))
    with pytest.raises(DriverError, match=r"standby: .* exited with 1: lamp"):
        driver.standby()


def test_prepare_that_hangs_is_ended(runs):
    """However much it writes in the meantime."""
    source = "while True: print('homing')"
    driver = CommandDriver(runs("", prepare=runs(source)["argv"], prepare_timeout=0.1, stop_grace=0.1))
    with pytest.raises(ScannerNotReady, match=r"took longer than 0.1 s"):
        driver.prepare()


# --- options ---------------------------------------------------------------------------------------------


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
def test_fault_of_the_options_is_reported(options, message):
    """With the key and what is allowed."""
    with pytest.raises(FaultsFound, match=message):
        CommandDriver(options)


def test_program_that_can_not_be_killed_fails_only_the_scan(monkeypatch, datasets, runs):
    """It waits in the kernel for a device, and must not hang the daemon."""
    wait = subprocess.Popen.wait

    def wait_in_vain(process, timeout=None):
        wait(process)
        raise subprocess.TimeoutExpired(process.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_in_vain)
    with pytest.raises(ScanFailed, match="waits in the kernel"):
        CommandDriver(runs("")).scan(make_request(datasets), RecordingMonitor())
