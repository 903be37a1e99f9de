"""The relay under a real systemd, in the sandbox of its unit as delivered, beside a daemon that takes slots.

PlantDB's own server is in tests/integration/relay; here a few lines with its answers stand in for it, since the machine
has no network and little space.
"""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta

import pytest
from container import Rig
from debian import SOURCES
from rclone_server import RCLONE
from timelapse_service import TimelapseService, configuration
from tree import SYSTEMD

RELAY = "plant-imager-timelapse-relay.service"
PASSWORD = "s3cret-of-the-test"

STAND_IN = """\
import email, http.server, json, time

FILES, NOTES, SCANS, LOG = {}, {}, {}, open("/var/tmp/requests", "a", buffering=1)

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, code, value):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        print(time.time(), "GET", self.path, file=LOG)
        _, _, _, kind, *rest = self.path.split("/")
        if kind == "scans":
            found = SCANS.get(rest[0])
            self.answer(*((404, {"error": "unknown"}) if found is None else (200, found)))
        elif kind == "filesets":
            self.answer(200, {"files": [name for scan, name in FILES if scan == rest[0]]})
        elif rest[-1] == "metadata":
            found = NOTES.get((rest[0], rest[2]))
            self.answer(*((404, {"error": "unknown"}) if found is None else (200, {"metadata": found})))
        else:
            found = FILES.get((rest[0], rest[2]))
            self.answer(*((404, {"error": "unknown"}) if found is None else (200, found)))

    def do_POST(self):
        print(time.time(), "POST", self.path, file=LOG)
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        _, _, _, kind, *rest = self.path.split("/")
        if kind == "auth":
            good = rest[0] == "logout" or json.loads(body)["password"] == "PASSWORD"
            self.answer(*((200, {"access_token": "t"}) if good else (401, {"error": "Invalid credentials"})))
            return
        if kind == "scans":
            SCANS[rest[0]] = json.loads(body)
        elif kind == "files":
            head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\\r\\n\\r\\n"
            parts = email.message_from_bytes(head + body).get_payload()
            FILES[rest[0], rest[2]] = next(p.get_payload(decode=True) for p in parts if p.get_filename())
            NOTES[rest[0], rest[2]] = next(json.loads(p.get_payload(decode=True)) for p in parts if not p.get_filename()
                                           and 'name="metadata"' in p["Content-Disposition"])
        self.answer(201, {"id": rest[0]})

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Handler).serve_forever()
""".replace("PASSWORD", PASSWORD)

STAND_IN_UNIT = """\
[Service]
ExecStart=/usr/bin/python3 /usr/local/bin/plantdb
[Install]
WantedBy=multi-user.target
"""

WEBDAV_UNIT = """\
[Service]
Environment=HOME=/root
ExecStart=/usr/bin/rclone serve webdav /srv/remote --addr 127.0.0.1:8080
"""
WEBDAV_REMOTE = """\
[lab]
type = webdav
url = http://127.0.0.1:8080
vendor = other
"""

TARGET = """
[relay.deliver.plantdb]
url = "http://127.0.0.1:5000"
user = "rig"
polite = true
"""


@pytest.fixture(scope="module")
def service(layers, installed):
    """Return the service of a machine with a relay, all of whose slots are taken."""
    rig = Rig(layers, installed, hostname="relay")
    try:
        rig.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", "--extras", "relay")
        rig.build("systemctl", "enable", RELAY)
        rig.write("/usr/local/bin/plantdb", STAND_IN)
        rig.write("/etc/systemd/system/plantdb.service", STAND_IN_UNIT)
        rig.build("systemctl", "enable", "plantdb.service")
        rig.write("/etc/plant-imager3-app/plantdb-password", f"{PASSWORD}\n", mode=0o600)
        drop_in = "[Service]\nLoadCredential=deliver-plantdb:/etc/plant-imager3-app/plantdb-password\n"
        rig.write(f"/etc/systemd/system/{RELAY}.d/password.conf", drop_in)
        service = TimelapseService(rig)
        service.configure(configuration() + TARGET)
        service.define(n_shots=2)
        rig.boot()
        service.wait_for("timelapse_completed")
        yield service
    finally:
        rig.remove()


def delivered(service, slot):
    """Return the relay's entry for a slot."""
    return service.rig.wait_for_entry(f"_SYSTEMD_UNIT={RELAY}", "ACTION=delivered", f"SLOT={slot}")


def deliveries(service):
    """Return how often the relay has said that a dataset is delivered."""
    return len(service.rig.journal(f"_SYSTEMD_UNIT={RELAY}", "ACTION=delivered"))


def test_every_slot_is_delivered_and_said_so(service):
    """By fields of the journal, the unit's status, and timelapsectl."""
    entry = delivered(service, 1)
    assert (entry["TARGET"], entry["TIMELAPSE_ID"], entry["SYSLOG_IDENTIFIER"]) == ("plantdb", "tl", "timelapse-relay")
    service.rig.wait_until(lambda: "plantdb: 2 of 2" in service.rig.show(RELAY, "StatusText"), what="the status")
    assert re.search(r"relay: 2 of 2 delivered, last worked [\d:]+ \(plantdb\)\n", service.ctl("status"))
    assert service.rig.show(RELAY, "NRestarts") == "0"


def test_the_password_is_in_no_line_of_the_journal(service):
    """Nor in the unit's environment."""
    delivered(service, 1)
    assert PASSWORD not in service.rig.journal_text()
    assert PASSWORD not in service.rig.run("systemctl", "show", RELAY).stdout


def test_member_of_the_group_asks_the_relay_without_sudo(service):
    """Looks, has datasets compared again, and is named in the journal; another user reads one clear sentence."""
    delivered(service, 1)
    rig = service.rig
    for user in ("ada", "eve"):
        rig.run("useradd", "--create-home", user)
    rig.run("usermod", "-aG", "plant-imager", "ada")

    def ctl(*arguments: str, user: str = "ada"):
        return rig.run("timelapsectl", *arguments, user=user, check=False)

    assert re.search(r"^relay: 2 of 2 delivered, last worked .* \(plantdb\)$", ctl("status").stdout, re.MULTILINE)
    assert re.match(r"2 of 2 delivered, last worked .* \(plantdb\)", ctl("deliver").stdout)
    assert ctl("verify").stdout.splitlines()[-1] == "no damage found"
    before = deliveries(service)
    forgotten = ctl("deliver", "--forget", "tl_0")
    assert forgotten.stdout == "1 dataset forgotten; each is compared again\n", forgotten
    entry = rig.wait_for_entry(f"_SYSTEMD_UNIT={RELAY}", "ACTION=delivery_asked")
    assert "forget tl_0 by ada: 1 dataset forgotten" in entry["MESSAGE"]
    rig.wait_until(lambda: deliveries(service) == before + 1, what="the comparison")
    rig.wait_until(lambda: ctl("deliver").stdout.startswith("2 of 2 delivered"), what="the status")
    for command in (["deliver"], ["deliver", "--retry"], ["notify", "--test"]):
        refused = ctl(*command, user="eve")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "only root and members of the group plant-imager may ask this relay" in refused.stderr
    rig.run("systemctl", "stop", RELAY)
    stopped = ctl("deliver", "--retry")
    assert (stopped.returncode, "error: the relay is not running" in stopped.stderr) == (69, True)
    assert "hint: start it with: systemctl start plant-imager-timelapse-relay" in stopped.stderr
    closed = ctl("deliver")
    assert (closed.returncode, "is for its service and root only" in closed.stderr) == (69, True), closed
    assert service.ctl("deliver").splitlines()[-1].startswith("the relay is not running; start it with: ")
    rig.run("systemctl", "start", RELAY)


def test_the_sandbox_has_store_and_datasets_read_only(service):
    """And the relay is the daemon's account, without privileges, to which the processor is given last."""
    delivered(service, 1)
    pid = service.rig.show(RELAY, "MainPID")
    inside = ("nsenter", f"--target={pid}", "--mount")
    for place in ("/var/lib/plant-imager3-app/x", "/var/lib/plant-imager3-app/datasets/x", "/etc/x"):
        refused = service.rig.run(*inside, "touch", place, check=False)
        assert "Read-only file system" in refused.stderr
    service.rig.run(*inside, "touch", "/var/lib/plant-imager-timelapse-relay/x")
    assert service.rig.run("cat", f"/proc/{pid}/status").stdout.count("CapEff:\t0000000000000000") == 1
    assert service.rig.show(RELAY, "CPUWeight") == "idle"


def test_every_relay_is_idle_beside_the_daemon_and_the_boot_waits_for_none(service):
    """In the same slice as the plain daemon, or as that of the named ones: systemd has a say in both."""
    named = RELAY.replace(".", "@left.")
    assert [service.rig.show(unit, "Slice") for unit in (RELAY, named)] == ["system.slice"] * 2
    assert not {RELAY, named} & set(service.rig.show("multi-user.target", "After").split())


def test_retry_from_the_command_line_reaches_the_relay(service):
    """Root writes into the ledger, which stays the service's."""
    delivered(service, 1)
    before = deliveries(service)
    assert service.ctl("deliver", "--forget", "plantdb") == "2 datasets forgotten; each is compared again\n"
    service.rig.wait_until(lambda: deliveries(service) == before + 2, what="both again")
    owner = service.rig.run("stat", "--format=%U %a", "/var/lib/plant-imager-timelapse-relay/plantdb.ledger").stdout
    assert owner == "plant-imager 600\n"


def test_the_relay_sees_whether_the_daemon_runs(service):
    """Through /proc, past the sandboxes of both: otherwise a polite one would never wait."""
    delivered(service, 1)
    service.configure(configuration(pace=3) + TARGET)
    service.define("slow", n_shots=1)
    began = len(service.rig.path("/var/tmp/requests").read_text().splitlines())
    service.systemctl("reload")
    service.wait_for("scan_started", "TIMELAPSE_ID=slow")
    service.ctl("deliver", "--forget", "plantdb")
    service.wait_for("scan_succeeded", "TIMELAPSE_ID=slow")
    (record,) = service.read()["scans"]
    ended = datetime.fromisoformat(record["finished_at"]).timestamp()
    later = service.rig.path("/var/tmp/requests").read_text().splitlines()[began:]
    assert [line for line in later if float(line.split()[0]) < ended] == []


GRACE = timedelta(seconds=60)
LATER = timedelta(seconds=2)
"""Far more than a relay may cost a slot, and far less than one that the daemon waits for would."""
EACH = 3
"""Slots in each state of the relay, whose median counts: one that something else delays is not the relay's fault."""


def costs_of(store):
    """Return how much later each slot began than it was due, or than the one before ended, and took."""
    free_at, found = datetime.fromisoformat(store["schedule_times"][0]), []
    for due, scan in zip(store["schedule_times"], store["scans"], strict=True):
        ended = datetime.fromisoformat(scan["finished_at"])
        found.append(ended - max(datetime.fromisoformat(due), free_at))
        free_at = ended
    return found


def test_every_slot_is_on_time_beside_a_relay_that_is_throttled_hung_and_killed(service):
    """The daemon knows nothing of it; the relay catches up."""
    delivered(service, 1)
    throttled = TARGET.replace("polite = true", 'max_rate = "0.002 MB"')
    service.configure(configuration() + throttled)
    service.rig.run("systemctl", "stop", RELAY)
    changes = [["start", "--no-block"], ["kill", "--signal=STOP"], ["kill", "--signal=KILL"]]
    n_shots = EACH * (len(changes) + 1)
    service.define("timely", n_shots=n_shots, interval="3s", grace=int(GRACE.total_seconds()))
    service.systemctl("reload")
    for number, words in enumerate(changes, start=1):
        service.wait_for("scan_succeeded", "TIMELAPSE_ID=timely", f"SLOT={number * EACH - 1}")
        service.rig.run("systemctl", *words, RELAY)
    service.wait_for("timelapse_completed", "TIMELAPSE_ID=timely")
    assert [scan["status"] for scan in service.read()["scans"]] == ["succeeded"] * n_shots
    costs = costs_of(service.read())
    alone, *beside = (sorted(costs[first : first + EACH])[EACH // 2] for first in range(0, n_shots, EACH))
    assert max(beside) < alone + LATER
    service.rig.run("systemctl", "start", RELAY)
    service.rig.wait_for_entry(
        f"_SYSTEMD_UNIT={RELAY}", "ACTION=delivered", "TIMELAPSE_ID=timely", f"SLOT={n_shots - 1}", within=180
    )


@pytest.mark.skipif(RCLONE is None, reason="rclone is not installed")
def test_rclone_works_in_the_sandbox_of_the_unit(service):
    """Its configuration is a credential of the unit; the whole dataset arrives."""
    delivered(service, 1)
    shutil.copy(RCLONE, service.rig.path("/usr/bin/rclone"))
    service.rig.write("/srv/remote/plants/.keep", "")
    service.rig.write("/etc/systemd/system/webdav.service", WEBDAV_UNIT)
    service.rig.write("/etc/plant-imager3-app/rclone.conf", WEBDAV_REMOTE, mode=0o600)
    drop_in = "[Service]\nLoadCredential=deliver-lab:/etc/plant-imager3-app/rclone.conf\n"
    service.rig.write(f"/etc/systemd/system/{RELAY}.d/rclone.conf", drop_in)
    service.configure(configuration() + TARGET + '[relay.deliver.lab]\nremote = "lab:plants"\n')
    service.rig.run("systemctl", "daemon-reload")
    service.rig.run("systemctl", "start", "webdav.service")
    service.rig.run("systemctl", "restart", RELAY)
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={RELAY}", "ACTION=delivered", "TARGET=lab", "SLOT=1")
    there = service.rig.path("/srv/remote/plants/tl_1/timelapsed.json")
    here = service.rig.path("/var/lib/plant-imager3-app/datasets/tl_1/timelapsed.json")
    assert there.read_bytes() == here.read_bytes()


def test_retention_needs_its_drop_in_and_takes_what_was_delivered(service):
    """Without it the relay says what to do; with it the store beside the datasets stays read-only."""
    delivered(service, 1)
    service.configure(configuration() + TARGET + '[relay.retention]\nkeep = "1s"\n')
    service.rig.run("systemctl", "restart", RELAY)
    kept = service.rig.wait_for_entry(f"_SYSTEMD_UNIT={RELAY}", "ACTION=datasets_kept")
    assert "see systemd/examples/retention.conf" in kept["MESSAGE"]
    service.rig.write(
        f"/etc/systemd/system/{RELAY}.d/retention.conf", (SYSTEMD / "examples/retention.conf").read_text()
    )
    service.rig.run("systemctl", "daemon-reload")
    service.rig.run("systemctl", "restart", RELAY)
    removed = service.rig.wait_for_entry(f"_SYSTEMD_UNIT={RELAY}", "ACTION=datasets_removed")
    assert "after delivery to plantdb" in removed["MESSAGE"]
    assert "delivered to plantdb, removed here on " in service.ctl("verify")
    assert "removed here after delivery" in service.ctl("status")
    pid = service.rig.show(RELAY, "MainPID")
    touched = service.rig.run(
        "nsenter", f"--target={pid}", "--mount", "touch", "/var/lib/plant-imager3-app/x", check=False
    )
    assert "Read-only file system" in touched.stderr
