"""Replay protection in Valkey."""

import asyncio

import pytest
from redis.asyncio import Redis

from service.errors import Replayed, Unavailable
from service.serving.auth.replay_cache import ReplayCache


def test_a_key_may_be_used_once_also_among_concurrent_requests(endpoints):
    async def run():
        valkey = Redis.from_url(endpoints.redis_url)
        cache = ReplayCache(valkey)
        keys = ["test:a", "test:b", "test:a"]
        first = await asyncio.gather(
            *(cache.require_first_use(key, ttl_s=60) for key in keys), return_exceptions=True
        )
        (again,) = await asyncio.gather(
            cache.require_first_use("test:b", ttl_s=60, field="token"), return_exceptions=True
        )
        names = await valkey.keys("graylag:used:test:*")
        lifetime = await valkey.ttl(names[0])
        await valkey.delete(*names)
        await valkey.aclose()
        return first, again, lifetime

    first, again, lifetime = asyncio.run(run())
    assert [type(result) for result in first] == [type(None), type(None), Replayed]
    assert (type(again), again.field) == (Replayed, "token")
    assert 0 < lifetime <= 60


def test_while_valkey_is_down_the_replay_check_is_unavailable():
    async def run():
        valkey = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
        try:
            await ReplayCache(valkey).require_first_use("a", ttl_s=60)
        finally:
            await valkey.aclose()

    with pytest.raises(Unavailable, match="replay check unavailable") as error:
        asyncio.run(run())
    assert error.value.retry_after_s == 5
