"""The reload, ``systemctl reload``: a look again at configuration and definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.journal import IDENTIFIER, Action, log_event
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.systemd.journal_lines import set_level

if TYPE_CHECKING:
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
    from plantimager.timelapse.daemon.live_status import StatusPublisher
    from plantimager.timelapse.daemon.planner import Planner


class ConfigReload:
    """Reads the configuration again, and puts it into effect. Loop thread."""

    def __init__(self, common: Common, probe: DatasetProbe) -> None:
        self._active, self._rig, self._probe = common.active, common.rig, probe

    def run(self) -> None:
        """Use the configuration that is on disk; a faulty one is logged, and the one in use kept.

        A running scan ends under the driver it began with.
        """
        driver = self._active.driver
        try:
            is_another = self._active.read_again()
        except TimelapsedError as faulty:
            log_event(Action.CONFIG_FAULTY, f"{faulty}\nthe configuration in use is kept")
            return
        if not is_another:
            return
        if self._active.driver is not driver:
            self._rig.close_replaced(driver)
        self._probe.look()
        config = self._active.config
        set_level(IDENTIFIER, config.log_level)
        log_event(Action.CONFIG_LOADED, f"driver {config.driver}, {config.source or 'no configuration file'}")


class Reload:
    """Looks again at what people may have changed. Loop thread."""

    def __init__(
        self,
        common: Common,
        status: StatusPublisher,
        config: ConfigReload,
        intake: DefinitionIntake,
        planner: Planner,
    ) -> None:
        self._lifecycle, self._clock = common.lifecycle, common.clock
        self._notifier, self._signals = common.notifier, common.signals
        self._status, self._config = status, config
        self._intake, self._planner = intake, planner

    def run_if_asked(self) -> None:
        """Reload if a signal has asked for it.

        As long as the clock isn't trusted, the configuration is read, which may say that it is; the rest waits.
        """
        if not self._signals.take_reload():
            return
        if self._lifecycle.phase.awaits_clock:
            self._config.run()
            return
        self._notifier.reloading(self._clock.monotonic())
        self._config.run()
        self._intake.accept_found()
        self._planner.plan()
        log_event(Action.RELOADED, "configuration and definition were looked at")
        self._notifier.ready(self._status.line())
