"""One connection of the load generator, and what can be read from an answer."""

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from service.cli.bench.overload.plan import Outcome

_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing leaves no TIME_WAIT behind, of which a herd on one machine would run out of ports."""
_SOURCES = 8
"""Addresses of loopback from which connections come in turns: one has 28,000 ports."""
_NO_PORT_YET = 24
"""IP_BIND_ADDRESS_NO_PORT of Linux, which Python does not name: the port is chosen when connecting."""
CHUNK = 65536
_turn = count()


@dataclass(slots=True, eq=False)
class Line:
    """A connection, and the request that is on it.

    Attributes:
        request: what has to be sent, or was.
        at_s: when that was due, seconds since the start; meaningless while idle.
        phase: number of the phase in which it was due.
        connected: whether anything could be sent yet.
        serial: of the request, so that a deadline can tell whether it is still the same.
    """

    socket: socket.socket
    request: bytes = b""
    at_s: float = 0.0
    phase: int = 0
    busy: bool = False
    connected: bool = False
    serial: int = 0
    answer: bytearray = field(default_factory=bytearray)

    @classmethod
    def open(cls, port: int) -> "Line":
        """Begin to connect; it may take as long as the server's backlog is full."""
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
        made.bind((f"127.0.0.{2 + next(_turn) % _SOURCES}", 0))
        with suppress(BlockingIOError):
            made.connect(("127.0.0.1", port))
        return cls(made)

    def take(self, request: bytes, at_s: float, phase: int) -> None:
        """Have this request to send."""
        self.request, self.at_s, self.phase = request, at_s, phase
        self.busy = True
        self.serial += 1
        self.answer.clear()

    def send(self) -> bool:
        """Whether the request has left; False while the connection is not there.

        Raises:
            OSError: the connection was refused, or broke.
        """
        try:
            self.socket.send(self.request)
        except BlockingIOError:
            return False
        self.connected = True
        return True


def is_whole(answer: bytearray) -> bool:
    """Whether an answer has come to its end."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.find(b"content-length: ")
    length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return len(answer) >= end + 4 + length


def stays_open(answer: bytearray) -> bool:
    """Whether the server leaves the connection open."""
    return b"connection: close" not in answer.split(b"\r\n\r\n", 1)[0].lower()


def outcome_of(answer: bytearray) -> Outcome:
    """What an answer amounts to."""
    status = bytes(answer[9:12])
    if status in {b"200", b"202"}:
        return Outcome.ANSWERED
    if status == b"503":
        head = answer.split(b"\r\n\r\n", 1)[0].lower()
        return Outcome.TURNED_AWAY if b"\r\nretry-after: " in head else Outcome.BARE_503
    return Outcome.OTHER_STATUS


def number_after(answer: bytearray, mark: bytes) -> int | None:
    """The whole number behind `mark`; None where it does not occur."""
    at = answer.find(mark)
    if at < 0:
        return None
    digits = bytes(answer[at + len(mark) : at + len(mark) + 20])
    for end, byte in enumerate(digits):
        if not 48 <= byte <= 57:
            return int(digits[:end]) if end else None
    return None
