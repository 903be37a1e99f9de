"""`timelapsectl start` and `cancel`, as processes, with a daemon and without."""

import io
import json
import shutil
import signal
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from ctl_host import read_until
from daemon_process import PATIENCE
from failing_calls import failing
from virtual_time import START, VirtualClock

from plantimager.timelapse.channel.inbox import Answer, Inbox, inbox_path
from plantimager.timelapse.channel.live import LiveFile
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.cli.daemon_request import AnswerLost, DaemonNotThere
from plantimager.timelapse.cli.parser import parse
from plantimager.timelapse.cli.session import Scope, Session, session_places
from plantimager.timelapse.cli.start import run_start
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.inotify import FileWatch


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
    assert list(inbox_path(host.store).iterdir()) == []


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
    """The request's own file is removed by then, so neither the answer nor the journal names it."""
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
    assert not inbox_path(host.store).exists()


def test_definition_that_is_over_is_refused_with_a_daemon_and_without(host):
    """The year may be mistyped; the name stays free."""
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
    """The exit code is 69; the daemon carries the request out when it starts."""
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
    """Otherwise its faults would show at the next boot."""
    host.configure('driver = "robot"')
    done = host.ctl("start", host.define())
    assert done.returncode == 78
    assert "no such driver" in done.stderr
    assert not inbox_path(host.store).exists()


def test_without_a_daemon_start_refuses_what_the_daemon_will_refuse(host):
    """An active timelapse and a waiting request come first; an active one with a waiting cancel doesn't."""
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


def test_without_a_daemon_start_accepts_what_the_daemon_will_take_up(host):
    """Both timelapses before it will have ended when the daemon starts: all their slots are late."""
    host.copy_store("interval-utc-interrupted.json")
    over = host.define("over", n_shots='3\nstart_at = "2020-06-22T08:00:00Z"')
    over.rename(host.files / "timelapse.toml")
    assert host.ctl("start", host.define("other")).returncode == 69
    with host.daemon(until="definition_accepted: other"):
        pass


def test_configured_definition_comes_before_a_request(host):
    """The daemon takes up the one in its configuration directory first; a request for the same file is accepted."""
    configured = host.files / "timelapse.toml"
    configured.write_text(host.define("configured").read_text())
    refused = host.ctl("start", host.define("other"))
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (
        1,
        f"hint: take {configured} away to withdraw that",
    )
    assert host.ctl("start", configured).returncode == 69
    with host.daemon(until="definition_accepted: configured"):
        pass


def test_zone_that_the_service_does_not_share_is_noted(host):
    """The service reads times without an offset in the host's zone; times with an offset need no note."""
    zone = "<+1330>-13:30"
    host.configure("")
    path = host.define("naive")
    path.write_text(path.read_text() + 'start_at = "2100-06-22T08:00:00"\n')
    asked = host.ctl("--user", "start", path, TZ=zone)
    assert asked.returncode == 69
    note = "note: the service reads times without an offset in the host's zone, not in TZ: the first slot is at 2100-"
    assert note in asked.stdout
    (request,) = Inbox(host.store).pending()
    request.path.unlink()
    path.write_text(path.read_text().replace("08:00:00", "08:00:00+02:00"))
    assert host.ctl("--user", "start", path, TZ=zone).stdout == ""


def test_cancel_without_an_active_timelapse_is_refused(host):
    """There never was one, or it has ended; no daemon is needed to see that."""
    assert host.ctl("cancel").stderr == "error: there is no active timelapse to cancel\n"
    host.copy_store("interval-completed.json")
    done = host.ctl("cancel")
    assert (done.returncode, done.stderr) == (
        1,
        "error: there is no active timelapse to cancel; done_tl is completed\n",
    )


def test_end_of_the_daemon_before_its_answer_is_reported(host):
    """The command stops waiting at once."""
    with host.daemon() as daemon:
        with asking_a_stopped_daemon(host, daemon, "start", host.define()) as asking:
            daemon.kill()
            daemon.wait()
            assert "ended before it answered" in asking.communicate(timeout=PATIENCE)[1]
        assert asking.returncode == 69


@contextmanager
def asking_a_stopped_daemon(host, daemon, *arguments):
    """Stop the daemon's process and run a command that asks it for something; yield that once its request is there."""
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
def test_ctrl_c_withdraws_the_request(host, command):
    """It must not be carried out later: a cancel can't be undone."""
    with host.daemon() as daemon:
        host.ctl("start", host.define("first"))
        arguments = ["start", host.define("second")] if command == "start" else ["cancel"]
        with asking_a_stopped_daemon(host, daemon, *arguments) as asking:
            asking.send_signal(signal.SIGINT)
            output, errors = asking.communicate(timeout=PATIENCE)
        assert (asking.returncode, errors) == (130, "")
        assert output.startswith("withdrawn")
        assert list(inbox_path(host.store).iterdir()) == []
        daemon.send_signal(signal.SIGCONT)
        daemon.send_signal(signal.SIGHUP)
        log = read_until(daemon.stderr, "reloaded:")
        assert ("request_refused" in log, "cancelled" in log) == (False, False)


@pytest.mark.parametrize(
    ("leaves_answer", "sentence"),
    [
        (True, "too late to withdraw it: tl from {path}: 3 slots\n"),
        (False, "too late to withdraw it; timelapsectl status shows what became of it\n"),
    ],
    ids=["answered", "no room for the answer"],
)
def test_request_that_was_carried_out_is_not_called_withdrawn(host, monkeypatch, leaves_answer, sentence):
    """The daemon was quicker than Ctrl-C; its answer is shown instead."""
    monkeypatch.setenv("XDG_DATA_HOME", str(host.root / "data"))

    def answer_and_press_ctrl_c(*_):
        inbox = Inbox(host.store)
        (request,) = inbox.pending()
        if leaves_answer:
            inbox.answer(request, Answer(accepted=True, message=f"tl from {request.path}: 3 slots"))
        request.path.unlink(missing_ok=True)
        raise KeyboardInterrupt

    path = host.define()
    with this_process_as_daemon(host, answer_and_press_ctrl_c) as session, pytest.raises(KeyboardInterrupt):
        run_start(parse(["start", str(path)]), session)
    assert session.screen.stream.getvalue() == sentence.format(path=path)
    assert list(inbox_path(host.store).iterdir()) == []


@contextmanager
def this_process_as_daemon(host, handler=signal.SIG_IGN):
    """Hold the lock and handle SIGHUP in a daemon's place; yield the session of a person who asks it."""
    host.store.parent.mkdir(parents=True)
    before = signal.signal(signal.SIGHUP, handler)
    lock = InstanceLock(host.store)
    lock.take()
    try:
        yield Session(
            environment={},
            scope=Scope.OWN,
            places=session_places(Scope.OWN, host.environment),
            clock=ImpatientClock(),
            screen=Screen(io.StringIO()),
        )
    finally:
        lock.release()
        signal.signal(signal.SIGHUP, before)


class ImpatientClock(VirtualClock):
    """A clock on which twenty seconds pass between two readings."""

    def monotonic(self):
        self.pass_time(timedelta(seconds=20))
        return super().monotonic()


def test_missing_answer_is_reported_with_the_daemons_status(host, monkeypatch):
    """The daemon may wait for the clock; the request stays."""
    monkeypatch.setenv("XDG_DATA_HOME", str(host.root / "data"))
    with this_process_as_daemon(host) as session:
        LiveFile(host.store).show({"status": "clock not trusted yet"}, START)
        with pytest.raises(DaemonNotThere, match=r"has not answered within 15 s \(clock not trusted yet\)") as raised:
            run_start(parse(["start", str(host.define())]), session)
    assert raised.value.exit_code == 69
    assert len(list(inbox_path(host.store).glob("start-*.toml"))) == 1


def test_lost_answer_is_no_silence(host, monkeypatch):
    """A full disk takes the request away, but no answer: the person has to look what became of it, not to try again."""
    monkeypatch.setenv("XDG_DATA_HOME", str(host.root / "data"))

    def handle_without_answer(*_):
        (request,) = Inbox(host.store).pending()
        (request.path.parent / f"{request.path.name}.answer").mkdir()  # refuses the answer, as a full disk does
        Inbox(host.store).answer(request, Answer(accepted=True, message="3 slots"))

    lost = pytest.raises(AnswerLost, match="has handled it, but its answer can't be written beside")
    with this_process_as_daemon(host, handle_without_answer) as session, lost as raised:
        run_start(parse(["start", str(host.define())]), session)
    assert (raised.value.exit_code, "timelapsectl status" in raised.value.hint) == (1, True)
    assert session.screen.stream.getvalue() == ""
