"""The metadata that goes out is what PlantDB's server needs, whatever the dataset has."""

import hashlib
import json
import shutil
from datetime import UTC, datetime

import pytest
from relay_rig import take_dataset

from plantimager.timelapse.relay.outgoing import file_metadata, prepare_dataset, scan_metadata
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, DatasetRefused
from plantimager.timelapse.relay.taken_scans import TakenScan

AT = datetime(2026, 6, 22, 8, tzinfo=UTC)
SCAN = TakenScan("tl_3", "tl", 3, AT, AT)


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("2026-06-22T10:00:01+02:00", "2026-06-22 08:00:01"),
        ("2026-06-22 10:00:01", "2026-06-22 10:00:01"),
        ("yesterday", "2026-06-22 08:00:00"),
        (None, "2026-06-22 08:00:00"),
        (5, "2026-06-22 08:00:00"),
    ],
)
def test_the_date_has_a_blank_and_no_zone(stored, sent):
    """With an ISO T the server's list fails for every scan it has."""
    assert scan_metadata({"acquisition_date": stored}, SCAN)["acquisition_date"] == sent


def test_a_scan_never_has_the_key_timelapse():
    """The server would not start again; the grouping is under a key of ours."""
    about = {"timelapse": {"id": "x"}, "timelapsed": {"configuration": {"timelapse": {"name": "x"}}, "attempt": 2}}
    sent = scan_metadata(about, SCAN)
    assert "timelapse" not in sent
    assert sent["timelapsed"] | {"configuration": None} == {
        "timelapse_id": "tl", "index": 3, "scheduled": "2026-06-22T08:00:00+00:00", "attempt": 2, "configuration": None,
    }  # fmt: skip


def test_the_configuration_is_at_the_top_level_and_what_the_dataset_says_there_counts():
    """As the community's controller writes it."""
    configuration = {"ScanPath": {"kwargs": {"center_x": 1}}, "Metadata": {"object": {"species": "maize"}}, "cam": {}}
    sent = scan_metadata({"timelapsed": {"configuration": configuration}, "cam": {"own": 1}}, SCAN)
    assert sent["ScanPath"] == {"kwargs": {"center_x": 1}}
    assert sent["cam"] == {"own": 1}
    assert sent["biologicalMaterial"] == {"organism": {"species": "maize"}}
    assert sent["object"] == {"species": "maize"}


def test_miappe_tables_of_the_definition_win_over_the_older_object():
    """Both shapes may be there."""
    plant = {"object": {"species": "maize"}, "biologicalMaterial": {"organism": {"species": "Zea mays"}}}
    sent = scan_metadata({"timelapsed": {"configuration": {"Metadata": plant}}}, SCAN)
    assert sent["biologicalMaterial"] == {"organism": {"species": "Zea mays"}}


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"timelapsed": None},
        {"timelapsed": 5},
        {"timelapsed": {"configuration": 5}},
        {"timelapsed": {"configuration": {"Metadata": []}}},
        {"timelapsed": {"configuration": {"Metadata": {"object": "maize"}}}},
    ],
)
def test_a_dataset_of_somebody_s_own_program_may_say_anything(odd):
    """It still gets what the server needs."""
    sent = scan_metadata(odd, SCAN)
    assert sent["acquisition_date"] == "2026-06-22 08:00:00"
    assert sent["timelapsed"]["timelapse_id"] == "tl"


def test_no_secret_goes_out():
    """Not from any depth."""
    sent = scan_metadata({"timelapsed": {"configuration": {"scanner": {"api_token": "s3cret", "kept": 1}}}}, SCAN)
    assert "s3cret" not in str(sent)
    assert sent["scanner"] == {"kept": 1}


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ({"shot_id": "00007"}, {"shot_id": 7, "channel": "rgb"}),
        ({"shot_id": 7, "channel": "nir"}, {"shot_id": 7, "channel": "nir"}),
        ({"shot_id": "last"}, {"shot_id": "last", "channel": "rgb"}),
        ({}, {"channel": "rgb"}),
    ],
)
def test_a_picture_has_a_number_and_a_channel(stored, sent):
    """Pictures without a channel are not counted."""
    assert file_metadata(stored) == sent


# --- the files ------------------------------------------------------------------------------------------------

FIRST = TakenScan("tl_0", "tl", 0, datetime(2026, 6, 22, 6, tzinfo=UTC), AT)


@pytest.fixture
def dataset(tmp_path):
    """Return a whole dataset of two pictures."""
    return take_dataset(tmp_path, 0)


def change_receipt(dataset, **changes):
    """Replace keys of the receipt."""
    path = dataset / "timelapsed.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


@pytest.mark.parametrize("about", [None, {"timelapsed": 5}, {"timelapsed": {"attempt": 1}, "own": 1}])
def test_what_was_observed_goes_out_whoever_wrote_the_metadata(dataset, about):
    """The datasets of an operator's own program have it in the receipt alone."""
    path = dataset / "metadata" / "metadata.json"
    path.unlink()
    change_receipt(dataset, files=None)
    if about is not None:
        path.write_text(json.dumps(about))
    assert "observed" not in prepare_dataset(dataset, FIRST).metadata["timelapsed"]
    change_receipt(dataset, observed={"temperature": 21.5, "api_token": "s3cret"})
    sent = prepare_dataset(dataset, FIRST).metadata
    assert sent["timelapsed"]["observed"]["temperature"] == 21.5
    assert "s3cret" not in str(sent)


def test_what_was_added_since_the_scan_stays_here(dataset):
    """Thumbnails of a file manager keep nothing from being delivered, and aren't delivered."""
    before = prepare_dataset(dataset, FIRST)
    shutil.copy(next((dataset / "images").iterdir()), dataset / "images" / "thumbnail.jpg")
    (dataset / ".directory").write_text("x")
    after = prepare_dataset(dataset, FIRST)
    assert after == before
    assert [file.file_id for file in after.files] == ["camera-00000", "camera-00001"]
    assert after.digest == before.digest


def test_a_receipt_cannot_name_files_of_elsewhere(dataset, tmp_path):
    """It is a file like any other; what it names outside the dataset is missing."""
    outside = tmp_path / "private.jpg"
    shutil.copy(next((dataset / "images").iterdir()), outside)
    digest = hashlib.sha256(outside.read_bytes()).hexdigest()
    for name in ("../private.jpg", str(outside)):
        change_receipt(dataset, files={name: digest})
        with pytest.raises(DatasetRefused, match="is missing"):
            prepare_dataset(dataset, FIRST)
    (dataset / "images" / "link.jpg").symlink_to(outside)
    change_receipt(dataset, files={"images/link.jpg": digest})
    with pytest.raises(DatasetRefused, match="is missing"):
        prepare_dataset(dataset, FIRST)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("raw.dng", "takes no .dng"),
        ("a.b.jpg", "names of letters"),
        ("über.jpg", "names of letters"),
        ("sub/camera-00000.jpg", "two of its pictures are called camera-00000"),
    ],
)
def test_what_plantdb_does_not_take_is_named(dataset, name, why):
    """Of an operator's own program, without digests. A part of a dataset is never delivered as the whole."""
    (dataset / "sub").mkdir()
    shutil.copy(dataset / "images" / "camera-00000.jpg", dataset / name)
    change_receipt(dataset, files=None)
    with pytest.raises(DatasetRefused, match=why):
        prepare_dataset(dataset, FIRST)


@pytest.mark.parametrize(
    "changes",
    [{"index": 1}, {"timelapse_id": "other"}, {"scheduled_at": "2026-06-22T07:00:00+00:00"}, {"scheduled_at": "noon"}],
)
def test_a_dataset_of_another_scan_is_none_of_this(dataset, changes):
    """As of a later timelapse of the same name."""
    change_receipt(dataset, **changes)
    with pytest.raises(DatasetGone):
        prepare_dataset(dataset, FIRST)


def test_a_truncated_picture_is_found_without_a_receipt_that_knows_it(dataset):
    """It is decoded to its end."""
    picture = dataset / "images" / "camera-00000.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    change_receipt(dataset, files=None)
    with pytest.raises(DatasetRefused, match="can't be decoded"):
        prepare_dataset(dataset, FIRST)


def test_the_raw_file_beside_a_picture_stays_on_the_rig(dataset):
    """PlantDB takes none, and the picture of the same exposure is delivered."""
    before = prepare_dataset(dataset, FIRST)
    (dataset / "raw").mkdir()
    (dataset / "raw" / "camera-00000.nef").write_bytes(b"II*\0 raw")
    change_receipt(dataset, files=None)
    after = prepare_dataset(dataset, FIRST)
    assert (after.files, after.metadata) == (before.files, before.metadata)
    assert (before.left, after.left) == (0, 1)
