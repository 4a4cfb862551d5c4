"""Marks in Valkey that can be set once: many requests' in one command."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import redis.asyncio

from service.serving.gathering import Gathered

_SET_NEW = """
local fresh = {}
for i, key in ipairs(KEYS) do
  fresh[i] = redis.call('set', key, '1', 'nx', 'ex', ARGV[1]) and '1' or '0'
end
return table.concat(fresh)
"""
"""One text of ones and zeros, since the client reads an answer of many parts one by one."""
_NEW = ord("1")


class Marks:
    """Stands in for a client where only `set(..., nx=True, ex=...)` is asked for; one per process."""

    def __init__(self, valkey: redis.asyncio.Redis) -> None:
        """Share the connections of `valkey`."""
        self._script = valkey.register_script(_SET_NEW)
        self._by_life: dict[int, Gathered[str, bool]] = {}

    async def set(self, name: str, _value: bytes, *, nx: bool, ex: int) -> bool:
        """Whether the mark was not there; it is now, for `ex` seconds.

        Raises:
            RedisError, OSError: Valkey is away.
        """
        gathered = self._by_life.get(ex)
        if gathered is None:
            gathered = self._by_life[ex] = Gathered(partial(self._set_all, ex))
        return nx and await gathered.ask(name)

    async def _set_all(self, life_s: int, names: Sequence[str]) -> Sequence[bool]:
        answer = cast("bytes", await self._script(keys=names, args=[life_s]))
        return [one == _NEW for one in answer]
