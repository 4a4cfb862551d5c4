"""How often one device, or one address, may ask: counted in Valkey, for all API processes together.

Limits protect the service, not the devices' updates: while Valkey is away, everybody is let through. To ask
Valkey costs more than to answer a poll, so a process brings what it has counted in twentieths of the limit, and
what has been refused is refused from memory. A limit is exact up to a twentieth for each API process.
"""

import ipaddress
import time
from functools import lru_cache
from typing import Literal

import redis.asyncio
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError

from service.errors import TooMany
from service.observability import log

BLIND_S = 5.0
"""After a failure Valkey is left alone for this long, so that polls do not wait for its time-outs."""
BATCHES = 20
MAX_REMEMBERED = 100_000
"""Keys that a process holds; beyond, it forgets them all, to the favour of those who ask."""
OFF = "off"
Whose = Literal["device", "address"]
_log = log("rate_limits")


class RateLimits:
    """The limits of one deployment; one per process, counts shared by all."""

    def __init__(
        self,
        valkey: redis.asyncio.Redis,
        url: str,
        *,
        device: str,
        address: str,
        remembered: int = MAX_REMEMBERED,
    ) -> None:
        """Share the connections of `valkey`.

        Args:
            valkey: the client whose connections are used.
            url: of the same server, by which the library knows its kind.
            device: for example `600/minute`, or `off`.
            address: the same, for everything that comes from one address.
            remembered: how many keys this process holds at most.
        """
        # The pool belongs to `valkey`; what the library calls options are typed as plain values.
        options: dict[str, object] = {"connection_pool": valkey.connection_pool}
        storage = RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="graylag:limit",
            **options,  # type: ignore[arg-type]  # see above
        )
        self._limiter = FixedWindowRateLimiter(storage)
        limits: dict[Whose, str] = {"device": device, "address": address}
        self._items = {whose: parse(text) for whose, text in limits.items() if text != OFF}
        self._batches = {whose: max(1, item.amount // BATCHES) for whose, item in self._items.items()}
        self._blind_until = 0.0
        self._remembered = remembered
        self._uncounted: dict[tuple[Whose, str], int] = {}
        self._refused: dict[tuple[Whose, str], float] = {}

    async def count(self, whose: Whose, who: str) -> None:
        """Count one request.

        Raises:
            TooMany: the limit is reached; `retry_after_s` says when it is lifted.
        """
        if self.noted(whose, who):
            await self.bring(whose, who)

    def noted(self, whose: Whose, who: str) -> bool:
        """Count one request here; whether there is enough now to `bring` it to Valkey.

        Raises:
            TooMany: as `count`.
        """
        item = self._items.get(whose)
        if item is None or (self._blind_until and time.monotonic() < self._blind_until):
            return False
        key = whose, who
        if self._refused:
            self._require_allowed(key)
        count = self._uncounted.get(key, 0) + 1
        if count == 1 and len(self._uncounted) >= self._remembered:
            self._uncounted.clear()
        self._uncounted[key] = count
        return count >= self._batches[whose]

    async def bring(self, whose: Whose, who: str) -> None:
        """Bring what is counted here to Valkey.

        Raises:
            TooMany: as `count`.
        """
        brought = self._uncounted.pop((whose, who), 0)
        if brought and not await self._hit(self._items[whose], whose, who, brought):
            self._require_allowed((whose, who))

    def _require_allowed(self, key: tuple[Whose, str]) -> None:
        lifted = self._refused.get(key)
        if lifted is None:
            return
        left = lifted - time.time()
        if left > 0:
            raise TooMany(
                f"more than {self._items[key[0]]} from one {key[0]}", retry_after_s=max(1, round(left))
            )
        del self._refused[key]

    async def _hit(self, item: RateLimitItem, whose: Whose, who: str, cost: int) -> bool:
        try:
            if await self._limiter.hit(item, whose, who, cost=cost):
                return True
            resets = (await self._limiter.get_window_stats(item, whose, who)).reset_time
        except StorageError as error:
            self._blind_until = time.monotonic() + BLIND_S
            _log.warning("rate_limits.blind", error=type(error.storage_error).__name__)
            return True
        if len(self._refused) >= self._remembered:
            self._refused.clear()
        # Valkey tells whole seconds, cut: a limit that ends within this one would not be refused at all.
        self._refused[whose, who] = max(resets, time.time() + 1)
        return False


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
