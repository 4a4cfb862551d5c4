"""What the client leaves in the memory of a device."""

import os
from pathlib import Path

import pytest

from sdk_contract.client.storage.file_system import DROP_CACHE_BYTES, LocalFileSystem

PAGE = 4096


def in_memory(path: Path) -> float:
    """Share of a file's pages that can be read without the disk."""
    count, found = path.stat().st_size // PAGE, 0
    with path.open("rb") as file:
        # What is ahead of a page that is missing must not be fetched by the question.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for page in range(count):
            try:
                found += os.preadv(file.fileno(), [bytearray(PAGE)], page * PAGE, os.RWF_NOWAIT) > 0
            except BlockingIOError:
                continue
    return found / count


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder on a disk that lets go of pages when it is asked to, which one in memory cannot."""
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("only Linux tells what is in memory")
    probe = tmp_path / "probe"
    probe.write_bytes(bytes(64 * PAGE))
    with probe.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        if in_memory(probe) > 0.1:
            pytest.skip("a disk in memory")
    except OSError:
        pytest.skip("this disk does not tell what is in memory")
    return tmp_path


def write(path: Path, size: int) -> None:
    handle = LocalFileSystem().open(path)
    for offset in range(0, size, 1 << 20):
        handle.write(offset, os.urandom(min(1 << 20, size - offset)))
    handle.sync()
    handle.close()


def test_a_written_model_leaves_the_page_cache(place: Path) -> None:
    write(place / "model", 4 * DROP_CACHE_BYTES)
    assert in_memory(place / "model") < 0.1


def test_a_small_file_stays_in_the_page_cache(place: Path) -> None:
    write(place / "state", 16 * PAGE)
    assert in_memory(place / "state") == 1
