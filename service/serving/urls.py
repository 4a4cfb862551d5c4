"""Download URLs, signed once per object and window: signing one costs as much as the rest of an answer."""

import time
from collections.abc import Callable

from service.blobs import BlobStore

MAX_KEPT = 20_000


class DownloadUrls:
    """Presigned URLs that are good for at least two thirds of their life when they are handed out.

    Attributes:
        window: number of the third of a life that we are in; URLs of one window are the same for all.
    """

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
        self._made_in = -1
        self._kept: dict[str, str] = {}

    @property
    def window(self) -> int:
        """See the class; what was composed with URLs of an earlier one is to be composed again."""
        return int(self._clock() * 3 // self._lifetime_s)

    def url(self, key: str) -> str:
        """Where to GET the object of that key."""
        window = self.window
        if window != self._made_in or (key not in self._kept and len(self._kept) >= self._max_kept):
            self._kept, self._made_in = {}, window
        if key not in self._kept:
            self._kept[key] = self._blobs.download_url(key, expires_s=self._lifetime_s)
        return self._kept[key]
