"""Reads a payload; every length is checked against the remaining bytes."""

import zstandard

from sdk_contract.patch.errors import PatchCorrupt, PatchUnsupported

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
RAW, ZSTD = 0, 1
MAX_VARINT_BYTES = 10


class Cursor:
    """A read position that cannot leave its payload."""

    __slots__ = ("_at", "_data", "_size", "_zstd")

    def __init__(self, data: bytes | memoryview, decompressor: zstandard.ZstdDecompressor) -> None:
        """Start at the first byte. The decompressor must not be shared between threads."""
        self._data = memoryview(data)
        self._at, self._size = 0, len(self._data)
        self._zstd = decompressor

    @property
    def remaining(self) -> int:
        """Number of unread bytes."""
        return self._size - self._at

    def take(self, length: int) -> memoryview:
        """Read the next `length` bytes, without a copy.

        Raises:
            PatchCorrupt: the payload has fewer bytes left.
        """
        at = self._at
        if length > self._size - at:
            raise PatchCorrupt(f"the payload has {self.remaining} bytes left, needs {length}")
        self._at = at + length
        return self._data[at : self._at]

    def byte(self) -> int:
        """Read the next byte."""
        at = self._at
        if at == self._size:
            raise PatchCorrupt("the payload ends where a byte is expected")
        self._at = at + 1
        return self._data[at]

    def varint(self) -> int:
        """Read an unsigned LEB128 number below 2**64."""
        value = 0
        for position in range(MAX_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                return value
        raise PatchCorrupt("a LEB128 number is too long")

    def signed_varint(self) -> int:
        """Read a zigzag LEB128 number."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def blob(self, size: int) -> bytes | memoryview:
        """Read a blob of `size` bytes, stored raw or as one Zstandard frame without its magic number.

        Raises:
            PatchCorrupt: the frame is corrupt, has another size, or is followed by other bytes.
            PatchUnsupported: the codec is unknown.
        """
        codec = self.byte()
        if codec == RAW:
            return self.take(size)
        if codec != ZSTD:
            raise PatchUnsupported(f"codec {codec}")
        frame = b"".join((ZSTD_MAGIC, self.take(self.varint())))
        return self._decompress(frame, size)

    def _decompress(self, frame: bytes, size: int) -> bytes:
        # zstandard ignores `max_output_size` if the frame declares its size, so that size is checked first.
        try:
            if zstandard.frame_content_size(frame) != size:
                raise PatchCorrupt("a Zstandard frame has another size than expected")
            data = self._zstd.decompress(frame, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise PatchCorrupt(f"a Zstandard frame is corrupt: {error}") from None
        if len(data) != size:
            raise PatchCorrupt("a Zstandard frame has another size than expected")
        return data
