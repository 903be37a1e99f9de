"""The sink `look`: it judges the pictures of the present timelapse, and of those just archived, on its own thread.

What was measured of a dataset is in the ledger, and the verdicts follow from that alone: they are the same whenever the
relay was off. A lost ledger costs looking again. Nothing of store or datasets is written.
"""

from __future__ import annotations

import hashlib
from errno import ETIMEDOUT
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from plantimager.timelapse.channel.relay_status import SinkStatus, doubts_of, read_relay_status
from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.receipt import FILES
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.look.looked import Looked
from plantimager.timelapse.relay.look.verdict import MAX_DOUBTS, Judge, PictureMeasures, place_pictures
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, read_receipt_of
from plantimager.timelapse.relay.sink import WorksOnLatest
from plantimager.timelapse.relay.store_view import name_of
from plantimager.timelapse.relay.taken_scans import taken_scans_of
from plantimager.timelapse.support.durable import FileTooLarge, read_regular
from plantimager.timelapse.support.side_call import SideCall
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.channel.doubt import Doubt
    from plantimager.timelapse.channel.ledger import Ledger
    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.store_view import StoreView
    from plantimager.timelapse.relay.taken_scans import TakenScan
    from plantimager.timelapse.settings.relay_config import LookSettings

NAME: Final = "look"
LEDGER: Final = "looked"
"""Its ledger; the names of those of targets have an ending."""
AGAIN: Final = 1800.0
"""Seconds until a dataset is looked for again that was not there, or couldn't be read."""
NOT: Final = (0.0, "")
"""Of a dataset that isn't postponed."""
OWN_MISTAKE: Final = ""
"""What is tried again after a mistake of ours, beside the keys of datasets."""
DISK_SECONDS: Final = 60.0
"""For the disk of datasets to answer once, such as with a whole picture."""
MAX_PICTURE_BYTES: Final = 1 << 28
"""Larger pictures aren't looked at: the file is in memory as a whole."""


T = TypeVar("T")


class LookSink(WorksOnLatest):
    """One sink of the relay: its thread runs `run`, any other `update`, `wake` and `status`."""

    name = NAME

    def __init__(self, rules: LookSettings, ledger: Ledger, host: SinkHost) -> None:
        super().__init__(host)
        self._rules = rules
        self._looked = Looked(ledger, host.clock, NAME)
        self._postponed: dict[str, tuple[float, str]] = {}
        """Datasets that aren't there or can't be read, by their keys: when they are tried again, and the trouble."""
        self._judges: dict[str, Judge] = {}
        """By the names of their timelapses; where there is none it is made, from the ledger."""
        self._archived: Mapping[Path, Sequence[TakenScan]] = {}
        """The scans of those timelapses of the archive that are looked at."""
        self._disk = SideCall[tuple[object]](DISK_SECONDS)
        shown = read_relay_status(ledger.path.parent)  # by the relay that ran before, which may have been killed
        doubts = doubts_of(shown.sinks) if shown is not None else None
        self.status = SinkStatus(name=NAME, what="pictures are looked at", doubts=doubts)

    def run(self) -> None:
        """Look until the relay stops."""
        view: StoreView | None = None
        seen: StoreView | None = None
        while not self._host.stop.is_set():
            next_at = min((at for at, _ in self._postponed.values()), default=None)
            left = None if next_at is None else max(next_at - self._host.clock.monotonic(), 0.0)
            view = self._wait(view, left)
            is_due = next_at is not None and next_at <= self._host.clock.monotonic()
            if self._host.stop.is_set() or view is None or (seen and _is_same(seen, view) and not is_due):
                continue
            seen = view
            self._postponed.pop(OWN_MISTAKE, None)
            try:
                self._look(view)
            except Exception as problem:  # noqa: BLE001 - a mistake of ours stops neither the other sinks nor this one
                log_relay(RelayAction.RELAY_FAILED, f"{NAME}: {problem!r}", error=problem)
                self._judges = {}
                self._postpone(OWN_MISTAKE)

    def _look(self, view: StoreView) -> None:
        """Look at what wasn't looked at, and show what that comes to once all of it is."""
        if self._looked.refresh():
            self._judges = {}
        self._looked.begin(view.archived)
        series = self._series(view)
        keys = {scan.key for scans in series.values() for scan in scans}
        self._postponed = {key: waiting for key, waiting in self._postponed.items() if key in keys}
        if view.timelapse is None and (view.is_stale or not series):
            return
        if not view.faults and self._looked.forget_others(keys):  # what can't be read now may come back
            self._judges = {}
        judges = {name: self._judges.get(name) or self._judge_all(scans) for name, scans in series.items()}
        shown, known = self.status.doubts, _doubts_of(judges.values())
        for name, scans in series.items():
            if (judge := self._catch_up(judges[name], scans)) is None:
                return
            judges[name] = judge
        self._judges, doubts = judges, _doubts_of(judges.values())
        for store in view.archived:
            scans = series.get(store.name, ())
            if store.path in self._archived and not any(self._postponed.get(scan.key, NOT)[1] for scan in scans):
                self._looked.let_go(store)
        self._report(known if shown is None else shown, doubts)
        self._show(*self._looked.last_at(keys), doubts)

    def _series(self, view: StoreView) -> Mapping[str, Sequence[TakenScan]]:
        """Return the scans to look at, by the names of their timelapses, in the order of their slots; the present last.

        A timelapse that ended while the relay was off has slots that nobody has looked at.
        """
        present = view.timelapse
        loaded: dict[Path, Sequence[TakenScan]] = {}
        series: dict[str, Sequence[TakenScan]] = {}
        for store in sorted(view.archived, key=lambda store: (store.ended_at is not None, store.ended_at)):
            if (present is not None and store.name == name_of(present)) or not self._looked.is_in_reach(store):
                continue
            scans = self._archived.get(store.path)
            if scans is None and (timelapse := store.load()) is not None:
                scans = taken_scans_of(timelapse)
            if scans is not None:
                loaded[store.path] = series[store.name] = scans
        self._archived = loaded
        if present is not None:
            series[name_of(present)] = taken_scans_of(present)
        return {name: sorted(scans, key=lambda scan: scan.scheduled_at) for name, scans in series.items() if scans}

    def _catch_up(self, known: Judge, scans: Sequence[TakenScan]) -> Judge | None:
        """Return the judge of one timelapse once its other datasets were looked at; ``None`` where the relay stops."""
        is_in_order = True
        for scan in scans:
            if self._host.stop.is_set():
                return None
            again_at, _ = self._postponed.get(scan.key, NOT)
            # Those that are due a little later are tried with the others.
            if self._looked.has(scan) or again_at > self._host.clock.monotonic() + AGAIN / 10:
                continue
            pictures = self._measure(scan)
            if pictures is not None:
                self._postponed.pop(scan.key, None)
                self._looked.record(scan, pictures)
                is_in_order = is_in_order and (known.last is None or scan.scheduled_at > known.last)
                if is_in_order:
                    known.take(scan, pictures)
        return known if is_in_order else self._judge_all(scans)

    def _judge_all(self, scans: Sequence[TakenScan]) -> Judge:
        """Return the judge of all of them that were looked at."""
        judge = Judge(scans[0].timelapse_id, self._rules)
        for scan, pictures in self._looked.judged(scans):
            judge.take(scan, pictures)
        return judge

    # --- one dataset ------------------------------------------------------------------------------

    def _measure(self, scan: TakenScan) -> list[PictureMeasures] | None:
        """Return what the pictures of a dataset are like; ``None`` where that isn't known, and it is tried again.

        A dataset that was removed is no trouble. One that can't be read is.
        """
        try:
            return [*self._measures(scan)]
        except DatasetGone:
            self._postpone(scan.key)
        except OSError as problem:
            self._postpone(scan.key, f"{problem.filename or scan.scan_id}: {problem.strerror or problem}")
        except _Stopped:
            pass
        except Exception as problem:  # noqa: BLE001 - a mistake of ours holds up no other dataset
            log_relay(RelayAction.RELAY_FAILED, f"{NAME}: {scan.scan_id}: {problem!r}", error=problem)
            self._postpone(scan.key, f"{scan.scan_id}: {problem!r}")
        return None

    def _postpone(self, key: str, trouble: str = "") -> None:
        self._postponed[key] = (self._host.clock.monotonic() + AGAIN, trouble)

    def _measures(self, scan: TakenScan) -> Iterator[PictureMeasures]:
        # Pillow is imported on this thread, so that no start of the relay takes longer.
        from plantimager.timelapse.relay.look.look_picture import SUFFIXES, measure_picture  # noqa: PLC0415 - see above

        directory = self._host.datasets_of([scan.scan_id]) / scan.scan_id
        claimed = self._from_disk(lambda: read_receipt_of(directory, scan), directory).get(FILES)
        there = self._from_disk(lambda: [*dataset_files(directory)], directory)
        files = (path.relative_to(directory) for path in there if path.suffix.lower() in SUFFIXES)
        for picture in place_pictures(str(file) for file in files if _is_text(file)):
            if self._host.stop.is_set():
                raise _Stopped
            try:
                path = directory / picture.file
                content = self._from_disk(partial(read_regular, path, MAX_PICTURE_BYTES), path)
            except FileNotFoundError:
                raise DatasetGone(f"{directory} was removed meanwhile") from None
            except FileTooLarge:
                continue
            # What somebody has added or changed since the scan is not what was taken.
            if isinstance(claimed, dict) and claimed.get(picture.file) != hashlib.sha256(content).hexdigest():
                continue
            try:
                measured = measure_picture(picture, content)
            except Exception as problem:  # noqa: BLE001 - a mistake of ours, which costs the verdict on one picture alone
                words = f"{NAME}: {scan.scan_id}/{picture.file} isn't judged: {problem!r}"
                log_relay(RelayAction.RELAY_FAILED, words, error=problem)
            else:
                if measured is not None:
                    yield measured

    def _from_disk(self, read: Callable[[], T], path: Path) -> T:
        """Return what is read of datasets, which may be another computer's."""
        answer = self._disk.make(lambda: (read(),))
        if answer is None:
            raise TimeoutError(ETIMEDOUT, "the disk doesn't answer", str(path))
        return cast("T", answer[0])

    # --- reports ----------------------------------------------------------------------------------

    def _report(self, before: Sequence[Doubt], doubts: Sequence[Doubt]) -> None:
        """Log what has become doubtful, and what is in order again."""
        now, open_before = self._host.clock.now(), {doubt.name for doubt in before if not doubt.is_over}
        for doubt in doubts:
            words = f"{doubt.timelapse}: {doubt.describe_slots(now)}, {doubt.describe_where()}: {doubt.verdict}"
            if not doubt.is_over and doubt.name not in open_before:
                words = f"{words}; see {doubt.file}"
                log_relay(RelayAction.PICTURES_DOUBTFUL, words, timelapse_id=doubt.timelapse, slot=doubt.slot)
            elif doubt.is_over and doubt.name in open_before:
                log_relay(RelayAction.PICTURES_IN_ORDER, f"{words}, and no more", timelapse_id=doubt.timelapse)

    def _show(self, n_judged: int, worked_at: datetime | None, doubts: tuple[Doubt, ...]) -> None:
        status = SinkStatus(
            name=NAME,
            what=f"pictures of {format_count(n_judged, 'scan')} looked at",
            worked_at=worked_at,
            trouble=self._looked.trouble or next((trouble for _, trouble in self._postponed.values() if trouble), ""),
            doubts=doubts,
        )
        if status != self.status:
            self.status = status
            self._host.report()


class _Stopped(Exception):
    """The relay stops."""


def _is_text(file: Path) -> bool:
    """Whether a name can be written into a ledger."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_same(seen: StoreView, view: StoreView) -> bool:
    """Whether there is nothing more to look at; the present store is the same object as long as its file is."""
    return seen.stored is view.stored and seen.archived == view.archived


def _doubts_of(judges: Iterable[Judge]) -> tuple[Doubt, ...]:
    """Return the doubts of all; of a later timelapse of the same id instead of those of the earlier."""
    found = {doubt.name: doubt for judge in judges for doubt in judge.doubts}
    return (*found.values(),)[-MAX_DOUBTS:]
