"""The sinks that the configuration asks for. What one of them imports is paid by that one alone."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.channel.ledger import Ledger
from plantimager.timelapse.datasets.disk_space import kept_free
from plantimager.timelapse.relay.credentials import CREDENTIALS_VARIABLE, Secret, read_secret
from plantimager.timelapse.relay.schedule_watch import SLACK, ScheduleWatch
from plantimager.timelapse.settings.deliver_config import RetentionRules
from plantimager.timelapse.settings.readers import server_url
from plantimager.timelapse.settings.relay_config import LookSettings
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta

    from plantimager.timelapse.relay.deliver.delivery import Delivery
    from plantimager.timelapse.relay.sink import Sink, SinkHost
    from plantimager.timelapse.settings.config import Config
    from plantimager.timelapse.settings.deliver_config import DeliverTarget
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.settings.relay_config import (
        HeartbeatSettings,
        MetricsSettings,
        NotifySettings,
    )
    from plantimager.timelapse.support.clock import Clock


PAUSE: Final = "heartbeat-pause"
"""The credential with the access for pauses."""


def make_sinks(
    config: Config,
    places: Places,
    host: SinkHost,
    environment: Mapping[str, str],
    new_clock: Callable[[], Clock] = SystemClock,
) -> list[Sink]:
    """Return the sinks, none of which runs yet; ``new_clock`` gives those that wait on a clock one of their own.

    Raises
    ------
    ConfigurationError
        There is none, retention has no target to wait for, a secret is missing, or a package is not installed.
    """
    if config.relay.retention != RetentionRules() and not config.deliver:
        raise ConfigurationError(
            "[relay.retention] removes what every target has, and there is none", hint="write [relay.deliver.NAME]"
        )

    def own() -> SinkHost:
        return replace(host, clock=new_clock())

    sinks: list[Sink] = []
    try:
        sinks += _deliver_sinks(config, places, host, environment)
        if config.relay.notify is not None:
            sinks.append(_notify_sink(config.relay.notify, config, places, own(), environment))
        if config.relay.heartbeat is not None:
            sinks.append(_heartbeat_sink(config.relay.heartbeat, config, own(), environment))
        if config.relay.metrics is not None:
            sinks.append(_metrics_sink(config.relay.metrics, config, places, own(), environment))
        look = config.relay.look
        if look is not None or sinks:  # beside others without a table of its own
            sinks += _look_sinks(look or LookSettings(), places, host)
    except ImportError as absent:
        hint = "systemd/install --extras relay, or pip install 'plantimager-timelapse[relay]'"
        raise ConfigurationError(f"{absent.name} is not installed", hint=hint) from absent
    if not sinks:
        raise ConfigurationError(
            f"{config.source or 'timelapsed.toml'} names no target",
            hint="write a table [relay.deliver.NAME], [relay.notify], [relay.heartbeat] or [relay.metrics]",
        )
    return [*sinks, _retention_sink(config, places, host, environment)]


def _deliver_sinks(config: Config, places: Places, host: SinkHost, environment: Mapping[str, str]) -> Iterator[Sink]:
    for name, target in config.deliver.items():
        delivery = _delivery(name, target, places, environment)
        from plantimager.timelapse.relay.deliver.deliver_sink import DeliverSink  # noqa: PLC0415 - imports the extra

        yield DeliverSink(
            name, target, delivery, Ledger(places.ledger(name), target.place), host, Ledger(places.removed)
        )


def _retention_sink(config: Config, places: Places, host: SinkHost, environment: Mapping[str, str]) -> Sink:
    """Return the sink that removes datasets, and that without rules finishes what an earlier one has begun."""
    from plantimager.timelapse.relay.retention.retention_sink import RetentionSink  # noqa: PLC0415 - its part alone

    rules, targets = config.relay.retention, config.deliver
    ledgers = {name: Ledger(places.ledger(name), target.place) for name, target in targets.items()}
    asked = targets if rules != RetentionRules() else {}
    deliveries = {name: _delivery(name, target, places, environment) for name, target in asked.items()}
    return RetentionSink(rules, ledgers, places.removed, places.owner, host, deliveries)


def _delivery(name: str, target: DeliverTarget, places: Places, environment: Mapping[str, str]) -> Delivery:
    secret = _secret_of(name, target, environment)
    if target.remote is not None:
        from plantimager.timelapse.relay.deliver.rclone_delivery import RcloneDelivery  # noqa: PLC0415 - its part alone

        return RcloneDelivery(target, secret, places.rig)
    from plantimager.timelapse.relay.deliver.plantdb_delivery import PlantDbDelivery  # noqa: PLC0415 - as above

    return PlantDbDelivery(target, secret)


def _secret_of(name: str, target: DeliverTarget, environment: Mapping[str, str]) -> Secret:
    """Return what a target needs to be let in; empty where the store has that."""
    key, path, what = "password_file", target.password_file, "password"
    if target.remote is not None:
        key, path, what = "rclone_config", target.rclone_config, "configuration of rclone"
    elif target.user is None:
        return Secret(Path(), "")
    return read_secret(f"deliver-{name}", path, environment, key=key, what=what)


def _notify_sink(
    settings: NotifySettings, config: Config, places: Places, host: SinkHost, environment: Mapping[str, str]
) -> Sink:
    from plantimager.timelapse.relay.notify.messenger import find_services  # noqa: PLC0415 - its part alone
    from plantimager.timelapse.relay.notify.notify_sink import NotifySink  # noqa: PLC0415 - as above

    services = find_services(settings.urls_file, environment)
    watch = _watch(config, host, settings.gather)
    return NotifySink(settings, services, watch, places.relay_state, _rig_name(places), host)


def _heartbeat_sink(
    settings: HeartbeatSettings, config: Config, host: SinkHost, environment: Mapping[str, str]
) -> Sink:
    from plantimager.timelapse.relay.heartbeat_sink import HeartbeatSink, MonitorAccess  # noqa: PLC0415 - the extra

    url = (
        settings.url
        or read_secret("heartbeat", settings.url_file, environment, key="url_file", what="address of the monitor").text
    )
    try:
        server_url(url)
    except ValueError as problem:
        raise ConfigurationError(f"the address of the monitor: {problem}") from None
    pauses = settings.idle == "pause" or (settings.idle is None and _may_pause(settings, environment))
    access = MonitorAccess(url, *_pause_access(settings, environment)) if pauses else MonitorAccess(url)
    return HeartbeatSink(settings, access, _watch(config, host, settings.interval), host)


def _may_pause(settings: HeartbeatSettings, environment: Mapping[str, str]) -> bool:
    """Whether the monitor can be paused, and there is access for that."""
    directory = environment.get(CREDENTIALS_VARIABLE)
    is_given = settings.pause_file is not None or (directory is not None and Path(directory, PAUSE).exists())
    return settings.kind != "kuma" and is_given


def _pause_access(settings: HeartbeatSettings, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the address and the key, empty where none is asked for, by which the monitor is paused."""
    if settings.kind == "kuma":
        raise ConfigurationError(
            '[relay.heartbeat] idle = "pause": Uptime Kuma has no request for a pause',
            hint='leave idle out: with "ping" it stays calm while nothing is scheduled',
        )
    what = "access for pauses"
    secret = read_secret(PAUSE, settings.pause_file, environment, key="pause_file", what=what)
    url, _, key = (line.strip() for line in secret.text.partition("\n"))
    try:
        if not re.fullmatch(r"[!-~]+" if settings.kind == "healthchecks" else r"[!-~]*", key):
            raise ValueError("write the pause_url into its first line, and an API key into its second")
        return server_url(url), key
    except ValueError as problem:
        raise ConfigurationError(f"{secret.path}: {problem}") from None


def _metrics_sink(
    settings: MetricsSettings, config: Config, places: Places, host: SinkHost, environment: Mapping[str, str]
) -> Sink:
    from plantimager.timelapse.relay.metrics.measures import DiskRules  # noqa: PLC0415 - imports the extra
    from plantimager.timelapse.relay.metrics.metrics_sink import MetricsSink  # noqa: PLC0415 - as above

    directory = settings.directory or environment.get("RUNTIME_DIRECTORY")
    if not directory:
        raise ConfigurationError(
            "[relay.metrics] needs a directory where no unit gives one", hint="write directory = into it"
        )
    watch = _watch(config, host, SLACK)
    rules = DiskRules(kept_free(config.driver, config.driver_options), config.relay.expected_retention)
    return MetricsSink(places.rig or "default", Path(directory), watch, host, rules)


def _look_sinks(settings: LookSettings, places: Places, host: SinkHost) -> Iterator[Sink]:
    if settings.verdicts:
        from plantimager.timelapse.relay.look.look_sink import LEDGER, LookSink  # noqa: PLC0415 - its part alone

        yield LookSink(settings, Ledger(places.relay_state / LEDGER), host)


def _watch(config: Config, host: SinkHost, slack: timedelta) -> ScheduleWatch:
    return ScheduleWatch(host.clock, config.scan_timeout, config.clock_wait, slack=min(slack, SLACK))


def _rig_name(places: Places) -> str:
    """Return what people call the rig: its name, if any, and its computer's."""
    return " on ".join(name for name in (places.rig, platform.node()) if name) or "the rig"
