"""The digest of the source, computed inline or ahead in a thread."""

import hashlib
import threading
from contextlib import closing

import pytest

from tests.sdk_contract.patch.memory_file import MemoryFile
from workers.delta.patch_file.source_digest import THREAD_CHUNK_BYTES, InlineDigest, PrefetchDigest


@pytest.mark.parametrize("kind", [InlineDigest, PrefetchDigest])
@pytest.mark.parametrize("size", [0, 1, THREAD_CHUNK_BYTES, THREAD_CHUNK_BYTES + 1])
def test_the_digest_covers_the_whole_file_for_any_added_ranges(kind, size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with closing(kind(MemoryFile(data))) as digest:
        digest.add(0, memoryview(data)[: size // 3])
        digest.add(size // 4, memoryview(data)[size // 4 : size // 2])
        digest.read_to(size // 2)
        assert digest.finish() == hashlib.sha256(data).digest()


class BlockingFile:
    """A file whose reads block after the first chunk until they are released."""

    size = 1 << 50

    def __init__(self) -> None:
        self.reads, self.began, self.released = 0, threading.Event(), threading.Event()

    def read(self, _offset: int, length: int) -> bytes:
        self.reads += 1
        self.began.set()
        if self.reads > 1:
            self.released.wait()
        return bytes(length)


def test_closing_ends_the_thread_within_one_chunk():
    source = BlockingFile()
    digest = PrefetchDigest(source)
    source.began.wait()
    threading.Timer(0.1, source.released.set).start()
    digest.close()
    assert source.reads <= 3


class UnreadableFile:
    size = 1 << 20

    def read(self, offset: int, length: int) -> bytes:
        raise EOFError(f"{length} bytes at {offset}")


def test_a_read_error_is_raised_by_finish():
    with (
        closing(PrefetchDigest(UnreadableFile())) as digest,
        pytest.raises(EOFError, match="1048576 bytes at 0"),
    ):
        digest.finish()
