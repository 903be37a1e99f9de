"""The check by the relay itself: each fault of each sink is said, and said once."""

import pytest
from virtual_time import START, VirtualClock

from plantimager.timelapse.drivers.programs import unmet
from plantimager.timelapse.relay.control import check_sinks
from plantimager.timelapse.relay.notify import messenger
from plantimager.timelapse.settings.places import Places

SECRETS = """
[relay.deliver.lab]
url = "https://lab.example"
user = "ada"
password_file = "/no/lab"
[relay.deliver.home]
url = "https://home.example"
user = "ada"
password_file = "/no/home"
[relay.notify]
urls_file = "{urls}"
[relay.heartbeat]
url_file = "/no/heartbeat"
"""


@pytest.fixture
def find(tmp_path):
    """Return a function that returns what is found in a configuration."""
    urls = tmp_path / "urls"
    urls.write_text("json://localhost\n")
    urls.chmod(0o600)

    def run(text):
        (tmp_path / "timelapsed.toml").write_text(text.replace("{urls}", str(urls)))
        places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,))
        return [*check_sinks(places, VirtualClock(START))]

    return run


@pytest.fixture
def lacking(monkeypatch):
    """Let apprise be missing."""
    for module in (unmet, messenger):
        find_spec = module.find_spec
        monkeypatch.setattr(
            module, "find_spec", lambda name, find_spec=find_spec: None if name == "apprise" else find_spec(name)
        )


@pytest.mark.usefixtures("lacking")
def test_every_secret_that_can_not_be_read_is_said_beside_a_package_that_is_missing(find):
    """The person mends all of it at once."""
    notes = find(SECRETS)
    for said in ("apprise", "/no/lab", "/no/home", "/no/heartbeat"):
        assert len([note for note in notes if said in note]) == 1, (said, notes)
    assert len(notes) == 4


def test_retention_without_a_target_is_said_beside_other_sinks(find):
    """And it is no target that is missing."""
    (note,) = find(
        '[relay.retention]\nkeep = "30d"\n[relay.metrics]\ndirectory = "/tmp"\n[relay.look]\nverdicts = []\n'
    )
    assert "removes what every target has" in note


def test_configuration_without_a_sink_is_said(find):
    """Its relay can't start."""
    assert "names no target" in find("")[0]


def test_faults_of_the_configuration_are_left_to_the_daemon(find):
    """Which has said them, each with its table."""
    (note,) = find("[relay.metrics]\ndirectory = 1\n")
    assert "directory" not in note
