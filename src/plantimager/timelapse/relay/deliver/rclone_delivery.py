"""The delivery of one dataset with rclone: it may be cut off anywhere, and be done again from its beginning."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

from msgspec import Struct

from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.receipt import RECEIPT, load_receipt
from plantimager.timelapse.relay.deliver.delivery import LOST, Delivered, ServerFailed, TargetRefused, Unreachable
from plantimager.timelapse.relay.deliver.pacing import PIECE
from plantimager.timelapse.relay.deliver.rclone_program import NOT_HASHED, SCRATCH, Rclone
from plantimager.timelapse.relay.sealed_dataset import (
    MIGRATED,
    DatasetRefused,
    lasting_digest,
    read_receipt_of,
    read_sealed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plantimager.timelapse.relay.credentials import Secret
    from plantimager.timelapse.relay.deliver.delivery import Shipment
    from plantimager.timelapse.relay.deliver.rclone_program import RcloneRun
    from plantimager.timelapse.settings.deliver_config import DeliverTarget

SAME: Final = "="
NOT_THERE: Final = "+"
OTHER: Final = "*"
_RENAMED: Final = re.compile(r"[\0-\x1f\x7f\u201b]")
"""Characters in whose place rclone writes others, so that it doesn't say how such a file is there."""
_NO_DIRECTORY: Final = re.compile("is a file not a directory")
TRIES: Final = 2
"""Of a copy: the second one may have a new connection."""
TELLING: Final = 1 << 16
"""Bytes by which a file that was cut off is known as ours where the ledger doesn't know of it: two files by one camera
have the same header, and none at all are the beginning of any."""
SETTLED: Final = 600.0
"""Seconds after which what has stayed the same there is on no other rig's way any more."""


class RcloneDelivery:
    """The way to a remote of rclone: the sealed directory goes there as it is, the receipt last.

    So a directory there with a receipt is whole. What is there without one may be a file of ours that was cut off: it
    has the first bytes of ours, and is the only thing that is overwritten; where the ledger doesn't know of it, only
    where those are many, and have stayed the same for some time. Those of a rig with a name go into a directory of that
    name; earlier versions put them beside those of all others, where they stay.
    """

    def __init__(self, target: DeliverTarget, configuration: Secret, rig: str | None = None) -> None:
        self._remote = str(target.remote)
        last = re.split("[:/]", self._remote.rstrip("/"))[-1]
        self._own = self._remote if rig in {None, last} else _below(self._remote, str(rig))
        self._by_length, self.polite = target.verify == "length", target.polite
        self._rclone = Rclone(configuration, target.timeout, target.max_rate)
        self._unknown: dict[str, _Unknown] = {}

    def deliver(self, shipment: Shipment) -> Delivered:
        """Bring a dataset to the remote; see `delivery.Delivery.deliver`."""
        directory = shipment.directory
        sealed = read_sealed(directory, shipment.scan)
        files = [str(path.relative_to(directory)) for path in sealed.files]
        if odd := next((name for name in files if _RENAMED.search(name)), None):
            raise DatasetRefused(f"{odd!a}: rclone can't keep the name of this file")
        alike = Counter(normalize("NFC", name) for name in files)
        if twice := next((name for name, count in alike.items() if count > 1), None):
            raise DatasetRefused(
                f"{twice!a}: rclone takes two files whose names differ in their Unicode form alone for one"
            )
        copy = self._find_copy(shipment)
        there = copy.compare([*files, RECEIPT])
        cut_off = copy.cut_off(there, was_begun=shipment.was_begun)
        lacking = {name for name, verdict in there.items() if verdict != SAME}
        if lacking:
            shipment.begin()
            for part in (files, [RECEIPT]):
                if wanted := [name for name in part if name in lacking]:
                    copy.send_compared(wanted, cut_off)
        size = sum(path.stat().st_size for path in (*sealed.files, directory / RECEIPT))
        return Delivered("file", len(there), len(lacking), size, sealed.digest)

    def doubt(self, shipment: Shipment) -> str:
        """Look for its receipt, which a migration here may have changed since, and for all files by their lengths."""
        directory = shipment.directory
        digest = lasting_digest(read_receipt_of(directory, shipment.scan))
        names = [str(path.relative_to(directory)) for path in dataset_files(directory)]
        copies = (self._copy_in(place, shipment) for place in dict.fromkeys((self._own, self._remote)))
        return "" if any(copy.has_still(names, digest) for copy in copies) else LOST

    def close(self) -> None:
        """Leave nothing open: rclone runs only while it is called."""

    def _find_copy(self, shipment: Shipment) -> _Copy:
        """Return where a dataset is or goes: where an earlier version put it, only where all of it is there."""
        own, earlier = (self._copy_in(place, shipment) for place in (self._own, self._remote))
        if self._own != self._remote and earlier.compare([RECEIPT])[RECEIPT] == SAME:
            return earlier
        return own

    def _copy_in(self, place: str, shipment: Shipment) -> _Copy:
        remote = _below(place, shipment.scan.scan_id)
        return _Copy(self._rclone, shipment, remote, self._unknown, by_length=self._by_length)


def _below(remote: str, name: str) -> str:
    return f"{remote}{name}" if remote[-1] in ":/" else f"{remote}/{name}"


class _Unknown(Struct, frozen=True):
    """What was found cut off without being known to be begun."""

    at: float
    """When first, by the monotonic clock."""
    sizes: Mapping[str, int]


class _Copy:
    """The files of one dataset here and there."""

    def __init__(
        self, rclone: Rclone, shipment: Shipment, remote: str, unknown: dict[str, _Unknown], *, by_length: bool
    ) -> None:
        """``unknown`` is kept for the next try."""
        self._unknown, self._clock = unknown, shipment.pace.clock
        self._rclone, self._remote, self._by_length = rclone, remote, by_length
        self._run, self._progress = partial(rclone.run, shipment.pace), shipment.progress
        self._directory, self._places = shipment.directory, (str(shipment.directory), remote)

    def has_still(self, names: Sequence[str], digest: str) -> bool:
        """Return whether all files are there with their lengths, and a receipt with this `lasting_digest`.

        Raises
        ------
        Unreachable, ServerFailed
            As those of `compare`.
        """
        receipt = self.compare([RECEIPT])[RECEIPT]
        if receipt == NOT_THERE or (receipt == OTHER and self._digest_there() != digest):
            return False
        there = self.compare(names, by_length=True)
        is_migrated = receipt == OTHER
        return all(
            verdict == SAME or (verdict == OTHER and is_migrated and MIGRATED.fullmatch(name))
            for name, verdict in there.items()
        )

    def _digest_there(self) -> str:
        """Return the `lasting_digest` of the receipt there; empty where that is none."""
        with TemporaryDirectory(prefix=SCRATCH) as scratch:
            run = self._run("copy", self._places[1], scratch, names=[RECEIPT])
            try:
                return lasting_digest(load_receipt(Path(scratch)))
            except FileNotFoundError:
                raise self._failure(run, RECEIPT) from None
            except (OSError, ValueError):
                return ""

    def compare(self, names: Sequence[str], *, by_length: bool = False) -> Mapping[str, str]:
        """Return how each file is there: `SAME`, `NOT_THERE` or `OTHER`.

        Where the remote has no hashes, or not those of all files, the files are read back.

        Raises
        ------
        ServerFailed
            The remote doesn't say it of all files.
        Unreachable
            It says it of none.
        """
        check, read_back = partial(self._run, "check", *self._places, "--one-way", "--combined", "-"), "--download"
        if by_length or self._by_length:
            run = check("--size-only", names=names)
        elif not self._rclone.has_hashes or (run := check(names=names)).has_said(NOT_HASHED):
            run = check(read_back, names=names)
        if unknown := [name for name in names if run.verdicts.get(name) not in {SAME, NOT_THERE, OTHER}]:
            raise self._failure(run, unknown[0])
        return {name: run.verdicts[name] for name in names}

    def cut_off(self, there: Mapping[str, str], *, was_begun: bool) -> Mapping[str, int]:
        """Return the files there that are ours, cut off in an earlier delivery, each with its size there.

        Raises
        ------
        TargetRefused
            There are others than ours.
        ServerFailed, Unreachable
            The remote doesn't say what there is; or it may be another rig's, on its way.
        """
        other = [name for name, verdict in there.items() if verdict == OTHER]
        is_receipt_alone = other == [RECEIPT]
        sizes = self._sizes(other) if other and (is_receipt_alone or there[RECEIPT] == NOT_THERE) else {}
        larger = [name for name in other if name not in sizes or sizes[name] >= self._size_here(name)]
        if foreign := larger or self._no_beginnings(sizes):  # nothing is read back where the sizes say enough
            raise TargetRefused(f"{self._remote} has other bytes as {foreign[0]}, and nothing there is overwritten")
        is_known = was_begun or (is_receipt_alone and set(there.values()) == {SAME, OTHER})
        if sizes and not is_known:
            self._wait_until_settled(sizes)
        return sizes

    def _wait_until_settled(self, sizes: Mapping[str, int]) -> None:
        """Fail until what nobody knows of has stayed the same for some time, however soon a person asks again."""
        if short := next((name for name, size in sizes.items() if size < TELLING), None):
            words = "too few to know them as ours, and nothing there is overwritten"
            raise TargetRefused(f"{self._remote} has the first {sizes[short]} bytes of {short}, {words}")
        now, before = self._clock.monotonic(), self._unknown.get(self._remote)
        if before is None or before.sizes != sizes:
            before = self._unknown[self._remote] = _Unknown(now, sizes)
        if now < before.at + SETTLED:
            words = f"which is completed if it is the same after {SETTLED / 60:.0f} minutes"
            raise ServerFailed(f"{self._remote} has the beginning of {next(iter(sizes))}, {words}")
        del self._unknown[self._remote]

    def _size_here(self, name: str) -> int:
        return (self._directory / name).stat().st_size

    def _sizes(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return the sizes of files there."""
        run = self._run("lsf", self._remote, "-R", "--files-only", "--format", "sp", "--separator", " ", names=names)
        size_of = {name: size for size, _, name in (line.partition(" ") for line in run.listed)}
        if unknown := [name for name in names if not size_of.get(name, "").isdecimal()]:
            raise self._failure(run, unknown[0])
        return {name: int(size_of[name]) for name in names}

    def _no_beginnings(self, sizes: Mapping[str, int]) -> Sequence[str]:
        """Return those of some files there that are not the first bytes of ours."""
        if not sizes:
            return []
        run = self._run("hashsum", "SHA-256", "--download", self._remote, names=[*sizes])
        digest_of = {name: digest for digest, _, name in (line.partition("  ") for line in run.listed)}
        if unknown := [name for name in sizes if name not in digest_of]:
            raise self._failure(run, unknown[0])
        return [name for name, size in sizes.items() if not self._is_beginning(name, size, digest_of[name])]

    def _failure(self, run: RcloneRun, name: str) -> ServerFailed | Unreachable:
        """Return what a run means that doesn't say enough of a file: one that knows of some has reached the remote."""
        has_answered = run.verdicts or run.has_named_file or run.has_said(_NO_DIRECTORY)
        return (ServerFailed if has_answered else Unreachable)(self._rclone.in_words(run.reason_of(name)))

    def _is_beginning(self, name: str, size: int, digest: str) -> bool:
        left, hashed = size, hashlib.sha256()
        with (self._directory / name).open("rb") as file:
            while piece := file.read(min(left, PIECE)):
                hashed.update(piece)
                left -= len(piece)
            return bool(file.read(1)) and hashed.hexdigest() == digest

    def send_compared(self, names: Sequence[str], cut_off: Mapping[str, int]) -> None:
        """Copy files that are not there, or ``cut_off``, and compare them; what fails by its connection once more.

        The receipt is compared with them: somebody else may have brought a dataset of that name meanwhile.

        Raises
        ------
        TargetRefused
            There are others than ours by now.
        ServerFailed
            One isn't there then, or is another.
        """
        for _ in range(TRIES):  # a frozen server may have written late, and half, what is refused as immutable now
            run = self._send([name for name in names if name not in cut_off], "--immutable")
            run = self._send(self._still_cut_off([name for name in names if name in cut_off], cut_off)) or run
            there = self.compare([*dict.fromkeys((*names, RECEIPT))])
            cut_off = self.cut_off(there, was_begun=True)
            names = [name for name in names if there[name] != SAME]
            if not names:
                return
        reason = self._rclone.in_words(run.reason) if run is not None and run.status else "it was taken"
        raise ServerFailed(f"{names[0]} is not there as it is here after it was sent; {reason}")

    def _still_cut_off(self, names: Sequence[str], before: Mapping[str, int]) -> Sequence[str]:
        """Return those that are cut off as ``before``, just before they are overwritten: another rig may go on."""
        if not names:
            return []
        now = self.cut_off(self.compare([*dict.fromkeys((*names, RECEIPT))]), was_begun=True)
        return [name for name in names if now.get(name) == before[name]]

    def _send(self, names: Sequence[str], *words: str) -> RcloneRun | None:
        if not names:
            return None
        return self._run("copy", *self._places, "--checksum", *words, names=names, on_files=self._show_progress(names))

    def _show_progress(self, names: Sequence[str]) -> Callable[[int], None]:
        """Return what is called with the files of a copy that are done; the receipt, which goes by itself, is none."""
        of = len(names)
        return lambda done: self._progress(min(done, of), of) if names != [RECEIPT] else None
