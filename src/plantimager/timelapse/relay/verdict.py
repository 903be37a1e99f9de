"""The verdicts on pictures, from what was measured of them, slot after slot. Pure.

They are conservative: false alarms cost more than silence, since people no longer read what is false too often. So a
picture is compared with the earlier ones of its own camera and position alone, and a dark one is no news where the rig
stands in the dark at that hour of the day.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.doubt import MAX_POSITIONS, Doubt
from plantimager.timelapse.settings.relay_config import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plantimager.timelapse.settings.relay_config import LookSettings

BLURRED_BELOW: Final = 0.4
"""Part of the lowest sharpness of all earlier pictures: growth and exposure move it by a fifth, a lens that is out of
focus to a tenth."""
SHARP_AGAIN: Final = 0.6
"""The part from which on a blurred series is sharp again; more than the other, so that it doesn't come and go."""
LEAST_SHARP: Final = 3
"""Pictures from which on there is a lowest sharpness to speak of."""
A_DAY: Final = timedelta(days=1)
BUCKET: Final = timedelta(minutes=30)
"""The step by which the hours of a day are kept."""
NEAR: Final = 3
"""Steps before and after that count as the same hour: an hour of summer time, and a lamp's timer that isn't exact."""
AN_EARLIER_DAY: Final = timedelta(hours=12)
"""Pictures of the same hour that are at least so old are of an earlier day."""
MAX_SERIES, MAX_DOUBTS = 10_000, 50
"""What is kept where a program gives its cameras other names in every scan."""
ALWAYS_READ: Final = frozenset({".jpeg", ".jpg", ".png"})
"""Kinds of pictures of which Pillow reads all; of others, one that it never could read says nothing."""

_OURS: Final = re.compile(r"images/(.+)-(\d{5,})\.[a-z]+", re.IGNORECASE)
"""A picture in PlantDB's layout, by its camera and its shot: one for each position."""


class PictureMeasures(Struct, frozen=True, array_like=True, gc=False):
    """One picture, and what was measured of it."""

    camera: str
    """Its name; empty in datasets of an operator's own program, whose names of files are anything."""
    position: str
    """The number of its shot; of an operator's own program ``2 of 5``."""
    file: str
    """Its path in the dataset."""
    look: str = ""
    """A `Verdict` that the picture has by itself, empty for an ordinary one."""
    sharpness: float = 0.0
    """Its fine structure by its contrast, whatever its exposure."""
    digest: str = ""
    """Of its pixels, without metadata."""
    shape: str = ""
    """Its size: pictures of another size have another sharpness."""


class JudgedScan(Struct, frozen=True):
    """The pictures of one slot."""

    slot: int
    scan_id: str
    scheduled_at: datetime
    pictures: tuple[PictureMeasures, ...]


def place_pictures(files: Iterable[str]) -> Iterator[PictureMeasures]:
    """Yield the pictures of a dataset by camera and position, from their paths in it; nothing is measured yet."""
    others = []
    for file in sorted(files):
        if match := _OURS.fullmatch(file):
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

    def take(self, scan: JudgedScan) -> None:
        """Judge the pictures of the next scan."""
        self.last = scan.scheduled_at
        if len(self._series) > MAX_SERIES:
            self._series = {}
        doubtful: dict[tuple[str, str], list[PictureMeasures]] = {}
        open_now: set[tuple[str, str]] = set()
        totals: dict[str, int] = {}
        for picture in scan.pictures:
            key = (picture.camera, picture.position, PurePath(picture.file).suffix)
            series = self._series.setdefault(key, _Series(has_nights=self._rules.night))
            for verdict in series.judge(picture, scan.scheduled_at):
                if verdict in self._rules.verdicts:
                    doubtful.setdefault((picture.camera, verdict), []).append(picture)
            open_now.update((picture.camera, verdict) for verdict in series.open)
            totals[picture.camera] = totals.get(picture.camera, 0) + 1
        for about, pictures in doubtful.items():
            self._doubt(about, scan, pictures, totals[about[0]])
        for about, doubt in self._doubts.items():
            if about not in open_now and about[0] in totals and not doubt.is_over:
                self._doubts[about] = replace(doubt, is_over=True)

    def _doubt(
        self, about: tuple[str, str], scan: JudgedScan, pictures: list[PictureMeasures], n_pictures: int
    ) -> None:
        """Add the doubtful pictures of one scan to a doubt that is open, or to a new one."""
        before = self._doubts.get(about)
        if before is None or before.is_over:
            self._positions[about] = {}
        positions = self._positions[about]
        positions.update((picture.position, None) for picture in pictures)
        is_new = before is None or before.is_over
        self._doubts.pop(about, None)  # the latest is the last
        self._doubts[about] = Doubt(
            timelapse=self.timelapse_id,
            camera=about[0],
            verdict=about[1],
            since=scan.scheduled_at if before is None or is_new else before.since,
            until=scan.scheduled_at,
            slot=scan.slot,
            slots=1 if before is None or is_new else before.slots + 1,
            positions=tuple(positions)[:MAX_POSITIONS],
            n_positions=len(positions),
            of_positions=max(n_pictures, len(positions)),
            pictures=len(pictures) + (before.pictures if before is not None else 0),
            file=f"{scan.scan_id}/{pictures[0].file}",
        )


class _Sharpness(Struct, frozen=True):
    """How sharp ordinary pictures were up to now."""

    shape: str
    since: datetime
    pictures: int
    lowest: float


class _Series:
    """The pictures of one camera at one position, up to now."""

    def __init__(self, *, has_nights: bool) -> None:
        self.open: set[str] = set()
        """The verdicts of the last picture, and those that it doesn't show to be over."""
        self._has_nights = has_nights
        self._before: PictureMeasures | None = None
        self._sharpness: _Sharpness | None = None
        self._was_read = False
        self._lit: dict[int, datetime] = {}
        """When there first was an ordinary picture, by the step of the day."""
        self._accepted: set[tuple[str, int]] = set()
        """What pictures may look like, by the step of the day: they did so before any did not."""

    def judge(self, picture: PictureMeasures, at: datetime) -> set[str]:
        """Return the verdicts on the next picture."""
        looks = {picture.look} if picture.look else self._compare(picture, at)
        found = {look for look in looks if self._counts(look, picture, at)}
        if not picture.look:
            self._lit.setdefault(_step_of(at), at)
        elif picture.look not in found | self.open:
            self._accepted.add((picture.look, _step_of(at)))
        # Of a picture in which nothing is to be seen, nobody knows whether it is sharp again.
        self.open = (self.open if picture.look else self.open & looks) | found
        if not picture.look and Verdict.BLURRED not in looks:
            self._sharpness = self._sharpness_with(picture, at)
        self._was_read = self._was_read or picture.look != Verdict.UNREADABLE
        self._before = picture
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
        if has_all_light and picture.sharpness < limit * known.lowest:
            looks.add(Verdict.BLURRED)
        return looks

    def _sharpness_with(self, picture: PictureMeasures, at: datetime) -> _Sharpness:
        known = self._sharpness
        if known is None or known.shape != picture.shape:
            return _Sharpness(picture.shape, at, 1, picture.sharpness)
        return replace(known, pictures=known.pictures + 1, lowest=min(known.lowest, picture.sharpness))

    def _counts(self, look: str, picture: PictureMeasures, at: datetime) -> bool:
        if look in (Verdict.SAME, Verdict.BLURRED):
            return True
        if look == Verdict.UNREADABLE:
            return self._was_read or PurePath(picture.file).suffix.lower() in ALWAYS_READ
        if not self._has_nights:
            return True
        steps = [(_step_of(at) + ahead) % (A_DAY // BUCKET) for ahead in range(-NEAR, NEAR + 1)]
        was_lit = any(step in self._lit and self._lit[step] <= at - AN_EARLIER_DAY for step in steps)
        return was_lit and not any((look, step) in self._accepted for step in steps)


def _step_of(at: datetime) -> int:
    """Return the step of the day, by a time that knows no summer."""
    there = at.astimezone(UTC)
    return timedelta(hours=there.hour, minutes=there.minute) // BUCKET
