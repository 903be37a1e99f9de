"""A manual command on its way through the daemon: from the request to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.drivers.manual_command import ManualCommand, check_supported, perform, read_manual_command
from plantimager.timelapse.drivers.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.active_config import ActiveConfig
    from plantimager.timelapse.drivers.base import ScanMonitor, ScannerDriver
    from plantimager.timelapse.support.clock import Clock


class ManualRequest(Struct, frozen=True):
    """A manual command, who asked for it, and what it needs."""

    command: ManualCommand
    request: Request
    driver: str
    """The driver's name in the configuration."""
    configuration: Mapping[str, Any]
    trial: Trial

    @property
    def is_trial(self) -> bool:
        """Whether it takes a scan; any other leaves a rig without manual control as it is."""
        return self.command.action == "try"

    def check_offered(self, driver: ScannerDriver) -> None:
        """Raise `ManualCommandRefused` where the driver doesn't offer the command."""
        check_supported(driver, self.driver, self.command)

    def run(self, driver: ScannerDriver, monitor: ScanMonitor) -> Answer:
        """Carry out the command, and return the answer with its pictures. Rig thread.

        Raises
        ------
        BaseException
            As `manual_command.perform`, which calls the driver.
        """
        report = perform(driver, self.driver, self.command, self.configuration, monitor, self.trial)
        pictures = tuple(picture.content for picture in report.pictures)
        return Answer(accepted=True, message=report.sentence, details=report.details, files=pictures)


def read_manual_request(
    request: Request,
    active: ActiveConfig,
    configuration: Mapping[str, Any],
    clock: Clock,
) -> ManualRequest:
    """Return the manual command that a request asks for.

    Raises
    ------
    FaultsFound
        It can't be understood.
    """
    command = replace(read_manual_command(request.body, "rig"), who=request.who)
    place, owner, observe = active.datasets, active.owner, active.observe
    trial = Trial(at=clock.now(), datasets=place, owner=owner, monotonic=clock.monotonic, observe=observe)
    return ManualRequest(command, request, active.config.driver, configuration, trial)
