"""Bytes of one object over an unreliable network: from an offset to the signed size, never beyond.

Addresses are advice: whatever they serve is only a candidate for a digest. So an answer that is not the
range that was asked for is cut to shape or dropped, and counted as wasted.
"""

import http.client
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sdk_contract.client import transport
from sdk_contract.client.errors import BudgetSpent, TooSlow, Unreachable, WrongRange
from sdk_contract.client.host import jittered
from sdk_contract.errors import ContractError, Reaction

CHUNK = 256 * 1024
PROGRESS = 64 * 1024
"""Bytes that earn fresh patience; a mirror that gives one byte per connection must not hold us for ever."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a download is.

    Attributes:
        timeout_s: without any byte.
        min_rate: bytes per second, over `rate_window_s`; below it the connection is given up.
        tries: in a row without `PROGRESS` new bytes.
        pause_s: before the second try; grows to `max_pause_s`, with jitter.
        note_every: bytes between two notes of progress: what a cut may cost, against a sync.
        range_bytes: overwritten at a time by an update in place, at most 16 MiB; memory is about six times that.
        check_every_s: between two questions to the host during a download.
    """

    timeout_s: float = 30.0
    min_rate: int = 1024
    rate_window_s: float = 30.0
    tries: int = 4
    pause_s: float = 1.0
    max_pause_s: float = 60.0
    note_every: int = 8 << 20
    range_bytes: int = 8 << 20
    check_every_s: float = 1.0


@dataclass(slots=True)
class Meter:
    """Bytes that an attempt has cost.

    Attributes:
        received: all that came over the network.
        wasted: of these, what could not be used.
        budget: how many may still come; absent for any number.
        reported, reported_wasted: of both, what the record has counted already.
    """

    received: int = 0
    wasted: int = 0
    reported: int = 0
    reported_wasted: int = 0
    budget: int | None = None

    def count(self, size: int) -> None:
        """Note `size` bytes.

        Raises:
            BudgetSpent: that was more than the host allows.
        """
        self.received += size
        if self.budget is not None:
            self.budget -= size
            if self.budget < 0:
                raise BudgetSpent("the byte budget of this update is spent")


def fetch(
    url: str,
    offset: int,
    size: int,
    *,
    meter: Meter,
    limits: Limits,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """The object's bytes from `offset` up to `size`, in order, resumed after every cut.

    Args:
        url: where; without our token.
        offset: of the first byte wanted.
        size: of the whole object, signed: a hard stop.
        meter: counts what comes.
        limits: how patient to be.
        pause: waits between tries, seconds.

    Raises:
        UrlExpired: the address is no longer good; ask for another.
        BudgetSpent: the meter says stop.
        ContractError: with reaction `RETRY`: too many tries in a row with next to nothing.
    """
    failures = 0
    while offset < size:
        before = offset
        try:
            for chunk in _one_exchange(url, offset, size, meter, limits):
                offset += len(chunk)
                yield chunk
            if offset < size:
                raise Unreachable(f"the connection ended {size - offset} bytes early")
        except ContractError as fault:
            failures = 0 if offset - before >= PROGRESS else failures + 1
            if (
                fault.reaction is not Reaction.RETRY
                or fault.code == "url_expired"
                or failures >= limits.tries
            ):
                raise
            asked = float(getattr(fault, "retry_after_s", 0))
            if asked > limits.max_pause_s:
                raise  # too long to sit on the update's lock: the next poll goes on from here
            wait = min(limits.max_pause_s, limits.pause_s * 2.0**failures)
            pause(max(asked, jittered(wait, low=0.5)))


def _one_exchange(url: str, offset: int, size: int, meter: Meter, limits: Limits) -> Iterator[bytes]:
    headers = {"Range": f"bytes={offset}-{size - 1}"}
    with transport.request("GET", url, headers=headers, timeout=limits.timeout_s) as response:
        transport.raise_for_object(response)
        skip = _useless_prefix(response, offset, size)
        left = size - offset
        watch = _RateWatch(limits)
        while left and (chunk := response.read1(min(CHUNK, skip + left))):
            meter.count(len(chunk))
            watch.count(len(chunk))
            if skip:
                dropped = min(skip, len(chunk))
                meter.wasted += dropped
                skip -= dropped
                chunk = chunk[dropped:]
            left -= len(chunk)
            if chunk:
                yield chunk


def _useless_prefix(response: http.client.HTTPResponse, offset: int, size: int) -> int:
    """How many bytes come before the one that was asked for.

    Raises:
        WrongRange: the answer starts after it, or is of an object of another size.
    """
    if response.status == http.client.OK:
        return offset
    match = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range") or "")
    if response.status != http.client.PARTIAL_CONTENT or match is None:
        raise WrongRange(f"status {response.status} without a usable Content-Range")
    start = int(match[1])
    if start > offset or (match[3] != "*" and int(match[3]) != size):
        raise WrongRange(f"asked for {offset} of {size}, got {match[0]}")
    return offset - start


class _RateWatch:
    """Gives up a connection that drips: a slow mirror must not hold an update for ever."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._since = time.monotonic()
        self._bytes = 0

    def count(self, size: int) -> None:
        self._bytes += size
        elapsed = time.monotonic() - self._since
        if elapsed < self._limits.rate_window_s:
            return
        if self._bytes < self._limits.min_rate * elapsed:
            raise TooSlow(f"{self._bytes} bytes in {elapsed:.0f} s")
        self._since, self._bytes = time.monotonic(), 0
