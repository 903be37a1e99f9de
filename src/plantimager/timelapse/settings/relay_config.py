"""The tables below ``[relay]`` of ``timelapsed.toml``."""

# Annotations are evaluated here, since these classes declare keys.

import re
from collections.abc import Mapping
from datetime import time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from msgspec import Struct

from plantimager.timelapse.datasets.disk_forecast import NO_RETENTION, Retention
from plantimager.timelapse.settings.deliver_config import DeliverTarget, RetentionRules, read_targets
from plantimager.timelapse.settings.readers import absolute_path, path_of_secret, positive_duration, server_url
from plantimager.timelapse.support.faults import MISSING, Table, boolean, members_of, one_of, text
from plantimager.timelapse.support.keys import Key, read_table
from plantimager.timelapse.support.needs import Need


class NotifyEvent(StrEnum):
    """What a person can be told of."""

    SLOT_FAILED = "slot_failed"
    SLOT_SKIPPED = "slot_skipped"
    SLOT_INTERRUPTED = "slot_interrupted"
    """For good: it isn't taken any more."""
    TIMELAPSE_FAILED = "timelapse_failed"
    TIMELAPSE_COMPLETED = "timelapse_completed"
    DEGRADED = "degraded"
    """The store can't be written."""
    RIG_NOT_READY = "rig_not_ready"
    """For longer than a slot's grace period."""
    OVERDUE = "overdue"
    """The next slot should have its record, and has none."""
    DATASETS = "datasets"
    """Datasets can't be written to their directory."""
    DELIVERY_STUCK = "delivery_stuck"
    """A target of delivery has lacked a dataset for a day."""
    DOUBTFUL = "doubtful"
    """Pictures that were taken show little, or nothing new."""


class Verdict(StrEnum):
    """What can be said of a picture that was taken."""

    DARK = "dark"
    BRIGHT = "bright"
    FLAT = "flat"
    BLURRED = "blurred"
    SAME = "same"
    """As the one before."""
    UNREADABLE = "unreadable"


ALL_EVENTS: Final = (*NotifyEvent,)
ALL_VERDICTS: Final = (*Verdict,)

Quiet = tuple[time, time]
"""From when until when nothing is sent, by local time."""


def quiet_hours(value: object) -> Quiet:
    """Return the two times of ``22:00-07:00``."""
    match = re.fullmatch(r"(?a)(\d\d:\d\d) ?[-–] ?(\d\d:\d\d)", text(value))
    try:
        from_, until = map(time.fromisoformat, match.groups() if match else ("", ""))
    except ValueError:
        raise ValueError('write two times, such as "22:00-07:00"') from None
    if from_ == until:
        raise ValueError("the two times are the same; without quiet hours leave the key out")
    return from_, until


class NotifySettings(Struct, frozen=True):
    """The table ``[relay.notify]``: whom the relay tells of what, by any service that apprise knows."""

    urls_file: Annotated[Path | None, Key(path_of_secret, absent="the credential ``notify``")] = None
    """A file with the services, one URL of apprise a line, such as "ntfys://ntfy.sh/my-topic"; only the service can
    read it (mode 0600), since the URLs are secrets. They are in this file or in the credential ``notify`` of the unit
    (LoadCredential=), never in timelapsed.toml."""
    events: Annotated[tuple[NotifyEvent, ...], Key(members_of(NotifyEvent), absent="all of them")] = ALL_EVENTS
    """What is told of. "slot_failed", "slot_skipped", "slot_interrupted", "timelapse_failed" and "timelapse_completed"
    are as the store says; "degraded" is a store that can't be written, "rig_not_ready" a rig that isn't for longer than
    the grace period, "overdue" a slot that has no record although it should, "datasets" a disk that takes no datasets,
    "delivery_stuck" a target that has got nothing for a day although something waits, "doubtful" pictures on which
    ``[relay.look]`` has a verdict."""
    quiet: Annotated[Quiet | None, Key(quiet_hours, absent="none")] = None
    """Hours in which nothing is sent, by local time, such as "22:00-07:00"; what happens then is in one message at
    their end."""
    gather: Annotated[timedelta, Key(positive_duration, "duration")] = timedelta(minutes=1)
    """How long a message waits for more of what belongs together, so that it is one."""
    picture: Annotated[bool, Key(boolean)] = True
    """Whether a small version of the last picture is attached, where the service takes attachments."""
    timeout: Annotated[timedelta, Key(positive_duration, "duration")] = timedelta(seconds=60)
    """The longest that the sending of one message to one service may take."""

    needs: ClassVar = (Need("urls_file", MISSING, module="apprise", extra="notify"),)


class HeartbeatSettings(Struct, frozen=True):
    """The table ``[relay.heartbeat]``: a monitor that raises an alarm when the rig falls silent."""

    url: Annotated[str | None, Key(text, absent="in ``url_file``")] = None
    """The address that the monitor gave, such as "https://hc-ping.com/...". Who knows it can ping, too."""
    url_file: Annotated[Path | None, Key(path_of_secret, absent="the credential ``heartbeat``")] = None
    """A file with that address, that only the service can read (mode 0600)."""
    kind: Annotated[str, Key(one_of("healthchecks", "kuma", "plain"))] = "healthchecks"
    """How the monitor takes pings: "healthchecks" by POST, with /start when a schedule begins and /fail when it isn't
    kept; "kuma" as Uptime Kuma's push monitors, with status=up and status=down; "plain" by GET, and nothing else."""
    interval: Annotated[timedelta, Key(positive_duration, "duration")] = timedelta(minutes=5)
    """The time between two pings while the schedule is kept."""
    idle: Annotated[str | None, Key(one_of("ping", "pause"), absent='"pause" with access for it, else "ping"')] = None
    """What happens while nothing is scheduled: "pause" has the monitor pause until the next schedule's first ping;
    "ping" goes on, and says so in its words, so that an idle rig without power is noticed, too. Uptime Kuma can't be
    paused, and a monitor that heard nothing any more would raise an alarm after each timelapse."""
    pause_file: Annotated[Path | None, Key(path_of_secret, absent="the credential ``heartbeat-pause``")] = None
    """The access for pauses: a file that only the service can read (mode 0600). Its first line is the pause_url of the
    check, as Healthchecks' API lists it, its second an API key of the project that may write. With "plain", the first
    is an address that by a POST pauses the monitor until its next ping, and may hold a user; the second may be missing.
    """
    timeout: Annotated[timedelta, Key(positive_duration, "duration")] = timedelta(seconds=20)
    """How long to wait for the monitor's answer, in all."""

    needs: ClassVar = (Need("url", MISSING, module="httpx", extra="relay"),)


class MetricsSettings(Struct, frozen=True):
    """The table ``[relay.metrics]``: figures of the rig for Prometheus, by node_exporter's textfile collector."""

    directory: Annotated[Path | None, Key(absolute_path, absent="the runtime directory of the service")] = None
    """Where the file with the metrics goes, ``timelapsed-NAME.prom`` with the name of the rig: a directory that
    node_exporter reads, and that the service may write into."""

    needs: ClassVar = (Need("directory", MISSING, module="prometheus_client", extra="relay"),)


class LookSettings(Struct, frozen=True):
    """The table ``[relay.look]``: pictures are looked at once they are taken, also where there is no such table."""

    verdicts: Annotated[tuple[Verdict, ...], Key(members_of(Verdict), absent="all of them")] = ALL_VERDICTS
    """What counts: "dark" where nothing is lit, "bright" where all is white, "flat" for one even tone, "blurred" beside
    the earlier pictures of the same camera and position, "same" for exactly the picture of the slot before, as of a
    camera that hangs, "unreadable" for a file that can't be decoded. With [] no picture is looked at."""
    night: Annotated[bool, Key(boolean)] = True
    """Whether the rig may stand in the dark at some hours. Then a dark, bright or flat picture counts only where those
    of earlier days at about the same hour were not so, or where none was otherwise for a whole day; and a blurred one
    only after the first day. With false, as of a rig with lights of its own, each dark, bright or flat one counts, and
    a blurred one from the fourth slot on."""


class RelaySettings(Struct, frozen=True):
    """The tables below ``[relay]``."""

    deliver: Mapping[str, DeliverTarget] = {}
    """The tables ``[relay.deliver.NAME]`` by their names."""
    retention: RetentionRules = RetentionRules()
    """The table ``[relay.retention]``."""
    notify: NotifySettings | None = None
    """The table ``[relay.notify]``; ``None`` where there is none."""
    heartbeat: HeartbeatSettings | None = None
    """The table ``[relay.heartbeat]``, likewise."""
    metrics: MetricsSettings | None = None
    """The table ``[relay.metrics]``, likewise."""
    look: LookSettings | None = None
    """The table ``[relay.look]``, likewise; without it the defaults count where there is another sink."""

    @property
    def expected_retention(self) -> Retention:
        """What is removed here, as far as the targets take all datasets in time; a forecast goes by it."""
        if not self.deliver or any(target.verify == "length" for target in self.deliver.values()):
            return NO_RETENTION
        return Retention(self.retention.keep, self.retention.keep_free or 0)


SINKS: Final[Mapping[str, type[Struct]]] = {
    "notify": NotifySettings,
    "heartbeat": HeartbeatSettings,
    "metrics": MetricsSettings,
    "look": LookSettings,
}
"""The sinks of which there is one each, by the names of their tables."""


def read_relay(relay: Table) -> RelaySettings:
    """Return the settings in the table ``[relay]``, and report what is wrong with them."""
    targets, sinks = read_targets(relay.subtable("deliver")), dict[str, Any]()
    retention = read_table(RetentionRules, relay.subtable("retention"))
    for name, kind in SINKS.items():
        table = relay.subtable(name)
        if relay.has(name):
            sinks[name] = read_table(kind, table)
            _check_address(table, getattr(sinks[name], "url", None))
    relay.finish()
    return RelaySettings(targets, retention, **sinks)


def _check_address(table: Table, url: str | None) -> None:
    """Report an address that is none, without its text: who knows it may use it."""
    try:
        server_url(url or "http://none")
    except ValueError as problem:
        table.add_fault("url", str(problem))
