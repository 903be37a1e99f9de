"""The clients of the control socket: who may be one, how many there may be, and what is kept of each."""

from __future__ import annotations

import select
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.channel.control_request import MAX_REQUEST_BYTES, Answer, Request
from plantimager.timelapse.channel.message import MessageReader

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection

    from plantimager.timelapse.channel.peer import Peer

MAX_CLIENTS: Final = 32
MAX_CLIENTS_OF_USER: Final = 8
"""Of one user at a time; so a few users can't take all places. Root and the daemon's own user have theirs beside."""
RESERVE: Final = 4
"""Places for root and the daemon's own user alone."""
SOCKET_MODE, GROUP_SOCKET_MODE = 0o600, 0o660


class Access(Struct, frozen=True):
    """Who may ask, besides root."""

    owner: int
    group: int | None = None

    @property
    def mode(self) -> int:
        """The mode of the socket."""
        return SOCKET_MODE if self.group is None else GROUP_SOCKET_MODE


class ServedClient:
    """One connection: it is read, waits for the answer, and is written to. Control thread."""

    def __init__(self, connection: socket.socket, peer: Peer, deadline: float) -> None:
        self.connection, self.peer = connection, peer
        self.deadline: float | None = deadline
        self.reader: MessageReader | None = MessageReader(max_files_bytes=MAX_REQUEST_BYTES)
        """``None`` once the request is whole."""
        self.request: Request | None = None
        """The one that is being handled."""
        self.rest: deque[memoryview] = deque()
        """What is still to be written."""

    def hand_over(self, request: Request | None) -> None:
        """Wait for the answer, however long that takes; ``None`` where there is nothing to be handled."""
        self.reader, self.deadline, self.request = None, None, request

    def take_request(self) -> Request | None:
        """Return the request that is being handled, once."""
        request, self.request = self.request, None
        return request

    def begin_answer(self, answer: Answer, deadline: float) -> None:
        """Have an answer written until then."""
        self.reader, self.deadline, self.request = None, deadline, None
        self.rest.extend(memoryview(piece) for piece in answer.encode() if piece)

    @property
    def events(self) -> int:
        """What the kernel is to report besides the end of the connection."""
        return select.POLLIN if self.reader is not None else select.POLLOUT if self.rest else 0

    @property
    def bytes_kept(self) -> int:
        """How many bytes of it are kept."""
        kept = [*self.rest, *(self.request.files if self.request is not None else ())]
        return sum(map(len, kept)) + (self.reader.size if self.reader is not None else 0)


def why_refused(peer: Peer, access: Access, clients: Collection[ServedClient]) -> str | None:
    """Return why a connection is refused beside those that there are."""
    trusted = (0, access.owner)
    if not peer.may_ask(access.owner, access.group):
        return "you may not ask this service: that is for root, its own user and the members of its group"
    users = Counter(client.peer.uid for client in clients)
    n_others = sum(n for uid, n in users.items() if uid not in trusted)
    is_one_too_many = users[peer.uid] >= MAX_CLIENTS_OF_USER or n_others >= MAX_CLIENTS - RESERVE
    if len(clients) >= MAX_CLIENTS or (peer.uid not in trusted and is_one_too_many):
        return "too many requests at a time; try again in a moment"
    return None
