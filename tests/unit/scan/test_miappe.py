"""The MIAPPE tables of a scan configuration, of whatever shape it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plantdb.commons.cli.fsdb_migrate_metadata import build_miappe_tree
from plantdb.commons.fsdb.metadata_schema import validate_biological_metadata

from plantimager.timelapse.scan.cameras import read_cameras
from plantimager.timelapse.scan.configuration import read_scan_configuration
from plantimager.timelapse.scan.miappe import MIAPPE_TABLES, miappe_tables

OLDER = {
    "species": "Arabidopsis thaliana",
    "seed_stock": "Col-0",
    "plant_id": "romi_1",
    "growth_environment": "Lyon-Indoor",
    "growth_conditions": "LD+SD",
    "treatment": "None",
    "DAG": 40,
    "sample": "main stem",
    "experiment_id": "romi_2020",
    "dataset_id": "d12",
}


def without_nothing(value):
    """Return a tree without its empty leaves and branches."""
    if not isinstance(value, dict):
        return value
    kept = {key: without_nothing(item) for key, item in value.items()}
    return {key: item for key, item in kept.items() if item not in (None, "", {})}


@pytest.mark.parametrize(
    "older",
    [
        OLDER,
        {"species": "maize", "environment": "chamber 2", "object_id": "p1"},
        {"species": "Zea mays", "DAG": "12"},
        {"DAG": "old"},
        {},
        {"sown": "2026-04-01"},
    ],
)
def test_older_object_becomes_the_tables_that_plantdb_makes_of_it(older):
    """The mapping is that of PlantDB's own migration."""
    assert miappe_tables({"Metadata": {"object": older}}) == without_nothing(build_miappe_tree(older))


def test_tables_of_the_definition_stand_at_its_top_level_or_among_its_metadata():
    """Both are read, the top level first; the older object fills what they leave out."""
    configuration = {
        "Metadata": {"object": OLDER, "study": {"title": "drought", "identifier": "s1"}},
        "study": {"identifier": "s2", "own": 5},
        "biologicalMaterial": {"organism": {"species": "Zea mays"}},
    }
    tables = miappe_tables(configuration)
    assert tables["study"]["identifier"] == "s2"
    assert tables["study"]["title"] == "drought"
    assert tables["study"]["own"] == 5
    assert tables["study"]["growthFacility"] == {"name": "Lyon-Indoor"}
    assert tables["biologicalMaterial"]["organism"] == {"species": "Zea mays"}
    assert tables["biologicalMaterial"]["biologicalMaterialId"] == "romi_1"


def test_tables_are_no_cameras():
    """`check` took them for some, and said that the rig has no such camera."""
    faults = []
    configuration = {name: {"a": 1} for name in MIAPPE_TABLES}
    assert read_cameras(configuration, faults) == ()
    assert read_scan_configuration(configuration, "", faults) == configuration
    assert faults == []


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"Metadata": {"study": 5}}, "[Metadata] study = 5: write a table, [Metadata.study]"),
        ({"study": {"environment": "moor"}}, '[study] environment = "moor": write a table, [study.environment]'),
        (
            {"Metadata": {"biologicalMaterial": {"organism": "maize"}}},
            '[Metadata.biologicalMaterial] organism = "maize": write a table, [Metadata.biologicalMaterial.organism]',
        ),
    ],
)
def test_value_where_plantdb_needs_a_table_is_a_fault(configuration, message):
    """Its server would refuse the whole scan."""
    faults = []
    read_scan_configuration(configuration, "", faults)
    assert [str(fault) for fault in faults] == [message]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [*OLDER, *MIAPPE_TABLES, "object", "growthFacility", "environment", "organism", "name", "identifier", "startDate",
     "biologicalMaterialId", "ageDays", "materialSource", "id", "trait", "country", "type", "experimentalDesign"]
)  # fmt: skip
TABLES = st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=20)


@given(st.dictionaries(st.just("Metadata") | NAMES, TABLES, max_size=4))
def test_tables_are_always_such_as_plantdb_accepts(configuration):
    """Its server refuses a scan for one number where it expects a text; and what was made once stays as it is."""
    tables = miappe_tables(configuration)
    validate_biological_metadata(tables)
    assert repr(miappe_tables({**configuration, **tables})) == repr(tables)
