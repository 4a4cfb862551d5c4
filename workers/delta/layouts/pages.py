"""Random access into a file that cannot be trusted: whole pages are fetched, kept for a while and counted."""

from workers.delta.layouts.layout import MalformedFile, RangeReader

PAGE_BYTES = 16 << 10
MAX_KEPT_PAGES = 1024


class Pages:
    """The file as a row of bytes, of which at most 16 MiB are held at a time."""

    def __init__(self, reader: RangeReader, format_name: str, *, budget: int) -> None:
        """Wrap a file; at most `budget` bytes may be fetched, those fetched again count again."""
        self._reader = reader
        self._format = format_name
        self._budget = budget
        self._kept: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return self._reader.size

    def refuse(self, code: str, detail: str) -> MalformedFile:
        """The error to raise, with the format filled in."""
        return MalformedFile(self._format, code, detail)

    def take(self, offset: int, length: int, what: str) -> bytes:
        """`length` bytes from `offset`.

        Raises:
            MalformedFile: `truncated` outside the file, `header_too_long` when the budget is used up.
        """
        if offset < 0 or offset > self.size or length > self.size - offset:
            raise self.refuse("truncated", f"{what} is {length} bytes at {offset}, the file has {self.size}")
        first, at = divmod(offset, PAGE_BYTES)
        if at + length <= PAGE_BYTES:
            return self._page(first, what)[at : at + length]
        last = (offset + length - 1) // PAGE_BYTES
        joined = b"".join(self._page(number, what) for number in range(first, last + 1))
        return joined[at : at + length]

    def unsigned(self, offset: int, length: int, what: str) -> int:
        """A little-endian integer of `length` bytes."""
        return int.from_bytes(self.take(offset, length, what), "little")

    def _page(self, number: int, what: str) -> bytes:
        page = self._kept.get(number)
        if page is not None:
            return page
        begin = number * PAGE_BYTES
        length = min(PAGE_BYTES, self.size - begin)
        if length > self._budget:
            raise self.refuse("header_too_long", f"{what} at {begin} goes beyond what is read of a file")
        self._budget -= length
        if len(self._kept) == MAX_KEPT_PAGES:
            self._kept.clear()
        page = self._kept[number] = self._reader.read(begin, length)
        return page
