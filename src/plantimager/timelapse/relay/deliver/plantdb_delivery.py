"""The delivery of one dataset to PlantDB: it may be cut off anywhere, and be done again from its beginning."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.plantdb_metadata import OURS
from plantimager.timelapse.relay.deliver.delivery import LOST, Delivered, ServerFailed, TargetRefused, Unreachable
from plantimager.timelapse.relay.deliver.outgoing import TAKEN_TYPES, prepare_dataset
from plantimager.timelapse.relay.deliver.plantdb_client import DIGEST, Account, PlantDbClient
from plantimager.timelapse.relay.sealed_dataset import lasting_digest, read_receipt_of
from plantimager.timelapse.scan.miappe import as_table
from plantimager.timelapse.support import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plantimager.timelapse.relay.credentials import Secret
    from plantimager.timelapse.relay.deliver.delivery import Shipment
    from plantimager.timelapse.relay.deliver.outgoing import OutgoingDataset
    from plantimager.timelapse.relay.deliver.pacing import TargetPace
    from plantimager.timelapse.settings.deliver_config import DeliverTarget

TO_BEGIN: Final = 10.0
"""Seconds before a slot in which no scan is begun at a server that waits during scans."""
OTHER_NAMES: Final = "timelapses of one database need different names"


class PlantDbDelivery:
    """The way to the server that the configuration names, else the store."""

    def __init__(self, target: DeliverTarget, password: Secret) -> None:
        self._target, self._password = target, password
        self.polite = target.polite
        self._client: PlantDbClient | None = None
        self._client_of: object = None

    def deliver(self, shipment: Shipment) -> Delivered:
        """Bring a dataset to the server; see `delivery.Delivery.deliver`."""
        dataset = prepare_dataset(shipment.directory, shipment.scan)
        with self._password_told():
            client = self._client_to(shipment.database, shipment.pace)
            sent, others = deliver_dataset(client, dataset, shipment, by_length=self._target.verify == "length")
        return Delivered("picture", len(dataset.files), sent, dataset.bytes, dataset.digest, dataset.left + others)

    def doubt(self, shipment: Shipment) -> str:
        """Look for the digest that the scan was sent with, which no copy by hand has, and for its pictures."""
        scan_id = shipment.scan.scan_id
        digest = lasting_digest(read_receipt_of(shipment.directory, shipment.scan))
        pictures = {path.stem for path in dataset_files(shipment.directory) if path.suffix.lower() in TAKEN_TYPES}
        client = self._client_to(shipment.database, shipment.pace)
        there = client.scan_metadata_there(scan_id)
        if there is None:
            return LOST
        if DIGEST not in as_table(there.get(OURS)):
            return "has a scan of its name without a digest, which earlier versions didn't send; so it stays"
        if as_table(there[OURS])[DIGEST] != digest:
            return "has another scan of its name"
        return "" if pictures <= {*(client.files_there(scan_id) or ())} else "doesn't have all its pictures any more"

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextmanager
    def _password_told(self) -> Iterator[None]:
        """Say with a failure also why a password that was replaced isn't taken up, which may be its cause."""
        try:
            yield
        except Unreachable as problem:
            if not self._password.fault:
                raise
            raise Unreachable(f"{problem}; {self._password.fault}; the one of before is used") from problem

    def _client_to(self, database: Mapping[str, str], pace: TargetPace) -> PlantDbClient:
        """Return the client; ``database`` is what the store names now.

        Raises
        ------
        Unreachable
            Neither names a server, or a way to be let in, or the url is none.
        """
        url, user = self._target.url or database.get("db_url", ""), self._target.user
        if not url:
            raise Unreachable("neither [relay.deliver] nor the store names a url")
        if "@" in url:  # the fault of the library would repeat a part of it
            raise Unreachable("the db_url in the store has a user or a password in it; write [relay.deliver] url =")
        self._password = self._password.latest() if user else self._password
        account = Account(user, self._password.text) if user else Account(token=database.get("api_token", ""))
        if not user and not account.token:
            raise Unreachable("neither a user in [relay.deliver] nor an api_token in the store")
        if self._client is None or self._client_of != (url, account, pace):
            self.close()
            self._client = PlantDbClient(url, account, self._target.timeout.total_seconds(), pace)
            self._client_of = url, account, pace
        return self._client


def deliver_dataset(
    client: PlantDbClient, dataset: OutgoingDataset, shipment: Shipment, *, by_length: bool
) -> tuple[int, int]:
    """Bring a dataset to the server; return how many pictures were sent, and how many metadata are others there.

    What the server has already is compared, not trusted; metadata that are others there stay as they are. Scan, fileset
    and first picture are sent one after the other, because a scan without pictures makes the server's list of all scans
    fail, and so not just before a slot.

    Raises
    ------
    TargetRefused
        The server has something else of that name, which it lets nobody change.
    ServerFailed
        It answers with an error of its own, or has lost the metadata of a scan that we have begun.
    Unreachable
        It doesn't answer.
    """
    pace, there = shipment.pace, client.scan_metadata_there(dataset.scan_id)
    present = set() if there is None else _files_of_ours(client, dataset, there, was_begun=shipment.was_begun)
    others = int(there is not None and not _has(there, dataset.metadata))
    if not present:
        to_send = sum(file.size for file in dataset.files[:1])
        pace.wait_for_turn(TO_BEGIN, 2 * to_send / pace.rate if pace.rate else 0.0)
        shipment.begin()
        if not client.create(dataset) and there is None:  # another rig's, perhaps, that was faster
            there = client.scan_metadata_there(dataset.scan_id) or {}
            present = _files_of_ours(client, dataset, there, was_begun=True)
            others = int(not _has(there, dataset.metadata))
    sent = 0
    for done, file in enumerate(dataset.files):
        shipment.progress(done, len(dataset.files))
        objection = ""
        if file.file_id not in present:
            objection = client.upload(dataset.scan_id, file, partial(pace.open_paced, file))
            sent += 1
        same = client.has_same(dataset.scan_id, file, by_length=by_length)
        if same is None:
            raise ServerFailed(f"{file.path.name} is not there after it was sent; {objection or 'it was taken'}")
        if not same:
            client.files_there(dataset.scan_id)  # something else may answer in the server's place: no reason to refuse
            raise TargetRefused(f"PlantDB has other bytes as {dataset.scan_id}/{file.file_id}, and changes no file")
        if file.file_id in present and not by_length:
            others += not _has(client.file_metadata_there(dataset.scan_id, file), file.metadata)
    return sent, others


def _has(there: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Return whether metadata there say all that ours do; the server adds keys, and a delivery its digest."""
    without = {name: value for name, value in as_table(there.get(OURS)).items() if name != DIGEST}
    found = {**there, OURS: without} if OURS in there else there
    return all(found.get(key) == value for key, value in json_text.loads(json_text.dumps(dict(ours))).items())


def _files_of_ours(
    client: PlantDbClient, dataset: OutgoingDataset, there: Mapping[str, Any], *, was_begun: bool
) -> set[str]:
    """Return what the server has of a dataset, after it was made sure that the scan ``there`` is the same one."""
    theirs, ours = there.get(OURS), dataset.metadata[OURS]
    names = ("timelapse_id", "index", "scheduled")
    files = set(client.files_there(dataset.scan_id) or ())
    if isinstance(theirs, dict) and all(theirs.get(name) == ours[name] for name in names):
        if theirs.get(DIGEST, dataset.digest) == dataset.digest:  # earlier versions sent none
            return files
        raise TargetRefused(
            f"PlantDB has {dataset.scan_id} of another rig already, whose timelapse has this name and these times;"
            f" {OTHER_NAMES}"
        )
    if was_begun and not files and theirs is None:
        raise ServerFailed("PlantDB has the scan that was begun without its metadata, and no picture; delete it there")
    raise TargetRefused(
        f"PlantDB has another scan called {dataset.scan_id} already ({len(files)} pictures, of"
        f" {there.get('acquisition_date', 'an unknown time')}, owner {there.get('owner', 'unknown')}); {OTHER_NAMES}"
    )
