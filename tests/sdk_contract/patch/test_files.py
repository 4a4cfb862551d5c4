"""Sequential files are complete, also after their pages were dropped from the page cache."""

import hashlib
from pathlib import Path

from sdk_contract.patch.files import WRITEBACK_BYTES, SequentialFile

PIECE = 3 << 20


def test_a_file_longer_than_the_write_back_window_has_every_byte(tmp_path: Path):
    count, piece = 2 * WRITEBACK_BYTES // PIECE + 2, bytes(range(256)) * (PIECE // 256)
    expected = hashlib.sha256()
    with (tmp_path / "new").open("w+b") as file:
        new = SequentialFile(file)
        for number in range(count):
            data = number.to_bytes(2) + piece[2:]
            new.write(number * PIECE, data)
            expected.update(data)
        assert new.read(0, 4) == bytes(2) + piece[2:4]
    with (tmp_path / "new").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == expected.digest()
    assert (tmp_path / "new").stat().st_size == count * PIECE
