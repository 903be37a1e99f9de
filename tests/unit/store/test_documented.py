"""The store as the community's controller documents it: names, meanings, text, and files that `save` must not lose.

All names are imported from the module that the controller documents.
"""

from __future__ import annotations

import copy
import inspect
import json
import logging
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum
from fractions import Fraction
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_strategies import JSON, UNKNOWN_KEYS
from tree import STORES

from plantimager.controller.scanner import timelapse_store
from plantimager.controller.scanner.timelapse_store import (
    TIMELAPSE_STORAGE_JSON,
    ScanRecord,
    TimelapseStore,
    _dt_to_iso,
    _enum_to_str,
    _iso_to_dt,
    _str_to_enum,
    get_storage_dir,
)
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.store.location import backup_path
from plantimager.timelapse.store.raw_text import MAX_STORE_BYTES, fits_digest
from stores import scan

LOCAL = timezone(timedelta(hours=2))


@pytest.fixture(autouse=True)
def storage(tmp_path, monkeypatch):
    """Have the storage directory in a place of its own; it isn't made yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("PI3_TIMELAPSE_FILE_NAME", raising=False)
    return tmp_path / "plant-imager3-app"


@pytest.fixture
def path(storage):
    """Return where the store is; its directory is there."""
    storage.mkdir(mode=0o700)
    return storage / TIMELAPSE_STORAGE_JSON


def live(**changes):
    """Return a live object with the attributes that are documented, and no others."""
    values = {
        "id": "tl",
        "mode": "interval",
        "_state": "scheduled",
        "schedule_times": [datetime(2026, 6, 22, 8, tzinfo=UTC), datetime(2026, 6, 22, 11, 0, 0, 5, tzinfo=LOCAL)],
        "next_idx": 1,
        "current_idx": 0,
        "warmup_sec": 30,
        "standby_threshold_sec": 600.5,
        "grace_period": 120,
        "start_at": datetime(2026, 6, 22, 8, tzinfo=UTC),
        "scans": [],
    }
    return SimpleNamespace(**{**values, **changes})


def raw(**changes):
    """Return the object of a sound store file."""
    values = {
        "version": 1,
        "timelapse_id": "tl",
        "mode": "interval",
        "state": "scheduled",
        "schedule_times": ["2026-06-22T08:00:00+00:00", "2026-06-22T09:00:00+00:00"],
        "next_idx": 0,
        "scans": [],
        "extra": {},
    }
    return {**values, **changes}


def put(path, value):
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())


# --- names and signatures -----------------------------------------------------------------------


def test_names_are_those_that_are_documented():
    """Other programs import them from this module."""
    assert TIMELAPSE_STORAGE_JSON == "timelapse_storage.json"
    assert get_storage_dir().name == "plant-imager3-app"
    assert all(hasattr(timelapse_store, name) for name in timelapse_store.__all__)


def test_signatures_are_those_that_are_documented():
    """The documented fields come first, in their order; later ones follow."""
    assert [field.name for field in fields(ScanRecord)] == ["scan_id", "started_at", "finished_at", "status", "error"]
    assert ScanRecord("x") == ScanRecord("x", None, None, "pending", None)
    documented = [
        "_file_name", "version", "timelapse_id", "mode", "state", "schedule_times", "next_idx", "current_idx",
        "warmup_sec", "standby_threshold_sec", "grace_period", "start_at", "scans", "extra",
    ]  # fmt: skip
    assert [*inspect.signature(TimelapseStore).parameters][: len(documented)] == documented
    store = TimelapseStore()
    assert [getattr(store, name) for name in documented] == [
        "timelapse_storage.json", 1, "", "", "", [], 0, 0, 0, 0, 0, None, [], {},
    ]  # fmt: skip
    assert TimelapseStore("mine.json")._file_name == "mine.json"


def test_defaults_are_not_shared():
    """Two stores never have one list in common."""
    TimelapseStore().extra["a"] = 1
    assert TimelapseStore().extra == {}


def test_private_names_of_the_documented_source_are_there():
    """The community's own tests use some of them."""
    time = datetime(2026, 6, 22, 8)  # noqa: DTZ001 - naive is what is tested
    assert _dt_to_iso(time) == "2026-06-22T08:00:00"
    assert _dt_to_iso(time.replace(tzinfo=LOCAL)) == "2026-06-22T08:00:00+02:00"
    assert _iso_to_dt("2026-06-22T08:00:00") == time
    assert _iso_to_dt("2026-06-22T08:00:00+02:00") == time.replace(tzinfo=LOCAL)
    assert _enum_to_str(TimeLapseMode.INTERVAL) == "interval"
    assert _str_to_enum(TimeLapseMode, "interval") is TimeLapseMode.INTERVAL
    with pytest.raises(ValueError, match="auto"):
        _str_to_enum(TimeLapseMode, "auto")
    assert [_dt_to_iso(None), _iso_to_dt(None), _enum_to_str(None), _str_to_enum(TimeLapseMode, None)] == [None] * 4
    assert [_dt_to_iso(""), _iso_to_dt("")] == [None, None]
    assert TimelapseStore(start_at="", schedule_times=[""]).to_timelapse_kwargs()["schedule_times"] == [None]


def test_serialisable_dict_is_what_the_file_holds(path):
    """A program may change it and write it itself; the store does not change with it."""
    store = TimelapseStore(timelapse_id="tl", extra={"theirs": [1]})
    changed = store._as_serialisable_dict()
    assert not [key for key in changed if key.startswith("_")]
    changed["version"] = 999
    changed["extra"]["theirs"].append(2)
    assert (store.version, store.extra) == (1, {"theirs": [1]})
    put(path, changed)
    assert TimelapseStore.new_store_from_last().version == 999


@pytest.mark.parametrize("name", ["STANDBY", "SCHEDULED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "CONFIGURED"])
def test_states_are_texts(name):
    """JSON and comparisons with words so work."""
    assert isinstance(TimeLapseState[name], str)
    assert TimeLapseMode.ONE_SHOT == "one_shot"


# --- environment --------------------------------------------------------------------------------


def test_environment_is_read_at_each_call(monkeypatch, tmp_path):
    """A program may set it after the import."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("PI3_TIMELAPSE_FILE_NAME", "rig2.json")
    assert get_storage_dir() == tmp_path / "other" / "plant-imager3-app"
    assert TimelapseStore()._full_path == tmp_path / "other" / "plant-imager3-app" / "rig2.json"


@pytest.mark.parametrize("name", ["a/b", "/etc/passwd", "../x", ".", "..", "x/"])
def test_file_name_with_a_path_in_it_is_refused(monkeypatch, name, caplog, storage):
    """The store never leaves its directory."""
    with pytest.raises(ValueError, match="write a bare file name, without a path separator"):
        TimelapseStore(name).save()
    monkeypatch.setenv("PI3_TIMELAPSE_FILE_NAME", name)
    assert TimelapseStore.new_store_from_last() is None
    assert "write a bare file name" in caplog.text
    assert not storage.exists()


def test_name_that_no_file_can_have_is_none_and_one_error(path, monkeypatch, caplog):
    """Reading never raises, whatever the environment says; a save does."""
    monkeypatch.setenv("PI3_TIMELAPSE_FILE_NAME", path.name * 20)
    assert TimelapseStore.new_store_from_last() is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    with pytest.raises(OSError, match="too long"):
        TimelapseStore().save()


# --- live objects -------------------------------------------------------------------------------


class StateOfOthers(Enum):
    STANDBY = "standby"


class Number(IntEnum):
    FIXED_TIMES = 2


@pytest.mark.parametrize(
    ("member", "word"),
    [
        ("cooldown", "cooldown"),
        (StateOfOthers.STANDBY, "standby"),
        (Number.FIXED_TIMES, "fixed_times"),
        (TimeLapseState.STANDBY, "scheduled"),
        (Enum("Plain", "ARMING").ARMING, "arming"),
    ],
)
def test_enums_of_any_kind_are_stored_as_words(member, word):
    """Members with a text or a number for their value, and plain words as they are."""
    store = TimelapseStore.from_timelapse(live(mode=member, _state=member))
    assert (store.mode, store.state) == (word, word)
    assert (type(store.mode), type(store.state)) == (str, str)


def test_live_object_becomes_a_store():
    """It has all documented attributes, with times in their own offset, and later ones where the object has them."""
    store = TimelapseStore.from_timelapse(live())
    assert asdict(store) | {"_unknown": 0} == {
        "_file_name": "timelapse_storage.json", "version": 1, "timelapse_id": "tl", "mode": "interval",
        "state": "scheduled", "next_idx": 1, "current_idx": 0, "warmup_sec": 30, "standby_threshold_sec": 600.5,
        "schedule_times": ["2026-06-22T08:00:00+00:00", "2026-06-22T11:00:00.000005+02:00"], "grace_period": 120,
        "start_at": "2026-06-22T08:00:00+00:00", "scans": [], "extra": {}, "on_scan_failed": None,
        "scan_retries": None, "_unknown": 0,
    }  # fmt: skip
    later = TimelapseStore.from_timelapse(live(on_scan_failed="fail_timelapse", scan_retries=2, start_at=None))
    assert (later.on_scan_failed, later.scan_retries, later.start_at) == ("fail_timelapse", 2, None)


def test_naive_times_of_a_live_object_stay_naive(path):
    """Its program gets back what it stored."""
    naive = [datetime(2026, 6, 22, 8), datetime(2026, 3, 29, 2, 30)]  # noqa: DTZ001 - naive is what is tested
    TimelapseStore.from_timelapse(live(schedule_times=naive, start_at=naive[0])).save()
    assert json.loads(path.read_bytes())["schedule_times"] == ["2026-06-22T08:00:00", "2026-03-29T02:30:00"]
    kwargs = TimelapseStore.new_store_from_last().to_timelapse_kwargs()
    assert (kwargs["schedule_times"], kwargs["start_at"]) == (naive, naive[0])


def test_live_object_without_a_mode_or_state_has_none_in_its_store(path):
    """The store has null, not the text "None"."""
    TimelapseStore.from_timelapse(live(mode=None, _state=None)).save()
    written = json.loads(path.read_bytes())
    assert (written["mode"], written["state"]) == (None, None)
    loaded = TimelapseStore.new_store_from_last()
    assert (loaded.mode, loaded.state) == (None, None)


def test_live_object_may_lack_scans():
    """Old controllers had none."""
    old = live()
    del old.scans
    assert TimelapseStore.from_timelapse(old).scans == []
    assert TimelapseStore.from_timelapse(live(scans=None)).scans == []


def test_live_object_may_be_a_mock(path):
    """Other programs' tests use mocks; an attribute that a mock makes up is not stored."""
    mock = Mock(**{key: value for key, value in vars(live()).items() if key != "id"})
    mock.id = "tl"
    store = TimelapseStore.from_timelapse(mock)
    store.save()
    assert TimelapseStore.new_store_from_last() == store
    assert path.exists()
    assert (store.on_scan_failed, store.scan_retries) == (None, None)


def test_record_of_a_live_scan():
    """Seconds since the epoch become local time; an attribute that the scan lacks has its default."""
    assert ScanRecord.from_scan(SimpleNamespace(scan_id="x")) == ScanRecord("x")
    started = datetime(2026, 6, 22, 8, 0, 30, 250000)  # noqa: DTZ001 - as documented
    scan = SimpleNamespace(
        scan_id="x", _start_time=started.timestamp(), _stop_time=0, status=StateOfOthers.STANDBY, error=ValueError("no")
    )
    assert asdict(ScanRecord.from_scan(scan)) == {
        "scan_id": "x",
        "started_at": "2026-06-22T08:00:30.250000",
        "finished_at": None,
        "status": "standby",
        "error": {"type": "ValueError", "msg": "no"},
    }


def test_record_of_a_scan_with_unusual_attributes():
    """A datetime and any number are times; no status means pending."""
    began = datetime(2026, 6, 22, 10, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    scan = SimpleNamespace(scan_id="x", _start_time=began, _stop_time=Fraction(began.timestamp()), status=None)
    local = began.astimezone().replace(tzinfo=None)
    assert ScanRecord.from_scan(scan) == ScanRecord("x", "2026-06-22T10:00:30+02:00", local.isoformat())


@pytest.mark.parametrize("time", ["2026-06-22", "12", [1], object()])
def test_time_of_a_scan_that_is_no_time_is_an_error(time):
    """A start that the store can't hold is reported, as documented, and not dropped."""
    with pytest.raises((TypeError, ValueError)):
        ScanRecord.from_scan(SimpleNamespace(scan_id="x", _start_time=time))


@pytest.mark.parametrize("value", ["", "text", {"msg": "ALARM:1"}, ["a"], 3, True])
def test_error_and_status_of_a_scan_are_stored_as_they_are(value):
    """Only an exception and an enum have to be converted to JSON."""
    record = ScanRecord.from_scan(SimpleNamespace(scan_id="x", error=value, status=value))
    assert [record.error, record.status] == [value, value]
    assert type(record.status) is type(value)


def test_resumed_timelapse_can_be_stored_again():
    """Its scans are the records that it was resumed with, and keep their times."""
    record = ScanRecord("tl_0", "2026-06-22T08:00:30", "2026-06-22T08:07:10", "succeeded", None)
    store = TimelapseStore.from_timelapse(live(scans=[record, SimpleNamespace(scan_id="tl_1")]))
    assert store.scans == [asdict(record), asdict(ScanRecord("tl_1"))]
    assert TimelapseStore.from_timelapse(live(scans=store.to_timelapse_kwargs()["scans"])).scans == store.scans


# --- save ---------------------------------------------------------------------------------------


def test_text_is_laid_out_as_documented(storage):
    """Indent 2, keys sorted, and nothing that is not a documented key."""
    TimelapseStore.from_timelapse(live()).save()
    text = (storage / TIMELAPSE_STORAGE_JSON).read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True)
    assert sorted(json.loads(text)) == [
        "current_idx", "extra", "grace_period", "mode", "next_idx", "scans", "schedule_times",
        "standby_threshold_sec", "start_at", "state", "timelapse_id", "version", "warmup_sec",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [1e16, 1e-7, 1.5e300, -0.0, 30.0, 0.1, 10**30, float("nan"), float("-inf")])
def test_numbers_are_spelled_as_documented(path, number):
    """A program that compares the text with that of Python's own ``json`` finds no difference."""
    store = TimelapseStore(warmup_sec=number, extra={"é": [number, {}, [], {"b": None, "a": True}]})
    store.save()
    documented = json.dumps(store._as_serialisable_dict(), indent=2, sort_keys=True, ensure_ascii=False)
    assert path.read_text(encoding="utf-8") == documented


def test_saved_store_is_private_and_keeps_its_predecessor(storage):
    """It has mode 0600, its directory 0700; the generation before is the ``.bak``, and no other file is there."""
    store = TimelapseStore.from_timelapse(live())
    for next_idx in (0, 1):
        store.next_idx = next_idx
        store.save()
    path = storage / TIMELAPSE_STORAGE_JSON
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(storage.stat().st_mode) == 0o700
    assert [json.loads(each.read_bytes())["next_idx"] for each in (path, backup_path(path))] == [1, 0]
    assert sorted(entry.name for entry in storage.iterdir()) == [path.name, f"{path.name}.bak"]


def test_threads_that_save_at_the_same_time_leave_one_whole_store_and_its_predecessor(storage):
    """Two writers that keep the same predecessor leave no temporary name of it behind."""
    with ThreadPoolExecutor(8) as pool:
        saves = [pool.submit(TimelapseStore(timelapse_id=f"tl_{number}").save) for number in range(200)]
        assert [save.exception() for save in saves] == [None] * 200
    assert TimelapseStore.new_store_from_last() is not None
    assert sorted(entry.name for entry in storage.iterdir()) == [
        TIMELAPSE_STORAGE_JSON,
        f"{TIMELAPSE_STORAGE_JSON}.bak",
    ]


def test_store_of_a_subclass_keeps_its_own_fields(path):
    """A program may extend the documented dataclass; what it adds is saved and read back."""

    @dataclass
    class Extended(TimelapseStore):
        operator: str = ""

    store = Extended(timelapse_id="tl", operator="eve")
    store.save()
    assert json.loads(path.read_bytes())["operator"] == "eve"
    assert Extended.new_store_from_last() == store


def test_store_and_record_can_be_copied_and_pickled():
    """They are values, as the documented dataclasses are."""
    store = TimelapseStore(timelapse_id="tl", scans=[{"scan_id": "tl"}], extra={"theirs": [1]})
    for value in (store, ScanRecord("tl_0")):
        assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == copy.deepcopy(value) == value  # noqa: S301 - its own
        assert replace(value) == value


@pytest.mark.parametrize(
    "extra", [{"a": object()}, {"a": {1, 2}}, {1: 1, "a": 2}, {"a": datetime(2026, 6, 22, 8, tzinfo=UTC)}]
)
def test_save_of_what_is_not_json_raises_and_is_logged(path, caplog, extra):
    """The file that was there stays, and no temporary one is left."""
    TimelapseStore(timelapse_id="before").save()
    with pytest.raises(TypeError):
        TimelapseStore(timelapse_id="after", extra=extra).save()
    assert "timelapse_storage.json: can't be saved: " in caplog.text
    assert json.loads(path.read_bytes())["timelapse_id"] == "before"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_save_where_no_directory_can_be_made_raises_and_is_logged(tmp_path, caplog):
    """A file has the directory's name."""
    (tmp_path / "plant-imager3-app").write_bytes(b"")
    with pytest.raises(OSError):
        TimelapseStore().save()
    assert "can't be saved" in caplog.text


def test_save_over_a_directory_leaves_no_temporary_file(path):
    """A directory can't be replaced."""
    path.mkdir()
    with pytest.raises(OSError):
        TimelapseStore().save()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# --- reading leniently --------------------------------------------------------------------------


def test_absent_store_is_none_and_no_error(caplog):
    """Most starts of a program find no store."""
    with caplog.at_level(logging.INFO):
        assert TimelapseStore.new_store_from_last() is None
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"\0" * 99])
def test_store_that_can_not_be_read_is_none_and_one_error(path, caplog, content):
    """The file is left as it is: a person may still find something in it."""
    put(path, content)
    before = path.read_bytes()
    assert TimelapseStore.new_store_from_last() is None
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("ERROR", None)]
    assert str(path) in caplog.text
    assert path.read_bytes() == before


def test_absent_keys_have_their_defaults(path):
    """That is documented; only the daemon requires the keys without which there is nothing to resume."""
    put(path, {"timelapse_id": "tl"})
    assert TimelapseStore.new_store_from_last() == TimelapseStore(timelapse_id="tl")


@pytest.mark.parametrize("version", [2, 99, 0, "1.1"])
def test_other_version_is_warned_about_and_read_as_well_as_can_be(path, caplog, version):
    """All other keys are kept."""
    put(path, raw(version=version, state="paused", later={"a": 1}))
    store = TimelapseStore.new_store_from_last()
    assert (store.version, store.state, store.timelapse_id) == (version, "paused", "tl")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    store.save()
    assert json.loads(path.read_bytes())["later"] == {"a": 1}


def test_kwargs_are_what_a_constructor_takes(path):
    """Times are datetimes, naive ones naive; scans are records, without unknown keys."""
    scan = {"scan_id": "tl_0", "started_at": "2026-06-22T08:00:00", "status": "succeeded", "theirs": 1}
    times = ["2026-06-22T08:00:00", "2026-06-22T09:00:00+02:00", "2026-06-22T09:00Z"]
    put(path, raw(schedule_times=times, start_at=times[0], scans=[scan], extra={"db_url": "x"}, on_scan_failed=None))
    kwargs = TimelapseStore.new_store_from_last().to_timelapse_kwargs()
    assert [*kwargs] == [
        "timelapse_id", "mode", "state", "schedule_times", "next_idx", "current_idx", "warmup_sec",
        "standby_threshold_sec", "grace_period", "start_at", "scans", "extra",
    ]  # fmt: skip
    naive = datetime(2026, 6, 22, 8)  # noqa: DTZ001 - as it was written
    assert kwargs["schedule_times"] == [
        naive,
        datetime(2026, 6, 22, 9, tzinfo=LOCAL),
        datetime(2026, 6, 22, 9, tzinfo=UTC),
    ]
    assert kwargs["start_at"] == naive
    assert kwargs["scans"] == [ScanRecord("tl_0", "2026-06-22T08:00:00", None, "succeeded")]
    assert kwargs["extra"] == {"db_url": "x"}
    assert TimelapseStore().to_timelapse_kwargs()["start_at"] is None


@pytest.mark.parametrize("file", sorted(STORES.glob("*.json")), ids=lambda file: file.stem)
def test_real_stores_give_kwargs_and_are_written_back_alike(path, file):
    """A program that resumes and saves changes no byte."""
    path.write_bytes(file.read_bytes())
    store = TimelapseStore.new_store_from_last()
    assert len(store.to_timelapse_kwargs()["schedule_times"]) == len(store.schedule_times)
    store.save()
    assert path.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    "store",
    [
        {}, {"timelapse_id": "tl"}, {"mode": "auto", "state": "running"}, {"mode": None, "state": None},
        {"scans": [scan(status="aborted")]}, {"scans": [{"status": "x"}]}, {"scans": [3]}, {"scans": None},
        {"schedule_times": ["soon", "2026-06-22T08:00", None]}, {"start_at": "noon"}, {"extra": None}, {"extra": [1]},
        {"next_idx": -1}, {"next_idx": 3}, {"next_idx": "x"}, {"warmup_sec": float("inf")}, {"timelapse_id": "../x"},
        {"version": None}, {"version": "1.1"}, {"scan_retries": -1, "on_scan_failed": "never"},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_was_saved_is_read_again(path, store):
    """Nothing is checked: any words, absent values and defaults are read."""
    saved = TimelapseStore(**store)
    saved.save()
    assert path.exists()
    assert TimelapseStore.new_store_from_last() == saved


FIELDS = [name for name in TimelapseStore.__dataclass_fields__ if not name.startswith("_")]


@given(values=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5), unknown=UNKNOWN_KEYS)
def test_any_store_of_json_values_that_save_accepts_is_given_back(tmp_path_factory, values, unknown):
    """The texts of both are compared, since NaN is not equal to itself."""
    store = TimelapseStore(**values, _unknown=unknown)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        store.save()
        loaded = TimelapseStore.new_store_from_last()
    assert loaded is not None
    assert json.dumps(loaded.__dict__, sort_keys=True) == json.dumps(store.__dict__, sort_keys=True)


DEEP = json.loads("[" * 250 + "]" * 250)


@pytest.mark.parametrize(
    "extra",
    [{"text": "x" * MAX_STORE_BYTES}, {"deep": DEEP}, {"a": float("nan"), "deep": DEEP}, {"a": 10**30, "z": (DEEP,)}],
    ids=["large", "deep", "deep beside NaN", "deep in a tuple beside a huge integer"],
)
def test_store_that_could_not_be_read_again_is_refused(path, extra):
    """It is never written larger or deeper than it is read."""
    TimelapseStore(timelapse_id="before").save()
    with pytest.raises(ValueError, match=r"at most|nested deeper"):
        TimelapseStore(extra=extra).save()
    assert json.loads(path.read_bytes())["timelapse_id"] == "before"


# --- files that can't be read ---------------------------------------------------------------------

UNREADABLE = [b"", b"{", b"[]", b"\0" * 99, b'{"timelapse_id": "tl"']


def saved_twice(path):
    """Save two generations, and return the text of the first."""
    texts = []
    for number in ("first", "second"):
        TimelapseStore(timelapse_id=number).save()
        texts.append(path.read_bytes())
    return texts[0]


@pytest.mark.parametrize("content", UNREADABLE)
def test_log_says_when_the_backup_could_stand_in(path, caplog, content):
    """The program starts afresh, as documented; a person can still rename the file."""
    saved_twice(path)
    put(path, content)
    assert TimelapseStore.new_store_from_last() is None
    (record,) = caplog.records
    assert f"{backup_path(path)} holds the save before it, of first: rename it to {path.name}" in record.message


@pytest.mark.parametrize("backup", [None, b"", b"{"])
def test_log_says_nothing_of_a_backup_that_could_not_stand_in(path, caplog, backup):
    """An absent one is not mentioned either."""
    put(path, b"{")
    if backup is not None:
        put(backup_path(path), backup)
    assert TimelapseStore.new_store_from_last() is None
    assert "rename" not in caplog.text


@pytest.mark.parametrize("content", UNREADABLE)
def test_save_over_an_unreadable_file_keeps_it_and_the_good_generation(path, caplog, content):
    """The unreadable file never becomes the backup."""
    good = saved_twice(path)
    put(path, content)
    TimelapseStore(timelapse_id="third").save()
    assert TimelapseStore.new_store_from_last().timelapse_id == "third"
    assert backup_path(path).read_bytes() == good
    (aside,) = path.parent.glob(f"{path.name}.corrupt-*Z")
    assert aside.read_bytes() == content
    assert f"kept as {aside.name}" in caplog.text
    TimelapseStore(timelapse_id="fourth").save()
    assert json.loads(backup_path(path).read_bytes())["timelapse_id"] == "third"


def test_store_of_ours_fits_its_digest_after_a_save_and_the_log_warns_of_one_that_does_not(path, caplog):
    """A program that saves through this face is no damage; what it finds damaged it hears of."""
    caplog.set_level(logging.INFO)
    path.write_bytes(read_timelapse((STORES / "interval-completed.json").read_bytes(), path, UTC).encode())
    store = TimelapseStore.new_store_from_last()
    store.grace_period = 77
    store.save()
    assert fits_digest(path.read_bytes()) is True
    assert caplog.messages == []
    path.write_bytes(path.read_bytes().replace(b"77", b"78"))
    assert TimelapseStore.new_store_from_last().grace_period == 78
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_symbolic_link_is_followed_to_its_file(path, tmp_path):
    """That file is replaced, with its backup beside it; the link stays as it is."""
    disk = tmp_path / "disk"
    disk.mkdir()
    path.symlink_to(disk / "s.json")
    saved_twice(path)
    assert path.readlink() == disk / "s.json"
    assert TimelapseStore.new_store_from_last().timelapse_id == "second"
    assert json.loads((disk / "s.json.bak").read_bytes())["timelapse_id"] == "first"
    assert sorted(entry.name for entry in disk.iterdir()) == ["s.json", "s.json.bak"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]


def test_symbolic_link_to_a_disk_that_is_not_there_is_an_error(path, tmp_path):
    """The link is left as it is: the disk may be mounted later."""
    path.symlink_to(tmp_path / "not mounted" / "s.json")
    with pytest.raises(OSError):
        TimelapseStore().save()
    assert TimelapseStore.new_store_from_last() is None
    assert path.is_symlink()


# --- secrets ------------------------------------------------------------------------------------


def test_secret_is_never_shown(path, caplog):
    """Neither ``repr`` nor a log nor an error shows it: an api_token is worth a database."""
    secret = "hunter2"
    caplog.set_level(logging.DEBUG)
    for extra in ({"api_token": secret}, [secret], secret, [{"api_token": secret}]):
        put(path, raw(extra=extra, api_token=secret))
        store = TimelapseStore.new_store_from_last()
        assert secret not in repr(store)
        store.save()
        assert json.loads(path.read_bytes())["extra"] == extra
        with pytest.raises(TypeError):
            TimelapseStore(extra={"api_token": secret, "other": object()}).save()
    put(path, f'{{"api_token": "{secret}"'.encode())
    assert TimelapseStore.new_store_from_last() is None
    assert secret not in caplog.text


def test_names_replaced_on_the_documented_module_are_those_that_the_code_uses(tmp_path, monkeypatch, caplog):
    """Tests of other programs replace the storage directory, the default name and the logger there."""
    module = "plantimager.controller.scanner.timelapse_store"
    monkeypatch.setattr(f"{module}.get_storage_dir", lambda: tmp_path / "elsewhere")
    monkeypatch.setattr(f"{module}.TIMELAPSE_STORAGE_JSON", "other.json")
    TimelapseStore(timelapse_id="tl").save()
    assert (tmp_path / "elsewhere" / "other.json").is_file()
    assert TimelapseStore.new_store_from_last() == TimelapseStore(timelapse_id="tl")
    (tmp_path / "elsewhere" / "other.json").write_text("{")
    assert TimelapseStore.new_store_from_last() is None
    assert {record.name for record in caplog.records} == {module}
    logger = Mock()
    monkeypatch.setattr(f"{module}.logger", logger)
    assert TimelapseStore.new_store_from_last() is None
    logger.error.assert_called_once()


def test_each_word_of_an_enum_is_read_back():
    """Its value where that is a text, else its name."""

    class Numbered(Enum):
        ONE_SHOT = 1
        INTERVAL = 2

    for kind in (Numbered, TimeLapseMode, StateOfOthers):
        assert [_str_to_enum(kind, _enum_to_str(member)) for member in kind] == [*kind]
