"""The paths of one rig's files: the environment, read once by the command line, as one frozen value."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.datasets.receipt import holds_datasets
from plantimager.timelapse.scan.request import Owner
from plantimager.timelapse.settings.config import CONFIG_FILE_NAME, config_directories, find_file
from plantimager.timelapse.store.location import APPLICATION, FILE_NAME_VARIABLE, get_file_name, get_storage_dir
from plantimager.timelapse.support.errors import FaultsFound
from plantimager.timelapse.support.faults import Fault
from plantimager.timelapse.support.file_system import lock_reason, memory_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFINITION_FILE_NAME: Final = "timelapse.toml"
RELAY: Final = "plant-imager-timelapse-relay"
"""The relay's unit, and its state directory beside the storage directory."""

MACHINE_FILES: Final = (Path("/etc/machine-id"), Path("/sys/firmware/devicetree/base/serial-number"))
"""What identifies a host: the serial number tells a Raspberry Pi from another with a copy of its card."""

MAX_LOOKED_AT: Final = 1000
"""Datasets that are looked for, the last ones: those before may be deleted by now."""

RIG_NAME: Final = r"(?!\.)[A-Za-z0-9._-]{1,64}"
"""What a rig may be called."""
RUNTIME_VARIABLE: Final = "RUNTIME_DIRECTORY"
"""Set by systemd where a unit has ``RuntimeDirectory=``: that of the system service."""
DIGEST_DIGITS: Final = 12
"""Of the digest of a store's path, by which the daemons of one user have different sockets."""
CONTROL: Final = "control"
"""The name of the control socket in its directory."""
RELAY_CONTROL: Final = "relay"
"""That of the relay, where it is in the same directory."""
SYSTEM_RUNTIME: Final = Path("/run")
"""Where systemd makes the directories that services share with people while they run."""


class Places(Struct, frozen=True):
    """The paths of one rig on this host."""

    store: Path
    config_directories: tuple[Path, ...]
    rig: str | None = None
    config_file: Path | None = None
    """The file that the command line names; no other is looked for then."""
    runtime: Path | None = None
    """The directory of the control socket, where there is one that a restart of the machine empties."""

    @property
    def control(self) -> Path:
        """The control socket."""
        return (self.runtime or self._beside) / CONTROL

    @property
    def is_shared(self) -> bool:
        """Whether the control socket is for the group, too: that of a service of the machine."""
        return self.runtime is not None and self.runtime.parent == SYSTEM_RUNTIME

    @property
    def controls(self) -> tuple[Path, ...]:
        """Where the control socket may be: a daemon may have been started with another environment than a command."""
        if self.is_shared:
            return (self.control,)
        usual = _own_runtime(Path(f"/run/user/{os.getuid()}"), self.store) / CONTROL
        return tuple(dict.fromkeys((self.control, usual, self._beside / CONTROL)))

    @property
    def relay_control(self) -> Path:
        """The control socket of the relay: that of a service of the machine, or beside the daemon's."""
        if self.is_shared:
            return SYSTEM_RUNTIME / (RELAY if self.rig is None else f"{RELAY}-{self.rig}") / CONTROL
        return self.control.with_name(RELAY_CONTROL)

    @property
    def relay_controls(self) -> tuple[Path, ...]:
        """Where the control socket of the relay may be, as `controls`."""
        if self.is_shared:
            return (self.relay_control,)
        return tuple(path.with_name(RELAY_CONTROL) for path in self.controls)

    @property
    def _beside(self) -> Path:
        return self.store.with_name(f"{self.store.name}.run")

    @property
    def datasets(self) -> Path:
        """The directory of the datasets, unless the configuration names another."""
        return self.store.parent / self._own("datasets")

    def datasets_in(self, named: Path | None) -> Path:
        """Return the directory of new datasets, where the configuration names one: for a rig with a name, in that."""
        if named is None:
            return self.datasets
        return named if self.rig in (None, named.name) else named / self.rig

    def datasets_of(self, named: Path | None, scan_ids: Iterable[str]) -> Path:
        """Return the directory of the datasets of some scans, the oldest first: `datasets_in`, or ``named`` itself.

        Earlier versions put those of a rig with a name into the directory that the configuration names, not below it.
        May hang as the disk may.
        """
        own = self.datasets_in(named)
        if named is None or named == own:
            return own
        taken = [*scan_ids][: -MAX_LOOKED_AT - 1 : -1]
        is_earlier = not holds_datasets(own, taken, self.owner) and holds_datasets(named, taken, self.owner)
        return named if is_earlier else own

    @property
    def owner(self) -> Owner:
        """Whose the datasets of this rig are."""
        return Owner(rig=self.rig or "", store=str(self.store), host=platform.node(), machine=_machine_id())

    @property
    def history(self) -> Path:
        """The directory of the stores of ended timelapses."""
        return self.store.parent / self._own("history")

    @property
    def relay_state(self) -> Path:
        """The state directory of the relay: its ledgers, its status, and its lock."""
        directory = self.store.parent.parent / RELAY
        return directory if self.rig is None else directory / self.rig

    def ledger(self, target: str) -> Path:
        """Return the ledger of one of the relay's targets."""
        return self.relay_state / f"{target}.ledger"

    @property
    def removed(self) -> Path:
        """The ledger of the datasets that the relay has removed here."""
        return self.relay_state / "removed"

    def find_config(self) -> Path | None:
        """Return the configuration file, ``None`` where there is none; raise as `find_file`."""
        return self.config_file or find_file(CONFIG_FILE_NAME, self.config_directories)

    def find_definition(self) -> Path | None:
        """Return the definition file, ``None`` where there is none; raise as `find_file`."""
        return find_file(DEFINITION_FILE_NAME, self.config_directories)

    def _own(self, name: str) -> str:
        return name if self.rig is None else f"{name}-{self.rig}"


def find_places(
    environment: Mapping[str, str],
    *,
    rig: str | None = None,
    config_file: Path | None = None,
    storage: Path | None = None,
) -> Places:
    """Return the places of a rig; ``storage`` replaces the directory that the environment names.

    A rig with a name has a store, datasets, a history and a configuration directory of its own.
    Raises `FaultsFound` where that name, or a file name in the environment, is not allowed.
    """
    if rig is not None and not re.fullmatch(RIG_NAME, rig):
        problem = "write letters, digits, '.', '_' and '-', at most 64, no leading dot"
        raise FaultsFound([Fault("", "--rig", rig, problem)], "command line")
    named = environment.get(FILE_NAME_VARIABLE)
    name = get_file_name(environment) if named or rig is None else f"timelapse_storage-{rig}.json"
    directories = config_directories(environment)
    store = (storage or get_storage_dir()) / name
    return Places(
        store=store,
        config_directories=tuple(d / rig for d in directories) if rig is not None else directories,
        rig=rig,
        config_file=config_file,
        runtime=_runtime_directory(environment, store, rig, is_system=storage is not None),
    )


def _runtime_directory(environment: Mapping[str, str], store: Path, rig: str | None, *, is_system: bool) -> Path | None:
    """Return the directory of the control socket: of a service of the machine, or of one's own for this store."""
    made_by_systemd = environment.get(RUNTIME_VARIABLE, "").partition(":")[0]
    if made_by_systemd.startswith("/") and Path(made_by_systemd).parent == SYSTEM_RUNTIME:  # no user's own service
        return Path(made_by_systemd)
    if is_system:
        return SYSTEM_RUNTIME / (APPLICATION if rig is None else f"{APPLICATION}-{rig}")
    own = Path(environment.get("XDG_RUNTIME_DIR", ""))
    if not own.is_absolute() or not own.is_dir() or own.stat().st_uid != os.geteuid():  # that of another user, by sudo
        return None
    return _own_runtime(own, store)


def _own_runtime(base: Path, store: Path) -> Path:
    """Return the directory for the daemon of a store in a user's directory for what lasts until the logout."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(store))).hexdigest()
    return base / APPLICATION / f"{store.name}-{digest[:DIGEST_DIGITS]}"


def describe_storage(datasets: Path, storage: Path) -> tuple[str, ...]:
    """Return a sentence for each of the directories whose files are in memory; one for both where it is the same.

    The directory of datasets isn't looked at: a network disk may hang.
    """
    resolved = Path(os.path.realpath(storage))
    if datasets.is_relative_to(storage):
        datasets = resolved / datasets.relative_to(storage)
    reasons = {what: memory_reason(path) for what, path in (("the store", resolved), ("the datasets", datasets))}
    if reasons["the store"] is not None and reasons["the store"] == reasons["the datasets"]:
        reasons = {"store and datasets": reasons["the store"]}
    return tuple(
        f"{why}: {what} will not outlive a power cut or a restart" for what, why in reasons.items() if why is not None
    )


def describe_locks(storage: Path) -> tuple[str, ...]:
    """Return a sentence where the store's lock keeps off no daemon of another machine; else nothing."""
    why = lock_reason(Path(os.path.realpath(storage)))
    danger = "a daemon of another machine could write the same store at the same time"
    cure = "mount it with locks (NFS: vers=4.2), or put the storage directory on a disk of this machine"
    return () if why is None else (f"{why}: {danger}; {cure}",)


def _machine_id() -> str:
    """Return an identifier of this host, empty where it has none. The machine id itself is to stay on the host."""
    found = []
    for path in MACHINE_FILES:
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().strip(b"\0\n "))
    return hashlib.sha256(b"timelapsed\0" + b"\0".join(found)).hexdigest()[:16] if any(found) else ""
