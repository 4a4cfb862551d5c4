"""Read forward through a file that cannot be trusted, in few and growing reads."""

import struct

from workers.delta.layouts.layout import MalformedFile, RangeReader

FIRST_READ = 16 << 10
LARGEST_READ = 4 << 20


class Cursor:
    """A place in a file that only ever asks the file for bytes that exist.

    Reads grow while the cursor moves on byte by byte, because the file may be in an object store where each
    read is a request; they start small again after a skip, because what was skipped is usually a tensor.
    """

    def __init__(
        self,
        reader: RangeReader,
        format_name: str,
        *,
        position: int = 0,
        budget: int,
        first_read: int = FIRST_READ,
    ) -> None:
        """Start at `position`; at most `budget` bytes may be taken (skipping is free).

        `first_read` is what is fetched at the start and behind a skip, in bytes.
        """
        self._reader = reader
        self._format = format_name
        self._budget = budget
        self._buffer = b""
        self._start = position
        self._position = position
        self._first_read = first_read
        self._next_read = first_read

    @property
    def position(self) -> int:
        """Offset of the next byte, from the start of the file."""
        return self._position

    @property
    def remaining(self) -> int:
        """Bytes between here and the end of the file."""
        return self._reader.size - self._position

    def refuse(self, code: str, detail: str) -> MalformedFile:
        """The error to raise, with the format filled in."""
        return MalformedFile(self._format, code, detail)

    def take(self, length: int, what: str) -> bytes:
        """The next `length` bytes.

        Raises:
            MalformedFile: `truncated`, or `header_too_long` when the budget is used up.
        """
        self._require(length, what)
        if length > self._budget:
            raise self.refuse("header_too_long", f"{what} at byte {self._position} goes beyond what is read")
        self._budget -= length
        at = self._position - self._start
        if at > len(self._buffer) or length > len(self._buffer) - at:
            at = self._fill(length)
        self._position += length
        return self._buffer[at : at + length]

    def skip(self, length: int, what: str) -> None:
        """Move over `length` bytes without reading them.

        Raises:
            MalformedFile: `truncated`, or `out_of_order` for a step back, which only a file that contradicts
                itself can ask for.
        """
        if length < 0:
            raise self.refuse("out_of_order", f"{what} ended {-length} bytes before byte {self._position}")
        self._require(length, what)
        self._position += length

    def u8(self, what: str) -> int:
        """One unsigned byte."""
        return self.take(1, what)[0]

    def u32(self, what: str) -> int:
        """Four bytes, unsigned, little-endian."""
        return int.from_bytes(self.take(4, what), "little")

    def u64(self, what: str) -> int:
        """Eight bytes, unsigned, little-endian."""
        return int.from_bytes(self.take(8, what), "little")

    def varint(self, what: str) -> int:
        """One unsigned base-128 integer of at most 64 bits, as protocol buffers write them.

        Raises:
            MalformedFile: `bad_varint`, more than ten bytes or more than 64 bits.
        """
        value = 0
        for shift in range(0, 70, 7):
            byte = self._next_byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value
        raise self.refuse("bad_varint", f"{what} before byte {self._position} has more than 64 bits")

    def unpack(self, fields: struct.Struct, what: str) -> tuple[int, ...]:
        """Several fixed-size integers at once."""
        return fields.unpack(self.take(fields.size, what))

    def _next_byte(self, what: str) -> int:
        # Graphs are millions of one-byte tags, so a byte that is in the buffer already takes a short way.
        at = self._position - self._start
        if at < len(self._buffer) and self._budget:
            self._budget -= 1
            self._position += 1
            return self._buffer[at]
        return self.take(1, what)[0]

    def _require(self, length: int, what: str) -> None:
        if length > self.remaining:
            raise self.refuse(
                "truncated",
                f"{what} at byte {self._position} needs {length} bytes, the file has {self.remaining} more",
            )

    def _fill(self, length: int) -> int:
        at = self._position - self._start
        kept = self._buffer[at:] if at <= len(self._buffer) else b""
        if not kept:
            self._next_read = self._first_read
        begin = self._position + len(kept)
        want = min(max(length - len(kept), self._next_read), self._reader.size - begin)
        self._buffer = kept + self._reader.read(begin, want)
        self._start = self._position
        self._next_read = min(self._next_read * 4, LARGEST_READ)
        return 0
