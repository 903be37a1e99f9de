"""``timelapsectl pause``: ask the daemon to have slots skipped that fall due, until a time or until ``resume``."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from plantimager.timelapse.cli.daemon_request import request_change
from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.domain.schedule import slot_at
from plantimager.timelapse.settings.written_times import date_and_time
from plantimager.timelapse.support.errors import EXIT_USAGE, TimelapsedError

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session


class EndOfPauseUnusable(TimelapsedError):
    """A person has written no time, or no duration, until when a pause is to last."""

    exit_code = EXIT_USAGE


def run_pause(options: argparse.Namespace, session: Session) -> int:
    """Have the timelapse paused, or have an end given to its pause."""
    until = end_of_pause(options.until, options.duration, session.clock.now())
    return request_change(session, "pause", {} if until is None else {"until": until.isoformat()})


def end_of_pause(until: str | None, duration: str | None, now: datetime) -> datetime | None:
    """Return the instant that a person has written, as a time or as a duration from ``now`` on; ``None`` for neither.

    A bare time of day is the next one: today, or tomorrow.
    """
    try:
        if duration is not None:
            return slot_at(now + parse_duration(duration), None)
        return None if until is None else slot_at(_time_of_day(until, now) or date_and_time(until), None)
    except (ValueError, OverflowError) as problem:
        option, text = ("--until", until) if duration is None else ("--for", duration)
        raise EndOfPauseUnusable(f"pause {option} {text}: {problem}") from None


def _time_of_day(text: str, now: datetime) -> datetime | None:
    """Return the next instant at a local time of day, ``None`` where the text is none."""
    with suppress(ValueError):
        if ":" in text[:3]:
            moment = datetime.combine(now.astimezone().date(), time.fromisoformat(text))
            return moment if slot_at(moment, None) > now else moment + timedelta(days=1)
    return None
