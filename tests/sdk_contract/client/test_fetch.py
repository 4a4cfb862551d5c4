import pytest

from sdk_contract.client.errors import (
    BudgetSpent,
    ServerBusy,
    TimedOut,
    TooSlow,
    Unreachable,
    UrlExpired,
    WrongRange,
)
from sdk_contract.client.fetch import Limits, Meter, fetch
from tests.sdk_contract.client.conftest import QUICK, weights
from tests.sdk_contract.client.simulator import Toxic, sha

DATA = weights(5, 300_000)


@pytest.fixture
def url(server):
    server.objects[sha(DATA)] = DATA
    return server.url(sha(DATA))


def get(url, offset=0, *, meter=None, limits=QUICK, pauses=None):
    wait = (lambda _: None) if pauses is None else pauses.append
    pieces = fetch(url, offset, len(DATA), meter=meter or Meter(), limits=limits, pause=wait)
    return b"".join(pieces)


@pytest.mark.parametrize("offset", [0, 1, 123_456, len(DATA) - 1])
def test_the_bytes_from_an_offset_on_come_and_nothing_else(url, offset):
    meter = Meter()
    assert get(url, offset, meter=meter) == DATA[offset:]
    assert (meter.received, meter.wasted) == (len(DATA) - offset, 0)


def test_a_cut_connection_is_resumed_where_it_broke(server, url):
    server.toxics.extend([Toxic(cut=1000), Toxic(cut=70_000), Toxic(cut=0)])
    meter = Meter()
    assert get(url, meter=meter) == DATA
    assert (meter.received, meter.wasted) == (len(DATA), 0)
    assert server.downloads[-1][1] == 71_000


def test_a_store_that_ignores_ranges_costs_bytes_but_gives_the_right_ones(server, url):
    server.toxics.extend([Toxic(cut=100_000), Toxic(ignore_range=True)])
    meter = Meter()
    assert get(url, meter=meter) == DATA
    assert meter.wasted == 100_000


def test_a_range_that_starts_too_early_is_cut_to_shape(server, url):
    server.toxics.append(Toxic(shift=-500))
    meter = Meter()
    assert get(url, 10_000, meter=meter) == DATA[10_000:]
    assert meter.wasted == 500


def test_a_range_that_starts_too_late_is_not_used(server, url):
    server.toxics.append(Toxic(shift=500))
    assert get(url, 10_000) == DATA[10_000:]


def test_a_proxy_that_claims_more_than_it_sends_is_resumed(server, url):
    server.toxics.append(Toxic(cut=5000, claim=10_000))
    assert get(url) == DATA


def test_an_object_of_another_size_is_refused_before_its_bytes(server, url):
    server.objects[sha(DATA)] = DATA + b"more"
    meter = Meter()
    with pytest.raises(WrongRange) as refusal:
        get(url, meter=meter)
    assert (refusal.value.code, meter.received) == ("range_ignored", 0)


def test_an_endless_answer_stops_at_the_signed_size(server, url):
    server.objects[sha(DATA)] = DATA + bytes(5_000_000)
    server.toxics.append(Toxic(ignore_range=True))
    meter = Meter()
    assert get(url, meter=meter) == DATA
    assert meter.received == len(DATA)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_address_that_is_over_is_not_tried_again(server, url, status):
    server.toxics.append(Toxic(status=status))
    pauses = []
    with pytest.raises(UrlExpired):
        get(url, pauses=pauses)
    assert pauses == []


def test_a_busy_store_is_left_alone_for_as_long_as_it_asks(server, url):
    server.toxics.append(Toxic(status=503, headers={"Retry-After": "7"}))
    pauses = []
    assert get(url, pauses=pauses, limits=Limits(tries=2, pause_s=0)) == DATA
    assert pauses == [7]


def test_a_store_that_asks_for_an_hour_is_not_waited_for_while_the_update_is_locked(server, url):
    server.toxics.append(Toxic(status=503, headers={"Retry-After": "3600"}))
    pauses = []
    with pytest.raises(ServerBusy) as busy:
        get(url, pauses=pauses)
    assert (pauses, busy.value.retry_after_s) == ([], 3600)


def test_tries_without_a_new_byte_come_to_an_end(server, url):
    server.toxics.extend([Toxic(status=500)] * 9)
    with pytest.raises(ServerBusy):
        get(url)
    assert len(server.toxics) == 9 - QUICK.tries


def test_progress_gives_fresh_patience(server, url):
    server.toxics.extend([Toxic(cut=1), Toxic(cut=1), Toxic(cut=70_000)] * 3)
    assert get(url) == DATA


def test_a_store_that_gives_a_byte_per_connection_is_given_up(server, url):
    server.toxics.extend([Toxic(cut=1)] * 20)
    with pytest.raises(Unreachable):
        get(url)


def test_a_redirect_is_not_followed(server, url):
    server.toxics.extend([Toxic(status=302, headers={"Location": "http://127.0.0.1:1/"})] * 3)
    with pytest.raises(Unreachable):
        get(url)


def test_a_silent_store_is_given_up(server, url):
    server.toxics.extend([Toxic(slice=10, delay=2)] * 2)
    with pytest.raises(TimedOut):
        get(url, limits=Limits(timeout_s=0.2, tries=1, pause_s=0))


def test_a_dripping_store_is_given_up(server, url):
    server.toxics.append(Toxic(slice=100, delay=0.02))
    with pytest.raises(TooSlow):
        get(url, limits=Limits(timeout_s=5, tries=1, pause_s=0, min_rate=100_000, rate_window_s=0.2))


def test_the_byte_budget_is_a_hard_stop(url):
    with pytest.raises(BudgetSpent):
        get(url, meter=Meter(budget=50_000))


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "http://[", "http://127.0.0.1:99999/"]
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(Unreachable):
        get(url)
