"""A manual command on its way through the daemon: from the request to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from plantimager.timelapse.channel.inbox import Answer, leave_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.channel.inbox import Request
    from plantimager.timelapse.daemon.active_config import ActiveConfig
    from plantimager.timelapse.drivers.base import ScanMonitor, ScannerDriver
    from plantimager.timelapse.drivers.manual_command import ManualCommand
    from plantimager.timelapse.drivers.trial import Trial
    from plantimager.timelapse.support.clock import Clock


class ManualRequest(Struct, frozen=True):
    """A manual command, who asked for it, and what it needs."""

    command: ManualCommand
    request: Request
    reply: Callable[[Answer], None]
    """Answers the request. Loop thread."""
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
        from plantimager.timelapse.drivers.manual_command import check_supported  # noqa: PLC0415 - see `read_manual_request`

        check_supported(driver, self.driver, self.command)

    def run(self, driver: ScannerDriver, monitor: ScanMonitor) -> Answer:
        """Carry out the command, leave its pictures beside the request, and return the answer. Rig thread.

        Raises
        ------
        OSError
            A picture can't be left.
        BaseException
            As `manual_command.perform`, which calls the driver.
        """
        from plantimager.timelapse.drivers.manual_command import perform  # noqa: PLC0415 - see `read_manual_request`

        report = perform(driver, self.driver, self.command, self.configuration, monitor, self.trial)
        for number, picture in enumerate(report.pictures):
            leave_picture(self.request, number, picture.content)
        return Answer(accepted=True, message=report.sentence, details=report.details)


def read_manual_request(
    request: Request,
    reply: Callable[[Answer], None],
    active: ActiveConfig,
    configuration: Mapping[str, Any],
    clock: Clock,
) -> ManualRequest:
    """Return the manual command that a request asks for, read by a module that most daemons never load.

    Raises
    ------
    FaultsFound, RequestFaulty, OSError
        It can't be understood, or read.
    """
    from plantimager.timelapse.drivers.manual_command import read_manual_command  # noqa: PLC0415 - see above
    from plantimager.timelapse.drivers.trial import Trial  # noqa: PLC0415 - see above

    command = read_manual_command(request.body(), request.path.name)
    place, owner, observe = active.datasets, active.owner, active.observe
    trial = Trial(at=clock.now(), datasets=place, owner=owner, monotonic=clock.monotonic, observe=observe)
    return ManualRequest(command, request, reply, active.config.driver, configuration, trial)
