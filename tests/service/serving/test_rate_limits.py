import secrets
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from service.errors import TooMany
from service.serving.rate_limits import BLIND_S, RateLimits, neighbourhood
from tests.service.actors import Device, ok, publish, refused
from tests.service.test_device_credentials import service_with


@pytest.fixture
def who():
    return secrets.token_hex(8)


def limits(url, device="3/hour", address="off"):
    valkey = Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
    return valkey, RateLimits(valkey, url, device=device, address=address)


def run(live, call):
    return live.client.portal.call(call)


def test_the_request_above_the_limit_is_refused_and_told_when_to_come_back(live, endpoints, who):
    async def ask():
        valkey, counted = limits(endpoints.redis_url)
        for _ in range(3):
            await counted.count("device", who)
        with pytest.raises(TooMany) as refusal:
            await counted.count("device", who)
        await valkey.aclose()
        return refusal.value

    refusal = run(live, ask)
    assert 1 <= refusal.retry_after_s <= 3600
    assert refusal.status == 429


def test_processes_count_together_and_devices_apart(live, endpoints, who):
    async def ask():
        (first, one), (second, other) = limits(endpoints.redis_url), limits(endpoints.redis_url)
        await one.count("device", who)
        await other.count("device", who)
        await one.count("device", who)
        with pytest.raises(TooMany):
            await other.count("device", who)
        await other.count("device", f"{who}-neighbour")
        await first.aclose()
        await second.aclose()

    run(live, ask)


def test_a_large_limit_is_brought_in_batches_and_is_exact_up_to_one(live, endpoints, who):
    async def ask():
        valkey, counted = limits(endpoints.redis_url, device="100/hour")
        passed = 0
        with suppress(TooMany):
            while passed < 200:
                await counted.count("device", who)
                passed += 1
        await valkey.aclose()
        return passed

    assert 100 <= run(live, ask) <= 105


def test_who_was_refused_is_refused_from_memory_until_the_window_ends(live, endpoints, who):
    async def ask():
        valkey, counted = limits(endpoints.redis_url, device="1/hour")
        await counted.count("device", who)
        for _ in range(2):
            with pytest.raises(TooMany):
                await counted.count("device", who)
        await valkey.delete(*await valkey.keys(f"*{who}*"))
        with pytest.raises(TooMany):
            await counted.count("device", who)
        counted._refused["device", who] = 0.0
        await counted.count("device", who)
        await valkey.aclose()

    run(live, ask)


def test_a_flood_of_made_up_names_does_not_fill_the_memory(live, endpoints, who):
    async def ask():
        valkey = Redis.from_url(endpoints.redis_url)
        counted = RateLimits(valkey, endpoints.redis_url, device="1000/hour", address="off", remembered=10)
        for number in range(100):
            await counted.count("device", f"{who}-{number}")
        await valkey.aclose()
        return len(counted._uncounted)

    assert run(live, ask) <= 10


def test_a_limit_that_is_off_counts_nothing(live, endpoints, who):
    async def ask():
        valkey, counted = limits(endpoints.redis_url, device="off")
        for _ in range(9):
            await counted.count("device", who)
        assert await valkey.keys(f"*{who}*") == []
        await valkey.aclose()

    run(live, ask)


def test_while_valkey_is_away_everybody_is_let_through_and_it_is_left_alone(live, who):
    async def ask():
        valkey, counted = limits("redis://127.0.0.1:1/0", device="1/hour")
        for _ in range(5):
            await counted.count("device", who)
        await valkey.aclose()
        return counted._blind_until

    assert BLIND_S > 0
    assert run(live, ask) > 0


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_customer_is_one_neighbour(address, counted):
    assert neighbourhood(address) == counted


def test_a_device_that_polls_too_often_is_slowed_down_and_others_are_not(live, who):
    publish(live, "v1", b"weights" * 99)
    with service_with(live, rate_per_device="2/hour"):
        eager, calm = Device(live, f"eager-{who}"), Device(live, f"calm-{who}")
        for device in (eager, calm):
            device.token = ok(device.enrol())["access_token"]
        for _ in range(2):
            eager.poll()
        answer = eager.post("/v1/model/update", {"device_id": eager.id})
        problem = refused(answer, 429, "too_many_requests")
        assert problem["retryable"] is True
        assert 1 <= int(answer.headers["retry-after"]) <= 3600
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
def test_an_address_that_asks_too_often_is_slowed_down_before_anything_is_checked(live, method, path):
    with service_with(live, rate_per_address="1/second"):
        answers = [live.client.request(method, path, content=b"x") for _ in range(20)]
    assert 429 in {answer.status_code for answer in answers}
    assert live.client.get("/health").status_code == 200
