"""What people ask of the files that the service alone may read: the archive, and whether a store is damaged.

It is answered on a thread of its own, one file a request, so that neither a large archive nor a disk that doesn't
answer keeps anything else waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import asdict

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.channel.message import MessageFaulty
from plantimager.timelapse.store.inspection import ARCHIVED, BACKUP, PRESENT, inspect_store
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.location import backup_path, follow_link
from plantimager.timelapse.store.public_copy import public_copy
from plantimager.timelapse.store.schema import is_safe_name
from plantimager.timelapse.support.errors import DefinitionRefused
from plantimager.timelapse.support.file_system import names_in

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.settings.places import Places

MAX_LISTED: Final = 5000
"""Archives that an answer lists, which fit its line."""


def answer_of_files(places: Places, request: Request) -> Answer:
    """Return the answer to ``archives``, ``archive`` or ``verify``. The thread "files"."""
    if request.command == "archives":
        return _list_archive(places)
    return (_copy if request.command == "archive" else _verify)(places, request)


def _list_archive(places: Places) -> Answer:
    names = [name[:-5] for name in names_in(places.history) if name.endswith(".json")]
    return Answer(accepted=True, message="", details={"archives": names[-MAX_LISTED:], "total": len(names)})


def _copy(places: Places, request: Request) -> Answer:
    """Return a timelapse in the archive, without secrets."""
    path = _archived(places, request.body.get("name"))
    loaded = load_timelapse(path)
    if loaded is None:
        raise DefinitionRefused(f"there is no {path}")
    return Answer(accepted=True, message="", files=(public_copy(loaded.stored).encode(),))


def _verify(places: Places, request: Request) -> Answer:
    """Return what is found in one file; nothing where there is none."""
    file, store = request.body.get("file"), follow_link(places.store)
    if file == PRESENT:
        path = store
    elif file == BACKUP:
        path = backup_path(store)
    else:
        path = _archived(places, file.removeprefix(ARCHIVED) if isinstance(file, str) else file)
    found, _ = inspect_store(path)
    return Answer(accepted=True, message="", details={} if found is None else asdict(found))


def _archived(places: Places, name: object) -> Path:
    """Return the file of a timelapse in the archive.

    Raises
    ------
    MessageFaulty
        That is no name of one.
    """
    if not isinstance(name, str) or not is_safe_name(name):
        raise MessageFaulty("name: write that of a timelapse in the archive")
    return places.history / f"{name}.json"
