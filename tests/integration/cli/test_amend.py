"""`timelapsectl amend`, as a process, with a daemon and without."""

import json
import os
import signal

import pytest


def stored(host):
    return json.loads(host.store.read_bytes())


@pytest.fixture
def running(host):
    """Return the host of a timelapse of which the first slot is taken."""
    with host.daemon() as daemon:
        host.ctl("start", host.define())
        host.wait_for(lambda store: store["next_idx"] == 1, "the first slot")
        host.process = daemon
        yield host


def test_what_is_to_come_is_replaced_and_what_was_taken_stays(running):
    """Answered when it is on disk, with the scan configuration; the slots are counted from the first one."""
    before = stored(running)
    done = running.ctl("amend", running.define(interval='"30min"', n_shots=8))
    after = stored(running)
    assert (done.returncode, done.stderr) == (0, "")
    assert "col0_ld is amended: 2 slots to come become 7, the last at " in done.stdout
    assert after["schedule_times"][0] == before["schedule_times"][0]
    assert (len(after["schedule_times"]), after["next_idx"], after["scans"]) == (8, 1, before["scans"])
    assert after["extra"]["config_snapshot"]["timelapse"]["n_shots"] == 8
    facts = json.loads(running.ctl("status", "--json").stdout)["timelapse"]
    assert (facts["n_slots"], facts["interval_sec"], facts["done"]) == (8, 1800, 1)


def test_amendment_of_the_scan_alone_is_told(running):
    """Its slots keep their times, and are scanned in another way."""
    path = running.define()
    path.write_text(path.read_text() + '[Metadata]\nplant = "seven"\n')
    done = running.ctl("amend", path)
    assert done.stdout == "col0_ld is amended: the 2 slots to come keep their times; the scan\n"
    assert stored(running)["extra"]["config_snapshot"]["Metadata"] == {"plant": "seven"}


def test_notes_on_the_new_definition_are_told(running):
    """In the answer, as in the journal."""
    path = running.define()
    path.write_text(
        '[timelapse]\nname = "col0_ld"\nmode = "fixed_times"\ndates = ["2099-01-02T08:00:00", "2099-01-01T08:00:00"]\n'
    )
    done = running.ctl("amend", path)
    assert "2 slots to come become 2, the last at " in done.stdout
    assert "; the dates were not in order of time and have been sorted" in done.stdout


def test_refusals_change_nothing(running):
    """Each has its reason."""
    before = running.store.read_bytes()
    for name, changes, reason in (
        ("other", {}, "other is not the timelapse that runs; col0_ld is"),
        ("col0_ld", {}, "col0_ld: the definition changes nothing that is to come"),
        ("col0_ld", {"interval": '"soon"'}, "not a duration"),
        ("col0_ld", {"n_shots": 1}, "no slot of the new definition is to come"),
    ):
        refused = running.ctl("amend", running.define(name, **changes))
        assert refused.returncode in (1, 78), refused
        assert reason in refused.stderr
    assert running.store.read_bytes() == before


def test_definition_that_the_driver_refuses_changes_nothing(running):
    """The rig can't make its scans."""
    before = running.store.read_bytes()
    path = running.define(n_shots=9)
    path.write_text(path.read_text() + '[ScanPath]\nclass_name = "Spiral"\n')
    assert running.ctl("amend", path).returncode != 0
    assert running.store.read_bytes() == before


def test_pause_outlasts_an_amendment(running):
    """It is of the timelapse, not of its definition."""
    running.ctl("pause")
    assert running.ctl("amend", running.define(n_shots=8)).returncode == 0
    assert json.loads(running.ctl("status", "--json").stdout)["timelapse"]["pause"] is not None


def test_without_a_timelapse_or_a_daemon_there_is_nothing_to_amend(host):
    """The way out is named."""
    with host.daemon():
        refused = host.ctl("amend", host.define())
        assert (refused.returncode, "there is no active timelapse to amend" in refused.stderr) == (1, True)
        assert "timelapsectl start" in refused.stderr
    assert host.ctl("amend", host.define()).returncode == 69


def test_killed_at_any_moment_the_old_schedule_is_on_disk_or_the_new_one(host):
    """Whole; and what was answered is the new one."""
    moments = {
        4: lambda _: True,  # while the request is on its way
        5: lambda _: [*host.store.parent.glob(f"{host.store.name}.*.tmp")],  # while it is saved
        6: lambda before: host.store.stat().st_ino != before,  # right after that
        7: lambda _: False,  # not at all
    }
    for n_shots, is_time in moments.items():
        with host.daemon(until="resumed:" if host.store.exists() else "idle:") as daemon:
            if n_shots == 4:
                host.ctl("start", host.define())
                host.wait_for(lambda store: store["next_idx"] == 1, "the first slot")
            had, before = len(stored(host)["schedule_times"]), host.store.stat().st_ino
            pid = os.fork()
            if not pid:
                while not is_time(before):
                    pass
                daemon.kill()
                os._exit(0)
            done = host.ctl("amend", host.define(n_shots=n_shots))
            os.kill(pid, signal.SIGKILL)  # its moment may have passed unseen
            os.waitpid(pid, 0)
        store = stored(host)
        assert len(store["schedule_times"]) in (had, n_shots)
        assert done.returncode != 0 or len(store["schedule_times"]) == n_shots
        assert (store["next_idx"], len(store["scans"])) == (1, 1)
