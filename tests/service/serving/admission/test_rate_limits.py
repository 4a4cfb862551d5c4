"""Rate limits per device and per address."""

import secrets
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from service.errors import TooMany
from service.serving.admission.rate_limits import VALKEY_RETRY_S, RateLimits, client_subnet
from tests.service.serving.auth.test_credentials import service_with
from tests.service.support.actors import Device, ok, publish, refused


@pytest.fixture
def name():
    return secrets.token_hex(8)


def make_limits(url, device="3/hour", address="off"):
    valkey = Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
    return valkey, RateLimits(valkey, url, device=device, address=address)


def run(live, call):
    return live.client.portal.call(call)


def test_a_request_above_the_limit_is_refused_with_retry_after(live, endpoints, name):
    async def scenario():
        valkey, limiter = make_limits(endpoints.redis_url)
        for _ in range(3):
            await limiter.count("device", name)
        with pytest.raises(TooMany, match="requests") as error:
            await limiter.count("device", name)
        await valkey.aclose()
        return error.value

    error = run(live, scenario)
    assert 1 <= error.retry_after_s <= 3600
    assert error.status == 429


def test_processes_share_counts_and_devices_have_separate_counts(live, endpoints, name):
    async def scenario():
        (first, one), (second, other) = make_limits(endpoints.redis_url), make_limits(endpoints.redis_url)
        await one.count("device", name)
        await other.count("device", name)
        await one.count("device", name)
        with pytest.raises(TooMany, match="requests"):
            await other.count("device", name)
        await other.count("device", f"{name}-other")
        await first.aclose()
        await second.aclose()

    run(live, scenario)


def test_a_large_limit_is_counted_in_batches_and_is_exact_to_one_batch(live, endpoints, name):
    async def scenario():
        valkey, limiter = make_limits(endpoints.redis_url, device="100/hour")
        passed = 0
        with suppress(TooMany):
            while passed < 200:
                await limiter.count("device", name)
                passed += 1
        await valkey.aclose()
        return passed

    assert 100 <= run(live, scenario) <= 105


def test_a_refused_device_is_refused_from_memory_until_the_window_ends(live, endpoints, name):
    async def scenario():
        valkey, limiter = make_limits(endpoints.redis_url, device="1/hour")
        await limiter.count("device", name)
        for _ in range(2):
            with pytest.raises(TooMany, match="requests"):
                await limiter.count("device", name)
        await valkey.delete(*await valkey.keys(f"*{name}*"))
        with pytest.raises(TooMany, match="requests"):
            await limiter.count("device", name)
        limiter._blocked_until["device", name] = 0.0
        await limiter.count("device", name)
        await valkey.aclose()

    run(live, scenario)


def test_a_flood_of_invented_names_does_not_fill_the_memory(live, endpoints, name):
    async def scenario():
        valkey = Redis.from_url(endpoints.redis_url)
        limiter = RateLimits(valkey, endpoints.redis_url, device="1000/hour", address="off", max_keys=10)
        for number in range(100):
            await limiter.count("device", f"{name}-{number}")
        await valkey.aclose()
        return len(limiter._counts)

    assert run(live, scenario) <= 10


def test_a_limit_that_is_off_counts_nothing(live, endpoints, name):
    async def scenario():
        valkey, limiter = make_limits(endpoints.redis_url, device="off")
        for _ in range(9):
            await limiter.count("device", name)
        assert await valkey.keys(f"*{name}*") == []
        await valkey.aclose()

    run(live, scenario)


def test_while_valkey_is_down_every_request_passes_and_valkey_is_skipped(live, name):
    async def scenario():
        valkey, limiter = make_limits("redis://127.0.0.1:1/0", device="1/hour")
        for _ in range(5):
            await limiter.count("device", name)
        await valkey.aclose()
        return limiter._skip_valkey_until

    assert VALKEY_RETRY_S > 0
    assert run(live, scenario) > 0


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_network_of_64_bits_counts_as_one_address(address, expected):
    assert client_subnet(address) == expected


def test_a_device_that_polls_too_often_is_limited_and_others_are_not(live, name):
    publish(live, "v1", b"weights" * 99)
    with service_with(live, rate_limit_per_device="2/hour"):
        eager, calm = Device(live, f"eager-{name}"), Device(live, f"calm-{name}")
        for device in (eager, calm):
            device.token = ok(device.enroll())["access_token"]
        for _ in range(2):
            eager.poll()
        response = eager.post("/v1/model/update", {"device_id": eager.id})
        problem = refused(response, 429, "too_many_requests")
        assert problem["retryable"] is True
        assert 1 <= int(response.headers["retry-after"]) <= 3600
        calm.poll()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/device/enroll"),
        ("POST", "/v1/device/token"),
        ("POST", "/v1/model/update"),
        ("POST", "/v1/model/events"),
        ("GET", "/v1/trust"),
        ("GET", "/v1/model/info"),
    ],
)
def test_an_address_with_too_many_requests_is_limited_before_authentication(live, method, path):
    with service_with(live, rate_limit_per_address="1/second"):
        responses = [live.client.request(method, path, content=b"x") for _ in range(20)]
    assert 429 in {response.status_code for response in responses}
    assert live.client.get("/health").status_code == 200
