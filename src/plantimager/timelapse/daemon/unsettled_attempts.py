"""Attempts that count as ended while their dataset may be whole: when the driver is asked about them, and its answers.

An attempt is left unsettled where its call was abandoned, or the datasets' disk was away at its end. No question holds
up a slot: one about an earlier slot is put while the rig is free, not shortly before the next slot, and gives way to
whatever the rig is needed for.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.daemon.attempt_request import describe_unsettled, is_unsettled_attempt, request_of
from plantimager.timelapse.daemon.dataset_probe import PROBE_TIMEOUT
from plantimager.timelapse.daemon.driver_calls import max_silence
from plantimager.timelapse.daemon.rig import Power, log_trouble
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.domain.power import warmup_at
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import CANCEL_TIMEOUT, Call
from plantimager.timelapse.support.errors import PicturesUnreadable, ScanCancelled

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.driver_calls import CallMonitor, CallOutcome
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.scan.request import ScanRequest, ScanResult

FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(minutes=30)
"""Between two looks at a disk that is away, while the driver is to be asked about datasets on it; each pause is twice
the one before. No kernel tells of every disk that comes back, such as another computer's."""


class UnsettledAttempts:
    """Asks the driver about unsettled attempts, and records its answers. Loop thread."""

    def __init__(self, common: Common, probe: DatasetProbe) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._rig, self._hold, self._probe = common.active, common.rig, common.hold, probe
        self._pause = FIRST_PAUSE
        self._look_at = float("-inf")
        """On the monotonic clock."""
        self._no_answer: CallOutcome | None = None
        """The last answer, where the driver did not know."""

    def begin(self, running: TimeLapse, start_by: datetime | None) -> tuple[TimeLapse, ScanRequest]:
        """Return the value with the directory that its attempt, which begins, is put into, and the request for it."""
        place, owner, observe = self._active.datasets, self._active.owner, self._active.observe
        running = running.put_into(str(place) if str(place).isprintable() else None)
        request = request_of(running, self._keeper.configuration, place, owner, observe)
        return running, replace(request, start_by=start_by)

    # --- when it is asked -----------------------------------------------------------------------------

    def ask_about(self, slot: int) -> bool:
        """Look at the datasets, and ask about the slot that is to be taken, unless its disk is away; return whether so.

        It waits for the answer, since it must not be taken twice.
        """
        question = self._look_for(slot)
        is_asked = question is not None and self._probe.seen_at(question.dataset_dir.parent).is_in_sight
        if question is None or not is_asked or self.is_unreadable(question):
            return False
        self._rig.recover(question)
        return True

    def must_ask_about(self, slot: int) -> bool:
        """Look at the datasets, and return whether a slot must not be attempted before the driver was asked.

        Where the attempt was put into another directory than the next one, which is out of reach, or the disk fails
        under its pictures alone, the slot is rather taken twice than not at all.
        """
        question = self._look_for(slot)
        if question is None or self.is_unreadable(question):
            return False
        place = question.dataset_dir.parent
        return place == self._active.datasets or self._probe.seen_at(place).is_in_sight

    def _look_for(self, slot: int) -> ScanRequest | None:
        """Look at the next datasets and at those of a slot's last attempt; return the question about that, if any."""
        timelapse = self._keeper.timelapse
        if timelapse is None or slot not in timelapse.unsettled:
            self._probe.look()
            return None
        self._probe.look(self._probe.question_about(timelapse, slot).dataset_dir.parent)
        question = self._probe.question_about(timelapse, slot)  # its place may be known by now
        return None if self._settle_moved(timelapse, [question]) else question

    def is_unreadable(self, question: ScanRequest) -> bool:
        """Whether the last answer was that the disk fails under the pictures of this attempt."""
        last = self._no_answer
        if last is None or last.request is None or not isinstance(last.problem, PicturesUnreadable):
            return False
        return (last.request.scan_id, last.request.attempt) == (question.scan_id, question.attempt)

    def watch(self) -> float | None:
        """Ask about an earlier slot if the rig is free and the disk is there; return in how many seconds to look again.

        Where it isn't free, a turn follows when it is.
        """
        timelapse, monitor = self._keeper.timelapse, self._rig.monitor
        if timelapse is None:
            return None
        if monitor is not None and monitor.call is Call.RECOVER:
            return self._watch_question(timelapse, monitor)
        earlier = [slot for slot in timelapse.unsettled if slot != timelapse.next_idx]
        if not earlier or not self._is_free(timelapse):
            return None
        wait = self._look_at - self._clock.monotonic()
        places = {self._probe.question_about(timelapse, slot).dataset_dir.parent for slot in earlier}
        is_away = self._probe.trouble is not None or not timelapse.state.is_active  # as of the look at the last slot
        if wait > 0 and (is_away or self._no_answer is not None or places != {self._active.datasets}):
            return wait
        self._probe.look(*places, anew=True)
        questions = [self._probe.question_about(timelapse, slot) for slot in self._in_turn(earlier)]
        question = next((each for each in questions if self._probe.seen_at(each.dataset_dir.parent).is_in_sight), None)
        if self._settle_moved(timelapse, questions):
            self._clock.wake()
        elif question is None:
            return self._look_later()
        else:
            self._rig.recover(question)
        return None

    def _settle_moved(self, timelapse: TimeLapse, questions: list[ScanRequest]) -> bool:
        """Record the attempts whose directory is gone, and whose dataset was moved; return whether there are any."""
        gone = [each for each in questions if self._probe.seen_at(each.dataset_dir.parent).is_gone]
        moved = self._probe.find_moved(timelapse, gone)
        for request in gone:
            if request.index in moved:
                self.settle(request, moved[request.index].result, moved[request.index].finished_at)
        return bool(moved)

    def _in_turn(self, slots: list[int]) -> list[int]:
        """Return slots in the order in which to ask: one that had no answer doesn't keep the others from theirs."""
        last = self._no_answer
        if last is None or last.request is None or isinstance(last.problem, ScanCancelled):
            return slots
        behind = bisect_right(slots, last.request.index)
        return slots[behind:] + slots[:behind]

    def _look_later(self) -> float:
        wait, self._pause = self._pause.total_seconds(), min(2 * self._pause, LONGEST_PAUSE)
        self._look_at = self._clock.monotonic() + wait
        return wait

    def _is_free(self, timelapse: TimeLapse) -> bool:
        """Whether the rig has nothing to do, for longer than a look, and than a question of which no sign is heard."""
        if not self._lifecycle.phase.keeps_schedule or self._keeper.is_scanning:
            return False
        if self._hold.is_on or not self._rig.is_at_rest:
            return False
        driver, left = self._active.driver, self._time_left(timelapse)
        silence = timedelta(0)  # as it is left out of the time that is left
        if driver.recover_silence is None:
            silence = max_silence(driver, Call.RECOVER, self._active.config.stall_timeout)
        return left is None or left > max(silence, PROBE_TIMEOUT).total_seconds()

    def _time_left(self, timelapse: TimeLapse) -> float | None:
        """Return in how many seconds a question has to give way to the next slot; ``None`` without one.

        Then there is time for its next sign of life before the rig is prepared.
        """
        warm_at = warmup_at(timelapse)
        silence = self._active.driver.recover_silence or CANCEL_TIMEOUT
        return None if warm_at is None else (warm_at - silence - self._clock.now()).total_seconds()

    def _watch_question(self, timelapse: TimeLapse, monitor: CallMonitor) -> float | None:
        """Have a question give way where the rig is needed, or will be in a moment; it is put again later."""
        request, left = monitor.request, self._time_left(timelapse)
        is_needed = request is not self._rig.scanning or self._rig.power is not Power.ASKED
        if not is_needed and not self._lifecycle.phase.is_stopping:
            if left is None or request is None or request.index == timelapse.next_idx:
                return None
            if left > 0:
                return left
        monitor.give_way()
        return None

    def describe(self) -> tuple[str, str]:
        """Return in words which scan may be whole, and a hint; empty for none. It is asked about soon, as one waits."""
        timelapse = self._keeper.timelapse
        if timelapse is None or not timelapse.unsettled:
            return "", ""
        self._pause, self._look_at = FIRST_PAUSE, float("-inf")
        self._probe.look()  # its place may be known by now
        question = self._probe.question_about(timelapse, timelapse.unsettled[0])
        place, last = question.dataset_dir.parent, self._no_answer
        why, scan = self._probe.seen_at(place).why, describe_unsettled(timelapse)
        if why is None and last is not None and self.is_unreadable(question):
            return f"{scan} can't be looked for: {last.problem}", "try again when they can be read, or are away"
        if why is None:
            return f"{scan} is looked for", "try again in a moment"
        if place != self._active.datasets:
            return f"{scan} can't be looked for: {place}: {why}", "try again when it is there"
        return f"{scan} can't be looked for: {self._probe.describe(why)}", "try again when they can be put there"

    # --- what is answered -----------------------------------------------------------------------------

    def take_answer(self, outcome: CallOutcome, request: ScanRequest) -> None:
        """Record what the driver says of an attempt; where it did not know, it is asked again."""
        gave_way, before = isinstance(outcome.problem, ScanCancelled), self._no_answer
        is_news = not outcome.is_no_answer or before is None or str(outcome.problem) != str(before.problem)
        self._no_answer = outcome if outcome.is_no_answer else None
        if outcome.problem is not None and not gave_way and is_news:
            log_trouble(outcome)
        if outcome.is_no_answer:
            self._look_later()
            return
        self._pause = FIRST_PAUSE
        self.settle(request, outcome.result, outcome.finished_at)

    def settle(self, request: ScanRequest, result: ScanResult | None, finished_at: datetime | None) -> None:
        """Record whether an attempt that counts as ended is whole; "no" counts only from a disk that is still there."""
        if result is None and not self._probe.look_at(request.dataset_dir.parent).is_in_sight:
            return
        timelapse, now = self._keeper.timelapse, self._clock.now()
        if timelapse is None or not is_unsettled_attempt(timelapse, request):
            return
        if result is None:
            self._keeper.commit(timelapse.settle(request.index), now)
            return
        taken = timelapse.succeed_after_all(request.index, now, result.pictures, finished_at)
        is_found = timelapse.state is not TimeLapseState.CANCELLED
        self._keeper.commit(taken, now, Circumstances(note=result.note, is_found=is_found))
