"""Downloads one object over an unreliable network, from an offset up to its signed size.

A URL is not trusted: its bytes count only once their digest is verified. A response with a different range than
requested is trimmed or dropped, and the unused bytes are counted as wasted.
"""

import http.client
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sdk_contract.client.errors import ByteBudgetExceeded, RangeIgnored, TooSlow, Unreachable
from sdk_contract.client.host.conditions import jittered
from sdk_contract.client.protocol.http_client import raise_for_download_status, request
from sdk_contract.errors import ContractError, Reaction

CHUNK = 256 * 1024
MIN_PROGRESS_BYTES = 64 * 1024
"""Progress that resets the count of tries; a mirror that sends one byte per connection must not keep a download alive."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """Timeouts, retries and intervals of downloads.

    Attributes:
        timeout_s: maximum time without a byte, seconds.
        min_bytes_per_s: minimum average rate over `rate_window_s`; a slower connection is closed.
        rate_window_s: window of the average rate, seconds.
        max_tries: tries in a row with less than `MIN_PROGRESS_BYTES` of progress.
        retry_delay_s: delay before the second try, seconds; doubles up to `max_retry_delay_s`, with jitter.
        max_retry_delay_s: longest delay between tries, seconds.
        checkpoint_bytes: bytes between two checkpoints; more lose progress on a power cut, fewer cost syncs.
        in_place_range_bytes: bytes per range of an in-place update, at most 16 MiB; memory use is about six times that.
        condition_interval_s: time between two checks of the device's conditions, seconds.
    """

    timeout_s: float = 30.0
    min_bytes_per_s: int = 1024
    rate_window_s: float = 30.0
    max_tries: int = 4
    retry_delay_s: float = 1.0
    max_retry_delay_s: float = 60.0
    checkpoint_bytes: int = 8 << 20
    in_place_range_bytes: int = 8 << 20
    condition_interval_s: float = 1.0


@dataclass(slots=True)
class DownloadMeter:
    """Counts the bytes that an attempt downloads.

    Attributes:
        received: bytes from the network.
        wasted: received bytes that could not be used.
        recorded: received bytes that are already added to the state.
        recorded_wasted: wasted bytes that are already added to the state.
        budget: bytes that may still be downloaded; absent for no limit.
    """

    received: int = 0
    wasted: int = 0
    recorded: int = 0
    recorded_wasted: int = 0
    budget: int | None = None

    def count(self, size: int) -> None:
        """Add `size` received bytes.

        Raises:
            ByteBudgetExceeded: the host's byte budget is used up.
        """
        self.received += size
        if self.budget is not None:
            self.budget -= size
            if self.budget < 0:
                raise ByteBudgetExceeded("the byte budget of this update is used up")


def download_range(
    url: str,
    offset: int,
    size: int,
    *,
    meter: DownloadMeter,
    limits: DownloadLimits,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Yield the object's bytes from `offset` up to `size`, in order, and resume after broken connections.

    Args:
        url: of the object; requested without an access token.
        offset: of the first byte to download.
        size: signed size of the object, bytes; no byte after it is read.
        meter: counts the received bytes.
        limits: timeouts and retries.
        sleep: waits between tries, seconds.

    Raises:
        UrlExpired: the URL is no longer valid; poll for a new one.
        ByteBudgetExceeded: the host's byte budget is used up.
        ContractError: with reaction `RETRY`: too many tries in a row made too little progress.
    """
    failures = 0
    while offset < size:
        before = offset
        try:
            for chunk in _request_range(url, offset, size, meter, limits):
                offset += len(chunk)
                yield chunk
            if offset < size:
                raise Unreachable(f"the connection ended {size - offset} bytes early")
        except ContractError as fault:
            failures = 0 if offset - before >= MIN_PROGRESS_BYTES else failures + 1
            if (
                fault.reaction is not Reaction.RETRY
                or fault.code == "url_expired"
                or failures >= limits.max_tries
            ):
                raise
            retry_after_s = float(getattr(fault, "retry_after_s", 0))
            if retry_after_s > limits.max_retry_delay_s:
                raise  # too long to keep the update lock; the next poll resumes the download
            delay_s = min(limits.max_retry_delay_s, limits.retry_delay_s * 2.0**failures)
            sleep(max(retry_after_s, jittered(delay_s, low=0.5)))


def _request_range(
    url: str, offset: int, size: int, meter: DownloadMeter, limits: DownloadLimits
) -> Iterator[bytes]:
    headers = {"Range": f"bytes={offset}-{size - 1}"}
    with request("GET", url, headers=headers, timeout=limits.timeout_s) as response:
        raise_for_download_status(response)
        skip = _unwanted_prefix(response, offset, size)
        left = size - offset
        minimum_rate = _MinimumRate(limits)
        while left and (chunk := response.read1(min(CHUNK, skip + left))):
            meter.count(len(chunk))
            minimum_rate.count(len(chunk))
            if skip:
                dropped = min(skip, len(chunk))
                meter.wasted += dropped
                skip -= dropped
                chunk = chunk[dropped:]
            left -= len(chunk)
            if chunk:
                yield chunk


def _unwanted_prefix(response: http.client.HTTPResponse, offset: int, size: int) -> int:
    """Number of bytes in the response before the requested offset.

    Raises:
        RangeIgnored: the response starts after the offset, or belongs to an object of another size.
    """
    if response.status == http.client.OK:
        return offset
    match = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range") or "")
    if response.status != http.client.PARTIAL_CONTENT or match is None:
        raise RangeIgnored(f"status {response.status} without a valid Content-Range")
    start = int(match[1])
    if start > offset or (match[3] != "*" and int(match[3]) != size):
        raise RangeIgnored(f"requested offset {offset} of {size} bytes, received {match[0]}")
    return offset - start


class _MinimumRate:
    """Closes a connection below the minimum rate, so that a slow mirror cannot delay an update without end."""

    def __init__(self, limits: DownloadLimits) -> None:
        self._limits = limits
        self._since = time.monotonic()
        self._bytes = 0

    def count(self, size: int) -> None:
        self._bytes += size
        elapsed = time.monotonic() - self._since
        if elapsed < self._limits.rate_window_s:
            return
        if self._bytes < self._limits.min_bytes_per_s * elapsed:
            raise TooSlow(f"only {self._bytes} bytes in {elapsed:.0f} s")
        self._since, self._bytes = time.monotonic(), 0
