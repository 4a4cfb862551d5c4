"""Download URLs, signed once per object and window: signing one costs as much as the rest of an answer."""

import time
from collections.abc import Callable

from service.blobs import BlobStore

MAX_KEPT = 20_000


class DownloadUrls:
    """Presigned URLs that are good for at least two thirds of their life when they are handed out."""

    def __init__(
        self,
        blobs: BlobStore,
        lifetime_s: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_kept: int = MAX_KEPT,
    ) -> None:
        """Sign with `blobs`, for `lifetime_s` seconds; keep at most `max_kept` URLs."""
        self._max_kept = max_kept
        self._blobs = blobs
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._kept: dict[str, tuple[float, str]] = {}

    def url(self, key: str) -> str:
        """Where to GET the object of that key."""
        now = self._clock()
        kept = self._kept.get(key)
        if kept is not None and now - kept[0] < self._lifetime_s / 3:
            return kept[1]
        if len(self._kept) >= self._max_kept:
            self._kept.clear()
        url = self._blobs.download_url(key, expires_s=self._lifetime_s)
        self._kept[key] = (now, url)
        return url
