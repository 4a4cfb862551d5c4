"""The client's use of the page cache."""

import os
from pathlib import Path

import pytest

from sdk_contract.client.storage.file_system import DROP_CACHE_BYTES, LocalFileSystem

PAGE = 4096


def cached_share(path: Path) -> float:
    """The share of a file's pages that are in the page cache."""
    count, found = path.stat().st_size // PAGE, 0
    with path.open("rb") as file:
        # Prevents read-ahead, so that the check does not load further pages.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for page in range(count):
            try:
                found += os.preadv(file.fileno(), [bytearray(PAGE)], page * PAGE, os.RWF_NOWAIT) > 0
            except BlockingIOError:
                continue
    return found / count


@pytest.fixture
def disk_folder(tmp_path: Path) -> Path:
    """A directory on a disk that drops cached pages on request, which a file system in memory cannot."""
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("only Linux can read without blocking")
    probe = tmp_path / "probe"
    probe.write_bytes(bytes(64 * PAGE))
    with probe.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        if cached_share(probe) > 0.1:
            pytest.skip("the file system is in memory")
    except OSError:
        pytest.skip("the file system cannot read without blocking")
    return tmp_path


def write(path: Path, size: int) -> None:
    handle = LocalFileSystem().open(path)
    for offset in range(0, size, 1 << 20):
        handle.write(offset, os.urandom(min(1 << 20, size - offset)))
    handle.sync()
    handle.close()


def test_a_written_model_leaves_the_page_cache(disk_folder: Path) -> None:
    write(disk_folder / "model", 4 * DROP_CACHE_BYTES)
    assert cached_share(disk_folder / "model") < 0.1


def test_a_small_file_stays_in_the_page_cache(disk_folder: Path) -> None:
    write(disk_folder / "state", 16 * PAGE)
    assert cached_share(disk_folder / "state") == 1
