"""Faults of one HTTP exchange."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Fault:
    """What goes wrong with one exchange, of an object or of the API. The default is no fault.

    Attributes:
        status: replaces the response's status.
        headers: added to the response.
        body: replaces the response's body.
        ignore_range: respond 200 with the whole object.
        range_shift: bytes by which the served range differs from the requested one.
        extra_length: `Content-Length` announces this many bytes more than are sent.
        flip_byte_at: offset of a byte that is sent wrong.
        cut_after: close the connection after this many bytes of the body.
        stall_after: stop sending after this many bytes of the body, but keep the connection open.
        bytes_per_s: send the body at this rate.
        endless: send junk after the body until the client stops reading.
        drop_response: process the request, but send no response.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    ignore_range: bool = False
    range_shift: int = 0
    extra_length: int = 0
    flip_byte_at: int | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    bytes_per_s: int | None = None
    endless: bool = False
    drop_response: bool = False
