"""The source's digest, along with the building or ahead of it."""

import hashlib
import threading
from contextlib import closing

import pytest

from tests.sdk_contract.patch.memory import Memory
from workers.delta.digests import LONG_CHUNK, DigestAhead, DigestAlong


@pytest.mark.parametrize("kind", [DigestAlong, DigestAhead])
@pytest.mark.parametrize("size", [0, 1, LONG_CHUNK, LONG_CHUNK + 1])
def test_the_digest_is_of_the_whole_file_whatever_was_brought(kind, size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with closing(kind(Memory(data))) as digest:
        digest.add(0, memoryview(data)[: size // 3])
        digest.add(size // 4, memoryview(data)[size // 4 : size // 2])
        digest.read_to(size // 2)
        assert digest.finish() == hashlib.sha256(data).digest()


class Endless:
    """A file that blocks after its first chunk until it is let go."""

    size = 1 << 50

    def __init__(self) -> None:
        self.reads, self.began, self.let_go = 0, threading.Event(), threading.Event()

    def read(self, _offset: int, length: int) -> bytes:
        self.reads += 1
        self.began.set()
        if self.reads > 1:
            self.let_go.wait()
        return bytes(length)


def test_what_is_given_up_ends_within_a_chunk():
    source = Endless()
    digest = DigestAhead(source)
    source.began.wait()
    threading.Timer(0.1, source.let_go.set).start()
    digest.close()
    assert source.reads <= 3


class Vanishing:
    size = 1 << 20

    def read(self, offset: int, length: int) -> bytes:
        raise EOFError(f"{length} bytes at {offset}")


def test_a_file_that_cannot_be_read_is_told_at_the_end():
    with closing(DigestAhead(Vanishing())) as digest, pytest.raises(EOFError, match="1048576 bytes at 0"):
        digest.finish()
