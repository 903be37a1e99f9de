"""Why a daemon doesn't run, and the command that mends it."""

import io
import os
import pwd
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from daemon_process import PLAINLY
from msgspec.structs import replace
from virtual_time import VirtualClock
from waiting import wait_until

from plantimager.timelapse.cli import service_start, service_state, unit_facts
from plantimager.timelapse.cli.service_state import ServiceState, describe_absence, read_service_state
from plantimager.timelapse.cli.session import Scope, Session, session_places
from plantimager.timelapse.cli.status_view import service_lines
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.cli.unit_facts import EXIT_NAMES
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.support.errors import EXIT_UNAVAILABLE

UNIT = "plant-imager-timelapsed"
USUAL = {
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "Result": "success",
    "ExecMainStatus": "0",
    "NRestarts": "0",
    "UnitFileState": "enabled",
    "InvocationID": "f" * 32,
    "User": "",
    "StatusText": "",
    "MainPID": "0",
    "InactiveExitTimestampMonotonic": "12345678",
}
NO_CONDITION = {"ConditionResult": "no", "ConditionTimestampMonotonic": "5"}


class Manager:
    """A stand-in for systemctl and journalctl, and a rig of the system service in a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, root / "bin"
        self.bin.mkdir()
        self.settings = root / "etc"
        self.settings.mkdir()
        self.storage = root / "storage"
        self.storage.mkdir(mode=0o700)

    def program(self, name: str, script: str) -> None:
        """Write one of the programs."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "$@" >>{self.root}/asked\n{script}\n')
        path.chmod(0o755)

    def show(self, line: str = "", **properties: str) -> None:
        """Have systemd say this of the unit, and the journal this line."""
        shown = "\n".join(f"{key}={value}" for key, value in {**USUAL, **properties}.items())
        self.program("systemctl", f"cat <<'END'\n{shown}\nEND")
        self.program("journalctl", f"cat <<'END'\n{line}\nEND" if line else "exit 1")

    def show_others(self, shown: str) -> None:
        """Have systemd say this of the units `BOTH`."""
        script = (self.bin / "systemctl").read_text()
        self.program("systemctl", f"case \"$*\" in *'{BOTH}'*) echo '{shown}'; exit;; esac\n{script}")

    def asked(self) -> str:
        """Return the arguments that the programs got."""
        return (self.root / "asked").read_text()

    def session(self, scope: Scope = Scope.SYSTEM, rig: str | None = None) -> Session:
        """Return a session of that scope."""
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        places = replace(
            session_places(scope, environment, rig=rig),
            store=self.storage / "timelapse_storage.json",
            config_directories=(self.settings,),
        )
        screen = Screen(io.StringIO())
        return Session(environment=environment, scope=scope, places=places, clock=VirtualClock(), screen=screen)

    def state(self, scope: Scope = Scope.SYSTEM, rig: str | None = None):
        """Return what is found out about the service."""
        return read_service_state(self.session(scope, rig))


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """Return the stand-in; it is root who asks, so that no command has sudo before it."""
    monkeypatch.setattr(service_state, "is_root", lambda: True)
    manager = Manager(tmp_path)
    manager.show()
    return manager


def test_service_that_was_stopped_is_started_again(manager):
    """An orderly end is no failure."""
    state = manager.state()
    assert (state.word, state.why) == ("stopped", "the service was stopped")
    assert state.remedy == f"systemctl start {UNIT}"
    assert "show" in manager.asked()
    assert UNIT in manager.asked()


def test_service_that_was_never_started_was_not_stopped_either(manager):
    """Since the boot of the machine; nobody has to look for who stopped it."""
    manager.show(InactiveExitTimestampMonotonic="0", UnitFileState="disabled")
    assert manager.state().why == "the service was not started since the machine's boot, and isn't started at boot"


def test_service_that_is_not_enabled_will_not_come_back_at_boot(manager):
    """The command also has it started at every boot."""
    manager.show(UnitFileState="disabled")
    state = manager.state(rig="north")
    assert state.why == "the service was stopped, and isn't started at boot"
    assert state.remedy == f"systemctl enable --now {UNIT}@north"


def test_service_that_is_not_installed_is_to_be_installed(manager, monkeypatch):
    """Each scope, and each rig, has its own call of the installer."""
    monkeypatch.setattr(service_state, "SYSTEM_STORAGE", manager.root / "nothing")
    manager.show(LoadState="not-found")
    assert manager.state().word == "not installed"
    assert manager.state().why == f"the service {UNIT} isn't installed on this machine"
    assert manager.state().remedy == "systemd/install"
    assert manager.state(rig="north").remedy == "systemd/install --rig north"
    assert manager.state(Scope.USER).remedy == "systemd/install --user"
    assert manager.state(Scope.USER).why == f"your own service {UNIT} isn't installed"
    monkeypatch.setattr(service_state, "SYSTEM_STORAGE", manager.root)
    assert manager.state(Scope.USER).remedy == "systemd/install --user; the machine's: timelapsectl --system"
    assert "--user" in manager.asked()


def test_masked_service_is_unmasked(manager):
    """It can't be started before."""
    manager.show(LoadState="masked", UnitFileState="masked")
    assert manager.state().word == "masked"
    assert manager.state().remedy == f"systemctl unmask {UNIT}, then systemctl start {UNIT}"


def test_fault_in_the_configuration_is_shown_itself(manager):
    """With its file, table, key and value; exit status 78 alone helps nobody."""
    path = manager.settings / "timelapsed.toml"
    path.write_text('drivr = "grbl"\n')
    manager.show(ActiveState="failed", SubState="failed", Result="exit-code", ExecMainStatus="78")
    state = manager.state()
    assert state.word == "failed (exit 78)"
    assert f"{path}: 1 fault" in state.why
    assert "drivr" in state.why
    assert state.remedy == f"correct that, then systemctl start {UNIT}"


def test_options_of_a_driver_are_read_as_the_daemon_reads_them(manager):
    """With the name of the file."""
    path = manager.settings / "timelapsed.toml"
    path.write_text('[drivers.simulated]\nimage_width = "wide"\n')
    state = manager.state()
    assert state.why.startswith(f"the service was stopped, and can't start: {path}: 1 fault\n")
    assert 'image_width = "wide"' in state.why


def test_fault_that_is_mended_since_needs_only_a_start(manager):
    """The journal still knows it."""
    line = "config_faulty: /etc/plant-imager3-app/timelapsed.toml: 1 fault"
    manager.show(line, ActiveState="failed", SubState="failed", Result="exit-code", ExecMainStatus="78")
    state = manager.state()
    assert state.why.startswith("a fault in a file ended it: /etc/plant-imager3-app/timelapsed.toml: 1 fault;")
    assert "corrected since" in state.why
    assert state.remedy == f"systemctl start {UNIT}"
    assert f"_SYSTEMD_INVOCATION_ID={'f' * 32}" in manager.asked()


def test_fault_in_the_environment_is_not_called_corrected(manager):
    """A file name in a drop-in is none of the configuration's: only the journal has it."""
    line = "config_faulty: environment: 1 fault"
    manager.show(line, ActiveState="failed", SubState="failed", Result="exit-code", ExecMainStatus="78")
    assert manager.state().why == "a fault ended it: environment: 1 fault"


def test_unreadable_configuration_is_said_as_the_journal_has_it(manager, monkeypatch):
    """The person may not read the file, but the journal."""
    config = manager.settings / "timelapsed.toml"
    config.mkdir()
    manager.show("config_faulty: it has no value", ActiveState="failed", Result="exit-code", ExecMainStatus="78")
    assert "not a regular file but a directory" in manager.state().why


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"Result": "exit-code", "ExecMainStatus": "203"}, "its program can't be run"),
        ({"Result": "exit-code", "ExecMainStatus": "217"}, "its account is missing"),
        ({"Result": "exit-code", "ExecMainStatus": "226"}, "a directory that its unit or a drop-in names is missing"),
        ({"Result": "exit-code", "ExecMainStatus": "1"}, "it ended with exit status 1"),
        ({"Result": "signal", "ExecMainStatus": "9"}, "signal 9 ended it"),
        ({"Result": "watchdog"}, "it didn't respond any more, and its watchdog ended it"),
        ({"Result": "timeout"}, "it didn't start or stop in time"),
        ({"Result": "oom-kill"}, "the machine ran out of memory"),
        ({"Result": "success"}, "it ended by itself"),
        ({"Result": "core-dump", "ExecMainStatus": "11"}, "signal 11 ended it"),
        ({"Result": "protocol"}, "it ended before it was ready"),
        ({"Result": "resources"}, "systemd lacks something for it, as a file that its unit or a drop-in names"),
        ({"Result": "start-limit-hit"}, "it ended so often in a short time that systemd starts it no more"),
        ({"Result": "exit-code", "ExecMainStatus": "200"}, "its working directory is missing or closed to it (200/CH"),
        ({"Result": "exit-code", "ExecMainStatus": "243"}, "a secret that a drop-in names (LoadCredential=) is miss"),
        ({"Result": "exit-code", "ExecMainStatus": "228"}, "systemd can't prepare what its unit or a drop-in asks"),
        ({"Result": "something new"}, "it failed (something new)"),
    ],
)
def test_every_failure_of_the_unit_has_words(manager, properties, why):
    """Without a readable journal they are all that there is."""
    manager.show(ActiveState="failed", SubState="failed", **properties)
    state = manager.state()
    assert state.word.startswith("failed")
    assert state.why.startswith(why)


def test_names_of_exit_statuses_are_those_of_systemd():
    """As its own tool lists them; a later systemd may have more."""
    listed = subprocess.run(["systemd-analyze", "exit-status"], capture_output=True, text=True, check=True).stdout
    theirs = {int(status): name for name, status, _ in map(str.split, listed.splitlines()[1:]) if int(status) >= 200}
    ours = EXIT_NAMES | {status: name for status, name in theirs.items() if status > max(EXIT_NAMES)}
    assert theirs.items() <= ours.items()


@pytest.mark.parametrize(
    ("properties", "remedy"),
    [
        (
            {"ExecMainStatus": "203"},
            f"install it again: systemd/install, then systemctl start {UNIT}; systemctl status",
        ),
        (
            {"ExecMainStatus": "217", "FragmentPath": f"/usr/lib/systemd/system/{UNIT}.service"},
            "install it again: apt install --reinstall ./plant-imager-timelapsed_*.deb, then systemctl start",
        ),
        (
            {"ExecMainStatus": "216", "FragmentPath": f"/etc/systemd/system/{UNIT}.service"},
            "install it again: systemd/install, then systemctl start",
        ),
        ({"ExecMainStatus": "226"}, f"correct that, then systemctl start {UNIT}; systemctl status {UNIT} says more"),
        (
            {"Result": "start-limit-hit"},
            f"systemctl reset-failed {UNIT}, then systemctl start {UNIT}; timelapsectl log",
        ),
        (
            {"ExecMainStatus": "1", "NRestarts": "3"},
            f"systemctl reset-failed {UNIT}, then systemctl start {UNIT}; time",
        ),
        ({"Result": "resources"}, f"systemctl status {UNIT} says which; correct that, then systemctl start {UNIT}"),
        ({"Result": "oom-kill"}, f"systemctl start {UNIT}; timelapsectl log shows what came before"),
    ],
)
def test_remedy_is_that_of_the_failure(manager, properties, remedy):
    """A start alone doesn't mend what systemd itself can't prepare."""
    manager.show(**{"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", **properties})
    assert manager.state().remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        (
            {"ConditionResult": "no", "ConditionTimestampMonotonic": "5"},
            "a condition of its unit or of a drop-in isn't",
        ),
        (
            {"Result": "exec-condition", "ConditionResult": "no", "ConditionTimestampMonotonic": "5"},
            "a program of its unit (ExecCondition=) says that it is not to run",
        ),
    ],
)
def test_service_whose_condition_does_not_hold_was_not_stopped(manager, properties, why):
    """For systemd it is inactive, as after a stop."""
    manager.show(**properties)
    state = manager.state()
    assert state.word == "not started"
    assert state.why.startswith(f"systemd did not start the service: {why}")


def have_needs(manager, kind, *needs):
    """Have a drop-in make the service need units: of an Id, LoadState, ActiveState each."""
    manager.show(**{kind: " ".join(name for name, *_ in needs)})
    shown = r"\n".join(rf"Id={name}\nLoadState={load}\nActiveState={active}\n" for name, load, active in needs)
    usual = (manager.bin / "systemctl").read_text()
    script = f"case \"$*\" in *Id,*State*) printf '{shown}'; exit;; esac\ncat <<"
    (manager.bin / "systemctl").write_text(usual.replace("cat <<", script))


@pytest.mark.parametrize("kind", ["Requires", "BindsTo", "Requisite"])
@pytest.mark.parametrize(
    ("load", "active", "why"),
    [
        ("loaded", "failed", "has failed"),
        ("loaded", "inactive", "isn't active"),
        ("not-found", "inactive", "doesn't exist"),
        ("masked", "inactive", "is masked"),
    ],
)
def test_service_that_needs_an_absent_unit_names_it(manager, kind, load, active, why):
    """As a mount, inactive where its device is missing; systemd calls the service inactive, as after a stop."""
    have_needs(manager, kind, ("sysinit.target", "loaded", "active"), ("mnt-plants.mount", load, active))
    state = manager.state()
    assert state.why.endswith(f", and can't start without mnt-plants.mount, which {why}")
    assert state.remedy.startswith("systemctl status mnt-plants.mount says why")


def test_unit_that_failed_is_named_before_one_that_is_inactive(manager):
    """The latter may start with the service, or wait for the former."""
    have_needs(manager, "Requires", ("mnt-a.mount", "loaded", "inactive"), ("mnt-b.mount", "loaded", "failed"))
    assert "mnt-b.mount" in manager.state().why


def test_slice_in_which_nothing_runs_is_not_absent(manager):
    """That of the instances of a rig: it comes with the first."""
    have_needs(manager, "Requires", ("system-rigs.slice", "loaded", "inactive"), ("sysinit.target", "loaded", "active"))
    assert manager.state().why == "the service was stopped"


@pytest.mark.parametrize("properties", [{"LoadState": "bad-setting"}, {"LoadState": "error"}, {"ActiveState": "odd"}])
def test_unit_that_systemd_can_not_use_is_no_stopped_one(manager, properties):
    """A drop-in with a fault; or a word that a later systemd has."""
    manager.show(**properties)
    state = manager.state()
    assert state.word == "broken"
    assert state.remedy == (
        f"systemd-analyze verify {UNIT}.service says what is wrong with it; correct that, "
        f"then systemctl daemon-reload and systemctl start {UNIT}"
    )


def test_journal_says_why_it_failed(manager):
    """Its last line about a failed start is repeated."""
    line = "already_running: /var/lib/x.lock: a timelapsed already runs on this store (PID 7); stop it first"
    manager.show(line, ActiveState="failed", Result="exit-code", ExecMainStatus="1")
    assert "it ended with exit status 1: /var/lib/x.lock: a timelapsed already runs" in manager.state().why


def test_service_that_systemd_starts_again_and_again_says_how_often(manager):
    """A person should look at it, though it may mend itself."""
    manager.show(
        "start_failed: system: no space left on device",
        ActiveState="activating",
        SubState="auto-restart",
        Result="exit-code",
        ExecMainStatus="1",
        NRestarts="17",
    )
    state = manager.state()
    assert state.word == "restarting"
    assert state.restarts == 17
    assert state.why == (
        "it ended with exit status 1: system: no space left on device; systemd has started it again 17 times"
    )


def test_service_that_starts_or_stops_says_so(manager):
    """Its own line says what it waits for."""
    waits = "clock not trusted yet (kernel: unsynchronised), nothing is decided"
    manager.show(ActiveState="activating", SubState="start", StatusText=waits)
    assert (manager.state().word, manager.state().why) == ("starting", f"the service is starting: {waits}")
    manager.show(ActiveState="deactivating", SubState="stop-sigterm")
    assert (manager.state().word, manager.state().why) == ("stopping", "the service is being stopped")


BOTH = "basic.target srv-scans.mount"
OTHERS = "Id=basic.target\nActiveState=active\n\nId=srv-scans.mount\nActiveState=activating"


def test_start_that_systemd_has_put_behind_another_names_that(manager):
    """A mount of a server that is away, at boot: another start would only wait as well."""
    manager.show(Job="112", After=BOTH, InactiveExitTimestampMonotonic="0")
    manager.show_others(OTHERS)
    state = manager.state()
    assert (state.word, state.why) == (
        "starting",
        "the service is to be started: systemd waits with that for srv-scans.mount",
    )
    assert state.remedy == "systemctl list-jobs shows what systemd does"


@pytest.mark.parametrize(
    ("active", "sub", "word"),
    [
        ("failed", "failed", "failed (exit 1)"),
        ("activating", "auto-restart", "restarting"),
        ("activating", "auto-restart-queued", "restarting"),
    ],
)
def test_start_after_a_failure_that_is_put_behind_another_names_both(manager, active, sub, word):
    """Why it failed, and what keeps the next start: a disk that is away may be the one and the other."""
    failed = {"ActiveState": active, "SubState": sub, "Result": "exit-code", "ExecMainStatus": "1", "After": BOTH}
    manager.show(**failed)
    manager.show_others(OTHERS)
    before = manager.state()
    assert (before.word, before.why) == (word, "it ended with exit status 1")
    manager.show(**failed, Job="112")
    manager.show_others(OTHERS.replace("activating", "active"))
    assert manager.state() == before
    manager.show(**failed, Job="112")
    manager.show_others(OTHERS)
    waits = "the service is to be started: systemd waits with that for srv-scans.mount"
    state = manager.state()
    assert (state.word, state.why) == (word, f"{before.why}; {waits}")
    assert state.remedy == f"systemctl list-jobs shows what systemd does; {before.remedy}"


def test_line_of_a_service_gives_its_unit_no_other_state(manager):
    """A driver by others may put anything into it."""
    manager.show(ActiveState="activating", SubState="start", StatusText="a\u2028ActiveState=inactive")
    assert (manager.state().word, manager.state().why) == (
        "starting",
        "the service is starting: a ActiveState=inactive",
    )


@pytest.fixture
def unbegun(tmp_path):
    """Return the number of a process as systemd's own is before it becomes a service's program."""
    program = tmp_path / "(timelapsed)"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as process:
        comm = Path(f"/proc/{process.pid}/comm")
        wait_until(lambda: comm.read_text().startswith("("), within=60, what="the program's name")
        yield process.pid
        process.kill()


def test_start_that_systemd_still_prepares_says_since_when(manager, unbegun, monkeypatch):
    """No daemon is there that could say what it waits for; what the one before said is no longer true."""
    monkeypatch.setattr(service_start, "LOOK_SECONDS", 60.0)  # the mounts of a busy host
    began = manager.session().clock.monotonic() - 60
    manager.show(
        ActiveState="activating",
        SubState="start",
        MainPID=str(unbegun),
        StatusText="next slot 3",
        ExecMainStartTimestampMonotonic=f"{began * 1e6:.0f}",
    )
    state = manager.state()
    since = format_local_time(VirtualClock().now() - timedelta(minutes=1), VirtualClock().now())
    assert (state.word, state.why) == (
        "starting",
        f"the service is starting: systemd has been preparing it since {since}, and the daemon itself hasn't begun",
    )
    assert state.remedy == "timelapsectl status --follow shows when it has"


@pytest.mark.parametrize("named", [True, False])
def test_directory_that_does_not_answer_meanwhile_is_named(manager, unbegun, monkeypatch, named):
    """One that a drop-in names, or any that is mounted: systemd looks at all of them."""
    away = str(manager.root / "scans") if named else "/proc"

    class Hangs(BaseException):
        """Stands for a call that doesn't return."""

    def statvfs(path):
        if path == away:
            raise Hangs
        raise FileNotFoundError(path)  # is no reason to wait

    def look_in_child(look, seconds, owned):
        assert (seconds, owned) == (service_start.LOOK_SECONDS, manager.storage)
        with pytest.raises(Hangs):
            look()
        raise TimeoutError

    monkeypatch.setattr(service_start.os, "statvfs", statvfs)
    monkeypatch.setattr(service_start, "look_in_child", look_in_child)
    manager.show(
        ActiveState="activating",
        SubState="start",
        MainPID=str(unbegun),
        ReadWritePaths=f"/elsewhere -{away}" if named else "",
    )
    state = manager.state()
    assert state.why.endswith(f", the daemon itself hasn't begun, and {away} doesn't answer")
    assert state.remedy == f"see to the disk or the server of {away}; the start goes on when it answers"


def test_directory_stays_named_while_the_look_at_it_hangs(manager, unbegun, monkeypatch):
    """No second look is begun then. The first hangs at the store's directory where it hasn't begun: by its owner."""
    away = str(manager.root / "scans")
    hangs_at = iter([None, away, None])

    class Hangs(BaseException):
        """Stands for a call that doesn't return."""

    def statvfs(path):
        if path == away:
            raise Hangs

    def look_in_child(look, *_):
        if next(hangs_at) is not None:
            with pytest.raises(Hangs):
                look()
        raise TimeoutError

    monkeypatch.setattr(service_start.os, "statvfs", statvfs)
    monkeypatch.setattr(service_start, "look_in_child", look_in_child)
    manager.show(ActiveState="activating", SubState="start", MainPID=str(unbegun), ReadWritePaths=away)
    for named in (manager.storage, away, away):
        assert manager.state().why.endswith(f", and {named} doesn't answer")


def test_running_service_of_another_store_is_not_called_stopped(manager):
    """A drop-in may have given it another directory, or the lock can't be seen from here."""
    manager.show(ActiveState="active", SubState="running", MainPID="12")
    assert manager.state().word == "running"
    assert manager.state().why.startswith("the service runs (PID 12), but nothing shows that it keeps")


def test_store_that_the_service_cannot_read_is_named_with_owner_and_mode(manager, monkeypatch):
    """A backup that root has put back belongs to root."""
    store = manager.storage / "timelapse_storage.json"
    store.write_text("{}")
    store.chmod(0o600)
    others = next(name for name, uid in accounts() if uid != os.getuid())
    manager.show(ActiveState="activating", SubState="auto-restart", Result="exit-code", ExecMainStatus="1", User=others)
    state = manager.state()
    assert f"{store} belongs to " in state.why
    assert f"mode {stat.S_IMODE(store.stat().st_mode):04o}" in state.why
    assert f"the service runs as {others}" in state.why
    assert state.remedy == f"chown {others}: {store}"


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another account")
def test_nobody_is_told_to_hand_over_what_a_link_of_the_service_leads_to(manager, tmp_path):
    """That may be root's own."""
    store, own = manager.storage / "timelapse_storage.json", tmp_path / "own"
    own.write_text("{}")
    own.chmod(0o600)
    store.symlink_to(own)
    others, uid = next(account for account in accounts() if account[1] != os.getuid())
    os.lchown(store, uid, -1)
    manager.show(ActiveState="activating", SubState="auto-restart", Result="exit-code", ExecMainStatus="1", User=others)
    assert "chown" not in manager.state().remedy


def accounts():
    """Return the accounts of this machine."""
    return [(entry.pw_name, entry.pw_uid) for entry in pwd.getpwall()]


@pytest.mark.parametrize(
    "script", ["exit 1", "exec sleep 60", "head -c 1000000 /dev/zero"], ids=["fails", "hangs", "nonsense"]
)
def test_systemd_that_does_not_answer_leaves_the_command(manager, monkeypatch, script):
    """In a container without systemd, over a bus that hangs, or with a program that writes nonsense."""
    monkeypatch.setattr(unit_facts, "ASK_SECONDS", 0.3)
    manager.program("systemctl", script)
    state = manager.state()
    assert (state.word, state.why) == ("not running", "no daemon runs on this store, and systemd doesn't say why")
    assert state.remedy == f"systemctl start {UNIT}"


def test_host_without_systemd_has_the_command_all_the_same(manager):
    """There is no such program."""
    session = replace(manager.session(), environment={"PATH": "/nowhere"})
    assert read_service_state(session).word == "not running"


def test_daemon_of_a_directory_is_no_service(manager):
    """It is started from a shell, and systemd isn't asked; a fault that would end it is said."""
    state = manager.state(Scope.OWN)
    assert (state.word, state.why) == ("not running", "no daemon runs on this store")
    assert state.remedy.endswith("timelapsed")
    assert not (manager.root / "asked").exists()
    (manager.settings / "timelapsed.toml").write_text("clock = 5\n")
    state = manager.state(Scope.OWN)
    assert "and none can start: " in state.why
    assert "clock = 5" in state.why


def test_ordinary_user_gets_the_command_with_sudo(manager, monkeypatch):
    """But not for the user's own service."""
    monkeypatch.setattr(service_state, "is_root", lambda: False)
    assert manager.state().remedy == f"sudo systemctl start {UNIT}"
    assert manager.state(Scope.USER).remedy == f"systemctl --user start {UNIT}"


def test_refusal_of_a_command_says_why_no_daemon_is_there_and_what_mends_it(manager):
    """`start`, `cancel` and `rig` refuse with it; nothing waits for a later daemon."""
    manager.show(ActiveState="failed", Result="watchdog")
    refusal = describe_absence(manager.session())
    assert str(refusal).startswith("nothing was done: the service failed: it didn't respond any more")
    assert refusal.hint == f"systemctl start {UNIT}; timelapsectl log shows what came before"
    assert refusal.exit_code == EXIT_UNAVAILABLE


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ({"ActiveState": "inactive"}, "the service was stopped"),
        ({"ActiveState": "deactivating"}, "the service is being stopped"),
        ({"ActiveState": "activating", "SubState": "start"}, "the service is starting"),
        ({"ActiveState": "active", "MainPID": "7"}, "the service runs (PID 7), but nothing shows that it keeps "),
    ],
)
def test_refusal_of_a_command_is_true_in_every_state_of_the_service(manager, shown, why):
    """It may run, start or stop at this moment."""
    manager.show(**shown)
    assert str(describe_absence(manager.session())).startswith(f"nothing was done: {why}")


DEFINITION = """\
[timelapse]
name = "drought"
mode = "fixed_times"
dates = ["{year}-05-03T10:00:00Z"]
"""


def test_definition_that_the_next_daemon_will_look_at_is_judged_beforehand(manager):
    """It waits, is faulty, or will be refused; nobody would know before the next start."""
    path = manager.settings / "timelapse.toml"
    assert manager.state().definition == ""
    path.write_text(DEFINITION.format(year=2999))
    assert manager.state().definition == "drought waits, and begins when the daemon does"
    path.write_text(DEFINITION.format(year=1999))
    assert manager.state().definition.startswith("refused: drought can't start: its last slot was 3 May 1999")
    path.write_text(DEFINITION.format(year=2999).replace("dates", "date"))
    assert manager.state().definition.startswith(f"faulty: {path}: 2 faults\n")
    assert any(line == "definition: refused: x" for line in service_lines(ServiceState("a", "b", "c", 0, "refused: x")))


def test_who_may_not_read_a_store_learns_whose_it_is(tmp_path):
    """The first directory that is closed counts: of what is in it nothing is known."""
    program = (
        "import sys; from pathlib import Path; from plantimager.timelapse.store.loading import load_timelapse\n"
        "try: load_timelapse(Path(sys.argv[1]))\n"
        "except Exception as problem: print(problem)"
    )
    closed = tmp_path / "closed"
    closed.mkdir()
    store = closed / "store.json"
    store.write_text("{}")

    def said():
        command = [*PLAINLY, sys.executable, "-c", program, str(store)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    me = pwd.getpwuid(os.getuid()).pw_name
    store.chmod(0)
    assert f"can't be read: Permission denied; it belongs to {me}, mode 0000, and this is {me}" in said()
    closed.chmod(0)
    assert f"Permission denied; {closed} belongs to {me}, mode 0000, and this is {me}" in said()
    closed.chmod(0o700)
