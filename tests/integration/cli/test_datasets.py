"""`timelapsectl datasets migrate` on a rig with datasets of several kinds."""

import fcntl
import json
import os
import shutil

import pytest
from earlier_layouts import bring_to_earlier_layout
from relay_rig import take_dataset


@pytest.fixture
def datasets(host):
    """Return the rig's directory with an earlier dataset, a present one, a damaged one and something else."""
    directory = host.store.parent / "datasets"
    directory.mkdir(parents=True)
    for slot in range(3):
        take_dataset(directory, slot)
    bring_to_earlier_layout(directory / "tl_0", "first")
    damaged = bring_to_earlier_layout(directory / "tl_2", "with digests")
    next((damaged / "images").iterdir()).write_bytes(b"x")
    (directory / "lost+found").mkdir()
    return directory


def date_of(dataset):
    return json.loads((dataset / "metadata" / "metadata.json").read_bytes())["acquisition_date"]


def test_earlier_datasets_are_migrated_and_what_is_left_is_named(host, datasets):
    """First it may be seen what would be done. The damaged one makes it fail."""
    left = [
        "lost+found: left as it is: it has no receipt",
        "tl_2: left as it is: images/camera-",
    ]
    done = host.ctl("datasets", "migrate", "--dry-run")
    first, *_ = lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, first) == (1, "", left[0])
    assert lines[1] == "tl_0: would be migrated"
    assert lines[2].startswith(left[1])
    assert lines[3] == f"{datasets}: 1 dataset would be migrated, 1 had nothing to migrate"
    assert "T" in date_of(datasets / "tl_0")
    done = host.ctl("datasets", "migrate")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1] == "tl_0: migrated"
    assert date_of(datasets / "tl_0") == "2026-06-22 08:00:01"
    shutil.rmtree(datasets / "tl_2")
    done = host.ctl("datasets", "migrate", datasets)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == [f"{datasets}: 0 datasets migrated, 2 had nothing to migrate"]


def test_one_migration_at_a_time(host, datasets):
    """The other one is told so, and changes nothing."""
    descriptor = os.open(datasets, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    done = host.ctl("datasets", "migrate")
    os.close(descriptor)
    assert (done.returncode, done.stderr) == (1, f"error: another migration is at work in {datasets}\n")


def test_directory_that_is_not_there_is_named(host):
    """As where nothing was taken yet."""
    done = host.ctl("datasets", "migrate")
    assert (done.returncode, done.stderr) == (1, f"error: {host.store.parent}/datasets: no such file or directory\n")


def test_file_is_no_directory(host):
    """It is not said to be closed to root."""
    done = host.ctl("datasets", "migrate", __file__)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {__file__}: not a directory\n"
