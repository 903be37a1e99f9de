"""The metadata is what PlantDB's server needs, whatever the dataset says."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from plantdb.commons.fsdb.metadata_schema import validate_biological_metadata

from plantimager.timelapse.datasets.plantdb_metadata import cameras_of, picture_metadata, scan_metadata
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.scan.pose import Pose

SLOT = {"timelapse_id": "tl", "index": 3, "scheduled": "2026-06-22T08:00:00+00:00"}


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("2026-06-22T10:00:01+02:00", "2026-06-22 08:00:01"),
        ("2026-06-22 10:00:01", "2026-06-22 10:00:01"),
        ("yesterday", "2026-06-22 08:00:00"),
        (None, "2026-06-22 08:00:00"),
        (5, "2026-06-22 08:00:00"),
    ],
)
def test_the_date_has_a_blank_and_no_zone(stored, shown):
    """With an ISO T the server's list fails for every scan it has."""
    assert scan_metadata({"acquisition_date": stored}, SLOT)["acquisition_date"] == shown


def test_a_scan_never_has_the_key_timelapse():
    """The server would not start again; the grouping is under a key of ours."""
    about = {"timelapse": {"id": "x"}, "timelapsed": {"configuration": {"timelapse": {"name": "x"}}, "attempt": 2}}
    made = scan_metadata(about, SLOT)
    assert "timelapse" not in made
    assert made["timelapsed"] == {**SLOT, "attempt": 2, "configuration": {"timelapse": {"name": "x"}}}


def test_the_configuration_is_at_the_top_level_and_what_the_dataset_says_there_counts():
    """As the community's controller writes it; what is in no table may be of another scan."""
    configuration = {
        "ScanPath": {"kwargs": {"center_x": 1}},
        "Metadata": {"object": {"species": "maize", "own": [1]}, "hardware": {"frame": "a"}, "more": {}},
        "cam": {},
        "start_time": "2025-01-01T00:00:00+00:00",
    }
    made = scan_metadata({"timelapsed": {"configuration": configuration}, "cam": {"own": 1}}, SLOT)
    assert made["ScanPath"] == {"kwargs": {"center_x": 1}}
    assert made["Metadata"] == configuration["Metadata"]
    assert made["cam"] == {"own": 1}
    assert made["biologicalMaterial"] == {"organism": {"species": "maize"}}
    assert made["object"] == {"species": "maize", "own": [1]}
    assert made["hardware"] == {"frame": "a"}
    assert "start_time" not in made


def test_miappe_tables_of_the_definition_win_over_the_older_object():
    """Both shapes may be there."""
    plant = {"object": {"species": "maize"}, "biologicalMaterial": {"organism": {"species": "Zea mays"}}}
    made = scan_metadata({"timelapsed": {"configuration": {"Metadata": plant}}}, SLOT)
    assert made["biologicalMaterial"] == {"organism": {"species": "Zea mays"}}


@pytest.mark.parametrize("name", ["owner", "sharing", "created", "workspace"])
def test_no_camera_is_taken_for_the_owner_of_a_scan(name):
    """A camera may have any name; its table stays in our own part."""
    made = scan_metadata({"timelapsed": {"configuration": {name: {"res_x": 5}}}}, SLOT)
    assert name not in made
    assert made["timelapsed"]["configuration"] == {name: {"res_x": 5}}


@pytest.mark.parametrize(
    "path", [5, {"kwargs": 5}, {"kwargs": {"center_x": "left"}}, {"kwargs": {"center_y": float("nan")}}]
)
def test_path_that_the_server_can_not_show_is_left_out(path):
    """Its list of all scans would fail."""
    assert "ScanPath" not in scan_metadata({"timelapsed": {"configuration": {"ScanPath": path}}}, SLOT)


def test_no_secret_stays():
    """Not at any depth."""
    made = scan_metadata({"timelapsed": {"configuration": {"scanner": {"api_token": "s3cret", "kept": 1}}}}, SLOT)
    assert "s3cret" not in str(made)
    assert made["scanner"] == {"kept": 1}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [
        *("acquisition_date", "biologicalMaterial", "camera", "configuration", "hardware", "kwargs", "Metadata"),
        *("object", "owner", "ScanPath", "species", "started", "study", "timelapse", "timelapsed"),
    ]
)
TABLES = st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=20)


@given(st.dictionaries(NAMES, TABLES, max_size=5))
def test_whatever_a_dataset_says_gives_what_the_server_needs_and_then_stays(about):
    """The migration can be run again, and the relay sends what is on disk."""
    made = scan_metadata(about, SLOT)
    validate_biological_metadata(made)
    assert len(made["acquisition_date"].split(" ")) == 2
    assert made["timelapsed"]["timelapse_id"] == "tl"
    assert "timelapse" not in made
    assert scan_metadata(json.loads(json.dumps(made))) == made


# --- pictures -----------------------------------------------------------------------------------------------

CAMERA = Camera(name="top", res_x=8, res_y=6, config={"iso": 100, "password": "s3cret"}, offset=Pose(0, 0, -100, 0, 0))


@pytest.mark.parametrize(
    ("stored", "made"),
    [
        ({"shot_id": "00007"}, {"shot_id": 7, "channel": "rgb"}),
        ({"shot_id": 7, "channel": "nir"}, {"shot_id": 7, "channel": "nir"}),
        ({"shot_id": "last"}, {"shot_id": "last", "channel": "rgb"}),
        ({}, {"channel": "rgb"}),
    ],
)
def test_a_picture_has_a_number_and_a_channel(stored, made):
    """Pictures without a channel are not counted."""
    assert picture_metadata(stored) == made


def test_a_picture_has_the_settings_of_its_camera_and_the_shape_of_its_file():
    """As the community's controller writes them: the shape is height, width, channels."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "JPEG")
    made = picture_metadata({"camera_name": "top", "timelapsed": {"rotation": 90}}, CAMERA, file)
    assert made == {
        "channel": "rgb",
        "camera_name": "top",
        "res_x": 8,
        "res_y": 6,
        "encoding": "jpeg",
        "config": {"iso": 100},
        "offset": {"x": 0, "y": 0, "z": -100, "pan": 0, "tilt": 0},
        "format": "jpeg",
        "rotation": 90,
        "size": [6, 8, 3],
        "timelapsed": {"rotation": 90},
    }
    assert picture_metadata(made, CAMERA, file) == made


def test_the_cameras_of_a_scan_are_those_of_its_configuration():
    """None where the driver used its own."""
    about = {"timelapsed": {"configuration": {"top": {"res_x": 8}, "ScanPath": {}, "study": {}}}}
    assert [*cameras_of(about)] == ["top"]
    assert cameras_of({"timelapsed": 5}) == {}
