"""What messages have to say, word by word, from the store of a rig and the instant at which each was worded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from plantimager.timelapse.domain.durations import format_duration

SKIPPED: Final = (
    "What to do: nothing for these. If the power failed, a longer grace_period in the next definition, or missed ="
    ' "run_latest" in timelapsed.toml, takes more slots after an outage.'
)
FAILED: Final = "What to do: read the reason, then look at the rig: cables, power, camera."
NOT_READY: Final = "What to do: switch the rig on, plug the cable in. timelapsed notices it."
VERBS: Final = {
    "skipped": "missed",
    "not ready": "missed, rig not ready",
    "interrupted": "interrupted",
    "failed": "failed",
}
ADVICE: Final = {
    "skipped": SKIPPED,
    "not ready": NOT_READY,
    "interrupted": "What to do: nothing.",
    "failed": FAILED,
}
TOO_LATE: Final = "its grace period was over when "
"""How the reason begins for a slot that was just in time when the daemon came back, and no more when it was tried."""
BEHIND: Final = timedelta(minutes=1)
"""How long after a slot's time its record may be there and seen: its grace period, and a scan on a busy machine. Which
records of that time the relay had seen when it worded a message is all that a story can't know."""


class Retold:
    """The messages about one store of ``rig``, worded ``at`` an instant: ``seen`` slots were closed then."""

    def __init__(self, rig: str, store: dict[str, Any], at: datetime, seen: int) -> None:
        self.rig, self.at, self.seen = rig, at, seen
        self.id, self.scans = store["timelapse_id"], store["scans"][:seen]
        self.times = [datetime.fromisoformat(time) for time in store["schedule_times"]]
        self.taken = sum(scan["status"] == "succeeded" for scan in self.scans)

    def time(self, instant: datetime) -> str:
        """Return an instant as a machine in UTC says it."""
        here = instant.astimezone(UTC)
        day = "" if here.date() == self.at.astimezone(UTC).date() else f"{here.day} {here:%b} "
        return f"{day}{here:%H:%M:%S}" if here.second else f"{day}{here:%H:%M}"

    def describe(self, slots: list[int]) -> str:
        """Return some slots in words."""
        first, last = (self.time(self.times[slot]) for slot in (slots[0], slots[-1]))
        return f"slot {slots[0]} ({first})" if len(slots) == 1 else f"{len(slots)} slots from {first} to {last}"

    @property
    def next_slot(self) -> str:
        """The last line."""
        ahead = [slot for slot in range(self.seen, len(self.times)) if self.times[slot] > self.at]
        return f"Next slot: {ahead[0]}, at {self.time(self.times[ahead[0]])}." if ahead else "No slot is left."

    @property
    def so_far(self) -> str:
        """How many slots were taken."""
        return f"Taken so far: {self.taken} of {len(self.times)}."

    def message(self, subject: str, *lines: str) -> tuple[str, str]:
        """Return a title and a text."""
        return f"{self.rig}: {subject}", "\n".join(lines)

    def lost(self, first: int) -> list[int]:
        """Return the slots from ``first`` on that were not taken."""
        return [slot for slot in range(first, self.seen) if self.scans[slot]["status"] in VERBS]

    def losses(self, first: int) -> tuple[str, str]:
        """Return the message of all slots that were lost from ``first`` on, if any were."""
        slots, causes = self.lost(first), dict[tuple[str, str], list[int]]()
        if not slots:
            return "", ""
        for slot in sorted(slots, key=lambda slot: self.scans[slot]["status"] != "skipped"):
            scan = self.scans[slot]
            why = scan["error"]["msg"]
            is_late = scan["status"] == "skipped" and " late, grace " in why
            # Errors that differ in numbers alone are one, and the last is said.
            alike = scan["status"] if scan["status"] == "failed" else "" if is_late else why
            kind = "not ready" if why.startswith(TOO_LATE) else scan["status"]
            causes.setdefault((kind, alike), []).append(slot)
        sentences = []
        for (status, cause), of_cause in causes.items():
            whys = [self.scans[slot]["error"]["msg"] for slot in of_cause]
            last = ", the last one" if len({*whys}) > 1 and cause else ""
            why = f"{last}: {whys[-1].rstrip('.')}" if cause else ", later than the grace period"
            sentences.append(f"{self.id}: {self.describe(of_cause)} {VERBS[status]}{why}.")
        kinds = [*dict.fromkeys(status for status, _ in causes)]
        verb = VERBS[kinds[0]] if len(kinds) == 1 else "lost"
        count = f"{len(slots)} time point{'s' * (len(slots) != 1)}"
        again = ["Slots are taken again since."] if self.scans[-1]["status"] == "succeeded" else []
        return self.message(
            f"slot {slots[0]} {verb}" if len(slots) == 1 else f"{len(slots)} slots {verb}",
            *sentences,
            f"Lost: {count}. {self.so_far}",
            *again,
            *(ADVICE[kind] for kind in kinds),
            "",
            self.next_slot,
        )

    def overdue(self, grace: timedelta) -> tuple[str, str]:
        """Return the message of a slot that has no record, since no daemon runs."""
        late = sum(time + grace < self.at for time in self.times[self.seen :])
        return self.message(
            f"slot {self.seen} is overdue",
            f"{self.id}: slot {self.seen} was due at {self.time(self.times[self.seen])} and has no record.",
            "The timelapse service isn't running; its journal says why.",
            f"{late} slot{'s' * (late != 1)} can't be taken in time any more.",
            self.so_far,
            "What to do: see whether the service runs: timelapsectl rigs.",
            "",
            self.next_slot,
        )

    def again(self, first: int) -> tuple[str, str]:
        """Return the message that slots are taken again, since the ones from ``first`` on were lost, if that is so."""
        slots = self.lost(first)
        if not slots or self.scans[-1]["status"] != "succeeded":
            return "", ""
        began, cost = self.times[slots[0]], f"{len(slots)} time point{'s' * (len(slots) != 1)}"
        ago = format_duration(self.at - began)
        return self.message(
            "slots are taken again",
            "Slots are taken again.",
            f"The trouble began at {self.time(began)} ({ago} ago); it cost {cost}.",
            "",
            self.next_slot,
        )

    def complete(self) -> tuple[str, str]:
        """Return the message of the end, if this is it."""
        if self.seen < len(self.times):
            return "", ""
        lost = len(self.scans) - self.taken
        return self.message(
            f"{self.id} is complete",
            f"{self.id} is complete.",
            f"{self.taken} of {len(self.times)} slots taken{f', {lost} lost' if lost else ''}.",
            "What to do: fetch the datasets.",
            "",
            "No slot is scheduled.",
        )


def retellings(rig: str, store: dict[str, Any], at: datetime) -> list[Retold]:
    """Return what may be said at an instant: records of the last slots may not have been seen then."""
    times = [datetime.fromisoformat(time) for time in store["schedule_times"]]
    first, last = (min(sum(time <= until for time in times), store["next_idx"]) for until in (at - BEHIND, at))
    return [Retold(rig, store, at, seen) for seen in range(first, last + 1)]
