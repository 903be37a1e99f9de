"""The check by the relay itself: what of its configuration on disk its account can't read, run or import."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.programs.unmet import find_unmet
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.sinks import make_sinks
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.support.errors import ConfigurationError, TimelapsedError
from plantimager.timelapse.support.needs import needs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.clock import Clock

UNSEEN: Final = ", or the relay's service may not run it or can't see it (homes are hidden from it)"


def check_sinks(places: Places, clock: Clock) -> Iterator[str]:
    """Yield what keeps the sinks of the configuration on disk from their work. They are made, and none is run."""
    try:
        config = read_config(places.find_config())
    except TimelapsedError as problem:  # its faults are in the daemon's answer, too
        yield str(problem)
        return
    unmet = [str(fault) for fault in find_unmet(needs_of(config.relay, "relay"), unseen=UNSEEN, imports=True)]
    yield from unmet
    host = SinkHost(partial(places.datasets_of, config.datasets), clock, threading.Event(), lambda: None)
    try:
        make_sinks(config, places, host, os.environ, lambda: clock)
    except ConfigurationError as problem:
        if not unmet:  # a module that is missing is said once
            yield f"{problem}{f'; {problem.hint}' if problem.hint else ''}"
