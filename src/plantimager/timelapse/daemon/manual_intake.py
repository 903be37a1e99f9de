"""The intake of manual commands: whether the rig may be given to a person now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.manual_request import read_manual_request
from plantimager.timelapse.support.errors import ManualCommandRefused

if TYPE_CHECKING:
    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe


class ManualIntake:
    """Has the rig carry out the manual commands that are asked for. Loop thread."""

    def __init__(self, common: Common, probe: DatasetProbe) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._rig, self._hold, self._probe = common.active, common.rig, common.hold, probe

    def begin(self, request: Request) -> None:
        """Have the rig carry out a manual command; it is answered when that is done.

        Raises
        ------
        ManualCommandRefused
            The timelapse comes first, another person is at the rig, the driver doesn't offer the command, or a trial
            has nowhere to go.
        FaultsFound
            The command can't be understood.
        """
        configuration = self._keeper.configuration or self._active.config.scan
        manual = read_manual_request(request, self._active, configuration, self._clock)
        if self._lifecycle.trouble is not None:
            raise ManualCommandRefused(f"{self._lifecycle.trouble}; the daemon is about to be restarted")
        self._hold.check_free(self._keeper.timelapse, self._rig.monitor)
        manual.check_offered(self._active.driver)
        if manual.is_trial:  # the last look may be long ago, and there is none without a timelapse
            found = self._probe.examine()
            if found.is_elsewhere:
                raise ManualCommandRefused(self._probe.describe(f"{found.why}"))
        self._hold.begin(manual)
        self._rig.run(manual)
