class MemoryFile:
    """A file in memory that is read and written by range."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or length > len(self.data) - offset:
            raise EOFError(f"{length} bytes at {offset} of {len(self.data)}")
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.data[offset : offset + len(data)] = data
