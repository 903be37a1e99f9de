"""The metrics of a rig say what its store, its daemon and its targets say, in few series and by Prometheus' rules."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from looked_at import doubt
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus
from tree import MANUALS

from plantimager.timelapse.channel.relay_status import TargetStatus
from plantimager.timelapse.datasets.disk_forecast import Retention
from plantimager.timelapse.datasets.disk_space import KEEP_FREE
from plantimager.timelapse.domain.pausing import begin_pause
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from plantimager.timelapse.relay.metrics.measures import DiskRules, DiskUse, measure_rig
from plantimager.timelapse.relay.metrics.metrics_sink import format_metrics
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.settings.relay_config import Verdict
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
from stores import HOURS, read, scan, store_of

AT = datetime.fromisoformat
DISK = DiskUse(free=KEEP_FREE + 10_000_000, dataset=4_000_000)


def view_of(*scans, daemon=None, targets=(), doubts=None, fault="", **changes):
    """Return the view of a store with these scans."""
    stored = read(store_of(*scans, **changes))
    return StoreView(stored=stored, daemon=daemon, targets=targets, doubts=doubts, fault=fault)


def families_of(view, disk=DISK, rig="a", due_at=None):
    """Return the metrics as both formats have them, of the same text, and which must not differ."""
    text = format_metrics(measure_rig(rig, "0.2.0", view, disk, due_at)).decode()
    families = [*read_openmetrics(text)]
    assert families == [*read_prometheus(text)]
    return families


def samples_of(view, disk=DISK, rig="a", due_at=None):
    """Return the values of the text, by name and by the labels beside rig and timelapse."""
    found = {}
    for family in families_of(view, disk, rig, due_at):
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key not in {"rig", "timelapse"}}
            found[sample.name, *labels.values()] = sample.value
    return found


def taken(slot, *, late=0.0, took=60.0, **changes):
    """Return the record of a slot that was taken."""
    begun = AT(HOURS[slot]) + timedelta(seconds=late)
    times = {"started_at": begun.isoformat(), "finished_at": (begun + timedelta(seconds=took)).isoformat()}
    return scan(f"tl_{slot}", **times, **changes)


def test_slots_are_counted_by_what_became_of_them():
    """All of the schedule are in one of the outcomes, each of which is there from the beginning."""
    found = samples_of(view_of(taken(0), scan("tl_1", "failed"), scan("tl_2", "skipped"), n_slots=6))
    counts = {status.value: found["timelapse_slots", status.value] for status in RecordStatus}
    assert counts == {"pending": 3, "running": 0, "succeeded": 1, "failed": 1, "skipped": 1, "interrupted": 0}


def test_slots_that_a_person_gave_up_are_no_loss():
    """They have an outcome of their own, whatever their records are; what was lost before stays lost."""
    cancelled = {"error": {"type": "cancelled", "msg": "cancelled by ana: done"}}
    scans = (taken(0), scan("tl_1", "skipped"), scan("tl_2", "interrupted", **cancelled))
    found = samples_of(view_of(*scans, scan("tl_3", "skipped", **cancelled), state="cancelled"))
    assert [found["timelapse_slots", outcome] for outcome in ("skipped", "interrupted", "cancelled")] == [1, 0, 2]


def test_slots_of_a_pause_are_no_loss():
    """A person had the schedule rest; what was lost before stays lost."""
    paused = {"error": {"type": "paused", "msg": "paused by ana"}}
    scans = (taken(0), scan("tl_1", "skipped"), scan("tl_2", "skipped", **paused), scan("tl_3", "skipped", **paused))
    found = samples_of(view_of(*scans, n_slots=6))
    assert [found["timelapse_slots", outcome] for outcome in ("skipped", "interrupted", "paused")] == [1, 0, 2]


@pytest.mark.parametrize(("until", "begins"), [(AT(HOURS[2]), AT(HOURS[2])), (None, None)])
def test_next_slot_of_a_pause_is_the_one_after_it_and_the_disk_is_filled_from_there(until, begins):
    """No slot in it needs space; of a pause without an end nobody knows which slot is the next."""
    view = view_of(taken(0), n_slots=6)
    assert samples_of(view)["timelapse_datasets_disk_full_timestamp_seconds",] == AT(HOURS[3]).timestamp()
    value = begin_pause(view.timelapse, AT(HOURS[0]) + timedelta(minutes=5), "ana", until)
    found = samples_of(StoreView(stored=StoredTimelapse(value, Logbook())))
    assert found.get(("timelapse_next_slot_timestamp_seconds",)) == (begins and begins.timestamp())
    full_at = found.get(("timelapse_datasets_disk_full_timestamp_seconds",))
    assert full_at == (begins and value.schedule_times[4].timestamp())


def test_every_metric_says_of_which_rig_it_is():
    """Two rigs of one host would be duplicates for node_exporter, which then serves none of them."""
    target = TargetStatus(name="there", taken=5, delivered=2, oldest=AT(HOURS[0]), delivered_at=AT(HOURS[0]))
    view = view_of(taken(0), daemon=DaemonFacts(7, is_live=True), targets=(target,), n_slots=6)
    families = families_of(view, due_at=AT(HOURS[3]))
    assert {sample.labels.get("rig") for family in families for sample in family.samples} == {"a"}


@pytest.mark.parametrize("state", [*TimeLapseState])
def test_one_state_is_1_and_the_others_are_0(state):
    """A rule compares with one of them, whichever it is."""
    found = samples_of(view_of(taken(0), n_slots=1 if state == "completed" else 4, state=state.value))
    assert {other.value: found["timelapse_state", other.value] for other in TimeLapseState} == {
        other.value: float(other is state) for other in TimeLapseState
    }


def test_times_of_scans_are_summed_and_the_last_is_there():
    """Seconds, and of taken slots alone."""
    found = samples_of(view_of(taken(0, late=0.5, took=60), taken(1, late=1.5, took=80), scan("tl_2", "failed")))
    assert found["timelapse_scan_duration_seconds_sum",] == 140
    assert found["timelapse_scan_duration_seconds_count",] == 2
    assert found["timelapse_last_scan_duration_seconds",] == 80
    assert found["timelapse_scan_lateness_seconds_sum",] == 2
    assert found["timelapse_last_scan_lateness_seconds",] == 1.5


def test_each_metric_reads_the_same_in_openmetrics_and_in_prometheus_own_format():
    """node_exporter reads the latter alone. Names and labels may hold whatever people call their rigs."""
    target = TargetStatus(name='a "b\\c"', taken=5, delivered=2, oldest=AT(HOURS[0]), delivered_at=AT(HOURS[0]))
    view = view_of(taken(0), daemon=DaemonFacts(7, is_live=True), targets=(target,), doubts=(doubt(),), n_slots=6)
    families = families_of(view, rig='a "b\\c" \u00fc\n', due_at=AT(HOURS[3]))
    assert {family.type for family in families} == {"gauge", "summary"}
    assert all(family.samples and family.documentation for family in families)


def test_attempts_are_counted_and_the_last_record_is_known_whatever_it_says():
    """A slot that was attempted three times has three; one that is being taken has no record yet."""
    ended = AT(HOURS[2]) + timedelta(minutes=2)
    skipped = scan("tl_2", "skipped", finished_at=ended.isoformat())
    begun = scan("tl_3", "running", started_at=HOURS[3])
    again = {"timelapsed": {"slots": {"0": {"attempt": 3}, "1": {"attempt": 2}}}}
    scans = (taken(0), scan("tl_1", "failed"), skipped, begun)
    found = samples_of(view_of(*scans, n_slots=6, next_idx=3, state="running", extra=again))
    assert found["timelapse_scan_attempts",] == 6
    assert found["timelapse_last_record_timestamp_seconds",] == ended.timestamp()
    assert ("timelapse_last_record_timestamp_seconds",) not in samples_of(view_of(n_slots=6))


def test_next_slot_begins_then_and_its_record_is_due_later():
    """Before that, its absence means nothing."""
    slot = AT(HOURS[2])
    found = samples_of(view_of(taken(0), taken(1)), due_at=slot + timedelta(minutes=7))
    assert found["timelapse_next_slot_timestamp_seconds",] == slot.timestamp()
    assert found["timelapse_next_record_due_timestamp_seconds",] == slot.timestamp() + 420


@pytest.mark.parametrize("state", ["completed", "cancelled", "failed", "configured"])
def test_nothing_is_due_where_nothing_is_scheduled(state):
    """An alert of an ended timelapse would never end."""
    found = samples_of(view_of(taken(0), n_slots=1, state=state))
    assert [name for name, *_ in found if "due" in name or "next" in name or "full" in name] == []


def test_disk_is_full_at_the_first_slot_that_has_no_room():
    """Two more datasets have room; the third has none."""
    found = samples_of(view_of(taken(0), n_slots=6))
    assert found["timelapse_datasets_disk_free_bytes",] == KEEP_FREE + 10_000_000
    assert found["timelapse_datasets_disk_full_timestamp_seconds",] == AT(HOURS[3]).timestamp()


def test_disk_that_retention_keeps_free_is_never_full():
    """As timelapsectl forecasts it: what is there of the timelapse is deleted in time, too."""
    view = view_of(taken(0), taken(1), n_slots=6)
    one_fits = KEEP_FREE + 5_000_000
    held = (AT(HOURS[0]), AT(HOURS[1]))
    full = ("timelapse_datasets_disk_full_timestamp_seconds",)
    assert samples_of(view, DiskUse(one_fits, 4_000_000, held))[full] == AT(HOURS[3]).timestamp()
    rules = DiskRules(retention=Retention(keep=timedelta(hours=2)))
    assert full not in samples_of(view, DiskUse(one_fits, 4_000_000, held, rules))
    assert full not in samples_of(view, DiskUse(KEEP_FREE, 4_000_000, (), DiskRules(reserve=100_000_000)))


def test_disk_with_room_for_all_slots_is_never_full():
    """Nor is one whose datasets' size nobody knows, or that can't be read."""
    for disk in (DiskUse(10**10, 4_000_000), DiskUse(10_000_000, None), None):
        assert ("timelapse_datasets_disk_full_timestamp_seconds",) not in samples_of(view_of(taken(0)), disk)


def test_daemon_says_whether_it_is_degraded_and_trusts_the_clock():
    """Only its own word counts: one that has just started has not said anything yet."""
    facts = DaemonFacts(7, is_live=True, degraded="disk full", trouble="disk full", clock_trusted=False)
    found = samples_of(view_of(daemon=facts))
    names = ("timelapse_daemon_up", "timelapse_store_degraded", "timelapse_trouble", "timelapse_clock_trusted")
    assert [found[name,] for name in names] == [1, 1, 1, 0]
    starting = samples_of(view_of(daemon=DaemonFacts(7)))
    assert starting["timelapse_daemon_up",] == 1
    assert ("timelapse_store_degraded",) not in starting
    assert samples_of(view_of())["timelapse_daemon_up",] == 0
    assert samples_of(view_of(fault="store.json: not JSON"))["timelapse_store_readable",] == 0


def test_each_target_has_what_waits_for_it():
    """What was refused, is gone or was removed before doesn't wait: a person decides on it, or nobody."""
    oldest, last = AT(HOURS[0]), AT(HOURS[2])
    there = TargetStatus(
        name="there", taken=9, delivered=2, refused=1, removed=2, gone=1, oldest=oldest, delivered_at=last
    )
    found = samples_of(view_of(taken(0), targets=(TargetStatus(name="here", taken=5, delivered=5), there)))
    assert found["timelapse_deliveries_pending", "here"] == 0
    kinds = [found[f"timelapse_deliveries_{kind}", "there"] for kind in ("pending", "refused", "gone")]
    assert kinds == [3, 1, 1]
    assert found["timelapse_delivery_last_timestamp_seconds", "there"] == last.timestamp()
    assert found["timelapse_delivery_oldest_pending_timestamp_seconds", "there"] == oldest.timestamp()
    assert ("timelapse_delivery_oldest_pending_timestamp_seconds", "here") not in found


def test_number_of_series_does_not_grow_with_what_was_taken():
    """A year of half-hourly scans has as many as a day."""
    times = [(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)).isoformat() for hour in range(1000)]
    counts = set()
    for n_slots in (3, 1000):
        scans = [
            scan(f"tl_{slot}", started_at=times[slot], finished_at=times[slot], attempt=1)
            for slot in range(n_slots - 1)
        ]
        counts.add(len(samples_of(view_of(*scans, schedule_times=times[:n_slots]))))
    assert len(counts) == 1


def test_manual_names_every_metric_and_no_other():
    """A person finds there what a rule may use."""
    facts = DaemonFacts(7, is_live=True)
    target = TargetStatus(name="there", taken=5, delivered=2, oldest=AT(HOURS[0]), delivered_at=AT(HOURS[0]))
    view = view_of(taken(0), daemon=facts, targets=(target,), doubts=(), n_slots=6)
    found = samples_of(view, due_at=AT(HOURS[3]))
    names = {re.sub("_(sum|count)$", "", name) for name, *_ in found}
    page = (MANUALS / "timelapse-relay.8").read_text().replace("\\:", "")  # where a name may be broken
    assert {*re.findall(r"^\.B (timelapse_\w+)$", page, re.MULTILINE)} == names


def test_doubtful_pictures_are_counted_by_verdict_with_a_figure_for_each():
    """All cameras together, so that their number makes no series; nothing where no pictures are judged."""
    doubts = (doubt(verdict="dark", pictures=36), doubt("camera_1", verdict="dark", pictures=4, is_over=True))
    of_another = doubt(timelapse="the_last", pictures=9)  # which the look has still to forget
    found = samples_of(view_of(taken(0), doubts=(*doubts, doubt(verdict="same", pictures=2), of_another), n_slots=6))
    counts = {verdict.value: found["timelapse_doubtful_pictures", verdict.value] for verdict in Verdict}
    assert counts == {"dark": 40, "bright": 0, "flat": 0, "blurred": 0, "same": 2, "unreadable": 0}
    names = {name for name, *_ in samples_of(view_of(taken(0), n_slots=6))}
    assert "timelapse_doubtful_pictures" not in names


def test_no_store_leaves_the_daemon_alone():
    """The relay may be there first."""
    assert {name for name, *_ in samples_of(StoreView(), None)} == {
        "timelapse_build_info", "timelapse_daemon_up", "timelapse_store_readable"
    }  # fmt: skip
