"""The keeper of the store: the one place where a next value is saved, adopted, acted on and announced.

Used on the loop thread alone; nothing else writes the store.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.daemon.bounded_call import DiskStalled, DiskThread, read_within
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.retelling import note_recorded
from plantimager.timelapse.daemon.store_file import StoreFile
from plantimager.timelapse.daemon.transition import Circumstances, Transition
from plantimager.timelapse.domain.events import events_between
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.timelapse import MINIMUM_GRACE
from plantimager.timelapse.store.archive import archive_store
from plantimager.timelapse.store.raw_text import MAX_STORE_BYTES
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import shorten_records
from plantimager.timelapse.store.writing import StoreWriter
from plantimager.timelapse.support.durable import file_stamp
from plantimager.timelapse.support.errors import StoreUnreadable
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from plantimager.timelapse.daemon.transition import Subscriber
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.store.loading import LoadedTimelapse
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
    from plantimager.timelapse.support.errors import StoreCorrupt

SAVE_TIMEOUT: Final = timedelta(seconds=3)
"""For a save to come back before it counts as failed: a good card takes a tenth of a second."""
LAST_SAVE_TIMEOUT: Final = timedelta(seconds=20)
"""For a save that has stalled when the daemon ends; systemd is asked for more time than that."""

LOAD_TIMEOUT: Final = timedelta(seconds=60)
"""For the store to be read at a start: well below what systemd is asked for."""
ASIDE_TIMEOUT: Final = LAST_SAVE_TIMEOUT
"""For a file that can't be used to be set aside at a start; systemd is asked for more time than that."""

PLAIN: Final = Circumstances()


class StoreKeeper:
    """Holds the timelapse: on disk, and in memory, which is ahead only while the disk can't be written."""

    def __init__(self, path: Path, disk: DiskThread | None = None) -> None:
        """Keep the store ``path``; its writes are made by ``disk``."""
        self.file = StoreFile(path)
        self._disk = disk or DiskThread()
        self._late: StoredTimelapse | None = None
        """The value whose save has stalled; what it came to is not known yet."""
        self._writer = StoreWriter()
        self.stored: StoredTimelapse | None = None
        self.trouble: str | None = None
        """Why the last save failed; the daemon is degraded until one succeeds."""
        self._subscribers: list[Subscriber] = []
        self.is_known = False
        """Whether ``stored`` says what there is; before, the store is still to be read."""

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have every transition handed to ``subscriber`` from now on, after those who subscribed before."""
        self._subscribers.append(subscriber)

    # --- what is held ---------------------------------------------------------------------------------

    @property
    def timelapse(self) -> TimeLapse | None:
        """The timelapse as it is now."""
        return None if self.stored is None else self.stored.timelapse

    @property
    def active(self) -> TimeLapse | None:
        """The timelapse if there is one with a schedule to keep."""
        timelapse = self.timelapse
        return timelapse if timelapse is not None and timelapse.state.is_active else None

    @property
    def is_scanning(self) -> bool:
        """Whether an attempt is running."""
        return self.timelapse is not None and self.timelapse.state is TimeLapseState.RUNNING

    @property
    def configuration(self) -> Mapping[str, Any]:
        """The scan configuration of the timelapse; empty where it has none."""
        return (self.stored.configuration if self.stored is not None else None) or {}

    @property
    def logbook(self) -> Logbook:
        """What the daemon knows of its own past."""
        return Logbook() if self.stored is None else self.stored.logbook

    @property
    def patience(self) -> timedelta:
        """How long the loop may wait for a file, several times in a row: no slot becomes late behind that."""
        grace = SAVE_TIMEOUT * 4 if self.active is None else max(self.active.grace, MINIMUM_GRACE)
        return min(SAVE_TIMEOUT, grace / 4)

    # --- what a start finds ---------------------------------------------------------------------------

    def load(self) -> LoadedTimelapse | StoreCorrupt | None:
        """Do as `StoreFile.load`; a disk that doesn't answer counts as unreadable."""
        try:
            return read_within(LOAD_TIMEOUT, self.file.load)
        except DiskStalled as stalled:
            raise StoreUnreadable(self.file.path, str(stalled)) from stalled

    def salvage(self, loaded: LoadedTimelapse | StoreCorrupt | None, at: datetime) -> StoredTimelapse | None:
        """Return what can be used of what was loaded; what can't be used is set aside.

        Raises
        ------
        OSError
            It can't be set aside.
        """
        if loaded is None or isinstance(loaded, Exception):
            if loaded is not None:
                self._disk.run(partial(self.file.quarantine, loaded, at), ASIDE_TIMEOUT)
            self.is_known = True
            return None
        if loaded.trouble is not None or loaded.is_altered:
            try:
                self.trouble = self._disk.run(partial(self.file.mend, loaded, at), ASIDE_TIMEOUT)
            except DiskStalled as stalled:  # it goes on by itself when the disk does
                self.trouble = None if loaded.trouble is None else str(stalled)
        return loaded.stored

    def hold(self, stored: StoredTimelapse) -> None:
        """Hold what was loaded from the file."""
        self.stored, self.is_known = stored, True

    # --- transitions ----------------------------------------------------------------------------------

    def start(self, stored: StoredTimelapse, at: datetime, circumstances: Circumstances = PLAIN) -> bool:
        """Begin a timelapse, or one that was amended, as `commit` goes on with it."""
        return self._make_transition(replace(stored, logbook=replace(stored.logbook, saved_at=at)), at, circumstances)

    def commit(
        self,
        timelapse: TimeLapse,
        at: datetime,
        circumstances: Circumstances = PLAIN,
        *,
        logbook: Logbook | None = None,
        act: Callable[[], None] | None = None,
    ) -> bool:
        """Save the next value, adopt it, ``act``, and hand the events to the subscribers; return whether it is on disk.

        A save that fails is logged once, and the value is adopted all the same: a duplicate scan can be
        deleted, a missed time point can't be taken again. `retry` brings the disk up to date.
        """
        if self.stored is None:
            raise LookupError("nothing is held")
        logbook = replace(logbook if logbook is not None else self.logbook, saved_at=at)
        return self._make_transition(self.stored.evolved(timelapse, logbook), at, circumstances, act)

    def redate_recent(self, shift: timedelta) -> None:
        """Keep what was recorded lately by the clock as it is set now; the next save has it, too."""
        if self.stored is not None and self.logbook.recent:
            self.stored = self.stored.evolved(self.stored.timelapse, self.logbook.redated(shift))

    def retry(self, at: datetime) -> bool:
        """Try again to save what is in memory; return whether it is on disk."""
        return self.timelapse is None or self.commit(self.timelapse, at)

    def take_late(self, at: datetime) -> None:
        """If a save that had stalled is back, go by what it came to; an older value is followed by the newest."""
        outcome = self._disk.take_late()
        if outcome is None:
            return
        late, self._late = self._late, None
        try:
            archived = outcome.result()
        except OSError as problem:
            if late is not None:
                self._degrade(problem.strerror or str(problem), late)
            return
        if isinstance(archived, Path):  # it was refused, so that the store goes on: this would be one more, and older
            with suppress(OSError):
                self._disk.run(archived.unlink, SAVE_TIMEOUT)
        if late is not None and late is self.stored:
            self._note_saved(late)
        elif self.trouble is not None:
            self.retry(at)

    def finish(self, at: datetime) -> None:
        """At the end of the daemon: wait for a save that has stalled, since what is in memory alone would be lost."""
        self._disk.wait_late(LAST_SAVE_TIMEOUT)
        self.take_late(at)

    def archive(self, name: str, history: Path, at: datetime) -> Path:
        """Put the text of the store into the archive ``history``; return the file.

        It is that on disk, or what belongs there where that is not up to date.

        Raises
        ------
        OSError
            It can't be written, or that takes too long.
        """
        if self.stored is None:
            raise LookupError("nothing is held")
        stored, is_up_to_date = self.stored, self.trouble is None

        def put() -> Path:
            text = (self.file.read_own() if is_up_to_date else None) or stored.encode()
            return archive_store(text, name, history, file_stamp(at))

        return self._disk.run(put, SAVE_TIMEOUT)

    def _make_transition(
        self,
        following: StoredTimelapse,
        at: datetime,
        circumstances: Circumstances,
        act: Callable[[], None] | None = None,
    ) -> bool:
        before = self.timelapse
        happened = events_between(before, following.timelapse)
        following = replace(following, logbook=note_recorded(following.logbook, happened, at, circumstances.origin))
        content = self._writer.encode(following)
        if (size := sum(map(len, content))) > MAX_STORE_BYTES:
            following = self._shorten(following, size)
            content = self._writer.encode(following)  # what happened stays: that old records are shorter is no event
        is_saved = self._save(following, content, at)
        self.stored = following
        if act is not None:
            act()
        transition = Transition(before, following.timelapse, at, happened, circumstances)
        for subscriber in self._subscribers:
            subscriber(transition)
        return is_saved

    def _shorten(self, following: StoredTimelapse, size: int) -> StoredTimelapse:
        """Return a value whose text is short enough to be read again, as far as that can be reached."""
        shortened, n_cut, n_dropped = shorten_records(following, size, MAX_STORE_BYTES)
        done = [f"the errors of {format_count(n_cut, 'slot')} are cut short"] * (n_cut > 0)
        done += [f"the keys of other programs in {format_count(n_dropped, 'slot')} are dropped"] * (n_dropped > 0)
        if done:
            log_event(
                Action.STORE_SHORTENED,
                f"{self.file.path} would have {size} bytes, and {MAX_STORE_BYTES} at most are read again: "
                f"{', and '.join(done)}, the oldest first; all else is kept",
                timelapse=following.timelapse,
            )
        return shortened

    def _save(self, following: StoredTimelapse, content: Sequence[bytes], at: datetime) -> bool:
        """Write a value to disk; return whether that succeeded. Every save of the daemon is this one."""
        write = partial(self.file.write, content, at, self.timelapse)
        try:
            self._disk.run(write, _save_timeout(following.timelapse, at))
        except OSError as problem:
            if isinstance(problem, DiskStalled) and problem.is_first:
                self._late = following
            self._degrade(problem.strerror or str(problem), following)
            return False
        self._note_saved(following)
        return True

    def _note_saved(self, stored: StoredTimelapse) -> None:
        if self.trouble is not None:
            self.trouble = None
            log_event(Action.STORE_SAVED_AGAIN, f"{self.file.path} is up to date again", timelapse=stored.timelapse)

    def _degrade(self, reason: str, following: StoredTimelapse) -> None:
        if self.trouble == reason:
            return
        self.trouble = reason
        sentence = f"{self.file.path} can't be written ({reason}); scans go on, and saving is tried again"
        log_event(Action.STORE_NOT_SAVED, sentence, timelapse=following.timelapse)


def _save_timeout(timelapse: TimeLapse, at: datetime) -> timedelta:
    """Return how long a save may take: a slot that waits for its save still begins within its grace period."""
    grace = max(timelapse.grace, MINIMUM_GRACE)
    late = timelapse.lateness(timelapse.next_idx, at) if timelapse.state is TimeLapseState.RUNNING else timedelta(0)
    left = grace - late if timedelta(0) < late <= grace else grace
    return min(SAVE_TIMEOUT, left / 2)
