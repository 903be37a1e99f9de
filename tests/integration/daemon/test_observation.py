"""A program that observes something beside each scan, with the real daemon and the simulated rig."""

from __future__ import annotations

import json

from daemon_process import Place, statuses
from tiny_scan import configuration, definition


def test_what_is_observed_is_in_each_dataset_and_a_failure_is_a_note(place: Place, tmp_path) -> None:
    """Whatever the driver; no slot is lost for a sensor that doesn't answer."""
    program = tmp_path / "observe"
    program.write_text('#!/bin/sh\n[ "$SLOT" != 1 ] || { echo no sensor >&2; exit 1; }\necho "{\\"slot\\": $SLOT}"\n')
    program.chmod(0o755)
    place.configure(configuration(f'observe = ["{program}"]'))
    place.define(definition(3))
    daemon = place.run_until("timelapse_completed: tl: 3 taken")
    assert statuses(place.read()) == ["succeeded"] * 3
    observed = []
    for slot in range(3):
        text = (place.datasets / f"tl_{slot}" / "metadata" / "metadata.json").read_text()
        observed.append(json.loads(text)["timelapsed"].get("observed"))
    assert observed == [{"slot": 0}, None, {"slot": 2}]
    said = [line for line in daemon.said("scan_succeeded") if "nothing was observed" in line]
    assert len(said) == 1
    assert f"nothing was observed: {program}: exited with 1: no sensor" in said[0]
