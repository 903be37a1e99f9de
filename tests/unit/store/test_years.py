"""No time of a store, whatever another program or a person wrote into it, is one that can't be shown or counted on."""

from __future__ import annotations

import pytest
from zones import host_zone

from plantimager.timelapse.domain.durations import MAX_DURATION
from plantimager.timelapse.domain.wording import format_local_time, format_status_line
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.store.schema import Own, Recorded, Store, StoredEnding, StoredPause, times_in
from plantimager.timelapse.support.errors import StoreCorrupt
from plantimager.timelapse.support.json_text import dumps
from stores import AT, PATH, example_of, read, scan, store_of, types_of

ENDS = ["0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]
ENDS += ["9999-12-31T23:59:59+00:00", "1969-12-31T23:59:59+00:00", "9000-01-01T00:00:00+00:00"]
SOUND = AT.isoformat()


DOCUMENTED = {"schedule_times", "start_at", "scan.started_at", "scan.finished_at"}


def times_of(kind):
    """Yield the fields of a Struct that hold times."""
    return [name for name, hint in types_of(kind).items() if "datetime" in str(hint)]


def own_with(**ours):
    return store_of(extra={"timelapsed": ours})


PLACES = {
    "schedule_times": lambda at: store_of(schedule_times=[at] * 4),
    "start_at": lambda at: store_of(start_at=at),
    **{f"scan.{name}": (lambda at, name=name: store_of(scan(**{name: at}))) for name in ("started_at", "finished_at")},
    "saved_at": lambda at: own_with(saved_at=at),
    "outages": lambda at: own_with(outages=[[SOUND, at], [SOUND, SOUND]]),
    "uncertain": lambda at: own_with(uncertain=[[at, SOUND]]),
    "recent": lambda at: own_with(recent=[{"at": at, "slots": [[0, 1]]}]),
    "ending": lambda at: own_with(ending={"at": at, "who": "anna", "why": "moss"}),
    "pause.since": lambda at: own_with(pause={"since": at, "who": "anna", "until": None}),
    "pause.until": lambda at: own_with(pause={"since": SOUND, "who": "anna", "until": at}),
}
"""The text of a store with a time in each place that has one."""


def test_every_place_of_a_time_is_here():
    """A field that is added to the schema needs a line above."""
    assert [*times_of(Store)] == ["schedule_times", "start_at"]
    assert [*times_of(Own)] == ["saved_at", "outages", "uncertain"]
    assert [times_of(kind) for kind in (Recorded, StoredEnding, StoredPause)] == [["at"], ["at"], ["since", "until"]]
    structs = {name for name, hint in types_of(Own).items() if "Stored" in str(hint) or "Recorded" in str(hint)}
    assert structs == {"recent", "ending", "pause"}
    details = example_of(types_of(Own)["slots"])
    assert not [*times_in([*details.values()])]


@pytest.mark.parametrize("rule", ["XXX-14", "XXX12"])
@pytest.mark.parametrize("at", ENDS)
@pytest.mark.parametrize("place", PLACES)
def test_time_at_the_end_of_the_years_is_refused_or_left_out(place, at, rule, monkeypatch):
    """What is left can be shown in any zone, and counted on: a daemon that couldn't would end at each start."""
    with host_zone(rule, monkeypatch):
        text = dumps(PLACES[place](at))
        if place in DOCUMENTED:
            with pytest.raises(StoreCorrupt, match="of the years 1970 to 8999"):
                read_timelapse(text, PATH)
            return
        stored = read_timelapse(text, PATH)
        assert f"{place.split('.')[0]} can't be right" in "".join(stored.notes)
        values = [getattr(stored.timelapse, name) for name in ("ending", "last_pause")]
        for time in [*times_in([stored.logbook, *values])]:
            assert format_local_time(time - MAX_DURATION if time.year > 5000 else time + MAX_DURATION, AT)
        format_status_line(stored.timelapse, AT, progress=None, fresh=True)
        assert read_timelapse(stored.encode(), PATH).notes == ()


def test_other_values_of_ours_are_kept_beside_one():
    """Only the time that can't be right is left out, with what it belongs to."""
    stored = read(PLACES["outages"]("9999-12-31T23:59:59+00:00"))
    assert stored.logbook.outages == ((AT, AT),)
    assert stored.notes == ("of extra.timelapsed, outages can't be right: it counts as unknown and is written anew",)
