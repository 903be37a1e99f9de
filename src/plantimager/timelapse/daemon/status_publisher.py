"""The live status: one line for ``systemctl status``, and what ``timelapsectl status`` shows beyond the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plantimager.timelapse.channel.live import SCANNING
from plantimager.timelapse.domain.wording import format_status_line
from plantimager.timelapse.drivers.base import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.status_answer import StatusAnswer
    from plantimager.timelapse.daemon.transition import Transition


class StatusPublisher:
    """Shows what the daemon is doing: with every transition, and at the end of every turn of the loop. Loop thread."""

    def __init__(
        self, common: Common, live: StatusAnswer, probe: DatasetProbe, notes: Callable[[], Iterable[str]]
    ) -> None:
        """Show what ``notes`` returns: of the storage, and of a definition that has not begun."""
        self._notifier, self._live = common.notifier, live
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._rig, self._hold, self._probe = common.active, common.rig, common.hold, probe
        self._notes = notes

    def on_transition(self, _: Transition) -> None:
        """Show what the timelapse is doing now."""
        self.publish(self.line())

    def publish(self, line: str) -> None:
        """Show ``line``, and the live status as it is now; what is shown already isn't written again."""
        self._notifier.status(line)
        self._live.show(self._view(line), self._clock.now())

    def line(self) -> str:
        """Return the one line for ``systemctl status``."""
        trouble = self._lifecycle.clock_trouble or self._lifecycle.trouble
        if trouble is not None:
            return trouble
        if self._keeper.trouble is not None:
            return f"DEGRADED: store can't be written ({self._keeper.trouble}), scans go on"
        return format_status_line(
            self._keeper.timelapse,
            self._clock.now(),
            progress=self._progress,
            fresh=self._notifier.watchdog_interval is not None,
        )

    def _view(self, line: str) -> dict[str, Any]:
        done, total = self._progress or (0, 0)
        return {
            "pid": os.getpid(),
            "status": line,
            "rig": self._describe_rig(),
            "progress": {"done": done, "total": total} if total else None,
            "trouble": (self._keeper.trouble or self._lifecycle.trouble or self._active.trouble or self._probe.trouble),
            "degraded": self._keeper.trouble,
            "datasets": self._probe.trouble,
            "notes": [*self._notes(), *(self._keeper.stored.notes if self._keeper.stored is not None else ())],
            "clock": "trusted" if self._lifecycle.clock_trouble is None else "not trusted",
            "driver": self._active.config.driver,
        }

    @property
    def _progress(self) -> tuple[int, int] | None:
        """Done and total of the running scan; ``None`` before its first sign."""
        monitor = self._rig.monitor
        if not self._keeper.is_scanning or monitor is None or not monitor.steps[1]:
            return None
        return monitor.steps[:2]

    def _describe_rig(self) -> str:
        if self._keeper.is_scanning:
            return SCANNING
        return Call.MANUAL if self._hold.manual is not None else self._rig.power
