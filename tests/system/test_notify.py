"""The relay's messages and heartbeat under a real systemd, in the sandbox of its unit, with a real apprise.

The machine has no network; a few lines on its loopback stand in for ntfy and for the monitor, and write down what
arrives.
"""

from __future__ import annotations

import json
import re
import threading

import pytest
from container import Rig
from debian import SOURCES
from timelapse_service import TimelapseService, configuration
from waiting import RigError

RELAY = "plant-imager-timelapse-relay.service"
LEDGER = "/var/lib/plant-imager-timelapse-relay/notify.ledger"
TOPIC = "s3cret-topic-of-the-test"
OUTAGE = 20.0
"""Seconds that the machine is off: some slots, each due every two seconds."""
ARRIVED = "/var/tmp/arrived"

RECEIVER = f"""\
import http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        with open("{ARRIVED}", "a") as file:
            print(json.dumps({{"path": self.path, "body": body.decode(errors="replace")}}), file=file)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{{}}")

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""

RECEIVER_UNIT = """\
[Service]
ExecStart=/usr/bin/python3 /usr/local/bin/receiver
[Install]
WantedBy=multi-user.target
"""

SETTINGS = """
[relay.notify]
gather = "3s"
picture = false

[relay.heartbeat]
url_file = "/etc/plant-imager3-app/heartbeat"
interval = "2s"
idle = "pause"
pause_file = "/etc/plant-imager3-app/heartbeat-pause"
"""


@pytest.fixture(scope="module")
def service(layers, installed):
    """Return the service of a machine that takes a slot every two seconds, with a relay; on."""
    rig = Rig(layers, installed, hostname="bench3")
    try:
        rig.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", "--extras", "relay,notify")
        rig.build("systemctl", "enable", RELAY)
        rig.write("/usr/local/bin/receiver", RECEIVER)
        rig.write("/etc/systemd/system/receiver.service", RECEIVER_UNIT)
        rig.build("systemctl", "enable", "receiver.service")
        rig.write("/etc/plant-imager3-app/notify-urls", f"ntfy://127.0.0.1:8080/{TOPIC}\n", mode=0o600)
        rig.write("/etc/plant-imager3-app/heartbeat", "http://127.0.0.1:8080/ping\n", mode=0o600)
        rig.build("chown", "plant-imager:", "/etc/plant-imager3-app/heartbeat")
        drop_in = "[Service]\nLoadCredential=notify:/etc/plant-imager3-app/notify-urls\n"
        rig.write(f"/etc/systemd/system/{RELAY}.d/notify.conf", drop_in)
        service = TimelapseService(rig)
        service.see_boots()
        service.configure(healthy())
        service.define(interval="2s", n_shots=100_000, grace=4)
        rig.boot()
        service.wait_for("scan_succeeded")
        service.rig.wait_until(lambda: len(pings(service)) > 2, what="three pings")
        yield service
    finally:
        rig.remove()


def healthy():
    """Return a configuration by which a scan is known to be short."""
    return f'scan_timeout = "4s"\n{configuration()}{SETTINGS}'


def arrived(service):
    """Return what the far end has: paths and bodies."""
    path = service.rig.path(ARRIVED)
    lines = path.read_text().splitlines() if path.exists() else []
    return [(entry["path"], entry["body"]) for entry in map(json.loads, lines)]


def pings(service):
    """Return the paths of the heartbeats."""
    return [path for path, _ in arrived(service) if path.startswith("/ping")]


def messages(service):
    """Return title and text of the messages."""
    found = [json.loads(body) for path, body in arrived(service) if not path.startswith("/ping")]
    return [(message["title"], message["message"]) for message in found]


def wait_for_message(service, subject, after):
    """Return number and text of the first message of a subject after so many."""

    def find():
        return next(
            (
                (number, text)
                for number, (title, text) in enumerate(messages(service))
                if number >= after and re.fullmatch(subject, title)
            ),
            None,
        )

    try:
        return service.rig.wait_until(find, within=180, what=f"the message {subject}")
    except RigError as never:
        raise RigError(f"{never}; there are {messages(service)[after:]}") from None


def test_a_daemon_that_a_faulty_configuration_stopped_is_noticed(service):
    """By its absence; the monitor is told that the schedule isn't kept. Both hear when it is kept again."""
    before = len(messages(service))
    service.configure(f"nonsense = 1\n{healthy()}")
    service.rig.run("systemctl", "restart", service.unit, check=False)
    service.rig.wait_until(lambda: service.show("ExecMainStatus") == "78", what="the daemon ends with 78")
    number, text = wait_for_message(service, r"bench3: slot \d+ is overdue", before)
    lines = text.splitlines()
    assert re.fullmatch(r"tl: slot \d+ was due at [\d:]+ and has no record\.", lines[0])
    assert lines[1] == "The timelapse service isn't running; its journal says why."
    assert re.fullmatch(r"\d+ slots? can't be taken in time any more\.", lines[2])
    assert re.fullmatch(r"Taken so far: \d+ of 100000\.", lines[3])
    assert lines[4:6] == [
        "What to do: see whether the service runs: systemctl status plant-imager-timelapsed.",
        "",
    ]
    assert re.fullmatch(r"Next slot: \d+, at [\d:]+\.", lines[6])
    service.rig.wait_until(lambda: "/ping/fail" in pings(service), what="the monitor hears of it")
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={RELAY}", "ACTION=overdue")
    service.configure(healthy())
    service.systemctl("start")
    _, text = wait_for_message(service, r"bench3: \d+ slots missed", number + 1)
    assert re.match(r"tl: \d+ slots from [\d:]+ to [\d:]+ missed: the daemon was not running\.\n", text), text
    assert re.search(r"\nLost: \d+ time points\. Taken so far: \d+ of 100000\.\n", text)
    fails = len([path for path in pings(service) if path == "/ping/fail"])
    service.rig.wait_until(lambda: pings(service)[-1] == "/ping", what="pings again")
    assert fails == 1


def test_the_power_switch_and_its_return_are_one_message(service):
    """Nobody could send one meanwhile; at the return it says what the outage cost."""
    service.wait_for("scan_succeeded")
    ledger = service.rig.path(LEDGER)
    service.rig.wait_until(lambda: b'"waiting"' not in ledger.read_bytes(), what="the ledger has what was sent")
    before = len(messages(service))
    service.rig.power_cut()
    threading.Event().wait(OUTAGE)
    service.rig.boot()
    _, text = wait_for_message(service, r"bench3: \d+ slots (missed|lost)", before)
    assert re.match(r"tl: \d+ slots from [\d:]+ to [\d:]+ missed: the rig was off[^\n]*\.\n", text), text
    assert re.search(r"\nLost: \d+ time points\. Taken so far: \d+ of 100000\.\n", text)
    assert [title for title, _ in messages(service)[before:] if "overdue" in title] == []


def begin(service, name, fail, *, gather="3s", **definition):
    """Have the service take another timelapse, on a rig that fails at some slots; the relay has told nothing today."""
    service.ctl("cancel", "--why", "the next one", check=False)
    settings = SETTINGS.replace('"3s"', f'"{gather}"')
    service.configure(f'scan_timeout = "4s"\n{configuration(options=f"fail = {fail}")}{settings}')
    service.rig.run("systemctl", "stop", RELAY)
    service.rig.run("rm", LEDGER)
    service.rig.run("systemctl", "start", RELAY)
    service.rig.wait_until(service.rig.path(LEDGER).exists, what="the relay's first look")
    service.define(name, grace=60, **definition)
    service.systemctl("restart")


def test_a_failed_slot_its_recovery_and_the_end_are_a_message_each(service):
    """A person hears of each once, and nothing between."""
    before = len(messages(service))
    begin(service, "failing", [1], n_shots=4, interval="15s")
    number, text = wait_for_message(service, "bench3: slot 1 failed", before)
    lines = text.splitlines()
    assert re.fullmatch(r"failing: slot 1 \([\d:]+\) failed: .+\.", lines[0])
    assert lines[1:4] == [
        "Lost: 1 time point. Taken so far: 1 of 4.",
        "What to do: read the reason, then look at the rig: cables, power, camera.",
        "",
    ]
    assert re.fullmatch(r"Next slot: 2, at [\d:]+\.", lines[4])
    again, text = wait_for_message(service, "bench3: slots are taken again", number + 1)
    assert re.fullmatch(
        r"Slots are taken again\.\nThe trouble began at [\d:]+ \([^)]+ ago\); it cost 1 time point\.\n\n"
        r"Next slot: 3, at [\d:]+\.",
        text,
    )
    last, text = wait_for_message(service, "bench3: failing is complete", again + 1)
    assert text == (
        "failing is complete.\n3 of 4 slots taken, 1 lost.\nWhat to do: fetch the datasets.\n\nNo slot is scheduled."
    )
    assert (number, again, last) == (before, before + 1, before + 2)


def test_ten_failures_in_a_minute_are_one_message(service):
    """However many there are while it is gathered."""
    before = len(messages(service))
    begin(service, "ten", [*range(10)], gather="30s", n_shots=10_000, interval="2s")
    number, text = wait_for_message(service, "bench3: 10 slots failed", before)
    assert re.match(
        r"ten: 10 slots from [\d:]+ to [\d:]+ failed, the last one: [^\n]+\.\nLost: 10 time points\. ", text
    ), text
    assert "\nSlots are taken again since.\n" in text
    assert number == before


def test_without_a_network_messages_wait_and_are_summed_up(service):
    """All of a timelapse may pass meanwhile."""
    before = len(messages(service))
    service.rig.run("systemctl", "stop", "receiver.service")
    begin(service, "offline", [0], n_shots=2, interval="12s")
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={RELAY}", "ACTION=message_stuck")
    service.wait_for("timelapse_completed", "TIMELAPSE_ID=offline")
    ledger = service.rig.path(LEDGER)
    service.rig.wait_until(lambda: b"offline is complete" in ledger.read_bytes(), what="the end waits, too")
    service.rig.run("systemctl", "start", "receiver.service")
    _, text = wait_for_message(service, r"bench3: 2 messages since [\d:]+", before)
    lines = text.splitlines()
    assert lines[0] == "These 2 messages could not be sent before:"
    assert [line.partition(" ")[2] for line in lines[1:3]] == ["bench3: slot 0 failed", "bench3: offline is complete"]
    assert lines[5:7] == ["offline is complete.", "1 of 2 slots taken, 1 lost."]
    assert len(messages(service)) == before + 1


def test_a_test_message_arrives_and_the_status_says_when_it_last_worked(service):
    """Asked for by root, sent by the service, which alone has the URL."""
    before = len(messages(service))
    assert service.ctl("notify", "--test") == "ntfy: sent\n"
    _, text = wait_for_message(service, "bench3: a test", before)
    assert text == "This is a test by timelapsectl notify. Messages of this rig arrive here."
    service.rig.wait_until(lambda: "messages to ntfy, last worked" in service.ctl("status"), what="the status")


def test_the_url_of_the_service_is_in_no_line_of_the_journal(service):
    """Nor in the unit's properties."""
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={RELAY}", "ACTION=message_sent")
    assert TOPIC not in service.rig.journal_text()
    assert TOPIC not in service.rig.run("systemctl", "show", RELAY).stdout
