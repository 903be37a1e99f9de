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
