"""Whatever happens on the way, nothing is lost, nothing is there twice or half, and each fault is reported.

The server is PlantDB's own, the relay a process. "At every request" is meant: the requests of one delivery are counted,
and the fault is made to happen at the first, the second and so on, until a delivery has no request of that number.
"""

import json
import re
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from daemon_process import NotifySocket
from disks import PAGE, fill_disk, small_disk
from plantdb_server import PASSWORD, PlantDbServer
from relay_rig import RelayRig, stored_pictures, take_dataset
from waiting import wait_until

from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.datasets.receipt import FILES, RECEIPT
from stores import HOURS, scan, store_of

MANY_PENDING = 10_000
PENDING_KB = 3
"""Of memory for each scan of the store, twice what it takes; a dataset has hundreds."""
LARGE_KB = 64 * 1024
"""The size of a picture, most of it behind its end, which nobody decodes."""
MANY_REQUESTS = 30
"""More than a delivery of two pictures has."""
MANY_PAGES = 30
"""More than a delivery of two pictures takes of the server's disk."""
DISK_PAGES = 1000
"""More than all those deliveries take."""

TOO_EARLY = b"HTTP/1.1 429 TOO MANY REQUESTS\r\nContent-Length: 8\r\nConnection: close\r\n\r\nToo many"


def deliver_with_faults(rig, gate, server, word, heal=lambda: None):
    """Deliver one dataset after the other to the end, with a fault at another request each; return how many."""
    for number in range(1, MANY_REQUESTS):
        gate.renew()
        struck = []

        def act(count, _line, number=number, struck=struck):
            if count == number and not struck:
                struck.append(count)
                return word
            return "pass"

        gate.act = act
        slot = number - 1
        yield slot, struck
        if struck:
            heal()
        wait_until(lambda slot=slot: rig.has(slot), within=60, what=f"delivery of tl_{slot}")
        assert stored_pictures(server.directory) == rig.pictures()
        assert len(server.listed()) == slot + 1
        if not struck:
            return


def test_server_killed_after_every_request(rig, gate, server):
    """It does what it was asked, and dies before it answers; after its restart it knows no token of before."""
    with rig.start() as relay:
        relay.wait_for("relay_started")
        for slot, struck in deliver_with_faults(rig, gate, server, "kill", heal=server.start_again):
            rig.take_long(slot + 1)
            wait_until(lambda struck=struck, slot=slot: struck or rig.has(slot), within=60)
        assert relay.stop() == 0
    assert "delivery_resumed" in "\n".join(relay.lines)


def test_connection_reset_in_every_request(rig, gate, server):
    """Half of a request, also of a picture, is none for the server."""
    with rig.start() as relay:
        relay.wait_for("relay_started")
        for slot, _ in deliver_with_faults(rig, gate, server, "reset"):
            rig.take_long(slot + 1)
            wait_until(lambda slot=slot: rig.has(slot), within=60)
        assert relay.stop() == 0


def test_relay_killed_at_every_request(rig, gate, server):
    """The next one compares, and completes what was begun."""
    relay = rig.start()

    def kill_and_start():
        nonlocal relay
        relay.__exit__()
        relay = rig.start()

    with relay:
        relay.wait_for("relay_started")
        for slot, struck in deliver_with_faults(rig, gate, server, "mute", heal=kill_and_start):
            rig.take_long(slot + 1)
            wait_until(lambda struck=struck, slot=slot: struck or rig.has(slot), within=60)
    with relay:
        assert relay.stop() == 0


def test_server_frozen_in_an_upload(rig, gate, server):
    """The relay waits no longer than its time-out; what the server took after all isn't sent again."""
    frozen = []

    def act(_count, line):
        if line.startswith("POST /api/v1/files") and not frozen:
            frozen.append(line)
            server.freeze()
        return "pass"

    gate.act = act
    rig.configure(timeout="5s")
    rig.take(1)
    with rig.start() as relay:
        line = relay.wait_for("delivery_stuck")  # of the wait for a byte, or of the whole exchange, at the same moment
        assert "no answer within 5 s" in line or "the exchange was not over after 5 s" in line
        server.thaw()
        relay.wait_for("delivery_resumed")
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert stored_pictures(server.directory) == rig.pictures()
    assert server.listed()["tl_0"]["metadata"]["nbPhotos"] == len(rig.pictures())


def test_an_expired_token_costs_one_login(tmp_path, gate, rig, server):
    """The server answers 500 "Signature has expired"."""
    server.kill()
    with PlantDbServer(tmp_path / "db", SESSION_TIMEOUT="1") as short:
        gate.server = short
        rig.take(1)
        with rig.start() as relay:
            relay.wait_for("delivered: tl_0")
            wait_until(lambda: short.get("/api/v1/scans/tl_0/metadata", gate.token).status_code == 500, within=60)
            gate.renew()
            rig.take(2)
            relay.wait_for("delivered: tl_1")
            relay.stop()
    assert gate.requests[:2] == ["GET /api/v1/scans/tl_1/metadata", "POST /api/v1/auth/login"]


def test_a_request_that_came_too_early_is_repeated(rig, gate, server):
    """429 has no Retry-After, and is no trouble that a person hears of."""
    gate.act = lambda count, _line: TOO_EARLY if count % 3 == 2 else "pass"
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert relay.said("delivery_stuck") == []
    assert stored_pictures(server.directory) == rig.pictures()


@pytest.mark.system
def test_a_server_whose_disk_is_full_gets_the_pictures_when_it_has_space(tmp_path, gate, rig, server):
    """A disk that is really full, of which one page more is left each time, until there is one for all of a dataset.

    So each of the server's files is the one that has no space once: what it has of pictures is whole, and the trouble
    is told. Afterwards all of it is there, the small files too.
    """
    server.kill()
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, f"{DISK_PAGES * PAGE}"), PlantDbServer(disk) as full, rig.start() as relay:
        gate.server, filler = full, disk / "filler"
        for slot in range(MANY_PAGES):
            gate.renew()
            fill_disk(filler, slot)
            rig.take_long(slot + 1, width=160)
            line = relay.wait_for("deliver")
            assert stored_pictures(disk).items() <= rig.pictures().items()
            filler.unlink()
            if "delivered: " in line:
                break
            assert "the target has no room left; 500 " in line
            rig.ask_again()
            relay.wait_for(f"delivered: tl_{slot} ")
            assert stored_pictures(disk) == rig.pictures()
            assert len(full.listed()) == slot + 1
        assert relay.stop() == 0
        metadata = [json.loads(path.read_bytes()) for path in disk.glob("tl_*/**/*.json")]
    assert len(metadata) > slot > len(rig.pictures()) / (slot + 1)


def test_a_refused_password_is_reported_once_and_never_shown(rig, server):
    """It takes a person, who corrects the file; the relay needs no restart for that."""
    rig.password.write_text("hunter2-secret")
    rig.take(1)
    with rig.start() as relay:
        assert "admin or its password is refused" in relay.wait_for("delivery_stuck")
        wait_until(lambda: rig.status().trouble.startswith("admin or its password is refused"), within=60)
        rig.password.write_text(PASSWORD)
        rig.ask_again()
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert "hunter2" not in "\n".join(relay.lines)
    assert len(relay.said("delivery_stuck")) == 1


def test_a_server_without_a_free_session_is_waited_for(tmp_path, gate, rig, server):
    """It says "Invalid credentials" then, and nobody is told that the password is wrong; one that was good still is."""
    server.kill()
    with PlantDbServer(tmp_path / "db", MAX_SESSION="1") as busy:
        gate.server = busy
        token = busy.log_in()
        rig.take(1)
        with rig.start() as relay:
            assert "or the server has its ten sessions in use; 1 dataset waits" in relay.wait_for("delivery_stuck")
            busy.post("/api/v1/auth/logout", token)
            rig.ask_again()
            relay.wait_for("delivered: tl_0")
            busy.kill()
            busy.start()
            token = busy.log_in()
            rig.take(2)
            told = relay.wait_for("delivery_stuck")
            assert "the server has its ten sessions in use, or admin has another password by now" in told
            assert rig.status().refused == 0
            busy.post("/api/v1/auth/logout", token)
            rig.ask_again()
            relay.wait_for("delivered: tl_1")
            relay.stop()
    assert stored_pictures(server.directory) == rig.pictures()


def test_a_password_that_others_can_read_is_refused(rig, server):
    """Exit code 78: systemd doesn't start it again."""
    rig.password.chmod(0o640)
    with rig.start() as relay:
        assert relay.wait() == 78
    assert "others can read this password" in "\n".join(relay.said("relay_config_faulty"))


def test_the_password_is_a_credential_of_the_unit(rig, server, tmp_path):
    """LoadCredential= of systemd puts it into a directory that only the service sees."""
    (tmp_path / "deliver-plantdb").write_text("admin\n")
    rig.place.configure(f'[relay.deliver.plantdb]\nurl = "{rig.url}"\nuser = "admin"')
    rig.take(1)
    with rig.start(CREDENTIALS_DIRECTORY=str(tmp_path)) as relay:
        relay.wait_for("delivered: tl_0")


def test_url_and_token_of_the_store(rig, gate, server):
    """As the community's controller leaves them there; the token is never shown."""
    answer = server.post(
        "/api/v1/auth/token/create-api-token",
        server.log_in(),
        token_exp=600,
        datasets={"tl*": ["read", "write", "create"]},
    )
    token = answer.json()["api_token"]
    rig.place.configure("[relay.deliver.plantdb]")
    rig.take(1, extra={"db_url": f"{gate.url}/", "api_token": token})
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        server.kill()
        server.start()
        rig.take(2, extra={"db_url": f"{gate.url}/", "api_token": token})
        assert "the api_token in the store is not accepted" in relay.wait_for("delivery_stuck")
        relay.stop()
    assert token not in "\n".join(relay.lines)


def test_two_targets_are_independent(rig, server, gate, tmp_path):
    """One that is gone holds up no other."""
    own = f'user = "admin"\npassword_file = "{rig.password}"'
    rig.place.configure(
        f'[relay.deliver.gone]\nurl = "http://127.0.0.1:1"\n{own}\n[relay.deliver.plantdb]\nurl = "{gate.url}"\n{own}'
    )
    rig.take(2)
    with rig.start() as relay:
        assert "gone: connection refused; 2 datasets wait" in relay.wait_for("delivery_stuck")
        wait_until(lambda: rig.has(1), within=60)
        relay.stop()


# --- the ledger ---------------------------------------------------------------------------------------------


DAMAGES = {
    "torn": lambda text: text[:-7],
    "another byte": lambda text: text.replace(b"delivered", b"Delivered", 1),
    "zeros": lambda text: b"\0" * len(text),
    "garbage": lambda text: text + b"\xff\n",
}


def test_a_damaged_ledger_costs_comparing_and_is_reported(rig, gate, server):
    """Nothing is sent twice."""
    rig.take(2)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        relay.stop()
    for name, damage in DAMAGES.items():
        gate.renew()
        rig.ledger_file.write_bytes(damage(rig.ledger_file.read_bytes()))
        with rig.start() as relay:
            relay.wait_for("ledger_damaged")
            wait_until(lambda: rig.has(0) and rig.has(1), within=60)
            relay.stop()
        assert not [line for line in gate.requests if line.startswith("POST /api/v1/files")], name
    assert stored_pictures(server.directory) == rig.pictures()


def test_a_ledger_that_is_deleted_while_the_relay_runs(rig, gate, server):
    """All is compared again."""
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        rig.ledger_file.unlink()
        assert "is gone" in relay.wait_for("ledger_damaged")
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert rig.has(0)


# --- datasets ------------------------------------------------------------------------------------------------


def test_a_polite_relay_sends_nothing_while_a_scan_runs(rig, gate, server):
    """It stops when a scan begins, and goes on when it is over."""
    rig.configure("polite = true")
    lock = InstanceLock(rig.place.store)
    lock.acquire()
    rig.take(1, state="running", next_idx=1)
    during_scans, over = [], []

    def act(_count, line):
        if not over:
            during_scans.append(line)
        return "pass"

    gate.act = act
    with NotifySocket(rig.place.data) as manager, rig.start(NOTIFY_SOCKET=str(manager.path)) as relay:
        manager.wait_for("plantdb: 0 of 1")
        rig.take(2, state="running", next_idx=2)
        manager.wait_for("WATCHDOG=1")
        over.append(True)
        rig.take(2)
        relay.wait_for("delivered: tl_1")
        relay.stop()
    lock.release()
    assert during_scans == []


@pytest.mark.parametrize("word", ["POST /api/v1/files/", "GET /api/v1/files/"], ids=["first picture", "read back"])
def test_a_scan_that_begins_cuts_off_what_is_under_way(rig, gate, server, word):
    """Also the first picture of a scan, and what is read back; after the scan it is taken up where it was."""
    rig.configure("polite = true", 'max_rate = "0.01 MB"')
    for slot in range(2):
        take_dataset(rig.place.datasets, slot, width=640)
    lock = InstanceLock(rig.place.store)
    lock.acquire()
    struck = []

    def act(_count, line):
        if not struck and line.startswith(word):
            if word.startswith("GET"):
                server.freeze()
            rig.take(2, state="running", next_idx=2)
            struck.append(len(gate.requests))
        return "pass"

    gate.act = act
    with rig.start() as relay:
        rig.take(1)
        wait_until(lambda: [gate.n_left] == struck, within=60, what="the end of the request")
        assert len(gate.requests) == gate.n_left
        if word.startswith("POST"):
            assert stored_pictures(server.directory) == {}
        server.thaw()
        rig.take(2)
        relay.wait_for("delivered: tl_1")
        relay.stop()
    lock.release()
    assert gate.requests[struck[0]].split("?")[0] == gate.requests[struck[0] - 1], "the same once more"
    assert stored_pictures(server.directory) == rig.pictures()
    assert server.listed().keys() == {"tl_0", "tl_1"}


def test_a_picture_that_takes_longer_than_the_time_between_scans_is_told_with_the_cure(rig, gate, server):
    """It isn't sent during one, as the configuration asks, and arrives when there is the time."""
    rig.configure("polite = true", 'max_rate = "0.01 MB"')
    take_dataset(rig.place.datasets, 0, width=640)
    lock = InstanceLock(rig.place.store)
    lock.acquire()
    uploads = []

    def act(_count, line):
        if line.startswith("POST /api/v1/files/") and len(uploads) < 3:
            uploads.append(len(gate.requests))
            rig.take(1, state="running", next_idx=1)
        return "pass"

    gate.act = act
    rig.take(1)
    with rig.start() as relay:
        for number in range(3):
            wait_until(lambda number=number: len(uploads) > number and gate.n_left == uploads[number], within=60)
            rig.take(1)
        assert "takes longer than the time between two scans" in relay.wait_for("delivery_stuck: plantdb")
        relay.wait_for("delivered: tl_0")
        assert len(relay.said("delivery_stuck")) == len(relay.said("delivery_resumed")) == 1
        relay.stop()
    lock.release()
    assert stored_pictures(server.directory) == rig.pictures()


def test_ten_thousand_datasets_wait_and_the_first_is_out_before_any_other_is_asked_for(rig, gate, server):
    """The relay was added late; those that are not there are one line, and only the store takes more memory."""
    rig.take(1)
    alone = memory_beside(rig, "delivered: tl_0")
    rig.ledger_file.unlink()
    gate.renew()
    first, last = datetime.fromisoformat(HOURS[0]), MANY_PENDING - 1
    take_dataset(rig.place.datasets, last, hour=first.hour + 7 * 24)
    times = [first + timedelta(minutes=slot) for slot in range(last)] + [first + timedelta(days=7)]
    scans = [scan(f"tl_{slot}", finished_at=time.isoformat()) for slot, time in enumerate(times)]
    rig.write_store(store_of(*scans, schedule_times=[time.isoformat() for time in times], state="completed"))
    many = memory_beside(rig, f"delivered: tl_{last}", f"and {last - 6} more")
    assert many - alone < MANY_PENDING * PENDING_KB
    named = [int(found[1]) for line in gate.requests if (found := re.search("tl_([0-9]+)", line))]
    assert named == sorted(named)
    assert {*named} == {0, last}
    assert named.count(0) < MANY_REQUESTS


def test_a_large_picture_is_read_and_compared_in_pieces(rig, server):
    """It takes no more memory than a small one: neither sent nor read back is it in memory whole."""
    rig.configure("[relay.look]", "verdicts = []")  # which takes what a picture's file does
    rig.take(1)
    alone = memory_beside(rig, "delivered: tl_0")
    dataset = take_dataset(rig.place.datasets, 1)
    receipt = json.loads((dataset / RECEIPT).read_bytes())
    (dataset / RECEIPT).write_text(json.dumps({**receipt, FILES: None}))
    with next((dataset / "images").iterdir()).open("r+b") as picture:
        picture.truncate(LARGE_KB * 1024)
    rig.take(2)
    assert memory_beside(rig, "delivered: tl_1") - alone < LARGE_KB / 4
    assert stored_pictures(server.directory) == rig.pictures()


def memory_beside(rig, *words):
    """Return the most memory that a relay has taken until it said all this, in kB."""
    with rig.start() as relay:
        for each in words:
            relay.wait_for(each)
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{relay.process.pid}/status").read_text())
        relay.stop()
    return int(found[1])


def test_a_second_relay_on_the_same_ledgers_is_refused(rig, server):
    """It says who has them."""
    with rig.start() as first:
        first.wait_for("relay_started")
        with rig.start() as second:
            assert second.wait() == 1
        assert f"another relay runs already (PID {first.process.pid})" in "\n".join(second.lines)
        first.stop()


def test_without_a_target_the_relay_says_so(tmp_path):
    """Exit code 78."""
    rig = RelayRig(tmp_path / "rig", "http://127.0.0.1:1")
    rig.place.configure("")
    with rig.start() as relay:
        assert relay.wait() == 78
    assert "names no target" in "\n".join(relay.said("relay_config_faulty"))
    rig.place.configure('[relay.retention]\nkeep = "30d"')
    with rig.start() as relay:
        assert relay.wait() == 78
    assert "[relay.retention] removes what every target has" in "\n".join(relay.said("relay_config_faulty"))


@pytest.mark.system
def test_a_full_disk_of_the_relay_s_own_stops_no_delivery(rig, gate, server):
    """What it has done is told again after a restart, and compared; nothing is sent twice."""
    rig.take(1)
    rig.places.relay_state.mkdir()
    with small_disk(rig.places.relay_state, "64k"):
        filler = rig.places.relay_state / "filler"
        with suppress(OSError):
            filler.write_bytes(bytes(1 << 20))
        with rig.start() as relay:
            relay.wait_for("ledger_not_written")
            relay.wait_for("delivered: tl_0")
            filler.unlink()
            rig.take(2)
            relay.wait_for("delivered: tl_1")
            relay.stop()
        gate.renew()
        with rig.start() as relay:
            assert "(2 of them were there)" in relay.wait_for("delivered: tl_0")
            relay.stop()
        assert rig.has(0)
        assert rig.has(1)
    assert stored_pictures(server.directory) == rig.pictures()
