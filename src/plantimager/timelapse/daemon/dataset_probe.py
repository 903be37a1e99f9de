"""The look at the datasets' directory before a slot is due, so that a person can mend it in time."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.daemon.driver_calls import call_with_timeout
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.events import SlotTaken
from plantimager.timelapse.support.durable import write_refusal
from plantimager.timelapse.support.errors import DriverStalled

if TYPE_CHECKING:
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.transition import Transition

PROBE_TIMEOUT: Final = timedelta(seconds=5)
"""The datasets' disk may be another computer's, which doesn't answer."""


class DatasetProbe:
    """Checks whether datasets can be written to their directory, while there is a schedule to keep. Loop thread."""

    def __init__(self, common: Common) -> None:
        self._keeper, self._active = common.keeper, common.active
        self.trouble: str | None = None
        """Why datasets can't be written, as of the last look."""

    def look(self) -> None:
        """Try it now; log why it fails, unless that is known."""
        before, self.trouble = self.trouble, None
        timelapse = self._keeper.active
        if timelapse is None:
            return
        datasets = self._active.datasets
        try:
            why = call_with_timeout(PROBE_TIMEOUT, "datasets", partial(write_refusal, datasets))
        except DriverStalled:
            why = f"no answer within {format_duration(PROBE_TIMEOUT)}"
        if why is None:
            return
        self.trouble = f"{datasets}: datasets can't be put there: {why}"
        if self.trouble != before:
            words = f"{self.trouble}; slots wait for it, within their grace of {format_duration(timelapse.grace)}"
            log_event(Action.DATASETS_OUT_OF_REACH, words, timelapse=timelapse)

    def take(self, transition: Transition) -> None:
        """Forget the trouble when a slot is taken: its dataset is there."""
        if any(isinstance(event, SlotTaken) for event in transition.events):
            self.trouble = None
