"""The verdicts on pictures, from what was measured of them, slot after slot. Pure.

They are conservative: false alarms cost more than silence, since people no longer read what is false too often. So a
picture is compared with those of its own camera and position on the last days alone, and a dark one is no news where
the rig stands in the dark at that hour of the day; but no night lasts a whole day. A change that lasts is told once;
then it is how things are.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.doubt import MAX_POSITIONS_NAMED, Doubt
from plantimager.timelapse.settings.relay_config import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from plantimager.timelapse.relay.taken_scans import TakenScan
    from plantimager.timelapse.settings.relay_config import LookSettings

BLURRED_BELOW: Final = 0.4
"""Part of the lowest sharpness of the last days: growth and exposure move it by a fifth, a lens that is out of
focus to a tenth."""
SHARP_AGAIN: Final = 0.6
"""The part from which on a blurred series is sharp again; more than the other, so that it doesn't come and go."""
LEAST_SHARP: Final = 3
"""Pictures from which on there is a lowest sharpness to speak of."""
A_DAY: Final = timedelta(days=1)
BUCKET: Final = timedelta(minutes=30)
"""The step by which the hours of a day are kept."""
STEPS: Final = A_DAY // BUCKET
NEAR: Final = 3
"""Steps before and after that count as the same hour: an hour of summer time, and a lamp's timer that isn't exact."""
LAST_DAYS: Final = 3
"""Days with pictures of an hour that say what is usual then."""
USUAL_DAYS: Final = 2
"""Days of them on which pictures were so: it is how things are by now."""
A_WEEK: Final = 7
"""What was so as many days ago is no news: lights of working days."""
KEPT_DAYS: Final = A_WEEK + 1
MAX_SERIES, MAX_DOUBTS = 10_000, 50
"""What is kept where a program gives its cameras other names in every scan."""
ALWAYS_READ: Final = frozenset({".jpeg", ".jpg", ".png"})
"""Kinds of pictures of which Pillow reads all; of others, one that it never could read says nothing."""

_LIT_BEFORE, _LIT_AFTER = "lit before", "lit after"
_LIT: Final = frozenset({_LIT_BEFORE, _LIT_AFTER})
"""An hour has light where there is some to both sides of it."""
_PLANTDB_PICTURE: Final = re.compile(r"images/(.+)-(\d{5,})\.[a-z]+", re.IGNORECASE)
"""A picture in PlantDB's layout, by its camera and its shot: one for each position."""


class PictureMeasures(Struct, frozen=True, array_like=True, gc=False):
    """One picture, and what was measured of it."""

    camera: str
    """Its name; empty in datasets of an operator's own program, whose names of files are anything."""
    position: str
    """The number of its shot; of an operator's own program ``2 of 5``."""
    file: str
    """Its path in the dataset."""
    verdict: str = ""
    """A `Verdict` that the picture has by itself, empty for an ordinary one."""
    sharpness: float = 0.0
    """Its fine structure by its contrast, whatever its exposure."""
    digest: str = ""
    """Of its pixels, without metadata."""
    shape: str = ""
    """Its size: pictures of another size have another sharpness."""


def place_pictures(files: Iterable[str]) -> Iterator[PictureMeasures]:
    """Yield the pictures of a dataset by camera and position, from their paths in it; nothing is measured yet."""
    others = []
    for file in sorted(files):
        if match := _PLANTDB_PICTURE.fullmatch(file):
            yield PictureMeasures(match[1], str(int(match[2])), file)
        else:
            others.append(file)
    for number, file in enumerate(others, start=1):
        yield PictureMeasures("", f"{number} of {len(others)}", file)


class Judge:
    """The doubts about one timelapse. It is given its scans in the order of their slots."""

    def __init__(self, timelapse_id: str, rules: LookSettings) -> None:
        self.timelapse_id, self._rules = timelapse_id, rules
        self._series: dict[tuple[str, ...], _Series] = {}
        self._doubts: dict[tuple[str, str], Doubt] = {}
        self._positions: dict[tuple[str, str], dict[str, None]] = {}
        self.last: datetime | None = None
        """The scheduled time of the last scan."""

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """The last doubt of each verdict about each camera."""
        return tuple(self._doubts.values())[-MAX_DOUBTS:]

    def take(self, scan: TakenScan, pictures: Iterable[PictureMeasures]) -> None:
        """Judge the pictures of the next scan."""
        self.last = scan.scheduled_at
        if len(self._series) > MAX_SERIES:
            self._series = {}
        doubtful: dict[tuple[str, str], list[PictureMeasures]] = {}
        open_now: set[tuple[str, str]] = set()
        totals: dict[str, int] = {}
        for picture in pictures:
            key = (picture.camera, picture.position, PurePath(picture.file).suffix)
            series = self._series.setdefault(key, _Series(has_nights=self._rules.night))
            for verdict in series.judge(picture, scan.scheduled_at):
                if verdict in self._rules.verdicts:
                    doubtful.setdefault((picture.camera, verdict), []).append(picture)
            open_now.update((picture.camera, verdict) for verdict in series.open)
            totals[picture.camera] = totals.get(picture.camera, 0) + 1
        for about, odd in doubtful.items():
            self._doubt(about, scan, odd, totals[about[0]])
        for about, doubt in self._doubts.items():
            if about not in open_now and about[0] in totals and not doubt.is_over:
                self._doubts[about] = replace(doubt, is_over=True)

    def _doubt(self, about: tuple[str, str], scan: TakenScan, pictures: list[PictureMeasures], n_pictures: int) -> None:
        """Add the doubtful pictures of one scan to a doubt that is open, or to a new one."""
        last = self._doubts.pop(about, None)  # the latest is at the end
        since, slots = (scan.scheduled_at, 0) if last is None or last.is_over else (last.since, last.slots)
        positions = self._positions[about] = self._positions[about] if slots else {}
        positions.update((picture.position, None) for picture in pictures)
        self._doubts[about] = Doubt(
            timelapse=self.timelapse_id,
            camera=about[0],
            verdict=about[1],
            since=since,
            until=scan.scheduled_at,
            slot=scan.slot,
            slots=slots + 1,
            positions=tuple(positions)[:MAX_POSITIONS_NAMED],
            n_positions=len(positions),
            of_positions=max(n_pictures, len(positions)),
            pictures=len(pictures) + (last.pictures if last is not None else 0),
            file=f"{scan.scan_id}/{pictures[0].file}",
        )


class _Sharpness(Struct):
    """How sharp ordinary pictures were on the last days."""

    shape: str
    since: datetime
    pictures: int = 0
    lowest: dict[int, float] = {}
    """By the day."""

    def add(self, sharpness: float, at: datetime) -> None:
        """Count one more picture."""
        day = _step_of(at) // STEPS
        self.pictures += 1
        self.lowest[day] = min(self.lowest.get(day, sharpness), sharpness)
        _forget_oldest(self.lowest)


class _Series:
    """The pictures of one camera at one position, up to now."""

    def __init__(self, *, has_nights: bool) -> None:
        self.open: set[str] = set()
        """The verdicts of the last picture, and those that it doesn't show to be over."""
        self._has_nights = has_nights
        self._before: PictureMeasures | None = None
        self._sharpness: _Sharpness | None = None
        self._was_read = False
        self._unlit_since: datetime | None = None
        """When the first picture was taken of those since the last ordinary one."""
        self._seen: dict[int, dict[int, frozenset[str]]] = {}
        """What pictures looked like, by the step of the day and by the day."""

    def judge(self, picture: PictureMeasures, at: datetime) -> set[str]:
        """Return the verdicts on the next picture."""
        looks = {picture.verdict} if picture.verdict else self._compare(picture, at)
        if not picture.verdict:
            self._unlit_since = None
        elif picture.verdict != Verdict.UNREADABLE and self._unlit_since is None:
            self._unlit_since = at
        is_unlit = self._unlit_since is not None and at - self._unlit_since >= A_DAY  # no night lasts as long
        days = self._days_before(at) if looks else {}
        doubtful = {look for look in looks if self._is_doubtful(look, picture, days, is_unlit=is_unlit)}
        found = {look for look in doubtful if look in self.open or self._is_news(look, days, is_unlit=is_unlit)}
        # Of a picture in which nothing is to be seen, nobody knows whether it is sharp again.
        self.open = self.open | found if picture.verdict else found
        if not picture.verdict and Verdict.BLURRED not in doubtful:
            if self._sharpness is None or self._sharpness.shape != picture.shape:
                self._sharpness = _Sharpness(picture.shape, at)
            self._sharpness.add(picture.sharpness, at)
        self._was_read = self._was_read or picture.verdict != Verdict.UNREADABLE
        self._before = picture
        day, step = divmod(_step_of(at), STEPS)
        seen = self._seen.setdefault(step, {})
        seen[day] = _shared(seen.get(day, frozenset()) | looks | {picture.verdict})
        _forget_oldest(seen)
        return found

    def _compare(self, picture: PictureMeasures, at: datetime) -> set[str]:
        """Return the verdicts on an ordinary picture beside the earlier ones."""
        looks: set[str] = set()
        if self._before is not None and picture.digest == self._before.digest:
            looks.add(Verdict.SAME)
        known, limit = self._sharpness, SHARP_AGAIN if Verdict.BLURRED in self.open else BLURRED_BELOW
        if known is None or known.shape != picture.shape or known.pictures < LEAST_SHARP:
            return looks
        # The noise of a picture in little light counts as sharpness, and a day has all of its light.
        has_all_light = not self._has_nights or at - known.since >= A_DAY
        if has_all_light and picture.sharpness < limit * min(known.lowest.values()):
            looks.add(Verdict.BLURRED)
        return looks

    def _days_before(self, at: datetime) -> dict[int, set[str]]:
        """Return what pictures of this hour looked like, by how many days ago."""
        days: dict[int, set[str]] = {}
        for near in range(-NEAR, NEAR + 1):
            day, step = divmod(_step_of(at) + near, STEPS)
            for then, looks in self._seen.get(step, {}).items():
                if ago := day - then:
                    around = days.setdefault(ago, set())
                    around |= looks
                    if "" in looks:
                        around |= _LIT if near == 0 else {_LIT_BEFORE if near < 0 else _LIT_AFTER}
        return days

    def _is_doubtful(
        self, look: str, picture: PictureMeasures, days: Mapping[int, set[str]], *, is_unlit: bool
    ) -> bool:
        if look == Verdict.UNREADABLE:
            return self._was_read or PurePath(picture.file).suffix.lower() in ALWAYS_READ
        if not self._follows_hours(look):
            return True
        last = [days[ago] for ago in sorted(days)[:LAST_DAYS]]
        was_lit = any(looks >= _LIT and look not in looks for looks in last)
        return (was_lit or is_unlit or look == Verdict.BLURRED) and sum(look in looks for looks in last) < USUAL_DAYS

    def _is_news(self, look: str, days: Mapping[int, set[str]], *, is_unlit: bool) -> bool:
        """Whether a picture may be the first of a doubt: not where the same hour was so a day or a week before."""
        if not self._follows_hours(look):
            return True
        comparable = (A_WEEK,) if is_unlit else (min(days, default=0), A_WEEK)
        return not any(look in days.get(ago, ()) for ago in comparable)

    def _follows_hours(self, look: str) -> bool:
        return look == Verdict.BLURRED or (self._has_nights and look not in (Verdict.SAME, Verdict.UNREADABLE))


def _step_of(at: datetime) -> int:
    """Return the step of a time, by a clock that knows no summer."""
    return int(at.timestamp()) // int(BUCKET.total_seconds())


def _forget_oldest(by_day: dict[int, Any]) -> None:
    if len(by_day) > KEPT_DAYS:
        del by_day[min(by_day)]


@cache
def _shared(looks: frozenset[str]) -> frozenset[str]:
    """Return the one of all equal sets."""
    return looks
