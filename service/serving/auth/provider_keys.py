"""The public keys of an identity provider, fetched from one fixed address and cached.

Nobody can make the server fetch again and again by inventing key ids: it looks for an unknown key at most once in ten
seconds. While the provider is down, the cached keys stay valid.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx2

from service.errors import Unauthorized
from service.infrastructure.observability import log
from service.infrastructure.tokens import ProviderKey, parse_key_set

REFETCH_S = 10.0
"""Least time between two fetches for unknown keys."""
LIFETIME_S = 3600.0
"""Age at which keys are fetched again, so that a withdrawn key ends."""
MAX_KEY_SET_BYTES = 128 * 1024
TIMEOUT_S = 5.0

Fetch = Callable[[], Awaitable[bytes]]
_log = log("provider_keys")


class ProviderKeys:
    """The keys of one provider."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; `fetch` returns a key set or raises a connection error."""
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, ProviderKey] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> ProviderKey:
        """The key with this id.

        Raises:
            Unauthorized: the provider does not publish it, or could not be reached yet.
        """
        stale = self._clock() > self._fetched + LIFETIME_S
        # While one request fetches, the others go on with the keys in the cache.
        if kid not in self._keys or (stale and not self._lock.locked()):
            async with self._lock:
                await self._refresh(kid)
        key = self._keys.get(kid)
        if key is None:
            raise Unauthorized("the token's key (`kid`) is not published by the identity provider")
        return key

    async def _refresh(self, kid: str) -> None:
        now = self._clock()
        known = kid in self._keys and now <= self._fetched + LIFETIME_S
        if known or now < self._tried + REFETCH_S:
            return
        self._tried = now
        try:
            self._keys = parse_key_set(await self._fetch())
            self._fetched = now
        except (httpx2.HTTPError, OSError, ValueError) as error:
            _log.warning("provider_keys.stale", error=type(error).__name__)


def key_set_fetcher(url: str, ca_file: Path | None = None, *, timeout_s: float = TIMEOUT_S) -> Fetch:
    """A function that fetches one HTTPS address: no redirects, no proxy from the environment, bounded size and time.

    Args:
        url: address of the key set.
        ca_file: PEM file of certificate authorities to trust besides those of the system.
        timeout_s: timeout of each read; the whole fetch may take twice as long.

    Raises:
        OSError: `ca_file` cannot be read, or contains no certificate.
    """
    trusted = httpx2.create_ssl_context(trust_env=False)
    if ca_file is not None:
        trusted.load_verify_locations(ca_file)

    async def fetch() -> bytes:
        async with (
            httpx2.AsyncClient(
                verify=trusted, timeout=timeout_s, follow_redirects=False, trust_env=False
            ) as client,
            # Not compressed, because the size of decompressed data cannot be bounded in advance.
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != httpx2.codes.OK:
                raise ValueError(f"status {response.status_code}")
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > MAX_KEY_SET_BYTES:
                    raise ValueError(f"the key set is longer than {MAX_KEY_SET_BYTES} bytes")
            return bytes(received)

    async def bounded() -> bytes:
        # A provider that sends one byte a second would never exceed the timeout of a read.
        async with asyncio.timeout(2 * timeout_s):
            return await fetch()

    return bounded
