"""`timelapsectl start` and `cancel`, as processes, with a daemon and without."""

import io
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from control import ask
from ctl_host import read_until
from daemon_process import PATIENCE
from failing_calls import failing
from waiting import wait_until

from plantimager.timelapse.channel import control_client
from plantimager.timelapse.channel.control_client import ServerSilent
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.cli.parser import parse
from plantimager.timelapse.cli.session import Scope, Session, session_places
from plantimager.timelapse.cli.start import run_start
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.clock import SystemClock


def test_start_and_cancel_are_answered_by_the_daemon(host):
    """Its answers are shown; the store says who cancelled."""
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


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make system calls fail")
def test_answer_says_what_is_not_on_disk(host):
    """Both are accepted, since the daemon goes on; exit code 1, the reason and what comes next are for the person."""
    with host.daemon() as daemon, failing(daemon.pid, "/^rename", "EIO"):
        started, cancelled = host.ctl("start", host.define("first")), host.ctl("cancel")
    for done, sentence in ((started, "3 slots"), (cancelled, "first is cancelled")):
        assert (done.returncode, sentence in done.stdout) == (1, True), done
        assert f"error: not on disk yet: {host.store} can't be written (Input/output error)" in done.stderr


def test_refusal_of_the_daemon_is_a_failure(host):
    """The error has the daemon's reason."""
    with host.daemon():
        host.ctl("start", host.define())
        refused = host.ctl("start", host.define("other"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: other can't start: col0_ld is active")


def test_nothing_starts_while_the_configuration_on_disk_has_faults(host):
    """The daemon still uses the one before, perhaps with another driver; a cancel is possible all the same."""
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


def test_fault_that_only_the_driver_sees_has_the_persons_file_name(host):
    """Answer and journal name it as the person knows it."""
    path = host.define()
    path.write_text(
        path.read_text()
        + '[ScanPath]\nclass_name = "Circle"\n[ScanPath.kwargs]\n'
        + "center_x = 375\ncenter_y = 375\nz = 0\ntilt = 0\nradius = 450\nn_points = 4\n"
    )
    with host.daemon() as daemon:
        refused = host.ctl("start", path)
        read_until(daemon.stderr, f": {path}: 1 fault")
    assert refused.returncode == 1
    assert str(path) in refused.stderr


def test_what_does_not_fit_is_said_by_check_preview_and_start(host):
    """Also by the driver `command`, which knows how long a scan takes from its last ones alone."""
    begin = datetime(2026, 6, 22, 8, tzinfo=UTC)
    past = TimeLapse(id="past", mode=TimeLapseMode.ONE_SHOT, state=TimeLapseState.SCHEDULED, schedule_times=(begin,))
    past = past.begin(begin, "boot").succeed(begin + timedelta(seconds=400), 72)
    history = host.store.parent / "history"
    history.mkdir(parents=True)
    (history / "past.json").write_bytes(new_stored_timelapse(past, {}, None).encode())
    host.configure('clock = "trust"\ndriver = "command"\n[drivers.command]\nargv = ["true"]\n')
    path = host.define(interval='"5m"', n_shots="300\ngrace_period = 1800")
    slow = "note: a scan of past took about 6 min 40 s, the interval is 5 min: "
    grace = (
        "note: grace_period (30 min) is longer than the interval (5 min): after an outage slots are taken back to back"
    )
    with host.daemon() as daemon:
        for command in ("check", "preview", "start"):
            done = host.ctl(command, path)
            assert (done.returncode, done.stderr) == (0, "")
            assert slow in done.stdout, command
            assert grace in done.stdout, command
        accepted = read_until(daemon.stderr, "slots are taken back to back")
    assert (slow.removeprefix("note: ") in accepted, grace.removeprefix("note: ") in accepted) == (True, True)


def test_definition_with_faults_makes_no_request(host):
    """All its faults are reported by the command."""
    path = host.define(n_shots='"many"', interval='"often"')
    done = host.ctl("start", path)
    assert done.returncode == 78
    assert done.stderr.startswith(f"error: {path}: 2 faults\n")


def test_definition_that_is_over_is_refused(host):
    """The year may be mistyped; the name stays free."""
    path = host.define(n_shots='3\nstart_at = "2020-06-22T08:00:00Z"')
    with host.daemon():
        refused = host.ctl("start", path)
    assert refused.returncode == 1
    assert "error: col0_ld can't start: its last slot was " in refused.stderr
    assert refused.stderr.endswith("look at the dates in it, the year included\n")
    assert not host.store.exists()


def test_nothing_is_left_for_a_later_daemon(host):
    """Without one, each command is refused with the way out; the next start knows nothing of it."""
    for command in (("start", host.define()), ("cancel",), ("rig", "home")):
        done = host.ctl(*command)
        assert (done.returncode, done.stdout) == (69, "")
        assert done.stderr == (
            f"error: nothing was done: no daemon runs on this store\nhint: XDG_DATA_HOME={host.root}/data timelapsed\n"
        )
    with host.daemon():
        pass
    assert not host.store.exists()


def test_zone_that_the_service_does_not_share_is_noted(host):
    """The service reads times without an offset in the host's zone; times with an offset need no note."""
    zone = "<+1330>-13:30"
    host.configure("")
    path = host.define("naive")
    path.write_text(path.read_text() + 'start_at = "2100-06-22T08:00:00"\n')
    with host.daemon():
        asked = host.ctl("--user", "start", path, TZ=zone)
        assert asked.returncode == 0
        note = (
            "note: the service reads times without an offset in the host's zone, not in TZ: the first slot is at 2100-"
        )
        assert note in asked.stdout
        path.write_text(path.read_text().replace("08:00:00", "08:00:00+02:00"))
        assert "note:" not in host.ctl("--user", "start", path, TZ=zone).stdout


def test_cancel_without_an_active_timelapse_is_refused(host):
    """There never was one, or it has ended."""
    with host.daemon():
        assert host.ctl("cancel").stderr == "error: there is no active timelapse to cancel\n"
    host.copy_store("interval-completed.json")
    with host.daemon(until="store_found:"):
        done = host.ctl("cancel")
    assert (done.returncode, done.stderr) == (
        1,
        "error: there is no active timelapse to cancel; done_tl is completed\n",
    )


def test_end_of_the_daemon_before_its_answer_is_reported(host):
    """The command stops waiting at once."""
    with host.daemon() as daemon, asking_a_stopped_daemon(host, daemon, "start", host.define()) as asking:
        daemon.kill()
        daemon.wait()
        assert "ended before it answered" in asking.communicate(timeout=PATIENCE)[1]
    assert asking.returncode == 69


@contextmanager
def asking_a_stopped_daemon(host, daemon, *arguments):
    """Stop the daemon's process and run a command that asks it for something; yield that once it is connected."""
    daemon.send_signal(signal.SIGSTOP)
    command, pipe = host.command(*arguments), subprocess.PIPE
    with subprocess.Popen(command, env=host.environment, stdout=pipe, stderr=pipe, text=True) as asking:
        wait_until(lambda: is_connected(asking.pid), within=PATIENCE)
        yield asking


def is_connected(pid):
    """Whether a process is connected to a Unix socket, by the kernel's table of these."""
    connected = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if line.split()[5] == "03"}
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            links.append(str(path.readlink()))
    return any(link.startswith("socket:[") and link[8:-1] in connected for link in links)


@pytest.mark.parametrize("command", ["start", "cancel"])
def test_ctrl_c_withdraws_the_request(host, command):
    """It must not be carried out later: a cancel can't be undone."""
    with host.daemon() as daemon:
        host.ctl("start", host.define("first"))
        arguments = ["start", host.define("second")] if command == "start" else ["cancel"]
        with asking_a_stopped_daemon(host, daemon, *arguments) as asking:
            asking.send_signal(signal.SIGINT)
            output, errors = asking.communicate(timeout=PATIENCE)
        assert (asking.returncode, errors) == (130, "")
        assert output.startswith("withdrawn") or (command == "cancel" and output == "")  # it asks for the status first
        daemon.send_signal(signal.SIGCONT)
        assert host.ctl("status").returncode == 0, "the request before it was looked at"
        daemon.send_signal(signal.SIGHUP)
        log = read_until(daemon.stderr, "reloaded:")
        assert ("request_refused" in log, "cancelled" in log) == (False, False)


def test_missing_answer_is_reported(host, monkeypatch):
    """Nothing more is asked of a daemon that hangs."""
    monkeypatch.setenv("XDG_DATA_HOME", str(host.root / "data"))
    monkeypatch.setattr(control_client, "SILENCE_SECONDS", 0.1)
    shown = io.StringIO()
    session = Session(
        environment={},
        scope=Scope.OWN,
        places=session_places(Scope.OWN, host.environment),
        clock=SystemClock(),
        screen=Screen(shown),
    )
    with host.daemon() as daemon:
        daemon.send_signal(signal.SIGSTOP)
        with pytest.raises(
            ServerSilent, match=r"has not answered within 0\.4 s; nothing more is asked of it"
        ) as raised:
            run_start(parse(["start", str(host.define())]), session)
    assert raised.value.exit_code == 69
    assert "no answer yet: the daemon may be waiting for its driver's check" in shown.getvalue()


def test_daemon_that_takes_no_requests_yet_is_told_from_none(host):
    """It holds the lock, and its socket isn't there."""
    host.store.parent.mkdir(parents=True)
    lock = InstanceLock(host.store)
    lock.acquire()
    try:
        done = host.ctl("cancel")
    finally:
        lock.release()
    assert (done.returncode, f"the daemon (PID {os.getpid()}) takes no requests" in done.stderr) == (69, True)
    assert "or it is of an earlier version" in done.stderr, "an update leaves it running"


# --- who is asked, and who asks -------------------------------------------------------------------------------


def test_person_is_who_the_kernel_says(host):
    """Whatever a request says; of root's commands, the one who used sudo counts, too."""
    me = pwd.getpwuid(os.getuid()).pw_name
    with host.daemon():
        host.ctl("start", host.define(), SUDO_USER="ann")
        answer = ask(host.store, "cancel", why="w", who="mallory", uid=0)
        assert answer.accepted
        ending = json.loads(host.ctl("status", "--json").stdout)["timelapse"]["ending"]
    assert ending["who"] == me


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_socket_of_another_user_is_left_alone(host):
    """Neither one in a directory of theirs, nor one that they have put into the place of ours."""
    host.store.parent.mkdir(parents=True)
    directory = host.store.with_name(f"{host.store.name}.run")
    directory.mkdir()
    with listening(directory, uid=65534):
        done = host.ctl("cancel")
        assert (done.returncode, "another user listens there" in done.stderr) == (1, True)
        os.chown(directory, 65534, 65534)
        done = host.ctl("cancel")
        assert (done.returncode, "is neither the service's nor yours" in done.stderr) == (1, True)


def test_link_in_the_place_of_the_sockets_directory_is_not_followed(host, tmp_path):
    """Root must not ask whom the service's account chooses."""
    host.store.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    host.store.with_name(f"{host.store.name}.run").symlink_to(elsewhere)
    with listening(elsewhere):
        assert "no daemon runs on this store" in host.ctl("cancel").stderr


@contextmanager
def listening(directory, uid=None):
    """Have a process, of another user where ``uid`` says so, listen at ``control`` in a directory."""
    code = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind('control'); os.chmod('control', 0o777);"
        "sys.argv[1] and os.setuid(int(sys.argv[1])); s.listen(); print('listening', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(uid or "")]
    with subprocess.Popen(command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "listening\n"
        yield
        process.stdin.close()
