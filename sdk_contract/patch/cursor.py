"""Reading a payload: every length is checked against what is left, by subtraction."""

import zstandard

from sdk_contract.patch.errors import PatchCorrupt, PatchUnsupported

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
RAW, ZSTD = 0, 1
VARINT_BYTES = 10


class Cursor:
    """A position in a payload that cannot leave it."""

    __slots__ = ("_at", "_data", "_size", "_zstd")

    def __init__(self, data: bytes | memoryview, decompressor: zstandard.ZstdDecompressor) -> None:
        """Start at the first byte; the decompressor is the caller's, one per thread."""
        self._data = memoryview(data)
        self._at, self._size = 0, len(self._data)
        self._zstd = decompressor

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._size - self._at

    def take(self, length: int) -> memoryview:
        """The next `length` bytes.

        Raises:
            PatchCorrupt: fewer are left.
        """
        at = self._at
        if length > self._size - at:
            raise PatchCorrupt(f"{length} bytes wanted, {self.left} left in the payload")
        self._at = at + length
        return self._data[at : self._at]

    def byte(self) -> int:
        """The next byte."""
        at = self._at
        if at == self._size:
            raise PatchCorrupt("a byte wanted, none left in the payload")
        self._at = at + 1
        return self._data[at]

    def varint(self) -> int:
        """An unsigned LEB128 number below 2**64."""
        value = 0
        for position in range(VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                return value
        raise PatchCorrupt("a number without an end")

    def signed(self) -> int:
        """A zigzag LEB128 number."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def blob(self, size: int) -> bytes | memoryview:
        """`size` bytes, stored as they are or as one Zstandard frame without its magic.

        Raises:
            PatchCorrupt: the frame is damaged, has another size, or bytes behind it.
            PatchUnsupported: an unknown codec.
        """
        codec = self.byte()
        if codec == RAW:
            return self.take(size)
        if codec != ZSTD:
            raise PatchUnsupported(f"codec {codec}")
        frame = b"".join((ZSTD_MAGIC, self.take(self.varint())))
        return self._inflate(frame, size)

    def _inflate(self, frame: bytes, size: int) -> bytes:
        # zstandard ignores `max_output_size` when the frame carries a size, so the size is read first.
        try:
            if zstandard.frame_content_size(frame) != size:
                raise PatchCorrupt("a frame of another size")
            data = self._zstd.decompress(frame, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise PatchCorrupt(f"damaged frame: {error}") from None
        if len(data) != size:
            raise PatchCorrupt("a frame of another size")
        return data
