"""The words of the messages: a short subject for a phone, and what happened, what it cost, and what to do. Pure."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.pausing import describe_pause, next_to_take
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.domain.wording import describe_slots, format_local_time
from plantimager.timelapse.relay.notify.advice import ADVICE, CLOCK_ADVICE, STORE_ADVICE
from plantimager.timelapse.relay.notify.news import LOSSES
from plantimager.timelapse.relay.notify.told import Message
from plantimager.timelapse.relay.notify.troubles import STORE, UNREADABLE
from plantimager.timelapse.relay.schedule_watch import describe_service
from plantimager.timelapse.settings.relay_config import NotifyEvent, Verdict
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from plantimager.timelapse.channel.doubt import Doubt
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.relay.notify.news import Ended, Loss, News, Recovery
    from plantimager.timelapse.relay.notify.told import Waiting
    from plantimager.timelapse.relay.notify.troubles import Trouble
    from plantimager.timelapse.relay.store_view import StoreView

MAX_LOSSES: Final = 5
"""Causes that are worded, each in a sentence; of the others there is a count."""
MAX_REASON: Final = 300
"""Characters of what a driver or a disk said."""
MAX_BODY: Final = 3500
"""Bytes; ntfy makes a file of a message of more than 4096."""
MAX_NAME: Final = 40
"""Characters of the names of rig and timelapse in a subject, where a phone shows some fifty."""

VERDICT_MEANINGS: Final = {
    Verdict.DARK: "nothing in the picture is lit",
    Verdict.BRIGHT: "all of the picture is white",
    Verdict.FLAT: "the picture is of one even tone",
    Verdict.BLURRED: "the picture is much less sharp than the earlier ones of the same camera and position",
    Verdict.SAME: "exactly the picture of the slot before, as of a camera that hangs",
    Verdict.UNREADABLE: "the file can't be decoded",
}
VERBS: Final = {
    NotifyEvent.SLOT_FAILED: "failed",
    NotifyEvent.SLOT_SKIPPED: "missed",
    NotifyEvent.SLOT_INTERRUPTED: "interrupted",
    NotifyEvent.RIG_NOT_READY: "missed, rig not ready",
}
ALARM_WORDS: Final = {
    NotifyEvent.OVERDUE: "the store can't be read",
    NotifyEvent.RIG_NOT_READY: "the rig isn't ready",
    NotifyEvent.DEGRADED: "the store can't be written",
    NotifyEvent.DATASETS: "datasets can't be written",
    NotifyEvent.DELIVERY_STUCK: "delivery is stuck",
}
COSTS: Final = {
    NotifyEvent.OVERDUE: "Nobody can see whether its slots are taken.",
    NotifyEvent.RIG_NOT_READY: "No slot is taken meanwhile.",
    NotifyEvent.DEGRADED: "Scans go on; a power cut now would lose their records.",
    NotifyEvent.DATASETS: "No slot is taken meanwhile.",
    NotifyEvent.DELIVERY_STUCK: "Nothing is lost: the datasets stay on the rig.",
}
RECOVERIES: Final = {
    LOSSES: "slots are taken again",
    NotifyEvent.OVERDUE: "slots are recorded again",
    UNREADABLE: "the store can be read again",
    NotifyEvent.RIG_NOT_READY: "the rig is ready again",
    NotifyEvent.DEGRADED: "the store is written again",
    NotifyEvent.DATASETS: "datasets are written again",
    NotifyEvent.DELIVERY_STUCK: "delivery goes on",
    NotifyEvent.DOUBTFUL: "pictures are in order again",
}
"""What is told once of the end of a trouble."""
NO_CLOCK, CLOCK_AGAIN = "the clock isn't trusted", "the clock is trusted again"


def word_news(news: News, view: StoreView, rig: str, now: datetime) -> Message:
    """Return one message with all news."""
    parts = [*_ending_parts(news.endings), *_loss_parts(news, now)]
    doubts = [alarm.doubt for alarm in news.alarms if alarm.doubt is not None]
    parts += [_alarm_part(alarm, view, now) for alarm in news.alarms if alarm.doubt is None]
    parts += _doubt_parts(doubts, now)
    parts += [_recovery_part(recovery, now) for recovery in news.recoveries if recovery.doubt is None]
    parts += _parts_in_order([recovery.doubt for recovery in news.recoveries if recovery.doubt is not None], now)
    subjects = [subject for subject, _ in parts]
    more = f" (and {len(subjects) - 1} more)" if len(subjects) > 1 else ""
    body = "\n\n".join([*(text for _, text in parts), *_next_slot(view, now)])
    picture = doubts[0].file if doubts else ""
    return _message(now, rig, f"{subjects[0]}{more}", body, news.kinds, picture)


def sum_up(waiting: Waiting, rig: str, now: datetime) -> Message:
    """Return one message for all that a service couldn't be sent; the last of them whole."""
    messages, n = waiting.messages, len(waiting.messages) + waiting.dropped
    if n == 1:
        return messages[0]
    since = format_local_time(messages[0].at, now)
    dropped = [f"{format_count(waiting.dropped, 'earlier message')} left out here"] if waiting.dropped else []
    lines = [f"{format_local_time(message.at, now)} {message.subject}" for message in messages]
    words = f"These {n} messages could not be sent before:"
    body = "\n".join([words, *dropped, *lines, "", "The last of them:", messages[-1].body])
    kinds = tuple(dict.fromkeys(kind for message in messages for kind in message.kinds))
    return _message(now, rig, f"{n} messages since {since}", body, kinds, messages[-1].picture)


def _message(now: datetime, rig: str, what: str, body: str, kinds: tuple[str, ...], picture: str) -> Message:
    """Return a message of a rig, whose name is in its text where it is too long for the subject."""
    name = _cut(rig, MAX_NAME)
    whole = [] if name == rig else ["", f"Rig: {rig}."]
    text = body if len(body.encode()) <= MAX_BODY else f"{body.encode()[:MAX_BODY].decode(errors='ignore')}…"
    return Message(now, f"{name}: {what}", _lines(text, *whole), kinds, picture)


# --- its parts, each a subject and a text ---------------------------------------------------------------


def _ending_parts(endings: Iterable[Ended]) -> Iterator[tuple[str, str]]:
    for ending in endings:
        timelapse = ending.timelapse
        name, tally = _cut(timelapse.id, MAX_NAME), timelapse.tally
        if ending.kind is NotifyEvent.TIMELAPSE_COMPLETED:
            subject, what = f"{name} is complete", f"{timelapse.id} is complete."
        else:
            why = one_line(timelapse.ending.why) if timelapse.ending is not None else "a slot failed"
            subject, what = f"{name} has failed", f"{timelapse.id} has failed: {why}."
        paused = sum(record.reason is Reason.PAUSED for record in timelapse.records.values())
        counts = {"lost": tally.done - tally.taken - paused, "paused": paused}
        others = [f", {count} {word}" for word, count in counts.items() if count]
        cost = f"{tally.taken} of {timelapse.n_slots} slots taken{''.join(others)}."
        yield subject, _lines(what, cost, _advice(ending.kind))


def _loss_parts(news: News, now: datetime) -> Iterator[tuple[str, str]]:
    losses = news.losses
    if not losses:
        return
    slots = sorted({slot for loss in losses for slot in loss.slots})
    kinds = [*dict.fromkeys(loss.kind for loss in losses)]
    verb = VERBS[kinds[0]] if len(kinds) == 1 else "lost"
    subject = f"slot {slots[0]} {verb}" if len(slots) == 1 else f"{len(slots)} slots {verb}"
    sentences = [_loss_sentence(loss, now) for loss in losses[:MAX_LOSSES]]
    others = sum(len(loss.slots) for loss in losses[MAX_LOSSES:])
    sentences += [f"And {format_count(others, 'slot')} more, for other reasons."] if others else []
    timelapse = losses[-1].timelapse
    n_lost = sum(len(loss.slots) for loss in losses)
    cost = f"Lost: {format_count(n_lost, 'time point')}. {_so_far(timelapse)}"
    again = ["Slots are taken again since."] if news.is_well else []
    yield subject, _lines(*sentences, cost, *again, *map(_advice, kinds))


def _loss_sentence(loss: Loss, now: datetime) -> str:
    why = _reason(loss.why)
    slots = f"{loss.timelapse.id}: {describe_slots(loss.timelapse, loss.slots, now)} {VERBS[loss.kind]}"
    last = ", the last one" if loss.is_varied else ""
    return f"{slots}{f'{last}: {why}' if why else ', later than the grace period'}."


def _alarm_part(alarm: Trouble, view: StoreView, now: datetime) -> tuple[str, str]:
    since, timelapse = f"Since {format_local_time(alarm.since, now)}.", view.timelapse
    if alarm.slot is not None and timelapse is not None:
        slot = f"slot {alarm.slot}"
        what = f"{timelapse.id}: {slot} was due at {format_local_time(alarm.since, now)} and has no record."
        late = _slots_too_late(timelapse, now, is_scanning=view.taken.is_scanning)
        cost = f"{format_count(late, 'slot')} can't be taken in time any more." if late else "No slot is lost yet."
        known = [describe_service(view.daemon), *([f"{_reason(view.fault)}."] if view.is_stale else [])]
        text = _lines(what, *known, cost, _so_far(timelapse), _advice(alarm.kind))
        return f"{slot} is overdue", text
    if alarm.of_clock and timelapse is not None:
        what = f"{timelapse.id}: {NO_CLOCK} for longer than clock_wait; nothing is taken."
        return NO_CLOCK, _lines(what, since, _so_far(timelapse), f"What to do: {CLOCK_ADVICE}")
    what = f"{ALARM_WORDS[alarm.kind].capitalize()}{f' ({alarm.what})' if alarm.what not in ('', STORE) else ''}"
    why, advice = _reason(alarm.why), STORE_ADVICE if alarm.what == STORE else ADVICE[alarm.kind]
    return ALARM_WORDS[alarm.kind], _lines(
        f"{what}{f': {why}' if why else ''}.", since, COSTS[alarm.kind], f"What to do: {advice}"
    )


def _recovery_part(recovery: Recovery, now: datetime) -> tuple[str, str]:
    trouble, _, what = recovery.trouble.partition(" ") if recovery.trouble != UNREADABLE else (UNREADABLE, "", "")
    if recovery.of_clock:  # how long ago it was nobody knows
        began = f"The trouble began at {format_local_time(recovery.since, now)} by the clock of then."
        return CLOCK_AGAIN, _lines(f"{CLOCK_AGAIN.capitalize()}.", began)
    words = RECOVERIES[trouble]
    ago = format_duration(max(now - recovery.since, timedelta(0)))  # the clock may have been set back
    lasted = f"The trouble began at {format_local_time(recovery.since, now)} ({ago} ago)"
    cost = f"; it cost {format_count(recovery.lost, 'time point')}" if recovery.lost else ""
    return words, _lines(f"{words.capitalize()}{f' ({what})' if what else ''}.", f"{lasted}{cost}.")


def _doubt_parts(doubts: Sequence[Doubt], now: datetime) -> Iterator[tuple[str, str]]:
    """Yield a part for all that has begun: of several cameras, for several reasons."""
    if not doubts:
        return
    verdicts = [*dict.fromkeys(doubt.verdict for doubt in doubts)]
    slots = max(doubts, key=lambda doubt: doubt.slots)
    subject = f"slot {slots.slot}" if slots.slots == 1 else f"{slots.slots} slots"
    sentences = [_doubt_sentence(doubt, now) for doubt in doubts[:MAX_LOSSES]]
    sentences += [f"And {len(doubts) - MAX_LOSSES} more."] if len(doubts) > MAX_LOSSES else []
    meanings = [f"{verdict.capitalize()}: {VERDICT_MEANINGS[Verdict(verdict)]}." for verdict in verdicts]
    cost = "The records stay as they are: taken."
    yield (
        f"{subject} doubtful ({', '.join(verdicts)})",
        _lines(*sentences, *meanings, cost, _advice(NotifyEvent.DOUBTFUL)),
    )


def _doubt_sentence(doubt: Doubt, now: datetime) -> str:
    return f"{doubt.timelapse}: {doubt.describe_slots(now)} doubtful: {doubt.describe_where()}: {doubt.verdict}."


def _parts_in_order(doubts: Sequence[Doubt], now: datetime) -> Iterator[tuple[str, str]]:
    """Yield a part for all that is over."""
    if doubts:
        words = RECOVERIES[NotifyEvent.DOUBTFUL]
        sentences = [_doubt_sentence(doubt, now).replace(" doubtful: ", " were doubtful: ") for doubt in doubts]
        yield words, _lines(f"{words.capitalize()}.", *sentences[:MAX_LOSSES])


def _next_slot(view: StoreView, now: datetime) -> Sequence[str]:
    timelapse = view.timelapse
    if timelapse is None or timelapse.next_at is None:
        return ["No slot is scheduled."]
    first = next_to_take(timelapse)
    if first is None and timelapse.pause is not None:
        return [f"No slot is taken: it is {describe_pause(timelapse.pause)}."]
    following = next((slot for slot in range(first or 0, timelapse.n_slots) if _is_ahead(timelapse, slot, now)), None)
    if following is None:
        return ["No slot is left."]
    return [f"Next slot: {following}, at {format_local_time(timelapse.schedule_times[following], now)}."]


def _slots_too_late(timelapse: TimeLapse, now: datetime, *, is_scanning: bool) -> int:
    """Return how many open slots are past their grace period, without the one that is being taken."""
    first = next_to_take(timelapse)
    slots = itertools.takewhile(
        lambda slot: timelapse.latest_start(slot) < now, () if first is None else range(first, timelapse.n_slots)
    )
    open_slots = {slot for slot in slots if not timelapse.is_closed(slot)}
    return len(open_slots - {timelapse.next_idx} if is_scanning else open_slots)


def _is_ahead(timelapse: TimeLapse, slot: int, now: datetime) -> bool:
    return timelapse.schedule_times[slot] > now and not timelapse.is_closed(slot)


def _so_far(timelapse: TimeLapse) -> str:
    return f"Taken so far: {timelapse.tally.taken} of {timelapse.n_slots}."


def _advice(kind: NotifyEvent) -> str:
    return f"What to do: {ADVICE[kind]}"


def _reason(why: str) -> str:
    return _cut(one_line(why), MAX_REASON).rstrip(".")


def _lines(*lines: str) -> str:
    return "\n".join(lines)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
