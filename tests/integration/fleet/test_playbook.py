"""The playbook leaves what an administrator has set up. Its run on whole machines is in tests/system."""

import re

import pytest
from fleet import FLEET

OURS = "--collector.textfile.directory=/run/plant-imager-timelapse-relay*"


def changed(options):
    """Return the defaults of node_exporter after the task, which is Python's substitution of lines."""
    text = (FLEET / "ansible/rigs.yml").read_text()
    task = text.partition("name: node_exporter reads")[2].partition("notify:")[0]
    regexp, replacement = (re.search(rf"{key}: \|-\n +(.*)\n", task)[1] for key in ("regexp", "replace"))
    return re.sub(regexp, replacement, f"# Options\nARGS={options}\nOTHER=1\n", flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("configuration", "is_there"),
    [
        ("", False),
        ('driver = "grbl"\n[drivers.grbl]\nrelay_pin = 3\n', False),
        ("# [relay.notify]\n# [relay]\n", False),
        ("[relay]\n# notify = {}\n\n[drivers.grbl]\nport = 3\n", False),
        ("[relay]", False),
        ("[relay.notify]\n", True),
        ("  [ relay . metrics ]\n", True),
        ("relay.metrics = {}\n", True),
        ("relay = { notify = {} }\n", True),
        ('x = 1\n[relay]\nheartbeat.url = "https://x"\n', True),
        ("[relay] # all\n\n  # of it\n  notify = {}\n", True),
    ],
)
def test_a_relay_is_seen_however_its_tables_are_written(configuration, is_there):
    """It would be switched off without a word."""
    table = re.search(r"relay_table: '(.*)'", (FLEET / "ansible/rigs.yml").read_text())[1]
    assert (re.search(table, configuration, re.MULTILINE) is not None) is is_there


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('""', f'"{OURS} "'),
        ('"--web.listen-address=:9101"', f'"{OURS} --web.listen-address=:9101"'),
        ("'--no-collector.wifi'", f"'{OURS} --no-collector.wifi'"),
        ('"--collector.textfile.directory=/srv/metrics"', '"--collector.textfile.directory=/srv/metrics"'),
    ],
)
def test_options_of_node_exporter_stay(before, after):
    """Ours is added once, and where there is none of its kind."""
    assert changed(before) == f"# Options\nARGS={after}\nOTHER=1\n"
    assert changed(after) == changed(before)
