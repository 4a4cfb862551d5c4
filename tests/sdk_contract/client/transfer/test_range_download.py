import pytest

from sdk_contract.client.errors import (
    ByteBudgetExceeded,
    RangeIgnored,
    ServerBusy,
    TimedOut,
    TooSlow,
    Unreachable,
    UrlExpired,
)
from sdk_contract.client.transfer.range_download import DownloadLimits, DownloadMeter, download_range
from tests.sdk_contract.client.conftest import QUICK, weights
from tests.sdk_contract.client.documents import sha256_hex
from tests.sdk_contract.client.http_faults import HttpFault

DATA = weights(5, 300_000)


@pytest.fixture
def url(server):
    server.objects[sha256_hex(DATA)] = DATA
    return server.url(sha256_hex(DATA))


def get(url, offset=0, *, meter=None, limits=QUICK, pauses=None):
    wait = (lambda _: None) if pauses is None else pauses.append
    pieces = download_range(url, offset, len(DATA), meter=meter or DownloadMeter(), limits=limits, sleep=wait)
    return b"".join(pieces)


@pytest.mark.parametrize("offset", [0, 1, 123_456, len(DATA) - 1])
def test_exactly_the_bytes_from_the_offset_are_downloaded(url, offset):
    meter = DownloadMeter()
    assert get(url, offset, meter=meter) == DATA[offset:]
    assert (meter.received, meter.wasted) == (len(DATA) - offset, 0)


def test_a_broken_connection_is_resumed_at_its_end(server, url):
    server.faults.extend([HttpFault(cut=1000), HttpFault(cut=70_000), HttpFault(cut=0)])
    meter = DownloadMeter()
    assert get(url, meter=meter) == DATA
    assert (meter.received, meter.wasted) == (len(DATA), 0)
    assert server.downloads[-1][1] == 71_000


def test_a_store_that_ignores_ranges_wastes_bytes_but_gives_correct_ones(server, url):
    server.faults.extend([HttpFault(cut=100_000), HttpFault(ignore_range=True)])
    meter = DownloadMeter()
    assert get(url, meter=meter) == DATA
    assert meter.wasted == 100_000


def test_a_range_that_starts_too_early_is_trimmed(server, url):
    server.faults.append(HttpFault(shift=-500))
    meter = DownloadMeter()
    assert get(url, 10_000, meter=meter) == DATA[10_000:]
    assert meter.wasted == 500


def test_a_range_that_starts_too_late_is_not_used(server, url):
    server.faults.append(HttpFault(shift=500))
    assert get(url, 10_000) == DATA[10_000:]


def test_a_response_shorter_than_its_content_length_is_resumed(server, url):
    server.faults.append(HttpFault(cut=5000, claim=10_000))
    assert get(url) == DATA


def test_an_object_of_another_size_is_rejected_before_its_bytes(server, url):
    server.objects[sha256_hex(DATA)] = DATA + b"more"
    meter = DownloadMeter()
    with pytest.raises(RangeIgnored) as rejection:
        get(url, meter=meter)
    assert (rejection.value.code, meter.received) == ("range_ignored", 0)


def test_an_endless_response_is_read_up_to_the_signed_size(server, url):
    server.objects[sha256_hex(DATA)] = DATA + bytes(5_000_000)
    server.faults.append(HttpFault(ignore_range=True))
    meter = DownloadMeter()
    assert get(url, meter=meter) == DATA
    assert meter.received == len(DATA)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_expired_url_is_not_retried(server, url, status):
    server.faults.append(HttpFault(status=status))
    pauses: list[float] = []
    with pytest.raises(UrlExpired, match=f"url_expired: status {status}"):
        get(url, pauses=pauses)
    assert pauses == []


def test_the_retry_delay_of_a_busy_store_is_respected(server, url):
    server.faults.append(HttpFault(status=503, headers={"Retry-After": "7"}))
    pauses: list[float] = []
    assert get(url, pauses=pauses, limits=DownloadLimits(max_tries=2, retry_delay_s=0)) == DATA
    assert pauses == [7]


def test_a_retry_delay_of_an_hour_ends_the_download(server, url):
    server.faults.append(HttpFault(status=503, headers={"Retry-After": "3600"}))
    pauses: list[float] = []
    with pytest.raises(ServerBusy) as busy:
        get(url, pauses=pauses)
    assert (pauses, busy.value.retry_after_s) == ([], 3600)


def test_tries_without_progress_are_limited(server, url):
    server.faults.extend([HttpFault(status=500)] * 9)
    with pytest.raises(ServerBusy, match="server_busy: status 500"):
        get(url)
    assert len(server.faults) == 9 - QUICK.max_tries


def test_progress_resets_the_count_of_tries(server, url):
    server.faults.extend([HttpFault(cut=1), HttpFault(cut=1), HttpFault(cut=70_000)] * 3)
    assert get(url) == DATA


def test_one_byte_per_connection_is_too_little_progress(server, url):
    server.faults.extend([HttpFault(cut=1)] * 20)
    with pytest.raises(Unreachable, match="bytes early"):
        get(url)


def test_a_redirect_is_not_followed(server, url):
    server.faults.extend([HttpFault(status=302, headers={"Location": "http://127.0.0.1:1/"})] * 3)
    with pytest.raises(Unreachable, match="unreachable: status 302"):
        get(url)


def test_a_silent_store_times_out(server, url):
    server.faults.extend([HttpFault(slice=10, delay=2)] * 2)
    with pytest.raises(TimedOut, match=r"sent nothing for 0\.2 s"):
        get(url, limits=DownloadLimits(timeout_s=0.2, max_tries=1, retry_delay_s=0))


def test_a_store_below_the_minimum_rate_is_given_up(server, url):
    server.faults.append(HttpFault(slice=100, delay=0.02))
    with pytest.raises(TooSlow, match="too_slow: only"):
        get(
            url,
            limits=DownloadLimits(
                timeout_s=5, max_tries=1, retry_delay_s=0, min_bytes_per_s=100_000, rate_window_s=0.2
            ),
        )


def test_the_byte_budget_is_a_hard_stop(url):
    with pytest.raises(
        ByteBudgetExceeded, match="byte_budget_exceeded: the byte budget of this update is used up"
    ):
        get(url, meter=DownloadMeter(budget=50_000))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "unsupported URL scheme"),
        ("file:///etc/passwd", "unsupported URL scheme"),
        ("ftp://127.0.0.1/x", "unsupported URL scheme"),
        ("http://", "gaierror"),
        ("http://[", "Invalid IPv6 URL"),
        ("http://127.0.0.1:99999/", "Port out of range"),
    ],
)
def test_an_invalid_url_is_unreachable(url, message):
    with pytest.raises(Unreachable, match=message):
        get(url)
