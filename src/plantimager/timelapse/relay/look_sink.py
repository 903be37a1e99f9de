"""The sink `look`: it judges the pictures of the present timelapse, on a thread of its own.

What was measured of a dataset is in the ledger, and the verdicts follow from that alone: they are the same whenever the
relay was off. A lost ledger costs looking again. Nothing of store or datasets is written.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime
from errno import ETIMEDOUT
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

import msgspec

from plantimager.timelapse.channel.ledger import LedgerEntry, Outcome
from plantimager.timelapse.channel.relay_status import SinkStatus, doubts_of, read_relay_status
from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.receipt import FILES
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, read_receipt_of
from plantimager.timelapse.relay.sink import LatestView, WorksOnLatest
from plantimager.timelapse.relay.taken_scans import taken_scans_of
from plantimager.timelapse.relay.verdict import Judge, JudgedScan, PictureMeasures, place_pictures
from plantimager.timelapse.support.durable import FileTooLarge, read_regular
from plantimager.timelapse.support.side_call import SideCall
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from plantimager.timelapse.channel.doubt import Doubt
    from plantimager.timelapse.channel.ledger import Ledger
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.store_view import StoreView
    from plantimager.timelapse.relay.taken_scans import TakenScan
    from plantimager.timelapse.settings.relay_config import LookSettings
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

NAME: Final = "look"
LEDGER: Final = "looked"
"""Its ledger; the names of those of targets have an ending."""
AGAIN: Final = 1800.0
"""Seconds until a dataset is looked for again that was not there, or couldn't be read."""
OURS: Final = ""
"""What is tried again after a mistake of ours, beside the keys of datasets."""
DISK_SECONDS: Final = 60.0
"""For the disk of datasets to answer once, such as with a whole picture."""
MAX_PICTURE_BYTES: Final = 1 << 28
"""Larger pictures aren't looked at: the file is in memory as a whole."""


Answer = TypeVar("Answer")


class LookSink(WorksOnLatest):
    """One sink of the relay: its thread runs `run`, any other `update`, `wake` and `status`."""

    name = NAME

    def __init__(self, rules: LookSettings, ledger: Ledger, host: SinkHost) -> None:
        self._rules, self._ledger, self._host = rules, ledger, host
        self._postponed: dict[str, tuple[float, str]] = {}
        """Datasets that aren't there or can't be read, by their keys: when they are tried again, and the trouble."""
        self._unwritten = ""
        """The trouble of a ledger that can't be written."""
        self._judge: Judge | None = None
        """``None`` where it is to be made again, from the ledger."""
        self._latest, self._disk = LatestView(host.stop), SideCall[tuple[object]](DISK_SECONDS)
        shown = read_relay_status(ledger.path.parent)  # by the relay that ran before, which may have been killed
        doubts = doubts_of(shown.sinks) if shown is not None else None
        self.status = SinkStatus(name=NAME, what="pictures are looked at", doubts=doubts)

    def run(self) -> None:
        """Look until the relay stops."""
        view: StoreView | None = None
        seen: StoredTimelapse | None = None
        while not self._host.stop.is_set():
            next_at = min((at for at, _ in self._postponed.values()), default=None)
            left = None if next_at is None else max(next_at - self._host.clock.monotonic(), 0.0)
            view = self._latest.wait(view, left)
            stored = view.stored if view is not None else None
            is_due = next_at is not None and next_at <= self._host.clock.monotonic()
            if self._host.stop.is_set() or (stored is seen and not is_due):
                continue
            seen = stored
            self._postponed.pop(OURS, None)
            try:
                if stored is None:
                    self._postponed = {}
                else:
                    self._look(stored.timelapse)
            except Exception as problem:  # noqa: BLE001 - a mistake of ours stops neither the other sinks nor this one
                log_relay(RelayAction.RELAY_FAILED, f"{NAME}: {problem!r}", error=problem)
                self._judge = None
                self._postpone(OURS)

    def _look(self, timelapse: TimeLapse) -> None:
        """Look at what wasn't looked at, and show what that comes to once all of it is."""
        scans = sorted(taken_scans_of(timelapse), key=lambda scan: scan.scheduled_at)
        self._read_ledger({scan.key for scan in scans})
        known = self._judge
        if known is None or known.timelapse_id != timelapse.id:
            known = self._judge_all(timelapse.id, scans)
        shown, is_in_order = self.status.doubts, True
        doubts_before = known.doubts if shown is None else shown
        for scan in scans:
            if self._host.stop.is_set():
                return
            again_at, _ = self._postponed.get(scan.key, (0.0, ""))
            # Those that are due a little later are tried with the others.
            if scan.key in self._ledger.entries or again_at > self._host.clock.monotonic() + AGAIN / 10:
                continue
            pictures = self._measure(scan)
            if pictures is not None:
                self._record(scan, pictures)
                is_in_order = is_in_order and (known.last is None or scan.scheduled_at > known.last)
                if is_in_order:
                    known.take(_judged(scan, pictures))
        if not is_in_order:
            known = self._judge_all(timelapse.id, scans)
        self._judge = known
        self._report(doubts_before, known.doubts)
        self._show(len(self._ledger.entries), known.doubts)

    def _judge_all(self, timelapse_id: str, scans: Sequence[TakenScan]) -> Judge:
        """Return the judge of all that is in the ledger."""
        judge = Judge(timelapse_id, self._rules)
        for scan in scans:
            if (entry := self._ledger.entries.get(scan.key)) is not None:
                judge.take(_judged(scan, _decode(entry)))
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
        from plantimager.timelapse.relay.look_picture import SUFFIXES, measure_picture  # noqa: PLC0415 - see above

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

    def _from_disk(self, read: Callable[[], Answer], path: Path) -> Answer:
        """Return what is read of datasets, which may be another computer's."""
        answer = self._disk.make(lambda: (read(),))
        if answer is None:
            raise TimeoutError(ETIMEDOUT, "the disk doesn't answer", str(path))
        return cast("Answer", answer[0])

    # --- the ledger -------------------------------------------------------------------------------

    def _read_ledger(self, keys: set[str]) -> None:
        """Read the ledger where it isn't known, and have it forget other timelapses."""
        with suppress(OSError):
            if self._ledger.refresh(mend=True):
                self._judge = None
                if self._ledger.damaged_lines:
                    words = f"{self._ledger.path}: some lines can't be read; those pictures are looked at again"
                    log_relay(RelayAction.LEDGER_DAMAGED, words, target=NAME)
        self._postponed = {key: waiting for key, waiting in self._postponed.items() if key in keys}
        if others := self._ledger.entries.keys() - keys:
            self._judge = None
            self._write(*(LedgerEntry(key, Outcome.FORGOTTEN, self._now()) for key in others))

    def _record(self, scan: TakenScan, pictures: Sequence[PictureMeasures]) -> None:
        self._postponed.pop(scan.key, None)
        text = msgspec.json.encode(pictures).decode()
        self._write(LedgerEntry(scan.key, Outcome.JUDGED, self._now(), len(pictures), why=text))

    def _write(self, *entries: LedgerEntry) -> None:
        """Put entries on disk; where that is refused they count until the relay stops."""
        before, self._unwritten = self._unwritten, ""
        try:
            self._ledger.record(*entries)
        except OSError as problem:
            self._unwritten = f"{self._ledger.path}: {problem.strerror or problem}"
            if self._unwritten != before:
                words = f"{self._unwritten}; after a restart those pictures are looked at again"
                log_relay(RelayAction.LEDGER_NOT_WRITTEN, words, target=NAME)

    def _now(self) -> str:
        return self._host.clock.now().isoformat(timespec="seconds")

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

    def _show(self, n_judged: int, doubts: tuple[Doubt, ...]) -> None:
        at = max((entry.at for entry in self._ledger.entries.values()), default="")
        status = SinkStatus(
            name=NAME,
            what=f"pictures of {format_count(n_judged, 'scan')} looked at",
            worked_at=datetime.fromisoformat(at) if at else None,
            trouble=self._unwritten or next((trouble for _, trouble in self._postponed.values() if trouble), ""),
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


def _judged(scan: TakenScan, pictures: Sequence[PictureMeasures]) -> JudgedScan:
    return JudgedScan(scan.slot, scan.scan_id, scan.scheduled_at, tuple(pictures))


def _decode(entry: LedgerEntry) -> Sequence[PictureMeasures]:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(entry.why, type=list[PictureMeasures])
    return ()
