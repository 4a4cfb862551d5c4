import pytest

from workers.delta.local_file import LocalFile


def test_a_local_file_is_read_by_range_and_never_short(tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    with LocalFile(tmp_path / "f") as file:
        assert file.size == 10
        assert file.read(3, 4) == b"3456"
        with pytest.raises(EOFError):
            file.read(8, 3)
