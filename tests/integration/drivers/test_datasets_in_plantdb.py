"""PlantDB's real server lists and shows the datasets of the drivers, delivered or copied by hand."""

import shutil
from datetime import datetime

import pytest
from earlier_layouts import bring_to_earlier_layout
from plant_database import open_database
from plantdb_server import PlantDbServer
from relay_rig import CONFIGURATION, RelayRig, stored_pictures, take_dataset

from plantimager.timelapse.datasets.migration import migrate_dataset
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
from stores import HOURS

CAMERA = {"res_x": 80, "res_y": 60, "encoding": "jpeg", "offset": {"z": -100}}
MIAPPE = {
    "biologicalMaterial": {"biologicalMaterialId": "col0-1", "organism": {"species": "Arabidopsis thaliana"}},
    "study": {"growthFacility": {"name": "chamber 2"}, "startDate": "2026-06-22"},
}
DEFINITIONS = {
    "older": {**CONFIGURATION, "top": CAMERA},
    "miappe": {"ScanPath": CONFIGURATION["ScanPath"], **MIAPPE, "top": CAMERA},
}


@pytest.fixture
def server(tmp_path):
    """Run the real server on an empty database."""
    with PlantDbServer(tmp_path / "db") as server:
        yield server


@pytest.fixture
def relay_rig(tmp_path, server):
    """Return a rig whose relay delivers to the server."""
    return RelayRig(tmp_path / "relay", server.url)


@pytest.fixture
def take(rig, relay_rig):
    """Return a function that has a driver take slot 0."""

    def take(driver_name, configuration):
        relay_rig.place.datasets.mkdir()
        request = make_request(
            relay_rig.place.datasets,
            scan_id="tl_0",
            timelapse_id="tl",
            dataset_dir=relay_rig.place.datasets / "tl_0",
            scheduled_at=datetime.fromisoformat(HOURS[0]),
            configuration=configuration,
        )
        grbl = {"picture_size": (80, 60)} if driver_name == "grbl" else {}
        driver = rig(**grbl)[0] if driver_name == "grbl" else SimulatedDriver({"time_per_position": 0})
        driver.scan(request, RecordingMonitor())
        return request.dataset_dir

    return take


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("driver_name", ["simulated", "grbl"])
def test_dataset_is_shown_delivered_and_copied_by_hand(take, relay_rig, server, driver_name, definition, tmp_path):
    """Species, plant, environment, workspace, the number of pictures and a thumbnail; the same either way."""
    dataset = take(driver_name, DEFINITIONS[definition])
    relay_rig.take(1)
    with relay_rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        assert relay.stop() == 0
    server.kill()
    shutil.copytree(dataset, server.directory / "by_hand")
    server.start()
    listed = server.listed()
    assert sorted(listed) == ["by_hand", "tl_0"]
    for scan_id, scan in listed.items():
        shown = scan["metadata"]
        words = (shown["species"], shown["plant"], shown["environment"])
        assert words == ("Arabidopsis thaliana", "col0-1", "chamber 2")
        assert (shown["nbPhotos"], shown["date"]) == (2, "2026-06-22 08:00:01")
        assert server.get(scan["thumbnailUri"]).headers["content-type"].startswith("image/")
        assert server.get(f"/api/v1/scans/{scan_id}").json()["workspace"]["x"] == [225, 525]
    server.kill()
    pictures = relay_rig.pictures()
    assert stored_pictures(server.directory) == pictures | {
        name.replace("tl_0", "by_hand"): content for name, content in pictures.items()
    }
    about = {}
    with open_database(server.directory) as database:
        for scan_id in listed:
            scan = database.get_scan(scan_id)
            files = {file.id: file for file in scan.get_fileset("images").get_files()}
            assert {name: file.read_raw() for name, file in files.items()} == {
                name.split("/")[1]: content for name, content in pictures.items()
            }
            about[scan_id] = {name: file.get_metadata() for name, file in files.items()} | {"": scan.get_metadata()}
    for name, delivered in about["tl_0"].items():
        own = {"created", "created_by", "last_modified", "owner"}  # which the server adds
        known = {key: value for key, value in delivered.items() if key not in own}
        if not name:
            assert len(known["timelapsed"].pop("digest")) == 64  # by which a delivery tells two rigs apart
        assert known == about["by_hand"][name]
    one = about["by_hand"]["top-00001"]
    assert (one["shot_id"], one["channel"], one["res_x"], one["size"], one["format"]) == (
        1,
        "rgb",
        80,
        [60, 80, 3],
        "jpeg",
    )
    assert one["offset"]["z"] == -100
    assert about["by_hand"][""]["timelapsed"]["timelapse_id"] == "tl"


def test_dataset_of_an_earlier_layout_makes_the_list_of_all_scans_fail_until_it_is_migrated(server, tmp_path):
    """Then it is shown as one that is taken today."""
    dataset = take_dataset(tmp_path / "datasets", 0)
    server.kill()
    shutil.copytree(dataset, server.directory / "tl_0")
    earlier = bring_to_earlier_layout(shutil.copytree(dataset, server.directory / "tl_1"), "with digests")
    server.start()
    assert server.get("/api/v1/scans/info").status_code != 200
    server.kill()
    assert migrate_dataset(earlier, None)
    server.start()
    listed = server.listed()
    shown = [
        {key: value for key, value in listed[name]["metadata"].items() if key != "files"} for name in sorted(listed)
    ]
    assert shown[0] == shown[1]
    assert shown[0]["nbPhotos"] == 2
