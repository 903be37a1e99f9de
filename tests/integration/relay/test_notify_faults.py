"""Messages survive networks, services and relays that fail, and their URLs are secrets."""

import subprocess

import pytest
from daemon_process import CTL
from notify_rig import AHEAD, HOST, NotifyRig, failed, local
from waiting import wait_until

from plantimager.timelapse.channel.relay_status import read_relay_status

TAKEN = "succeeded"
TOPIC = "a-secret-topic-of-the-test"


@pytest.fixture
def ntfy(receiver):
    return f"ntfy://127.0.0.1:{receiver.port}/{TOPIC}"


def ctl(rig, *words):
    """Run timelapsectl on the rig."""
    environment = {**rig.place.environment, "TZ": "UTC"}
    done = subprocess.run([*CTL, *words], env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def status_of(rig):
    """Return what the relay's status says of the sink."""
    status = read_relay_status(rig.places.relay_state)
    return status.sinks[0] if status is not None and status.sinks else None


def test_what_could_not_be_sent_is_summed_up_when_the_network_is_back(tmp_path, receiver, ntfy):
    """In one message, also by a relay that was started again meanwhile; and nobody hears of it twice."""
    rig = NotifyRig(tmp_path / "rig", ntfy, picture="false")
    rig.have(TAKEN)
    receiver.answer_with(503)
    with rig.start_and_settle() as relay:
        rig.have(TAKEN, failed("one"))
        assert "503" in relay.wait_for("message_stuck")
        rig.have(TAKEN, failed("one"), TAKEN)
        wait_until(lambda: b"slots are taken again" in rig.ledger_of_messages(), within=60)
        relay.process.kill()
    with rig.start():
        receiver.answer_with(200)
        heard = receiver.next().json
        assert heard["topic"] == TOPIC
        assert heard["title"].startswith(f"{HOST}: 2 messages since ")
        lines = heard["message"].splitlines()
        assert lines[0] == "These 2 messages could not be sent before:"
        assert [line.partition(" ")[2] for line in lines[1:3]] == [
            f"{HOST}: slot 1 failed",
            f"{HOST}: slots are taken again",
        ]
        assert lines[3:6] == ["", "The last of them:", "Slots are taken again."]
        wait_until(lambda: b'"waiting"' not in rig.ledger_of_messages(), within=60)
        rig.have(TAKEN, failed("one"), TAKEN, failed("three"))
        assert receiver.next().json["title"] == f"{HOST}: slot 3 failed"
        assert receiver.requests.empty()


def test_a_service_that_hangs_holds_up_neither_the_others_nor_the_relay(tmp_path, receiver, mail, ntfy):
    """It is given its time, and then counts as failed."""
    rig = NotifyRig(tmp_path / "rig", ntfy, mail.url, timeout='"10s"')
    rig.have(TAKEN)
    receiver.gate.clear()
    with rig.start_and_settle() as relay:
        rig.have(TAKEN, failed("one"))
        assert mail.next().subject == f"{HOST}: slot 1 failed"
        assert "no answer within 10 s" in relay.wait_for("message_stuck")
        wait_until(lambda: "no answer" in status_of(rig).trouble, within=60)
        assert relay.stop() == 0


def test_the_url_of_a_service_is_in_no_line_file_or_answer(tmp_path, receiver, ntfy):
    """It is a secret: who knows it may write there, and read."""
    rig = NotifyRig(tmp_path / "rig", ntfy)
    rig.have(TAKEN)
    receiver.answer_with(403)
    with rig.start_and_settle() as relay:
        rig.have(TAKEN, failed("one"))
        relay.wait_for("message_stuck")
        _, said, faults = ctl(rig, "notify", "--test")
        relay.stop()
    written = [path.read_text() for path in rig.places.relay_state.iterdir() if path.is_file()]
    assert [text for text in (*relay.lines, said, faults, *written) if TOPIC in text] == []


def test_a_test_message_is_sent_on_demand_and_each_service_answers_for_itself(tmp_path, receiver, mail, ntfy):
    """A person knows at once what arrives; the status says when it last worked."""
    rig = NotifyRig(tmp_path / "rig", ntfy, mail.url, picture="false")
    rig.have(TAKEN)
    with rig.start_and_settle():
        code, said, _ = ctl(rig, "notify", "--test")
        assert (code, said) == (0, "ntfy: sent\nE-Mail: sent\n")
        assert receiver.next().json["title"] == f"{HOST}: a test"
        assert mail.next().body == "This is a test by timelapsectl notify. Messages of this rig arrive here."
        wait_until(lambda: status_of(rig).worked_at is not None, within=60)
        _, said, _ = ctl(rig, "status")
        assert f"relay: messages to ntfy, E-Mail, last worked {local(status_of(rig).worked_at)} (notify)\n" in said
        receiver.answer_with(401)
        code, said, _ = ctl(rig, "notify", "--test")
        assert code == 1
        assert said.splitlines()[0].startswith("ntfy: not sent: ")
        assert said.splitlines()[1] == "E-Mail: sent"


def test_a_test_message_takes_a_running_relay(tmp_path, mail):
    """It alone has the URLs."""
    rig = NotifyRig(tmp_path / "rig", mail.url)
    code, _, faults = ctl(rig, "notify", "--test")
    assert code == 69
    assert "error: the relay is not running\nhint: start it with: XDG_DATA_HOME=" in faults


@pytest.mark.parametrize(
    ("urls", "fault"),
    [
        ("nftyy://127.0.0.1/secret", "line 2: no URL that apprise knows"),
        ("# none", "no URL in it"),
    ],
)
def test_a_faulty_list_of_services_is_refused_at_the_start(tmp_path, urls, fault):
    """By its line, not by its text."""
    rig = NotifyRig(tmp_path / "rig", urls)
    relay = rig.start_only()
    with relay:
        assert fault in relay.wait_for("relay_config_faulty")
        assert relay.process.wait(60) == 78
    assert not [line for line in relay.lines if "secret" in line]


def test_a_list_of_services_that_others_can_read_is_refused(tmp_path, mail):
    """As a password is."""
    rig = NotifyRig(tmp_path / "rig", mail.url)
    rig.urls.chmod(0o644)
    with rig.start_only() as relay:
        assert f"others can read this list of services; chmod 600 {rig.urls}" in relay.wait_for("relay_config_faulty")


def test_a_damaged_ledger_is_reported_and_what_has_happened_counts_as_told(tmp_path, mail):
    """Better one thing unsaid than all of it again."""
    rig = NotifyRig(tmp_path / "rig", mail.url)
    rig.have(TAKEN, failed("one"))
    rig.places.relay_state.mkdir(parents=True)
    rig.places.ledger("notify").write_text("{")
    with rig.start() as relay:
        relay.wait_for("ledger_damaged")
        wait_until(lambda: b'"marks"' in rig.ledger_of_messages(), within=60)
        rig.have(TAKEN, failed("one"), failed("two"))
        assert f"tl: slot 2 ({local(AHEAD[2])}) failed: two.\n" in mail.next().body


def test_a_message_that_is_too_long_for_a_service_is_cut_off_and_arrives(tmp_path, receiver):
    """Rocket.Chat takes a thousand characters, Discord two thousand; a longer text would be refused again and again."""
    rig = NotifyRig(tmp_path / "rig", f"rocket://a0b1c2/d3e4f5@127.0.0.1:{receiver.port}/#rigs", picture="false")
    rig.have(TAKEN)
    with rig.start_and_settle() as relay:
        rig.have(TAKEN, *[failed(f"{chr(97 + n)}: {'no answer ' * 40}") for n in range(4)])
        heard = receiver.next().json["text"]
        assert len(heard) <= 1000
        assert f"{HOST}: 4 slots failed" in heard
        assert f"{local(AHEAD[1])}\\) failed: a: no answer" in heard  # it takes Markdown, where a parenthesis is a sign
        assert "message_sent: to Rocket.Chat" in relay.wait_for("message_sent")
