"""The relay's messages and heartbeat under a real systemd, in the sandbox of its unit, with a real apprise.

The machine has no network; a server on its loopback stands in for ntfy and for the monitor, and writes down what
arrives. Its rigs have their stories beside each other; what arrives of each is compared word by word.
"""

from __future__ import annotations

import itertools
import json
import re
from datetime import timedelta

import pytest
from container import Rig
from debian import SOURCES
from timelapse_service import TimelapseService, configuration, moved
from tree import SUPPORT
from waiting import RigError

RELAY = "plant-imager-timelapse-relay"
STATE = f"/var/lib/{RELAY}"
SETTINGS_OF = "/etc/plant-imager3-app"
TOPIC, KEY = "s3cret-topic-of-the-test", "s3cret-key-of-the-test"
ARRIVED = "/var/tmp/arrived"
PORT, OTHER_PORT = 8080, 8081
"""Of the far end, and of the one that the rig without a network would need."""

RECEIVER_UNIT = f"""\
[Service]
ExecStart=/usr/bin/python3 /usr/local/bin/receiver %i {ARRIVED}
[Install]
WantedBy=multi-user.target
"""

RELAY_TABLES = """
[relay.notify]
urls_file = "{settings}/urls"
gather = "{gather}"
picture = false

[relay.heartbeat]
url_file = "{settings}/ping"
interval = "2s"
idle = "pause"
pause_file = "{settings}/pause"
"""


class Reporter(TimelapseService):
    """The service of a rig with a relay, and what of it has arrived at the far end."""

    def __init__(self, rig, name="", *, port=PORT):
        super().__init__(rig, name)
        self.port = port
        self.topic = f"{TOPIC}{name}"
        self.relay = f"{RELAY}@{name}.service" if name else f"{RELAY}.service"
        self.ledger = rig.path(f"{STATE}/{name}/notify.ledger")

    def set_up(self, *, gather="3s", options="", before=""):
        """Write the configuration of daemon and relay, of which only the relay can read the secrets."""
        address = f"127.0.0.1:{self.port}"
        secrets = {
            "urls": f"ntfy://{address}/{self.topic}",
            "ping": f"http://{address}/ping{self.name}",
            "pause": f"http://{address}/pause{self.name}\n{KEY}",
        }
        for file, text in secrets.items():
            self.rig.write(f"{self.settings}/{file}", text, mode=0o600)
        tables = RELAY_TABLES.format(settings=self.settings, gather=gather)
        self.configure(f'{before}scan_timeout = "4s"\n{configuration(options=options)}{tables}')

    def arrived(self):
        """Return what the far end has of this rig: the pings, and the messages, each a title and a text."""
        path = self.rig.path(ARRIVED)
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        signals = {f"/ping{self.name}": "ping", f"/ping{self.name}/start": "start", f"/ping{self.name}/fail": "fail"}
        signals[f"/pause{self.name}"] = "pause"
        pings = [signals[path] for path, _, _ in entries if path in signals]
        assert {key for path, _, key in entries if path == f"/pause{self.name}"} <= {KEY}
        found = [json.loads(body) for path, body, _ in entries if path == "/"]
        return pings, [(found["title"], found["message"]) for found in found if found["topic"] == self.topic]

    @property
    def pings(self):
        """What its monitor has heard, without a row of the same."""
        return [signal for signal, _ in itertools.groupby(self.arrived()[0])]

    @property
    def messages(self):
        """The messages that have arrived."""
        return self.arrived()[1]

    def lose_power_for(self, duration):
        """Cut the power, and boot a machine that finds its files as one that was off for so long does."""
        self.rig.power_cut()
        first = self.read()["schedule_times"][0]
        for file in (self.store, f"{self.store}.live", f"{self.store}.bak"):
            path = self.rig.path(file)
            path.write_text(json.dumps(moved(json.loads(path.read_bytes()), -duration)))
        told = json.loads(self.ledger.read_bytes())
        # It knows the present timelapse, if it has seen it already, by its name and its first slot.
        names = {name: name.replace(first, moved(first, -duration)) for name in told["marks"]}
        told["marks"] = {names[name]: mark for name, mark in told["marks"].items()}
        told.pop("recent", None)  # nothing was sent since long ago
        self.ledger.write_text(json.dumps(told))
        self.set_up(gather="10s")  # the daemon may need more time than the relay to start
        self.rig.boot()

    def wait_for_messages(self, *expected, after=0):
        """Compare the messages after so many, word by word, as soon as there are as many as expected."""
        try:
            self.rig.wait_until(lambda: len(self.messages) >= after + len(expected), within=180, what="the messages")
        except RigError as never:
            raise RigError(f"{never}; there are {self.messages[after:]}") from None
        for (title, text), (subject, *lines) in zip(self.messages[after:], expected, strict=True):
            assert re.fullmatch(worded(subject), title), title
            assert re.fullmatch("".join(map(worded_line, lines)), f"{text}\n"), text


def worded(text):
    """Return the pattern of words in which TIME is any time, N any number, and REASON what a driver says."""
    places = {
        "TIME": r"(?:\d+ \w+ )?[\d:]+",
        "SLOTS": r"\d+ slots?",
        "N": r"\d+",
        "REASON": r"[^\n]+",
        "AGO": r"[\w ]+",
        "LOST": "(?:missed|lost)",
        "WHICH": r"[\w ():]+",
    }
    pattern = re.escape(text)
    for name, place in places.items():
        pattern = re.sub(rf"\b{name}\b", place.replace("\\", r"\\"), pattern)
    return pattern


def worded_line(line):
    """Return the pattern of a line; of one that may be absent, where it begins with a question mark."""
    return rf"(?:{worded(line[1:])}\n)?" if line.startswith("?") else rf"{worded(line)}\n"


@pytest.fixture(scope="module")
def machine(layers, installed):
    """Return a machine whose relays send to its far end; on."""
    rig = Rig(layers, installed, hostname="bench3")
    try:
        rig.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", "--extras", "relay,notify")
        rig.write("/usr/local/bin/receiver", (SUPPORT / "http_receiver.py").read_text())
        rig.write("/etc/systemd/system/receiver@.service", RECEIVER_UNIT)
        rig.build("systemctl", "enable", RELAY, f"receiver@{PORT}")
        services = [Reporter(rig), *(Reporter(rig, name) for name in ("failing", "ten", "quiet"))]
        services.append(Reporter(rig, "offline", port=OTHER_PORT))
        own = {"ten": {"gather": "30s", "options": f"fail = {[*range(10)]}"}}
        own |= {"failing": {"options": "fail = [1]"}, "offline": {"options": "fail = [0]"}}
        for service in services:
            service.set_up(**own.get(service.name, {}))
        secrets = [f"{service.settings}/{file}" for service in services for file in ("urls", "ping", "pause")]
        rig.build("chown", "plant-imager:", *secrets)
        services[0].see_boots()
        services[0].define(interval="3s", n_shots=100_000, grace=6)
        rig.boot()
        rig.run("systemctl", "start", *(service.relay for service in services))
        for service in services:
            rig.wait_until(service.ledger.exists, what="the relay's first look")
        wanted = {
            "failing": {"n_shots": 4, "interval": "15s"},
            "ten": {"n_shots": 10_000, "interval": "2s"},
            "quiet": {"n_shots": 4, "interval": "3s"},
            "offline": {"n_shots": 2, "interval": "12s"},
        }
        for service in services[1:]:
            service.define(service.name, grace=60, **wanted[service.name])
        rig.run("systemctl", "start", *(service.unit for service in services[1:]))
        yield {service.name: service for service in services}
    finally:
        rig.remove()


@pytest.fixture
def service(machine):
    """Return the machine's own service, which takes a slot every three seconds."""
    machine[""].wait_for("scan_succeeded")
    return machine[""]


SKIPPED = (
    "What to do: nothing for these. If the power failed, a longer grace_period in the next definition, or missed ="
    ' "run_latest" in timelapsed.toml, takes more slots after an outage.'
)
FAILED = "What to do: read the reason, then look at the rig: cables, power, camera."
MISSED = (
    "?tl: WHICH missed, later than the grace period.",  # a busy machine
    "?tl: slot N (TIME) interrupted: REASON.",  # the one that may have been being taken
    "Lost: N time points. Taken so far: N of 100000.",
    "?Slots are taken again since.",
    SKIPPED,
    "?What to do: nothing.",
    "",
    "Next slot: N, at TIME.",
)
AGAIN = (
    "bench3: slots are taken again",
    "Slots are taken again.",
    "The trouble began at TIME (AGO ago); it cost N time points.",
    "",
    "Next slot: N, at TIME.",
)


def test_a_daemon_that_a_faulty_configuration_stopped_is_noticed(service):
    """By its absence; the monitor is told that the schedule isn't kept. Both hear when it is kept again."""
    service.rig.wait_until(lambda: service.pings[-2:] == ["start", "ping"], what="the schedule is kept")
    before = len(service.messages)
    service.set_up(before="nonsense = 1\n")
    service.rig.run("systemctl", "restart", service.unit, check=False)
    service.rig.wait_until(lambda: service.show("ExecMainStatus") == "78", what="the daemon ends with 78")
    overdue = (
        "bench3: slot N is overdue",
        "tl: slot N was due at TIME and has no record.",
        "The timelapse service isn't running; its journal says why.",
        "SLOTS can't be taken in time any more.",
        "Taken so far: N of 100000.",
        "What to do: see whether the service runs: systemctl status plant-imager-timelapsed.",
        "",
        "Next slot: N, at TIME.",
    )
    service.wait_for_messages(overdue, after=before)
    service.rig.wait_until(lambda: service.pings[-1] == "fail", what="the monitor hears of it")
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={service.relay}", "ACTION=overdue")
    service.set_up()
    service.systemctl("start")
    missed = "bench3: N slots LOST", "tl: N slots from TIME to TIME missed: the daemon was not running.", *MISSED
    wait_for_all_of(service, [overdue, missed], before)
    service.rig.wait_until(lambda: service.pings[-3:] == ["ping", "fail", "ping"], what="pings again")


def wait_for_all_of(service, expected, before):
    """Compare all messages since; where slots weren't taken again when the loss was told, a last one says that."""
    service.rig.wait_until(
        lambda: len(service.messages) >= before + len(expected) and b'"losses"' not in service.ledger.read_bytes(),
        within=180,
        what=f"{len(expected)} messages, and the end of it in the ledger",
    )
    service.rig.wait_until(lambda: b'"waiting"' not in service.ledger.read_bytes(), what="all was sent")
    found = service.messages[before:]
    told = [*expected, AGAIN] if len(found) > len(expected) else expected
    service.wait_for_messages(*told, after=before)


def test_a_failed_slot_its_recovery_and_the_end_are_a_message_each(machine):
    """A person hears of each once, and nothing between; a completed timelapse pauses the monitor."""
    machine["failing"].wait_for_messages(
        (
            "failing: slot 1 failed",
            "failing: slot 1 (TIME) failed: REASON.",
            "Lost: 1 time point. Taken so far: 1 of 4.",
            FAILED,
            "",
            "Next slot: 2, at TIME.",
        ),
        (
            "failing: slots are taken again",
            "Slots are taken again.",
            "The trouble began at TIME (AGO ago); it cost 1 time point.",
            "",
            "Next slot: 3, at TIME.",
        ),
        (
            "failing: failing is complete",
            "failing is complete.",
            "3 of 4 slots taken, 1 lost.",
            "What to do: fetch the datasets.",
            "",
            "No slot is scheduled.",
        ),
    )


def test_ten_failures_in_a_minute_are_one_message(machine):
    """However many there are while it is gathered."""
    machine["ten"].wait_for_messages(
        (
            "ten: 10 slots failed",
            "ten: 10 slots from TIME to TIME failed, the last one: REASON.",
            "Lost: 10 time points. Taken so far: N of 10000.",
            "Slots are taken again since.",
            FAILED,
            "",
            "Next slot: N, at TIME.",
        )
    )


def test_without_a_network_messages_wait_and_are_summed_up(machine):
    """All of a timelapse may pass meanwhile, and the monitor has heard nothing of it: its silence is the alarm."""
    service = machine["offline"]
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={service.relay}", "ACTION=message_stuck")
    service.wait_for("timelapse_completed")
    service.rig.wait_until(lambda: b"offline is complete" in service.ledger.read_bytes(), what="the end waits, too")
    assert service.arrived() == ([], [])
    service.rig.run("systemctl", "start", f"receiver@{OTHER_PORT}")
    service.wait_for_messages(
        (
            "offline: 2 messages since TIME",
            "These 2 messages could not be sent before:",
            "TIME offline: slot 0 failed",
            "TIME offline: offline is complete",
            "",
            "The last of them:",
            "offline is complete.",
            "1 of 2 slots taken, 1 lost.",
            "What to do: fetch the datasets.",
            "",
            "No slot is scheduled.",
        )
    )
    service.rig.wait_until(lambda: service.pings == ["pause"], what="the monitor is paused")


def test_in_a_quiet_run_nothing_arrives_but_heartbeats(machine):
    """And, at its end, one message that says so, and the request for a pause."""
    service = machine["quiet"]
    complete = (
        "quiet is complete.",
        "4 of 4 slots taken.",
        "What to do: fetch the datasets.",
        "",
        "No slot is scheduled.",
    )
    service.wait_for_messages(("quiet: quiet is complete", *complete))
    service.rig.wait_until(lambda: service.pings[-1] == "pause", what="the monitor is paused")
    assert service.pings == ["start", "ping", "pause"]


def test_a_test_message_arrives_and_the_status_says_when_it_last_worked(service):
    """Asked for by root, sent by the service, which alone has the URL."""
    before = len(service.messages)
    assert service.ctl("notify", "--test") == "ntfy: sent\n"
    text = "This is a test by timelapsectl notify. Messages of this rig arrive here."
    service.wait_for_messages(("bench3: a test", text), after=before)
    service.rig.wait_until(lambda: "messages to ntfy, last worked" in service.ctl("status"), what="the status")
    assert "pings every 2 s, pauses the monitor while nothing is scheduled, last worked" in service.ctl("status")


def test_no_secret_is_in_the_journal_or_the_status(service):
    """Nor in the unit's properties, nor in the line of any process."""
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={service.relay}", "ACTION=message_sent")
    shown = [service.rig.journal_text(), service.ctl("status"), service.ctl("status", "--json"), service.ctl("notify")]
    shown += [service.rig.run("systemctl", "show", service.relay).stdout]
    shown += [
        service.rig.path(f"{STATE}/relay.json").read_text(),
        service.rig.run("sh", "-c", "cat /proc/[0-9]*/cmdline", check=False).stdout,
    ]
    assert [text for text in shown if TOPIC in text or KEY in text or "/ping" in text] == []


def test_the_power_switch_and_its_return_are_one_message(service):
    """Nobody could send one meanwhile; at the return it says what the outage cost."""
    service.rig.wait_until(lambda: b'"waiting"' not in service.ledger.read_bytes(), what="all was sent")
    before, pings = len(service.messages), len(service.pings)
    service.lose_power_for(timedelta(seconds=30))
    missed = "bench3: N slots LOST", "tl: N slots from TIME to TIME missed: the rig was off.", *MISSED
    wait_for_all_of(service, [missed], before)
    service.rig.wait_until(lambda: service.pings[pings:][-1:] == ["ping"], what="the monitor hears of the return")


def test_an_outage_of_hours_is_one_message(service):
    """In it 20 slots were due."""
    service.ctl("cancel", "--why", "the next one", "--yes")
    service.define("hours", interval="15m", n_shots=40, grace=60)
    service.systemctl("restart")
    service.wait_for("scan_succeeded", "TIMELAPSE_ID=hours")
    service.rig.wait_until(lambda: b'"waiting"' not in service.ledger.read_bytes(), what="all was sent")
    before = len(service.messages)
    service.lose_power_for(timedelta(hours=5, minutes=8))  # twenty quarters of an hour, and half of one more
    service.wait_for_messages(
        (
            "bench3: 20 slots missed",
            "hours: N slots from TIME to TIME missed: the rig was off.",
            "?hours: N slots from TIME to TIME missed: the daemon was not running.",  # a host that was booted since
            "Lost: 20 time points. Taken so far: 1 of 40.",
            SKIPPED,
            "",
            "Next slot: 21, at TIME.",
        ),
        after=before,
    )
    service.rig.wait_until(lambda: service.pings[-1] == "ping", what="the schedule is kept")
    assert len(service.messages) == before + 1
