"""The keys of somebody else's identity provider, fetched from one fixed address and kept.

A stranger who invents key ids must not be able to make us fetch: an unknown id is looked for at most once
in ten seconds, whoever asks. When the provider is away, what was known stays good.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx2

from service.errors import Unauthorized
from service.observability import log
from service.tokens import ProviderKey, provider_keys

REFETCH_S = 10.0
"""At most one fetch in this time for an unknown key."""
LIFETIME_S = 3600.0
"""After this, keys are fetched anew, so that one that was withdrawn ends."""
MAX_KEY_SET = 128 * 1024
TIMEOUT_S = 5.0

Fetch = Callable[[], Awaitable[bytes]]
_log = log("provider_keys")


class ProviderKeys:
    """One provider's keys."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; `fetch` brings a key set, or raises what a connection raises."""
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, ProviderKey] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> ProviderKey:
        """The key of that name.

        Raises:
            Unauthorized: the provider has none, or could not be asked yet.
        """
        stale = self._clock() > self._fetched + LIFETIME_S
        # While one request fetches, those whose key is known go on with it.
        if kid not in self._keys or (stale and not self._lock.locked()):
            async with self._lock:
                await self._refresh(kid)
        key = self._keys.get(kid)
        if key is None:
            raise Unauthorized("the token is signed with a key that the provider does not publish")
        return key

    async def _refresh(self, kid: str) -> None:
        now = self._clock()
        known = kid in self._keys and now <= self._fetched + LIFETIME_S
        if known or now < self._tried + REFETCH_S:
            return
        self._tried = now
        try:
            self._keys = provider_keys(await self._fetch())
            self._fetched = now
        except (httpx2.HTTPError, OSError, ValueError) as error:
            _log.warning("provider_keys.stale", error=type(error).__name__)


def fetch_from(url: str, ca_file: Path | None = None, *, timeout_s: float = TIMEOUT_S) -> Fetch:
    """A fetch of one https address: no redirects, no proxy of the environment's choice, bounded size and time.

    Args:
        url: where the key set is.
        ca_file: PEM of authorities that may vouch for the server besides those of the system.
        timeout_s: for each read; the whole may take twice as long.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificate.
    """
    trusted = httpx2.create_ssl_context(trust_env=False)
    if ca_file is not None:
        trusted.load_verify_locations(ca_file)

    async def fetch() -> bytes:
        async with (
            httpx2.AsyncClient(
                verify=trusted, timeout=timeout_s, follow_redirects=False, trust_env=False
            ) as client,
            # Not compressed: what a few bytes unpack to has no bound before it is there.
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != httpx2.codes.OK:
                raise ValueError(f"status {response.status_code}")
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > MAX_KEY_SET:
                    raise ValueError("the key set is too long")
            return bytes(received)

    async def bounded() -> bytes:
        # A provider that drips one byte a second would pass every single read.
        async with asyncio.timeout(2 * timeout_s):
            return await fetch()

    return bounded
