"""Presigned download URLs, cached: signing one costs as much as the rest of a poll response."""

import time
from collections.abc import Callable
from typing import Protocol

MAX_CACHED = 20_000


class UrlSigner(Protocol):
    """The part of an object store that signs URLs."""

    def download_url(self, key: str, *, expires_s: int) -> str:
        """Return a presigned URL of an object."""


class DownloadUrls:
    """Presigned URLs that stay valid for at least two thirds of their lifetime after they are handed out."""

    def __init__(
        self,
        blobs: UrlSigner,
        lifetime_s: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_cached: int = MAX_CACHED,
    ) -> None:
        """Sign URLs with `blobs` for `lifetime_s` seconds; cache at most `max_cached` of them."""
        self._max_cached = max_cached
        self._blobs = blobs
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._cached_window = -1
        self._cache: dict[str, str] = {}

    @property
    def window(self) -> int:
        """The current third of a URL lifetime, counted from 0; all URLs of one window are equal."""
        return int(self._clock() * 3 // self._lifetime_s)

    def url(self, key: str) -> str:
        """The URL to GET the object at `key`."""
        window = self.window
        if window != self._cached_window or (key not in self._cache and len(self._cache) >= self._max_cached):
            self._cache, self._cached_window = {}, window
        if key not in self._cache:
            self._cache[key] = self._blobs.download_url(key, expires_s=self._lifetime_s)
        return self._cache[key]
