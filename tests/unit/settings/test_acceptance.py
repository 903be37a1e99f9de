"""Taking up a definition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from plantimager.timelapse.domain.states import OnScanFailed, Reason, TimeLapseMode, TimeLapseState
from plantimager.timelapse.settings.acceptance import (
    DefinitionAlreadyAccepted,
    check_may_start,
    describe_start,
    plan_timelapse,
    scan_configuration_for,
)
from plantimager.timelapse.settings.amendment import amended_by
from plantimager.timelapse.settings.definition import read_definition
from plantimager.timelapse.store.archive import archive_store
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import KeptParts
from plantimager.timelapse.support.errors import DefinitionRefused, ScanFailed

NOW = datetime(2026, 6, 22, 8, tzinfo=UTC)

DEFINITION = """
[timelapse]
name = "{name}"
mode = "interval"
interval = "30m"
n_shots = {n_shots}
start_at = 2026-06-22T09:00:00Z
warmup_period = 10
standby_threshold_sec = 900
grace_period = {grace}
on_scan_failed = "fail_timelapse"
scan_retries = 2

[camera]
res_x = 4
res_y = 3
"""


@pytest.fixture
def define(tmp_path):
    """Return a function that writes a definition and reads it."""

    def write(name="tl", n_shots=4, grace=60):
        path = tmp_path / "timelapse.toml"
        path.write_text(DEFINITION.format(name=name, n_shots=n_shots, grace=grace))
        return read_definition(path)

    return write


@pytest.fixture
def history(tmp_path):
    return tmp_path / "history"


def plan(definition):
    return plan_timelapse(definition, definition.schedule(NOW))


def ended(stored):
    return stored.evolved(stored.timelapse.cancel(NOW, "ada", "why"), stored.logbook)


def test_definition_becomes_a_timelapse(define):
    """All that it says, nothing taken yet; with the configuration, so that the store alone is enough to resume."""
    definition = define()
    stored = plan(definition)
    value = stored.timelapse
    assert (value.id, value.mode, value.state) == ("tl", TimeLapseMode.INTERVAL, TimeLapseState.SCHEDULED)
    assert value.schedule_times == tuple(NOW + timedelta(minutes=60 + 30 * slot) for slot in range(4))
    assert value.start_at == value.schedule_times[0]
    assert (value.warmup, value.standby_threshold, value.grace) == (
        timedelta(seconds=10),
        timedelta(seconds=900),
        timedelta(seconds=60),
    )
    assert (value.on_scan_failed, value.scan_retries, value.records) == (OnScanFailed.FAIL_TIMELAPSE, 2, {})
    assert stored.configuration == definition.configuration
    assert stored.logbook.definition_digest == definition.digest


def test_nothing_stands_in_the_way_of_a_first_definition(define, history):
    """Nothing stands in the way of a new name after the last has ended, either."""
    check_may_start(define(), None, history)
    check_may_start(define("second"), ended(plan(define())), history)


@pytest.mark.parametrize("end", [lambda stored: stored, ended], ids=["active", "ended"])
def test_definition_that_was_taken_up_is_not_taken_up_again(define, history, end):
    """It stays in its directory over every start."""
    with pytest.raises(DefinitionAlreadyAccepted, match="tl was taken up before"):
        check_may_start(define(), end(plan(define())), history)


def test_changed_definition_of_the_active_timelapse_is_refused(define, history):
    """What runs, runs as it was defined; that its author thinks otherwise must be said."""
    with pytest.raises(DefinitionRefused, match=r"tl runs as it was defined; the changes in .* are ignored") as raised:
        check_may_start(define(grace=90), plan(define()), history)
    assert not isinstance(raised.value, DefinitionAlreadyAccepted)
    assert "timelapsectl amend" in raised.value.hint


def test_other_definition_is_refused_while_one_is_active(define, history):
    """The refusal says how far that one is."""
    with pytest.raises(DefinitionRefused, match="other can't start: tl is active, 0 of 4 slots are done"):
        check_may_start(define("other"), plan(define()), history)


def taken(stored):
    """Return a timelapse that has ended, with its first slot taken."""
    begun = stored.timelapse.begin(stored.timelapse.schedule_times[0], "boot")
    after = begun.succeed(stored.timelapse.schedule_times[0], 4)
    return stored.evolved(after.cancel(NOW, "ada", "why") if after.state.is_active else after, stored.logbook)


def failed(stored):
    """Return a timelapse that its first slot has ended."""
    begun = stored.timelapse.begin(stored.timelapse.schedule_times[0], "boot")
    over = begun.fail_attempt(NOW, ScanFailed("belt broken"), give_up=True)
    assert over.state is TimeLapseState.FAILED
    return stored.evolved(over, stored.logbook)


@pytest.mark.parametrize("end", [ended, failed])
@pytest.mark.parametrize("where", ["held", "archived", "archived again"])
def test_timelapse_that_ended_before_anything_was_taken_gives_its_name_back(define, history, end, where):
    """A person who finds a mistake in the first minute corrects it under the same name."""
    held = end(plan(define()))
    for _ in range(["held", "archived", "archived again"].index(where)):
        archive_store(held.encode(), "tl", history, "20260622T080000Z")
        held = None if where == "archived" else end(plan(define()))
    held = held if where == "held" else None
    check_may_start(define(grace=90), held, history)
    check_may_start(define("tl_1", n_shots=1), held, history)  # no dataset of its has that name


@pytest.mark.parametrize("end", [ended, failed])
def test_unchanged_definition_of_it_begins_for_a_person_alone(define, history, end):
    """It may lie in the configuration directory for years: no reload brings back what a person has cancelled."""
    held = end(plan(define()))
    for held, archive in ((held, False), (None, True)):  # noqa: B020 - the second time it is in the archive
        if archive:
            archive_store(end(plan(define())).encode(), "tl-cancelled", history, "20260622T080000Z")
        with pytest.raises(DefinitionAlreadyAccepted):
            check_may_start(define(), held, history)
        check_may_start(define(), held, history, by_a_person=True)


def amended(stored, definition):
    return amended_by(stored, definition, NOW)[0]


def test_definition_that_an_amendment_replaced_is_no_new_one(define, history):
    """It may still lie in the configuration directory: cancelling the timelapse must not begin it by itself."""
    first, second = define(), define(grace=90)
    running = amended(plan(first), second)
    for held, definition in ((running, first), (running, second), (ended(running), first), (ended(running), second)):
        with pytest.raises(DefinitionAlreadyAccepted):
            check_may_start(definition, held, history)
    check_may_start(first, ended(running), history, by_a_person=True)
    archive_store(ended(running).encode(), "tl-cancelled", history, "x")
    with pytest.raises(DefinitionAlreadyAccepted):
        check_may_start(first, None, history)


def test_way_to_another_definition_is_an_amendment(define, history):
    """It costs nothing that was taken; what is said of the timelapse is true after one, too."""
    running = amended(plan(define()), define(grace=90))
    with pytest.raises(DefinitionRefused, match=r"tl runs as it was amended; the changes in .* are ignored") as raised:
        check_may_start(define(grace=120), running, history)
    assert raised.value.hint == f"timelapsectl amend {define().source} replaces what is still to come by it"
    with pytest.raises(DefinitionAlreadyAccepted, match="tl was taken up before, was amended since, and is ") as raised:
        check_may_start(define(), running, history)
    assert raised.value.hint.startswith("timelapsectl amend ")


def test_name_of_which_one_of_two_timelapses_took_something_is_used(define, history):
    """The first was cancelled in time and gave it back, the second took slots, and both are in the archive."""
    archive_store(ended(plan(define())).encode(), "tl", history, "20260622T080000Z")
    archive_store((taken(plan(define()))).encode(), "tl", history, "20260623T080000Z")
    with pytest.raises(DefinitionRefused, match="of that name has already ended here"):
        check_may_start(define(grace=90), None, history)
    check_may_start(define("tl-20260623T080000Z"), None, history)


@pytest.mark.parametrize("by_a_person", [False, True])
def test_name_that_was_used_before_is_refused(define, history, by_a_person):
    """Its datasets would meet the first one's: whether it was the last timelapse or an archived one."""
    with pytest.raises(DefinitionRefused, match="of that name has already ended here"):
        check_may_start(define(grace=90), (taken(plan(define()))), history, by_a_person=by_a_person)
    completed = plan(define()).timelapse.skip_late_slots(NOW + timedelta(days=1), Reason.MISSED, "")
    with pytest.raises(DefinitionRefused, match="of that name has already ended here"):
        check_may_start(define(grace=90), plan(define()).evolved(completed, Logbook(definition_digest="x")), history)
    archive_store(b"{}", "old", history, "x")
    with pytest.raises(DefinitionRefused, match="of that name has already ended here"):
        check_may_start(define("old"), None, history)


@pytest.mark.parametrize("where", ["held", "archived"])
def test_single_slot_with_the_name_of_an_earlier_dataset_is_refused(define, history, where):
    """The one dataset of ``tl_1`` would have the name of slot 1 of ``tl``."""
    held = (taken(plan(define()))) if where == "held" else None
    if held is None:
        archive_store(b"{}", "tl", history, "x")
    with pytest.raises(DefinitionRefused, match="would have the name of slot 1 of tl, which was taken here"):
        check_may_start(define("tl_1", n_shots=1), held, history)
    check_may_start(define("tl_1"), held, history)  # its datasets are tl_1_0 to tl_1_3
    check_may_start(define("tl_x", n_shots=1), held, history)
    check_may_start(define("other_1", n_shots=1), held, history)


@pytest.mark.parametrize("where", ["held", "archived"])
def test_slot_with_the_name_of_an_earlier_single_dataset_is_refused(define, history, where):
    """It is the other direction: slot 1 of ``tl`` would have the name of the one dataset of ``tl_1``."""
    held = taken(plan(define("tl_1", n_shots=1)))
    if where == "archived":
        archive_store(held.encode(), "tl_1", history, "x")
        held = None
    with pytest.raises(DefinitionRefused, match="its slot 1 would have the name of the dataset tl_1, which was taken"):
        check_may_start(define("tl"), held, history)
    check_may_start(define("tl", n_shots=1), held, history)  # its dataset is tl
    check_may_start(define("t"), held, history)
    archive_store((taken(plan(define("tl_9", n_shots=1)))).encode(), "tl_9", history, "x")
    check_may_start(replace(define("tl"), name="tl_9x"), held, history)


def test_slots_that_an_earlier_timelapse_did_not_have_are_free(define, history):
    """Neither direction is refused where the numbers don't meet, nor between timelapses of several slots."""
    archive_store((taken(plan(define("a", n_shots=3)))).encode(), "a", history, "x")
    archive_store((taken(plan(define("b", n_shots=1)))).encode(), "b", history, "x")
    archive_store((taken(plan(define("c_1", n_shots=3)))).encode(), "c_1", history, "x")
    archive_store((taken(plan(define("d_7", n_shots=1)))).encode(), "d_7", history, "x")
    for name, n_shots in (("a_3", 1), ("b_0", 1), ("c", 4), ("d", 4), ("a_x", 1), ("a_01", 1)):
        check_may_start(define(name, n_shots=n_shots), None, history)
    for name, n_shots in (("a_2", 1), ("d", 8)):
        with pytest.raises(DefinitionRefused, match="would have the name of"):
            check_may_start(define(name, n_shots=n_shots), None, history)


def test_single_dataset_of_a_timelapse_that_was_amended_is_still_there(define, history):
    """It was of one slot when that was taken, whose dataset has the timelapse's own name."""
    single = plan(define("tl_3", n_shots=1))
    begun = single.evolved(single.timelapse.begin(single.timelapse.schedule_times[0], "boot"), single.logbook)
    held, _ = amended_by(begun, define("tl_3", n_shots=3), begun.timelapse.schedule_times[0])
    held = ended(held.evolved(held.timelapse.succeed(begun.timelapse.schedule_times[0], 4), held.logbook))
    assert (held.timelapse.n_slots, held.timelapse.scan_id(0)) == (3, "tl_3")
    with pytest.raises(DefinitionRefused, match="its slot 3 would have the name of the dataset tl_3, which was taken"):
        check_may_start(define("tl"), held, history)
    check_may_start(define("tl_3_0", n_shots=1), held, history)
    with pytest.raises(DefinitionRefused, match="would have the name of slot 1 of tl_3, which was taken here"):
        check_may_start(define("tl_3_1", n_shots=1), held, history)


def test_archive_overwrites_nothing(history):
    """A name may come again any number of times."""
    archived = [archive_store(str(number).encode(), "tl", history, "20260622T080000Z") for number in range(4)]
    assert [path.name for path in archived] == [
        "tl.json", "tl-20260622T080000Z.json", "tl-20260622T080000Z-2.json", "tl-20260622T080000Z-3.json",
    ]  # fmt: skip
    assert [path.read_bytes() for path in archived] == [b"0", b"1", b"2", b"3"]
    assert history.stat().st_mode & 0o777 == 0o700


def test_configuration_is_the_nearest_one(define):
    """The store's is used; without one the definition's, if it is of that timelapse; then the host's; then none."""
    stored, host = plan(define()), {"host": {}}
    bare = replace(stored, kept=KeptParts())
    assert scan_configuration_for(plan(define()), define(), host) == define().configuration
    assert scan_configuration_for(bare, define(), host) == define().configuration
    assert scan_configuration_for(bare, define("other"), host) == host
    assert scan_configuration_for(bare, None, {}) == {}


def test_start_is_told_with_its_span(define):
    """The sentence says which file, how many slots, and from when to when."""
    definition = define()
    words = describe_start(plan(definition).timelapse, definition.source, NOW)
    assert words.startswith(f"tl from {definition.source}: 4 slots, ")
    assert " to " in words
    single = define(n_shots=1)
    assert " 1 slot, " in describe_start(plan(single).timelapse, single.source, NOW)
    late = plan(definition).timelapse.skip_late_slots(NOW + timedelta(days=1), Reason.MISSED, "")
    assert describe_start(late, definition.source, NOW) == words


@pytest.mark.parametrize("name", ["tl", "another"])
def test_draft_makes_room_for_any_definition(define, history, name):
    """That may have its own name: the draft took nothing that could meet anything."""
    stored = plan(define("tl"))
    draft = stored.evolved(replace(stored.timelapse, state=TimeLapseState.CONFIGURED), Logbook())
    check_may_start(define(name), draft, history)
