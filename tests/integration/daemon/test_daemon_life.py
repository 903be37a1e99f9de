"""The daemon as a process in the foreground, with real files and sockets: start, signals, requests, troubles."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess

import pytest
from control import ask
from daemon_process import CTL, PATIENCE, DaemonProcess, NotifySocket, Place, attempt_of, statuses
from waiting import wait_until

from plantimager.timelapse.channel.lock import running_daemon

CONFIG = """
driver = "simulated"
clock = "trust"
stall_timeout = "{stall_timeout}"
missed = "{missed}"

[drivers.simulated]
time_per_position = {time_per_position}
image_width = 16
{options}
"""

DEFINITION = """
[timelapse]
name = "{name}"
mode = "interval"
interval = {interval}
n_shots = {n_shots}
warmup_period = 1
standby_threshold_sec = 60
grace_period = {grace}
scan_retries = {retries}
on_scan_failed = "{policy}"

[ScanPath]
class_name = "Circle"
kwargs = {{ center_x = 375, center_y = 375, z = 0, tilt = 0, radius = 350, n_points = {points} }}

[camera]
res_x = 16
res_y = 12
encoding = "png"
"""


def configure(place: Place, options: str = "", *, time_per_position: float = 0, **values: str) -> None:
    values = {"stall_timeout": "5m", "missed": "skip", **values}
    place.configure(CONFIG.format(time_per_position=time_per_position, options=options, **values))


def define(place: Place, name: str = "tl", **values: object) -> None:
    known = {"interval": 1, "n_shots": 3, "grace": 600, "retries": 0, "policy": "skip_scan", "points": 4}
    place.define(DEFINITION.format(name=name, **{**known, **values}))


def test_definition_is_accepted_and_every_slot_becomes_a_dataset(place: Place) -> None:
    """From a definition to whole datasets and a completed store, with the configuration kept in the store."""
    configure(place)
    define(place)
    with place.start() as daemon:
        daemon.wait_for("definition_accepted: tl")
        daemon.wait_for("timelapse_completed: tl: 3 taken, 0 failed, 0 skipped")
        assert daemon.stop() == 0
    store = place.read()
    assert statuses(store) == ["succeeded"] * 3
    assert store["extra"]["config_snapshot"]["ScanPath"]["class_name"] == "Circle"
    assert sorted(path.name for path in place.datasets.iterdir() if not path.name.startswith(".")) == [
        "tl_0",
        "tl_1",
        "tl_2",
    ]
    assert len(list((place.datasets / "tl_0" / "images").iterdir())) == 4


def test_finished_definition_is_not_accepted_again(place: Place) -> None:
    """The definition stays in its directory; the next start must not run it a second time."""
    configure(place)
    define(place, n_shots=1)
    for _ in range(2):
        daemon = place.run_until("rig_standby: ")
    assert daemon.said("definition_done")
    assert not daemon.said("scan_started")


def test_new_definition_archives_the_ended_store(place: Place) -> None:
    """At a reload the ended timelapse is archived, and the next one begins."""
    configure(place)
    define(place, n_shots=1)
    with place.start() as daemon:
        daemon.wait_for("timelapse_completed: tl")
        define(place, name="second", n_shots=1)
        daemon.reload()
        daemon.wait_for("definition_accepted: second")
        daemon.wait_for("timelapse_completed: second")
        assert daemon.stop() == 0
    assert json.loads((place.storage / "history" / "tl.json").read_text())["timelapse_id"] == "tl"
    assert place.read()["timelapse_id"] == "second"


def test_second_definition_is_refused_while_one_is_active(place: Place) -> None:
    """The active timelapse is not touched, and the refusal says what to do."""
    configure(place)
    define(place, interval=3600)
    with place.start() as daemon:
        daemon.wait_for("scan_succeeded")
        define(place, name="other")
        daemon.reload()
        line = daemon.wait_for("definition_refused: ")
        assert "other can't start: tl is active" in line
        assert "timelapsectl cancel" in line
        assert daemon.stop() == 0
    assert place.read()["timelapse_id"] == "tl"


def test_second_daemon_on_the_same_store_names_the_first(place: Place) -> None:
    """Two writers of one store would lose records: the second one ends and says who holds the lock."""
    configure(place)
    with place.start() as first:
        first.wait_for("idle: ")
        with place.start() as second:
            assert second.wait() == 1
        assert f"(PID {first.process.pid})" in second.said("already_running")[0]
        assert running_daemon(place.store) == first.process.pid
        assert first.stop() == 0
    assert running_daemon(place.store) is None


def test_systemd_is_sent_ready_status_reload_and_stop(place: Place, tmp_path) -> None:
    """READY when the store is read, STATUS when the schedule is kept, RELOADING and READY around a reload."""
    configure(place)
    define(place, interval=3600)
    with NotifySocket(tmp_path) as systemd, place.start(NOTIFY_SOCKET=str(systemd.path)) as daemon:
        assert systemd.wait_for("READY=1") == "READY=1"
        systemd.wait_for("STATUS=tl: waiting for slot 1 of 3")
        daemon.reload()
        systemd.wait_for("RELOADING=1\nMONOTONIC_USEC=")
        assert "STATUS=tl: waiting for slot 1 of 3" in systemd.wait_for("READY=1")
        daemon.process.terminate()
        systemd.wait_for("STOPPING=1")
        systemd.wait_for("EXTEND_TIMEOUT_USEC=")
        assert daemon.wait() == 0


def test_status_shows_the_last_picture_of_a_scan_that_stalls(place: Place, tmp_path) -> None:
    """Progress that comes faster than a person reads is left out, but never the last one before a stall."""
    configure(place, "stall = [0]")
    define(place, n_shots=1)
    with NotifySocket(tmp_path) as systemd, place.start(NOTIFY_SOCKET=str(systemd.path)) as daemon:
        systemd.wait_for("STATUS=tl: scanning slot 0 of 1, picture 2 of 4")
        assert daemon.stop() == 0


def test_stop_in_mid_scan_is_pause(place: Place) -> None:
    """The scan stops at its next safe point, the slot is recorded interrupted, and the next start takes it again."""
    configure(place, time_per_position=0.05)
    define(place, n_shots=1, points=200)
    with place.start() as daemon:
        daemon.wait_for("scan_started: tl, slot 0 of 1")
        assert daemon.stop() == 0
        assert "it can be attempted again until" in daemon.said("slot_interrupted")[0]
    store = place.read()
    assert (store["state"], store["next_idx"], statuses(store)) == ("scheduled", 0, ["interrupted"])
    configure(place)
    with place.start() as daemon:
        assert "2nd attempt" in daemon.wait_for("scan_started: ")
        daemon.wait_for("timelapse_completed: tl: 1 taken")
        assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded"]


def test_interrupted_slot_whose_grace_is_over_stays_interrupted(place: Place) -> None:
    """It is not attempted again, and has exactly one record that says why."""
    configure(place, time_per_position=0.05)
    define(place, n_shots=1, points=2000)
    with place.start() as daemon:
        daemon.wait_for("scan_started: ")
        daemon.kill()
    store = place.read()
    assert statuses(store) == ["running"]
    past = store["schedule_times"][0].replace("2026", "2020") if "2026" in store["schedule_times"][0] else None
    store["schedule_times"] = [past or "2020-01-01T00:00:00+00:00"]
    place.store.write_text(json.dumps(store))
    with place.start() as daemon:
        assert "its grace of 10 min is over" in daemon.wait_for("slot_interrupted: ")
        daemon.wait_for("timelapse_completed: ")
        assert daemon.stop() == 0
    store = place.read()
    assert (store["state"], statuses(store)) == ("completed", ["interrupted"])


def test_dataset_that_was_whole_at_the_power_cut_counts_as_taken(place: Place) -> None:
    """A kill between the end of the scan and the save costs nothing: the driver finds its dataset."""
    configure(place)
    define(place, n_shots=1)
    place.run_until("timelapse_completed: ")
    # The store as it was while that scan ran.
    store = place.read()
    store.update(state="running", next_idx=0)
    store["scans"][0].update(status="running", finished_at=None)
    place.store.write_text(json.dumps(store))
    with place.start() as daemon:
        daemon.wait_for("scan_recovered: ")
        daemon.wait_for("timelapse_completed: tl: 1 taken")
        assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded"]


def test_failed_attempt_is_retried_and_the_record_keeps_why(place: Place) -> None:
    """scan_retries gives further attempts at once; the slot is taken, the earlier error stays on record."""
    configure(place, "fail = [1]\nfail_attempts = 1")
    define(place, interval=2, retries=1)
    with place.start() as daemon:
        daemon.wait_for("attempt_failed: tl_1")
        daemon.wait_for("timelapse_completed: tl: 3 taken")
        assert daemon.stop() == 0
    details = place.read()["extra"]["timelapsed"]["slots"]["1"]
    assert attempt_of(place.read(), 1) == 2
    assert "as its options say" in details["last_error"]


def test_exhausted_slot_is_skipped_over_or_ends_the_timelapse(place: Place) -> None:
    """fail_timelapse ends it, and the slots after it have their record, too."""
    configure(place, "fail = [1]")
    define(place, policy="fail_timelapse")
    with place.start() as daemon:
        daemon.wait_for("scan_failed: tl_1: ")
        daemon.wait_for("timelapse_failed: tl: ")
        assert daemon.stop() == 0
    store = place.read()
    assert (store["state"], statuses(store)) == ("failed", ["succeeded", "failed", "skipped"])


def test_rig_that_is_absent_at_first_costs_no_slot_within_grace(place: Place) -> None:
    """ScannerNotReady uses up no attempt; the slot is taken as soon as the rig answers."""
    configure(place, 'absent_for = "3s"')
    define(place, n_shots=1)
    with place.start() as daemon:
        daemon.wait_for("rig_not_ready: ")
        daemon.wait_for("timelapse_completed: tl: 1 taken")
        assert daemon.stop() == 0
    assert attempt_of(place.read(), 0) == 1


def test_rig_that_stays_absent_has_its_slot_skipped_with_that_reason(place: Place) -> None:
    """At the end of the grace period the record says that the rig wasn't there."""
    configure(place, "absent = [0]")
    define(place, interval=12, n_shots=2, grace=8)
    with place.start() as daemon:
        daemon.wait_for("slot_skipped: slot 0")
        daemon.wait_for("timelapse_completed: tl: 1 taken, 0 failed, 1 skipped")
        assert daemon.stop() == 0
    assert place.read()["scans"][0]["error"]["type"] == "rig_not_ready"


def test_stalled_scan_is_cancelled_and_costs_its_slot_alone(place: Place) -> None:
    """A driver that stops when cancelled has failed one attempt; the same process takes the next slot."""
    configure(place, "stall = [0]", stall_timeout="8s")  # no step of the other slot takes so long on a busy machine
    define(place, n_shots=2)
    with place.start() as daemon:
        assert "made no progress for 8 s" in daemon.wait_for("driver_stalled: ")
        daemon.wait_for("scan_failed: tl_0: ")
        daemon.wait_for("timelapse_completed: tl: 1 taken, 1 failed")
        assert daemon.stop() == 0


def test_request_to_cancel_ends_a_running_scan(place: Place) -> None:
    """The request is answered; the running slot is interrupted and the others skipped, all with the reason."""
    configure(place, time_per_position=0.05)
    define(place, points=2000)
    with place.start() as daemon:
        daemon.wait_for("scan_started: tl_0")
        answer = ask(place.store, "cancel", why="wilted", who="bert")
        assert (answer.accepted, answer.message[:16]) == (True, "tl is cancelled;")
        me = pwd.getpwuid(os.getuid()).pw_name
        daemon.wait_for(f"timelapse_cancelled: tl by {me}: wilted")
        daemon.wait_for("rig_standby: ")
        assert daemon.stop() == 0
    store = place.read()
    assert (store["state"], statuses(store)) == ("cancelled", ["interrupted", "skipped", "skipped"])
    assert store["extra"]["timelapsed"]["ending"]["who"] == me


def test_broken_configuration_ends_with_78_and_names_the_key(place: Place) -> None:
    """Systemd must not restart where only a person can help."""
    place.configure('driver = "simulatd"\nclock = "maybe"\n')
    with place.start() as daemon:
        assert daemon.wait() == 78
    text = "\n".join(daemon.lines)
    assert "timelapsed.toml" in text
    assert 'clock = "maybe": write one of auto, trust, ntp-only' in text
    assert "Traceback" not in text


def test_reload_of_a_broken_configuration_keeps_the_old_one(place: Place) -> None:
    """The fault is logged; the daemon goes on as before."""
    configure(place)
    define(place, interval=3600)
    with place.start() as daemon:
        daemon.wait_for("scan_succeeded: ")
        place.configure("stall_timeout = 0\n")
        daemon.reload()
        daemon.wait_for("config_faulty: ")
        daemon.wait_for("reloaded: ")
        assert daemon.stop() == 0


def test_a_fault_of_the_relay_costs_no_slot(place: Place) -> None:
    """Neither at the start nor at a reload; a line names it, and the rest of the file counts."""
    configure(place)
    with (place.settings / "timelapsed.toml").open("a") as file:
        file.write("[relay]\nwat = 1\n[relay.notify]\nevents = 'all'\n")
    define(place, interval=3600)
    with place.start() as daemon:
        line = daemon.wait_for("relay_tables_faulty: ")
        assert "[relay.notify] events" in line
        assert "[relay] wat: unknown key" in line
        daemon.wait_for("scan_succeeded: ")
        place.configure("relay = 3\n[logging]\nlevel = 'debug'\n")
        daemon.reload()
        assert "relay = 3: write a table" in daemon.wait_for("relay_tables_faulty: ")
        daemon.wait_for("config_loaded: ")
        assert daemon.stop() == 0


def test_foreign_change_of_the_store_is_kept_aside_and_logged(place: Place) -> None:
    """Neither the other program's version nor the timelapse is lost."""
    configure(place)
    define(place, interval=10, n_shots=2)
    with place.start() as daemon:
        daemon.wait_for("scan_succeeded: tl_0")
        place.store.write_text('{"somebody": "else"}')
        daemon.wait_for("store_changed: ")
        daemon.wait_for("timelapse_completed: tl: 2 taken")
        assert daemon.stop() == 0
    (aside,) = place.storage.glob("*.foreign-*")
    assert json.loads(aside.read_text()) == {"somebody": "else"}
    assert place.read()["timelapse_id"] == "tl"


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 300, b"[1]"], ids=["empty", "cut off", "zeros", "array"])
def test_corrupt_store_falls_back_to_the_generation_before(place: Place, content: bytes) -> None:
    """The .bak takes its place, the corrupt file is kept, and both are logged."""
    configure(place)
    define(place, n_shots=2)
    place.run_until("timelapse_completed: ")
    place.store.write_bytes(content)
    with place.start() as daemon:
        daemon.wait_for("store_quarantined: ")
        daemon.wait_for("store_from_backup: ")
        daemon.wait_for("timelapse_completed: ")
        assert daemon.stop() == 0
    (aside,) = place.storage.glob("*.corrupt-*")
    assert aside.read_bytes() == content
    assert statuses(place.read()) == ["succeeded", "succeeded"]


def test_secret_of_a_store_is_never_logged(place: Place) -> None:
    """An api_token in the store's extra stays in the store, and is in no line of the journal."""
    secret = "tok-do-not-show"
    configure(place)
    define(place)
    place.run_until("timelapse_completed: ")
    store = place.read()
    store["extra"]["api_token"] = secret
    store.update(state="scheduled", next_idx=2, scans=store["scans"][:2])
    place.store.write_text(json.dumps(store))
    daemon = place.run_until("timelapse_completed: ")
    assert place.read()["extra"]["api_token"] == secret
    assert secret not in "\n".join(daemon.lines)
    stores = {place.store.name, f"{place.store.name}.bak", *(path.name for path in place.storage.glob("*.foreign-*"))}
    for path in place.storage.rglob("*"):
        if path.is_file() and path.name not in stores:
            assert secret.encode() not in path.read_bytes(), path


def test_nested_secrets_of_the_scan_configuration_stay_in_the_store(place: Place) -> None:
    """Whatever they are called, at any depth, in lists: in no dataset, no line of the journal, no status."""
    secrets = {
        key: f"s3cr3t-{key}"
        for key in ("api_token", "token", "access-token", "password", "db_passwd", "Secret", "api_key", "credentials")
    }
    configure(place)
    define(place)
    place.run_until("timelapse_completed: ")
    store = place.read()
    snapshot = store["extra"]["config_snapshot"]
    snapshot |= secrets
    snapshot["upload"] = {"servers": [[{**secrets, "url": "http://plants"}], "s"], "credentials": {"user": "s3cr3t-u"}}
    snapshot["camera"] = {**snapshot.get("camera", {}), **secrets}
    store.update(state="scheduled", next_idx=2, scans=store["scans"][:2])
    store["scans"][1]["error"] = {"type": "E", "msg": f"401: {secrets['password']}"}
    place.store.write_text(json.dumps(store))
    shutil.rmtree(place.storage / "datasets")
    daemon = place.run_until("timelapse_completed: ")
    assert place.read()["extra"]["config_snapshot"] == snapshot
    texts = {path: path.read_bytes() for path in (place.storage / "datasets").rglob("*") if path.is_file()}
    assert any(b"http://plants" in text for text in texts.values())
    assert [path for path, text in texts.items() if b"s3cr3t" in text] == []
    assert "s3cr3t" not in "\n".join(daemon.lines)
    for command in (["status", "--json"], ["status"], ["timeline"], ["verify"]):
        done = subprocess.run([*CTL, *command], env=place.environment, capture_output=True, text=True, check=False)
        assert "s3cr3t" not in done.stdout + done.stderr, command


def test_storage_that_can_not_be_made_is_logged_in_one_line(place: Place) -> None:
    """Without a traceback: the program has no fault."""
    place.storage.rmdir()
    place.storage.write_text("")
    with place.start() as daemon:
        assert daemon.wait() == 1
    assert daemon.lines == [f"CRITICAL start_failed: {place.storage}: File exists"]


def test_store_and_its_directory_are_private(place: Place) -> None:
    """Mode 0600 for the file, 0700 for a directory that the daemon made."""
    place.storage.rmdir()
    configure(place)
    define(place, n_shots=1)
    place.run_until("timelapse_completed: ")
    assert place.store.stat().st_mode & 0o777 == 0o600
    assert place.storage.stat().st_mode & 0o777 == 0o700


def test_group_may_read_datasets_where_the_umask_says_so_and_others_never(place: Place) -> None:
    """As systemd/examples/datasets.conf has it; the store stays private."""
    configure(place)
    define(place, n_shots=1)
    with DaemonProcess(place, by=["sh", "-c", 'umask 022; exec "$@"', "sh"]) as daemon:
        daemon.wait_for("timelapse_completed: ")
    (images,) = place.storage.glob("datasets/*/images")
    assert {path.stat().st_mode & 0o777 for path in images.iterdir()} == {0o640}
    assert images.stat().st_mode & 0o777 == 0o750
    assert place.store.stat().st_mode & 0o777 == 0o600


def test_scan_configuration_that_a_store_lacks_is_kept_in_the_store_from_then_on(place: Place) -> None:
    """The oldest stores hold none: that of the definition is used, and saved with the store."""
    configure(place)
    define(place)
    place.run_until("timelapse_completed: ")
    store = place.read()
    del store["extra"]["config_snapshot"]
    store.update(state="scheduled", next_idx=2, scans=store["scans"][:2])
    place.store.write_text(json.dumps(store))
    place.run_until("timelapse_completed: ")
    assert place.read()["extra"]["config_snapshot"]["ScanPath"]["kwargs"]["n_points"] == 4


HOOK = """
driver = "command"
clock = "trust"

[drivers.command]
argv = ["/bin/sh", "-c", 'echo x > picture; while [ -e {gate} ]; do sleep 0.05; done']
{key} = ["/bin/sh", "-c", 'touch {began}; while [ -e {gate} ]; do sleep 0.05; done']
standby = ["/bin/sh", "-c", 'touch {dark}']
keep_free = "1 MB"
"""


def test_stop_during_prepare_lets_it_end_and_puts_the_rig_into_standby(place: Place, tmp_path) -> None:
    """The lights are off afterwards, and the unit has not failed."""
    gate, began, dark = tmp_path / "gate", tmp_path / "began", tmp_path / "dark"
    gate.touch()
    place.configure(HOOK.format(key="prepare", gate=gate, began=began, dark=dark))
    define(place, n_shots=1, interval=60)
    with NotifySocket(tmp_path) as systemd, place.start(NOTIFY_SOCKET=str(systemd.path)) as daemon:
        daemon.wait_for("rig_warmup")
        wait_until(began.exists, within=PATIENCE)
        dark.unlink(missing_ok=True)
        daemon.process.send_signal(signal.SIGTERM)
        assert "the rig gets ready to the end first" in daemon.wait_for("stopping: ")
        systemd.wait_for("EXTEND_TIMEOUT_USEC=")
        gate.unlink()
        assert daemon.wait() == 0
    assert dark.exists()


def test_stop_while_the_driver_is_asked_about_an_attempt_is_announced_at_once(place: Place, tmp_path) -> None:
    """To the journal and to systemd, which would otherwise kill a process that seems not to hear."""
    gate, began, dark = tmp_path / "gate", tmp_path / "began", tmp_path / "dark"
    gate.touch()
    place.configure(HOOK.format(key="recover", gate=gate, began=began, dark=dark))
    define(place, n_shots=1, interval=60)
    with place.start() as daemon:
        daemon.wait_for("scan_started")
        wait_until(lambda: [*place.datasets.glob(".*/picture")], within=PATIENCE)
        daemon.kill()
    dark.unlink(missing_ok=True)
    with NotifySocket(tmp_path) as systemd, place.start(NOTIFY_SOCKET=str(systemd.path)) as daemon:
        wait_until(began.exists, within=PATIENCE)
        daemon.process.send_signal(signal.SIGTERM)
        assert "the driver first says what became of the attempt" in daemon.wait_for("stopping: ")
        systemd.wait_for("STOPPING=1")
        systemd.wait_for("EXTEND_TIMEOUT_USEC=")
        assert daemon.process.poll() is None
        gate.unlink()
        assert daemon.wait() == 0
        assert len(daemon.said("stopping")) == 1
    assert dark.exists()
