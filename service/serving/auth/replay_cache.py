"""Replay protection: identifiers that may be used once, remembered in Valkey."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, cast

import redis.asyncio
from redis.exceptions import RedisError

from service.errors import Replayed, Unavailable
from service.serving.batching.read_batcher import ReadBatcher

RETRY_AFTER_S = 5
_PREFIX = "graylag:used:"
_CLAIM_ALL = """
local fresh = {}
for i, key in ipairs(KEYS) do
  fresh[i] = redis.call('set', key, '1', 'nx', 'ex', ARGV[1]) and '1' or '0'
end
return table.concat(fresh)
"""
"""Returns one string of ones and zeros, because the client parses a reply with many elements one by one."""
_FRESH = ord("1")


class ReplayGuard(Protocol):
    """Refuses an identifier that was used before."""

    async def require_first_use(self, key: str, *, ttl_s: int, field: str | None = None) -> None:
        """See `ReplayCache`."""


class ReplayCache:
    """Used identifiers of all API processes; one instance per process.

    Requests that arrive together share one Valkey command.
    """

    def __init__(self, valkey: redis.asyncio.Redis) -> None:
        """Use the connections of `valkey`."""
        self._script = valkey.register_script(_CLAIM_ALL)
        self._batchers: dict[int, ReadBatcher[str, bool]] = {}

    async def require_first_use(self, key: str, *, ttl_s: int, field: str | None = None) -> None:
        """Mark `key` as used; refuse it if it was used in the last `ttl_s` seconds.

        Args:
            key: kind and identifier, for example `assertion:DEVICE:JTI`.
            ttl_s: how long the key is remembered; at least the lifetime of the credential it identifies.
            field: the request field that a refusal names.

        Raises:
            Replayed: the key was used before.
            Unavailable: Valkey does not answer, so nobody can tell.
        """
        batcher = self._batchers.get(ttl_s)
        if batcher is None:
            batcher = self._batchers[ttl_s] = ReadBatcher(partial(self._claim_all, ttl_s))
        try:
            fresh = await batcher.read(_PREFIX + key)
        except (RedisError, OSError) as error:
            raise Unavailable(
                "replay check unavailable: Valkey does not answer; send the request again later",
                retry_after_s=RETRY_AFTER_S,
            ) from error
        if not fresh:
            raise Replayed("this credential was used before; sign a new one for every request", field=field)

    async def _claim_all(self, ttl_s: int, keys: Sequence[str]) -> Sequence[bool]:
        reply = cast("bytes", await self._script(keys=keys, args=[ttl_s]))
        return [flag == _FRESH for flag in reply]
