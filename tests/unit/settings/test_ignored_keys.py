"""Keys of the community's controller that have no meaning here: named and ignored, not refused."""

from datetime import UTC, datetime, timedelta

import pytest
from simulation import World

from plantimager.timelapse.cli.check import check_definition
from plantimager.timelapse.settings.config import Config
from plantimager.timelapse.settings.definition import IGNORED_KEYS, Definition, read_definition
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.support.errors import FaultsFound
from plantimager.timelapse.support.keys import keys_of

NOW = datetime(2026, 6, 22, 5, tzinfo=UTC)

ONE_SHOT = '[timelapse]\nname = "col0"\nmode = "one_shot"\n'

DOCUMENTED = {
    *("mode", "interval", "n_shots", "dates", "warmup_period", "standby_threshold_sec", "grace_period"),
    *("light_policy", "on_scan_failed", "scan_retries"),
}
"""The keys of ``config["timelapse"]`` in the documentation of the community's controller."""


@pytest.fixture
def definition(tmp_path):
    """Return the path of a definition with every ignored key."""
    path = tmp_path / "timelapse.toml"
    path.write_text(ONE_SHOT + "".join(f'{key} = {{ day = "06:00" }}\n' for key in IGNORED_KEYS))
    return path


def test_every_key_that_the_community_documents_is_known():
    """Either it means the same here, or it is ignored; none of ours is ignored."""
    ours = {key.name for key in keys_of(Definition).values()}
    assert ours | {*IGNORED_KEYS} >= DOCUMENTED
    assert ours.isdisjoint(IGNORED_KEYS)


def test_ignored_key_is_named_in_a_note(definition):
    """The store keeps it with the rest of the configuration."""
    read = read_definition(definition, UTC)
    assert [note.split()[0] for note in read.schedule(NOW, UTC).notes] == [*IGNORED_KEYS]
    assert IGNORED_KEYS.keys() <= read.configuration["timelapse"].keys()


def test_misspelt_key_is_still_a_fault(definition):
    """An ignored key makes no other key acceptable."""
    definition.write_text(ONE_SHOT + "light_polcy = {}\n")
    with pytest.raises(FaultsFound, match="light_polcy: unknown key; did you mean light_policy"):
        read_definition(definition, UTC)


def test_check_shows_the_note(definition):
    """The definition is fine, and the key is among the notes."""
    finding = check_definition(definition, None, NOW, Places(definition.with_name("store.json"), (definition.parent,)))
    assert finding.problem is None
    assert finding.notes[0].startswith("light_policy is ignored, a key of the community's controller")


def test_daemon_names_the_key_in_the_journal(tmp_path):
    """It does so in the line with which it accepts the definition."""
    world = World(tmp_path / "rig", Config())
    world.define()
    file = tmp_path / "rig" / "config" / "timelapse.toml"
    file.write_text(file.read_text().replace("[timelapse]", '[timelapse]\nlight_policy = { day = "06:00" }'))
    world.live((timedelta(minutes=1), lambda life: life.kill()))
    assert "; light_policy is ignored, a key of the community's controller" in world.said("definition_accepted")[0]
