"""How often one device, or one address, may ask: counted in Valkey, for all API processes together.

Limits protect the service, not the devices' updates: while Valkey is away, everybody is let through.
"""

import ipaddress
import time
from typing import Literal

import redis.asyncio
from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError

from service.errors import TooMany
from service.observability import log

BLIND_S = 5.0
"""After a failure Valkey is left alone for this long, so that polls do not wait for its time-outs."""
OFF = "off"
Whose = Literal["device", "address"]
_log = log("rate_limits")


class RateLimits:
    """The limits of one deployment; one per process, counts shared by all."""

    def __init__(self, valkey: redis.asyncio.Redis, url: str, *, device: str, address: str) -> None:
        """Share the connections of `valkey`.

        Args:
            valkey: the client whose connections are used.
            url: of the same server, by which the library knows its kind.
            device: for example `600/minute`, or `off`.
            address: the same, for everything that comes from one address.
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
        self._blind_until = 0.0

    async def count(self, whose: Whose, who: str) -> None:
        """Count one request.

        Raises:
            TooMany: the limit is reached; `retry_after_s` says when it is lifted.
        """
        item = self._items.get(whose)
        if item is None or time.monotonic() < self._blind_until:
            return
        try:
            if await self._limiter.hit(item, whose, who):
                return
            resets = (await self._limiter.get_window_stats(item, whose, who)).reset_time
        except StorageError as error:
            self._blind_until = time.monotonic() + BLIND_S
            _log.warning("rate_limits.blind", error=type(error.storage_error).__name__)
            return
        raise TooMany(f"more than {item} from one {whose}", retry_after_s=max(1, round(resets - time.time())))


def neighbourhood(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
