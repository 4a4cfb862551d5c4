"""Where connections of `graylag api` come in, and where those are turned away for whom there is no room.

An overload is decided by what a "no" costs. Through the HTTP server and the application it costs half as much as an
answer, so that a few times the usual load leave no time for answers. Here devices' requests are told apart by their
first bytes, and a refusal is written as it lies ready: a tenth of what an answer costs, or less.

Connections are accepted here, not by uvloop, which takes one in each round of its loop: under load that is one in as
long as all who are inside need, and everybody else, probes of health too, stands outside in the kernel's queue, where
no one can say no to them.
"""

import asyncio
import random
import socket
from collections.abc import Callable
from itertools import cycle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.door import as_bytes, refuse
from service.observability import log
from service.serving.pressure import Pressure, no_room

DEVICES = b"POST /v1/model/"
"""How requests begin that may be turned away here; operators and probes are few."""
BACKLOG, ROUND = 1024, 512
"""Connections that wait outside, and that are taken in one round of the loop. Small: who waits long is answered too late
to hear it. Who finds the queue full tries again a second later, by the rules of TCP."""
PAUSE_S = 0.1
"""Without file descriptors nothing can be taken; some come back when connections end."""
CHUNK = 65536
_ANSWERS = 64


def refusals() -> list[bytes]:
    """The same refusal as bytes, with times to come back that are spread evenly, in no order."""
    made = [as_bytes(no_room(number / (_ANSWERS - 1))) for number in range(_ANSWERS)]
    random.shuffle(made)
    return made


class Room:
    """Whether there is room for one more; the refusals, ready to be sent."""

    def __init__(self, pressure: Pressure, under_way: Callable[[], int]) -> None:
        """Count those `under_way` that have not begun."""
        self._pressure, self._under_way = pressure, under_way
        self._refusals = cycle(refusals())

    def is_full(self, more: int = 0) -> bool:
        """Whether the next one is to be turned away, `more` being taken in beside those under way."""
        return self._pressure.is_full(self._under_way() - self._pressure.inside + more)

    def refusal(self) -> bytes:
        """One that says another time than the one before."""
        return next(self._refusals)


class Visitor(HttpToolsProtocol):
    """A connection; requests on it that find no room are turned away before they are taken apart."""

    def __init__(self, room: Room, *, let_in: bool, **parts: Any) -> None:
        """Ask `room`, but not about the first request where that is `let_in`; the rest is the server's."""
        super().__init__(**parts)
        self._room, self._let_in = room, let_in
        self._amid, self._unwelcome = False, False

    def on_message_begin(self) -> None:
        """Until its end, what comes belongs to this request, whatever it looks like."""
        self._amid = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand it to the application, or to the refusal where the rest of it is still to come."""
        if not self._unwelcome:
            super().on_headers_complete()
            return
        self._unwelcome, usual = False, self.app
        self.app = refuse
        super().on_headers_complete()
        self.app = usual

    def on_message_complete(self) -> None:
        """The next bytes begin another request."""
        self._amid = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Turn it away, or go on as ever."""
        if self._is_between() and data.startswith(DEVICES):
            if self._let_in:
                self._let_in = False
            elif self._room.is_full():
                if is_one(data):
                    # Somebody who shall come back in half a minute has no use for a connection until then.
                    self.transport.write(self._room.refusal())
                    self.transport.close()
                    return
                self._unwelcome = True
        super().data_received(data)

    def _is_between(self) -> bool:
        return not self._amid and (self.cycle is None or self.cycle.response_complete)


class Reception:
    """A listening socket; its connections are served, or turned away at once."""

    def __init__(
        self, listening: socket.socket, room: Room, visitor: Callable[[bool], asyncio.Protocol]
    ) -> None:
        """Listen from `open` on; `visitor` makes the protocol of a connection, of one that is let in or not."""
        self._socket, self._room, self._visitor = listening, room, visitor
        self._loop = asyncio.get_running_loop()
        self._coming: set[asyncio.Task[Any]] = set()

    def open(self) -> None:
        """Begin."""
        self._socket.setblocking(False)
        self._socket.listen(BACKLOG)
        self._loop.add_reader(self._socket, self._round)

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _round(self) -> None:
        taken = 0
        for _ in range(ROUND):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                self._pause()
                return
            if not self._room.is_full(taken):
                taken += 1
                self._serve(connection, let_in=True)
            elif not self._is_turned_away(connection):
                self._serve(connection, let_in=False)

    def _pause(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.call_later(PAUSE_S, self._loop.add_reader, self._socket, self._round)

    def _is_turned_away(self, connection: socket.socket) -> bool:
        """Whether its request has been answered with a no; also where it has gone already."""
        try:
            data = connection.recv(CHUNK, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            if data and not (data.startswith(DEVICES) and is_one(data)):
                return False
            # Closing on what has not been read would reset the connection, and take the answer with it.
            connection.recv(CHUNK, socket.MSG_DONTWAIT)
            connection.send(self._room.refusal(), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass
        connection.close()
        return True

    def _serve(self, connection: socket.socket, *, let_in: bool) -> None:
        connection.setblocking(False)
        coming = self._loop.connect_accepted_socket(lambda: self._visitor(let_in), connection)
        task = self._loop.create_task(coming)
        self._coming.add(task)
        task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[Any]) -> None:
        self._coming.discard(task)
        if not task.cancelled() and isinstance(task.exception(), OSError):
            log("api").debug("connection.lost_at_the_door")


def is_one(data: bytes) -> bool:
    """Whether these are the bytes of one whole plain request, to the last; what is odd goes the usual way."""
    end = data.find(b"\r\n\r\n")
    if end < 0 or data.find(b" HTTP/1.1\r\n", 0, end) < 0:
        return False
    head = data[:end].lower()
    at = head.find(b"\r\ncontent-length: ")
    if at < 0 or head.find(b"\r\ncontent-length", at + 1) >= 0 or b"\r\ntransfer-encoding" in head:
        return False
    length = head[at + 18 :].split(b"\r\n", 1)[0]
    return length.isdigit() and len(length) < 8 and len(data) == end + 4 + int(length)
