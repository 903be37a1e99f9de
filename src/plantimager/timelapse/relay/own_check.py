"""The check by the relay itself: what of its configuration on disk its account can't read, run or import."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from plantimager.timelapse.drivers.programs.unmet import UNSEEN, find_unmet
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.sinks import make_sinks
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.deliver_config import RetentionRules
from plantimager.timelapse.settings.relay_config import SINKS, RelaySettings
from plantimager.timelapse.support.errors import FaultsFound, TimelapsedError
from plantimager.timelapse.support.needs import needs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.clock import Clock


def check_sinks(places: Places, clock: Clock) -> Iterator[str]:
    """Yield what keeps the sinks of the configuration on disk from their work. They are made, and none is run."""
    try:
        config = read_config(places.find_config())
    except FaultsFound:  # they are in the daemon's answer, and in that of the person's own check
        yield "what its sinks lack is judged when the configuration has no fault"
        return
    except TimelapsedError as problem:
        yield str(problem)
        return
    unmet = [*find_unmet(needs_of(config.relay, "relay"), unseen=f", or {UNSEEN}", clock=clock)]
    yield from map(str, unmet)
    host = SinkHost(partial(places.datasets_of, config.datasets), clock, threading.Event(), lambda: None)
    for relay in [*_each_alone(config.relay)] or [config.relay]:
        try:
            make_sinks(replace(config, relay_tables=relay), places, host, os.environ, lambda: clock)
        except TimelapsedError as problem:
            if not (unmet and isinstance(problem.__cause__, ImportError)):  # a module that is missing is said once
                yield f"{problem}{f'; {problem.hint}' if problem.hint else ''}"


def _each_alone(relay: RelaySettings) -> Iterator[RelaySettings]:
    """Yield each target and sink without the others, so that the fault of one hides none of the next."""
    for name, target in relay.deliver.items():
        yield RelaySettings(deliver={name: target})
    for name in (name for name in SINKS if name != "look"):  # which is made beside any other
        if (settings := getattr(relay, name)) is not None:
            yield replace(RelaySettings(), **{name: settings})
    if relay.retention != RetentionRules() and not relay.deliver:
        yield RelaySettings(retention=relay.retention)
