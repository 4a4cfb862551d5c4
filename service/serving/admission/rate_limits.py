"""Rate limits per device and per address, counted in Valkey for all API processes together.

Limits protect the service, so while Valkey is down every request is allowed. Calling Valkey costs more than answering a
poll. So a process counts locally, adds its count to Valkey at every twentieth of the limit, and remembers who is blocked.
A limit is exact to a twentieth per API process.
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
from service.infrastructure.observability import log

VALKEY_RETRY_S = 5.0
"""How long to skip Valkey after a failure, so that polls do not wait for its timeouts."""
FLUSHES_PER_LIMIT = 20
MAX_KEYS = 100_000
"""Devices and addresses that a process keeps; beyond, it forgets all of them."""
OFF = "off"
LimitKind = Literal["device", "address"]
_log = log("rate_limits")


class RateLimits:
    """Limits the requests of each device and address; one instance per process."""

    def __init__(
        self,
        valkey: redis.asyncio.Redis,
        url: str,
        *,
        device: str,
        address: str,
        max_keys: int = MAX_KEYS,
    ) -> None:
        """Use the connections of `valkey`.

        Args:
            valkey: a client of the server that counts.
            url: the URL of the same server; the library reads the kind of server from it.
            device: the limit per device, for example `600/minute`, or `off`.
            address: the limit per address, in the same form.
            max_keys: how many devices and addresses to keep in this process at most.
        """
        # The library types its options as plain values, but it accepts a connection pool.
        options: dict[str, object] = {"connection_pool": valkey.connection_pool}
        storage = RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="graylag:limit",
            **options,  # type: ignore[arg-type]  # see above
        )
        self._limiter = FixedWindowRateLimiter(storage)
        limits: dict[LimitKind, str] = {"device": device, "address": address}
        self._limits = {kind: parse(text) for kind, text in limits.items() if text != OFF}
        self._flush_at = {
            kind: max(1, limit.amount // FLUSHES_PER_LIMIT) for kind, limit in self._limits.items()
        }
        self._skip_valkey_until = 0.0
        self._max_keys = max_keys
        self._counts: dict[tuple[LimitKind, str], int] = {}
        self._blocked_until: dict[tuple[LimitKind, str], float] = {}

    async def count(self, kind: LimitKind, name: str) -> None:
        """Count one request.

        Raises:
            TooMany: the limit is exceeded; `retry_after_s` says when it is lifted.
        """
        if self.count_locally(kind, name):
            await self.flush(kind, name)

    def count_locally(self, kind: LimitKind, name: str) -> bool:
        """Count one request in this process; return whether it is time to `flush`.

        Raises:
            TooMany: the limit is exceeded.
        """
        limit = self._limits.get(kind)
        if limit is None or (self._skip_valkey_until and time.monotonic() < self._skip_valkey_until):
            return False
        key = kind, name
        if self._blocked_until:
            self._require_allowed(key)
        count = self._counts.get(key, 0) + 1
        if count == 1 and len(self._counts) >= self._max_keys:
            self._counts.clear()
        self._counts[key] = count
        return count >= self._flush_at[kind]

    async def flush(self, kind: LimitKind, name: str) -> None:
        """Add what this process has counted to Valkey.

        Raises:
            TooMany: the limit is exceeded.
        """
        cost = self._counts.pop((kind, name), 0)
        if cost and not await self._hit(self._limits[kind], kind, name, cost):
            self._require_allowed((kind, name))

    def _require_allowed(self, key: tuple[LimitKind, str]) -> None:
        until = self._blocked_until.get(key)
        if until is None:
            return
        left = until - time.time()
        if left > 0:
            raise TooMany(
                f"this {key[0]} sent more than {self._limits[key[0]]} requests; wait for `retry_after_s` seconds",
                retry_after_s=max(1, round(left)),
            )
        del self._blocked_until[key]

    async def _hit(self, limit: RateLimitItem, kind: LimitKind, name: str, cost: int) -> bool:
        try:
            if await self._limiter.hit(limit, kind, name, cost=cost):
                return True
            resets_at = (await self._limiter.get_window_stats(limit, kind, name)).reset_time
        except StorageError as error:
            self._skip_valkey_until = time.monotonic() + VALKEY_RETRY_S
            _log.warning("rate_limits.skipped", error=type(error.storage_error).__name__)
            return True
        if len(self._blocked_until) >= self._max_keys:
            self._blocked_until.clear()
        # Valkey rounds down to whole seconds, so a limit that ends within this second would not apply at all.
        self._blocked_until[kind, name] = max(resets_at, time.time() + 1)
        return False


@lru_cache(maxsize=4096)
def client_subnet(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
