"""The tables ``[relay.deliver.NAME]`` and ``[relay.retention]``: where datasets go, and when they may leave the rig."""

# Annotations are evaluated here, since the structs declare keys.

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from plantimager.timelapse.datasets.disk_space import read_size
from plantimager.timelapse.settings.readers import path_of_secret, positive_duration, server_url
from plantimager.timelapse.support.faults import Table, boolean, one_of, text
from plantimager.timelapse.support.keys import Key, read_table
from plantimager.timelapse.support.needs import Need


def rclone_remote(value: object) -> str:
    """Return a directory of one of rclone's remotes. It goes onto a command line, where no secret may be."""
    remote = text(value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+@ -]*:[^\0\n]*", remote):
        raise ValueError('write a remote of rclone\'s configuration and a directory there, such as "lab:plants"')
    return remote


class DeliverTarget(Struct, frozen=True):
    """The table ``[relay.deliver.NAME]``: a PlantDB server or a remote of rclone, to which datasets are brought."""

    url: Annotated[
        str | None, Key(server_url, absent="``db_url`` as the community's controller left it in the store")
    ] = None
    """The server, such as "https://plantdb.example.org". No password in it."""
    user: Annotated[str | None, Key(text, absent="``api_token`` in the store")] = None
    """The user to log in as. The password is in ``password_file``, or in the credential ``deliver-NAME`` of the unit
    (LoadCredential=); it is never in this file."""
    password_file: Annotated[Path | None, Key(path_of_secret, absent="the credential ``deliver-NAME``")] = None
    """A file with the password of the user, that only the service can read (mode 0600)."""
    remote: Annotated[str | None, Key(rclone_remote, absent="it is a PlantDB server")] = None
    """Instead of ``url``: a remote in rclone's configuration and a directory there, such as "lab:plants". Each dataset
    goes there as it is, its receipt last."""
    rclone_config: Annotated[Path | None, Key(path_of_secret, absent="the credential ``deliver-NAME``")] = None
    """With ``remote``: rclone's configuration file, that only the service can read (mode 0600)."""
    order: Annotated[str, Key(one_of("oldest", "newest"))] = "oldest"
    """Which dataset goes first of those that wait: the "oldest" or the "newest"."""
    verify: Annotated[str, Key(one_of("bytes", "length"))] = "bytes"
    """How each file is compared after it was sent: "bytes" reads it back whole, or by its hash where a remote of rclone
    has some; "length" asks for its length."""
    polite: Annotated[bool, Key(boolean)] = False
    """Whether nothing is sent while a scan runs. What is on its way when one begins is cut off within about a second,
    and sent again after it. What takes longer than the time between two scans never arrives then, and the status says
    so: a file that is sent or read back, and with rclone all of a dataset that are read back."""
    max_rate: Annotated[int | None, Key(read_size, "size", absent="as fast as the network takes it")] = None
    """The most that is sent in a second."""
    timeout: Annotated[timedelta, Key(positive_duration, "duration")] = timedelta(seconds=60)
    """How long to wait for any answer of the server. With what follows of it, and what is sent, an exchange may take a
    second more for each kB, or for each half of what ``max_rate`` allows in a second where that is less."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The program, or the modules, that bring datasets there."""
        key, value = ("remote", self.remote) if self.remote is not None else ("url", self.url)
        own = (
            Need(key, value, program="rclone", cure="sudo apt install rclone")
            if self.remote is not None
            else Need(key, value, module="httpx", extra="relay")
        )
        return own, Need(key, value, module="tenacity", extra="relay")

    def place(self, database: Mapping[str, str]) -> str:
        """Return a short digest of where datasets go; empty where neither this nor the store's ``database`` says it."""
        address = self.remote or self.url or database.get("db_url", "")
        return hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:12] if address else ""


class RetentionRules(Struct, frozen=True):
    """The table ``[relay.retention]``: which datasets are removed here once every target has them, verified."""

    keep: Annotated[timedelta | None, Key(positive_duration, "duration", absent="any time")] = None
    """How long a dataset stays here after its scan; then it is removed, once every target has it. Targets with
    ``verify = "length"`` don't count, so that nothing is removed. With neither key nothing is."""
    keep_free: Annotated[int | None, Key(read_size, "size", absent="any space")] = None
    """How much of the datasets' disk is to stay free: where it is less, the oldest go that every target has."""


def read_targets(tables: Table) -> Mapping[str, DeliverTarget]:
    """Return the targets by their names, and report what is wrong with them."""
    targets = {}
    for name in tables.rest():
        target = tables.subtable(name)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
            tables.add_fault(name, "the name of a target has letters, digits, _ and -, at most 32")
        elif "@" in str(target.read("url", lambda value: value, "")):  # a fault would repeat it, and is logged
            target.add_fault("url", "has a user or a password in it; write those as user = and password_file =")
        else:
            targets[name] = read_table(DeliverTarget, target)
            _check_kind(target, targets[name])
    return targets


def _check_kind(table: Table, target: DeliverTarget) -> None:
    """Report keys of a PlantDB server beside a remote of rclone, and the other way round."""
    others = ("rclone_config",) if target.remote is None else ("url", "user", "password_file")
    words = "of rclone, needs remote" if target.remote is None else "of a PlantDB server, not beside remote"
    for key in others:
        if getattr(target, key) is not None:
            table.add_fault(key, words)
