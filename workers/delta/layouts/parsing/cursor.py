"""Read forward through an untrusted file, with few, growing reads."""

import struct

from workers.delta.layouts.layout import MalformedFile, RangeReader

FIRST_READ = 16 << 10
LARGEST_READ = 4 << 20


class Cursor:
    """A position in a file. It never reads beyond the end.

    Reads grow while the cursor moves on byte by byte, because in an object store each read is a request. They start
    small again after a skip, which is usually the data of a tensor.
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
        """Start at `position`.

        Args:
            reader: the file.
            format_name: for errors.
            position: offset of the first byte.
            budget: upper bound of the bytes taken in all; skipped bytes do not count.
            first_read: bytes fetched at the start and after a skip.
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
        """Offset of the next byte."""
        return self._position

    @property
    def remaining(self) -> int:
        """Number of bytes up to the end of the file."""
        return self._reader.size - self._position

    def malformed(self, code: str, detail: str) -> MalformedFile:
        """Return the error to raise, with the format of this file."""
        return MalformedFile(self._format, code, detail)

    def take(self, length: int, what: str) -> bytes:
        """Return the next `length` bytes. `what` names them in errors.

        Raises:
            MalformedFile: `truncated`, or `header_too_long` if the budget is exceeded.
        """
        self._require_remaining(length, what)
        if length > self._budget:
            raise self.malformed("header_too_long", f"{what} at byte {self._position} exceeds the read limit")
        self._budget -= length
        index = self._position - self._start
        if index > len(self._buffer) or length > len(self._buffer) - index:
            index = self._fill(length)
        self._position += length
        return self._buffer[index : index + length]

    def skip(self, length: int, what: str) -> None:
        """Skip `length` bytes without reading them.

        Raises:
            MalformedFile: `truncated`, or `out_of_order` for a negative length, which means that the file contradicts
                itself.
        """
        if length < 0:
            raise self.malformed("out_of_order", f"{what} ended {-length} bytes before byte {self._position}")
        self._require_remaining(length, what)
        self._position += length

    def u8(self, what: str) -> int:
        """Read an unsigned byte."""
        return self.take(1, what)[0]

    def u32(self, what: str) -> int:
        """Read an unsigned 32-bit integer, little-endian."""
        return int.from_bytes(self.take(4, what), "little")

    def u64(self, what: str) -> int:
        """Read an unsigned 64-bit integer, little-endian."""
        return int.from_bytes(self.take(8, what), "little")

    def varint(self, what: str) -> int:
        """Read an unsigned base-128 integer, as in protocol buffers.

        Raises:
            MalformedFile: `bad_varint`, if it has more than ten bytes or more than 64 bits.
        """
        value = 0
        for shift in range(0, 70, 7):
            byte = self._next_byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value
        raise self.malformed("bad_varint", f"{what} before byte {self._position} has more than 64 bits")

    def unpack(self, fields: struct.Struct, what: str) -> tuple[int, ...]:
        """Read several integers of fixed size."""
        return fields.unpack(self.take(fields.size, what))

    def _next_byte(self, what: str) -> int:
        # Graphs have millions of one-byte tags, so a buffered byte is returned without further checks.
        index = self._position - self._start
        if index < len(self._buffer) and self._budget:
            self._budget -= 1
            self._position += 1
            return self._buffer[index]
        return self.take(1, what)[0]

    def _require_remaining(self, length: int, what: str) -> None:
        if length > self.remaining:
            raise self.malformed(
                "truncated",
                f"{what} at byte {self._position} needs {length} bytes, the file has {self.remaining} more",
            )

    def _fill(self, length: int) -> int:
        index = self._position - self._start
        kept = self._buffer[index:] if index <= len(self._buffer) else b""
        if not kept:
            self._next_read = self._first_read
        begin = self._position + len(kept)
        read_length = min(max(length - len(kept), self._next_read), self._reader.size - begin)
        self._buffer = kept + self._reader.read(begin, read_length)
        self._start = self._position
        self._next_read = min(self._next_read * 4, LARGEST_READ)
        return 0
