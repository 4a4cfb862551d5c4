"""Random access to an untrusted file: whole pages are fetched, cached and counted."""

from workers.delta.layouts.layout import MalformedFile, RangeReader

PAGE_BYTES = 16 << 10
MAX_CACHED_PAGES = 1024


class PagedFile:
    """A file with a cache of at most 16 MiB."""

    def __init__(self, reader: RangeReader, format_name: str, *, budget: int) -> None:
        """Wrap a file. At most `budget` bytes may be fetched; bytes that are fetched again count again."""
        self._reader = reader
        self._format = format_name
        self._budget = budget
        self._cache: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return self._reader.size

    def malformed(self, code: str, detail: str) -> MalformedFile:
        """Return the error to raise, with the format of this file."""
        return MalformedFile(self._format, code, detail)

    def take(self, offset: int, length: int, what: str) -> bytes:
        """Return `length` bytes from `offset`. `what` names them in errors.

        Raises:
            MalformedFile: `truncated` outside the file, `header_too_long` if the budget is exceeded.
        """
        if offset < 0 or offset > self.size or length > self.size - offset:
            raise self.malformed(
                "truncated", f"{what} has {length} bytes at {offset}, the file has {self.size} bytes"
            )
        first, start = divmod(offset, PAGE_BYTES)
        if start + length <= PAGE_BYTES:
            return self._page(first, what)[start : start + length]
        last = (offset + length - 1) // PAGE_BYTES
        pages = b"".join(self._page(number, what) for number in range(first, last + 1))
        return pages[start : start + length]

    def unsigned(self, offset: int, length: int, what: str) -> int:
        """Read an unsigned little-endian integer of `length` bytes."""
        return int.from_bytes(self.take(offset, length, what), "little")

    def _page(self, number: int, what: str) -> bytes:
        page = self._cache.get(number)
        if page is not None:
            return page
        begin = number * PAGE_BYTES
        length = min(PAGE_BYTES, self.size - begin)
        if length > self._budget:
            raise self.malformed("header_too_long", f"{what} at {begin} exceeds the read limit")
        self._budget -= length
        if len(self._cache) == MAX_CACHED_PAGES:
            self._cache.clear()
        page = self._cache[number] = self._reader.read(begin, length)
        return page
