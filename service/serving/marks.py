"""Marks in Valkey that can be set once: many requests' in one command."""

from collections.abc import Sequence
from typing import Any, cast

import redis.asyncio

from service.serving.gathering import Gathered

_SET_NEW = """
local fresh = {}
for i, key in ipairs(KEYS) do
  fresh[i] = redis.call('set', key, '1', 'nx', 'ex', ARGV[i]) and 1 or 0
end
return fresh
"""


class Marks:
    """Stands in for a client where only `set(..., nx=True, ex=...)` is asked for; one per process."""

    def __init__(self, valkey: redis.asyncio.Redis) -> None:
        """Share the connections of `valkey`."""
        self._script = valkey.register_script(_SET_NEW)
        self._gathered: Gathered[tuple[str, int], bool] = Gathered(self._set_all)

    async def set(self, name: str, _value: bytes, *, nx: bool, ex: int) -> bool:
        """Whether the mark was not there; it is now, for `ex` seconds.

        Raises:
            RedisError, OSError: Valkey is away.
        """
        return nx and await self._gathered.ask((name, ex))

    async def _set_all(self, marks: Sequence[tuple[str, int]]) -> Sequence[bool]:
        names, lives = [name for name, _ in marks], [life for _, life in marks]
        fresh = cast("list[Any]", await self._script(keys=names, args=lives))
        return [bool(one) for one in fresh]
