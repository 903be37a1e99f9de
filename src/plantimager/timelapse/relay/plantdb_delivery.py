"""The delivery of one dataset to PlantDB: it may be cut off anywhere, and be done again from its beginning."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from plantimager.timelapse.relay.outgoing import DatasetRefused
from plantimager.timelapse.relay.plantdb_client import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.relay.outgoing import OutgoingDataset
    from plantimager.timelapse.relay.pacing import TargetPace
    from plantimager.timelapse.relay.plantdb_client import PlantDbClient


def deliver_dataset(
    client: PlantDbClient,
    dataset: OutgoingDataset,
    pace: TargetPace,
    begin: Callable[[], None],
    *,
    was_begun: bool,
    by_length: bool,
) -> int:
    """Bring a dataset to the server, and return how many pictures were sent for it.

    What the server has already is compared, not trusted. Scan, fileset and first picture are sent one after the other,
    because a scan without pictures makes the server's list of all scans fail; ``begin`` is called before. ``was_begun``
    says that it was called for this dataset in an earlier delivery.

    Raises
    ------
    DatasetRefused
        The server has something else of that name, which it lets nobody change.
    ServerFailed
        It answers with an error of its own, or has lost the metadata of a scan that we have begun.
    Unreachable
        It doesn't answer.

    """
    pace.wait_for_turn()
    present = _files_of_ours(client, dataset, was_begun=was_begun)
    if not present:
        begin()
        client.create(dataset)
    sent = 0
    for file in dataset.files:
        objection = ""
        whole = not (present or sent)
        if not whole:
            pace.wait_for_turn()
        if file.file_id not in present:
            objection = client.upload(dataset.scan_id, file, partial(pace.open_paced, file, whole=whole))
            sent += 1
        same = client.has_same(dataset.scan_id, file, by_length=by_length)
        if same is None:
            raise ServerFailed(f"{file.path.name} is not there after it was sent; {objection or 'it was taken'}")
        if not same:
            raise DatasetRefused(f"PlantDB has other bytes as {dataset.scan_id}/{file.file_id}, and changes no file")
    return sent


def _files_of_ours(client: PlantDbClient, dataset: OutgoingDataset, *, was_begun: bool) -> set[str]:
    """Return what the server has of a dataset, after it was made sure that the scan there is the same one."""
    there = client.scan_metadata_there(dataset.scan_id)
    if there is None:
        return set()
    theirs, ours = there.get("timelapsed"), dataset.metadata["timelapsed"]
    names = ("timelapse_id", "index", "scheduled")
    files = set(client.files_there(dataset.scan_id) or ())
    if isinstance(theirs, dict) and all(theirs.get(name) == ours[name] for name in names):
        return files
    if was_begun and not files and theirs is None:
        raise ServerFailed("PlantDB has the scan that was begun without its metadata, and no picture; delete it there")
    raise DatasetRefused(
        f"PlantDB has another scan called {dataset.scan_id} already ({len(files)} pictures, of"
        f" {there.get('acquisition_date', 'an unknown time')}, owner {there.get('owner', 'unknown')})"
    )
