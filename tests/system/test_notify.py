"""The relay's messages and heartbeat under a real systemd, in the sandbox of its unit, with a real apprise.

The machine has no network; a server on its loopback stands in for ntfy and for the monitor, and writes down what
arrives. One of its rigs has its far end elsewhere, by a cable that can be pulled. Its rigs have their stories beside
each other. What arrives of each is compared with what its store, and the
instant of the message by the ledger, make it say, word by word. No word, number or time is free; a story can't know how
many of the records of the last seconds the relay had seen by then, and one count has to fit all of the message.
"""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta

import pytest
from container import Rig
from debian import SOURCES
from far_end import NAME, FarEnd
from retold import Retold, retellings
from timelapse_service import TimelapseService, configuration, moved
from tree import SUPPORT
from waiting import RigError

RELAY = "plant-imager-timelapse-relay"
STATE = f"/var/lib/{RELAY}"
SETTINGS_OF = "/etc/plant-imager3-app"
TOPIC, KEY = "s3cret-topic-of-the-test", "s3cret-key-of-the-test"
ARRIVED = "/var/tmp/arrived"
PORT = 8080

GRACE = timedelta(seconds=20)
"""On a busy machine a slot may be late, and that is no news."""
TEST = "This is a test by timelapsectl notify. Messages of this rig arrive here."

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

    def __init__(self, rig, name="", *, address=f"127.0.0.1:{PORT}", arrived=None):
        super().__init__(rig, name)
        self.address, self.file = address, arrived or rig.path(ARRIVED)
        self.called = f"{name} on bench3" if name else "bench3"
        self.topic = f"{TOPIC}{name}"
        self.relay = f"{RELAY}@{name}.service" if name else f"{RELAY}.service"
        self.ledger = rig.path(f"{STATE}/{name}/notify.ledger")

    def set_up(self, *, gather="3s", options="", before=""):
        """Write the configuration of daemon and relay, of which only the relay can read the secrets."""
        secrets = {
            "urls": f"ntfy://{self.address}/{self.topic}",
            "ping": f"http://{self.address}/ping{self.name}",
            "pause": f"http://{self.address}/pause{self.name}\n{KEY}",
        }
        for file, text in secrets.items():
            self.rig.write(f"{self.settings}/{file}", text, mode=0o600)
        tables = RELAY_TABLES.format(settings=self.settings, gather=gather)
        self.configure(f"{before}{configuration(options=options)}{tables}")

    def arrived(self):
        """Return what the far end has of this rig: the pings, and the messages, each a title and a text."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        entries = [json.loads(line) for line in lines]
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
        """Cut the power, and boot a machine that finds its files as one that was off for so long does.

        Return how many slots were closed when the power went.
        """
        self.rig.power_cut()
        store = self.read()
        first = store["schedule_times"][0]
        for file in (self.store, f"{self.store}.live", f"{self.store}.bak"):
            path = self.rig.path(file)
            path.write_text(json.dumps(moved(json.loads(path.read_bytes()), -duration)))
        told = json.loads(self.ledger.read_bytes())
        # It knows the present timelapse, if it has seen it already, by its name and its first slot.
        names = {name: name.replace(first, moved(first, -duration)) for name in told["marks"]}
        told["marks"] = {names[name]: mark for name, mark in told["marks"].items()}
        told.pop("recent", None)  # nothing was sent since long ago
        self.ledger.write_text(json.dumps(told))
        self.set_up(gather="30s")  # the daemon may need more time than the relay to start
        self.rig.boot()
        return store["next_idx"]

    def wait_for_messages(self, count, after=0):
        """Return so many messages, as soon as they are there, each with when it was worded."""
        try:
            self.rig.wait_until(lambda: len(self.messages) >= after + count, within=180, what="the messages")
            self.rig.wait_until(lambda: b'"waiting"' not in self.ledger.read_bytes(), what="all was sent")
        except RigError as never:
            raise RigError(f"{never}; there are {self.messages[after:]}") from None
        found = self.messages[after:]
        assert len(found) == count, found
        worded = [datetime.fromisoformat(at) for at, _ in json.loads(self.ledger.read_bytes())["recent"]]
        return [*zip(found, worded[-count:], strict=True)]

    def compare(self, told, retell, store=None):
        """Compare a message with what the store makes it say."""
        message, at = told
        expected = [retell(one) for one in retellings(self.called, store or self.read(), at)]
        assert message in expected, "\n---\n".join(["\n".join(text) for text in [message, *expected]])


@pytest.fixture(scope="module")
def far_end(tmp_path_factory):
    """Return what is elsewhere, and the file with what has arrived there."""
    arrived = tmp_path_factory.mktemp("far") / "arrived"
    with FarEnd(arrived) as far_end:
        yield far_end, arrived


@pytest.fixture(scope="module")
def machine(layers, installed, far_end):
    """Return a machine whose relays send to its far ends; on, and since just now without a network."""
    rig = Rig(layers, installed, hostname="bench3")
    elsewhere, arrived = far_end
    try:
        rig.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", "--extras", "relay,notify")
        rig.write("/usr/local/bin/receiver", (SUPPORT / "http_receiver.py").read_text())
        rig.write("/etc/systemd/system/receiver@.service", RECEIVER_UNIT)
        rig.build("systemctl", "enable", RELAY, f"receiver@{PORT}")
        services = [Reporter(rig), *(Reporter(rig, name) for name in ("failing", "ten", "quiet"))]
        services.append(Reporter(rig, "offline", address=NAME, arrived=arrived))
        own = {"ten": {"gather": "1m", "options": f"fail = {[*range(10)]}"}}
        own |= {"failing": {"options": "fail = [1]"}, "offline": {"options": "fail = [0]"}}
        for service in services:
            service.set_up(**own.get(service.name, {}))
        secrets = [f"{service.settings}/{file}" for service in services for file in ("urls", "ping", "pause")]
        rig.build("chown", "plant-imager:", *secrets)
        services[0].see_boots()
        services[0].define(interval="3s", n_shots=100_000, grace=GRACE.seconds)
        rig.boot()
        rig.run("systemctl", "start", *(service.relay for service in services))
        for service in services:
            rig.wait_until(service.ledger.exists, what="the relay's first look")
        elsewhere.plug_in(rig)
        assert services[-1].ctl("notify", "--test") == "ntfy: sent\n"
        elsewhere.unplug(rig)
        wanted = {
            # What became of a slot is told, on a busy machine too, before the next one is due.
            "failing": {"n_shots": 4, "interval": "30s"},
            "ten": {"n_shots": 10_000, "interval": "2s"},
            "quiet": {"n_shots": 4, "interval": "5s"},
            "offline": {"n_shots": 2, "interval": "30s"},
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


def test_a_daemon_that_a_faulty_configuration_stopped_is_noticed(service):
    """By its absence; the monitor is told that the schedule isn't kept. Both hear when it is kept again."""
    service.rig.wait_until(lambda: service.pings[-2:] == ["start", "ping"], what="the schedule is kept")
    before = len(service.messages)
    service.set_up(before="nonsense = 1\n")
    service.rig.run("systemctl", "restart", service.unit, check=False)
    service.rig.wait_until(lambda: service.show("ExecMainStatus") == "78", what="the daemon ends with 78")
    stopped = service.read()
    (told,) = service.wait_for_messages(1, after=before)
    service.compare(told, lambda words: words.overdue(GRACE), stopped)
    service.rig.wait_until(lambda: service.pings[-1] == "fail", what="the monitor hears of it")
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={service.relay}", "ACTION=overdue")
    service.set_up()
    service.systemctl("start")
    compare_loss(service, before + 1, stopped["next_idx"], "the daemon was not running")
    service.rig.wait_until(lambda: service.pings[-3:] == ["ping", "fail", "ping"], what="pings again")


def compare_loss(service, before, first, cause):
    """Compare the message of the slots that were lost; where none was taken before it, a second one says that."""
    service.rig.wait_until(
        lambda: len(service.messages) > before and b'"losses"' not in service.ledger.read_bytes(),
        within=180,
        what="the loss, and the end of it in the ledger",
    )
    service.rig.wait_until(lambda: b'"waiting"' not in service.ledger.read_bytes(), what="all was sent")
    loss, *again = service.wait_for_messages(len(service.messages) - before, after=before)
    service.compare(loss, lambda words: words.losses(first))
    assert f"missed: {cause}." in loss[0][1]
    for told in again:
        service.compare(told, lambda words: words.again(first))
    assert len(again) == ("Slots are taken again since." not in loss[0][1])


def test_a_failed_slot_its_recovery_and_the_end_are_a_message_each(machine):
    """A person hears of each once, and nothing between; a completed timelapse pauses the monitor."""
    service = machine["failing"]
    failure, recovery, end = service.wait_for_messages(3)
    service.compare(failure, lambda words: words.losses(1))
    assert "failing: slot 1 (" in failure[0][1]
    service.compare(recovery, lambda words: words.again(1))
    service.compare(end, Retold.complete)


def test_ten_failures_in_a_minute_are_one_message(machine):
    """However many there are while it is gathered."""
    (told,) = machine["ten"].wait_for_messages(1)
    machine["ten"].compare(told, lambda words: words.losses(0))
    assert told[0][0] == "ten on bench3: 10 slots failed"


def test_without_a_network_messages_wait_and_are_summed_up_when_it_is_back(machine, far_end):
    """All of a timelapse passes meanwhile, and the monitor hears nothing of it: its silence is the alarm."""
    service = machine["offline"]
    test = (f"{service.called}: a test", TEST)
    service.rig.wait_for_entry(f"_SYSTEMD_UNIT={service.relay}", "ACTION=message_stuck")
    service.wait_for("timelapse_completed")
    service.rig.wait_until(lambda: b"offline is complete" in service.ledger.read_bytes(), what="the end waits, too")
    assert service.arrived() == ([], [test])
    assert "can't be reached" in service.ctl("status")
    far_end[0].plug_in(service.rig)
    ((title, text), end) = service.wait_for_messages(1, after=1)[0]
    failed_at, ended_at = (datetime.fromisoformat(at) for at, _ in json.loads(service.ledger.read_bytes())["recent"])
    assert end == ended_at
    words = Retold(service.called, service.read(), ended_at, 2)
    assert title == f"offline on bench3: 2 messages since {words.time(failed_at)}"
    assert text.splitlines() == [
        "These 2 messages could not be sent before:",
        f"{words.time(failed_at)} offline on bench3: slot 0 failed",
        f"{words.time(ended_at)} offline on bench3: offline is complete",
        "",
        "The last of them:",
        *words.complete()[1].splitlines(),
    ]
    service.rig.wait_until(lambda: service.pings == ["pause"], what="the monitor is paused")


def test_in_a_quiet_run_nothing_arrives_but_heartbeats(machine):
    """And, at its end, one message that says so, and the request for a pause."""
    service = machine["quiet"]
    (told,) = service.wait_for_messages(1)
    service.compare(told, Retold.complete)
    service.rig.wait_until(lambda: service.pings[-1] == "pause", what="the monitor is paused")
    assert service.pings == ["start", "ping", "pause"]


def test_a_test_message_arrives_and_the_status_says_when_it_last_worked(service):
    """Asked for by root, sent by the service, which alone has the URL."""
    before = len(service.messages)
    assert service.ctl("notify", "--test") == "ntfy: sent\n"
    service.rig.wait_until(lambda: service.messages[before:] == [("bench3: a test", TEST)], what="the test message")
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


LISTENING = """
import contextlib, os, pathlib, subprocess, sys
waiting = set()
for pid in filter(str.isdigit, os.listdir("/proc")):
    for kind, state in {"tcp": "0A", "udp": "07", "raw": "07"}.items():
        for version in ("", "6"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                lines = [line.split() for line in open(f"/proc/{pid}/net/{kind}{version}")][1:]
                waiting |= {f"socket:[{line[9]}]" for line in lines if line[3] == state}
for unit in sys.argv[1:]:
    show = ["systemctl", "show", "--value", "--property=MainPID", unit]
    fds = pathlib.Path(f"/proc/{subprocess.check_output(show, text=True).strip()}/fd")
    held = []
    for fd in os.listdir(fds):
        with contextlib.suppress(OSError):  # it was closed meanwhile
            held.append(os.readlink(fds / fd))
    print(sum(fd.startswith("socket:") for fd in held) > 0, sum(fd in waiting for fd in held))
"""


def test_nothing_of_ours_listens_on_the_network(machine):
    """Neither daemon nor relay of any rig, in whichever network they are; the far end, which does, is found."""
    units = [unit for service in machine.values() for unit in (service.unit, service.relay)]
    shown = machine[""].rig.run("python3", "-c", LISTENING, *units, f"receiver@{PORT}").stdout.splitlines()
    assert shown == ["True 0"] * len(units) + ["True 1"]


def test_the_power_switch_and_its_return_are_one_message(service):
    """Nobody could send one meanwhile; at the return it says what the outage cost."""
    service.rig.wait_until(lambda: b'"waiting"' not in service.ledger.read_bytes(), what="all was sent")
    before, pings = len(service.messages), len(service.pings)
    closed = service.lose_power_for(2 * GRACE)
    compare_loss(service, before, closed, "the rig was off")
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
    (told,) = service.wait_for_messages(1, after=before)
    service.compare(told, lambda words: words.losses(1))
    assert told[0][0] == "bench3: 20 slots missed"
    assert "missed: the rig was off." in told[0][1]
    service.rig.wait_until(lambda: service.pings[-1] == "ping", what="the schedule is kept")
    assert len(service.messages) == before + 1
