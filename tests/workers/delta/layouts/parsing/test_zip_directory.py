import struct
import zipfile

import pytest

from tests.workers.delta.layouts.writers import Bytes
from workers.delta.layouts import MalformedFile
from workers.delta.layouts.parsing.cursor import Cursor
from workers.delta.layouts.parsing.zip_directory import data_offset, read_entries


def archive(path, names=("a", "b"), **options):
    with zipfile.ZipFile(path, "w") as writer:
        for name in names:
            with writer.open(zipfile.ZipInfo(name), "w", **options) as entry:
                entry.write(name.encode() * 10)
    return path.read_bytes()


def widened(raw):
    """Return the archive with a ZIP64 end record, as PyTorch always writes it."""
    at = raw.rindex(b"PK\x05\x06")
    entries, size, offset = struct.unpack_from("<HII", raw, at + 10)
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return raw[:at] + record + locator + end


def central(name, offset, packed=10, size=10, extra=b""):
    head = struct.pack(
        "<4s6H3I5H2I",
        b"PK\x01\x02",
        20,
        20,
        0,
        8,
        0,
        0,
        0,
        packed,
        size,
        len(name),
        len(extra),
        0,
        0,
        0,
        0,
        offset,
    )
    return head + name + extra


def directory(*records, before=1000):
    joined = b"".join(records)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, len(records), len(records), len(joined), before, 0)
    return bytes(before) + joined + end


def error_of(raw):
    with pytest.raises(MalformedFile) as caught:
        read_entries(Bytes(bytes(raw)), "torch_zip")
    return caught.value


def test_entries_are_listed_in_order_of_offset(tmp_path):
    raw = archive(tmp_path / "a.zip")
    entries = read_entries(Bytes(raw), "torch_zip")
    assert [(entry.name, entry.size) for entry in entries] == [(b"a", 10), (b"b", 10)]
    cursor = Cursor(Bytes(raw), "torch_zip", budget=1000)
    assert [raw[data_offset(cursor, entry) :][:3] for entry in entries] == [b"aaa", b"bbb"]


def test_zip64_records_are_read(tmp_path):
    raw = archive(tmp_path / "a.zip", force_zip64=True)
    expected = read_entries(Bytes(raw), "torch_zip")
    assert read_entries(Bytes(widened(raw)), "torch_zip") == expected


def test_sizes_beyond_32_bits_come_from_the_extra_field():
    full = 0xFFFFFFFF
    extra = struct.pack("<HHHH", 9, 4, 0, 0) + struct.pack("<HHQ", 1, 8, 700)
    (entry,) = read_entries(Bytes(directory(central(b"a", full, extra=extra))), "torch_zip")
    assert entry.header_offset == 700
    assert error_of(directory(central(b"a", full))).code == "bad_directory"
    assert error_of(directory(central(b"a", full, extra=struct.pack("<HH", 1, 8)))).code == "bad_directory"


def test_an_end_record_inside_the_comment_is_ignored(tmp_path):
    raw = archive(tmp_path / "a.zip")
    comment = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, 9, 9, 50)
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as writer:
        writer.comment = comment
    commented = (tmp_path / "a.zip").read_bytes()
    assert read_entries(Bytes(commented), "torch_zip") == read_entries(Bytes(raw), "torch_zip")


def test_overlapping_entries_are_refused():
    assert error_of(directory(central(b"a", 0), central(b"b", 0))).code == "entries_overlap"
    assert error_of(directory(central(b"a", 0), central(b"b", 35))).code == "entries_overlap"
    assert error_of(directory(central(b"a", 995))).code == "entries_overlap"


def test_impossible_sizes_are_refused():
    assert error_of(directory(central(b"a", 0, packed=10, size=1 << 31))).code == "zip_bomb"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({4: ("<H", 1)}, "bad_directory"),
        ({8: ("<H", 1)}, "bad_directory"),
        ({8: ("<HH", 0xFFFF, 0xFFFF)}, "bad_directory"),
        ({12: ("<I", 1 << 30)}, "bad_directory"),
        ({16: ("<I", 1 << 30)}, "bad_directory"),
        ({16: ("<I", 900)}, "bad_directory"),
        ({8: ("<HH", 3, 3)}, "count_too_large"),
        ({20: ("<H", 1)}, "truncated"),
    ],
)
def test_a_malformed_end_record_is_refused_with_a_code(changes, code):
    raw = bytearray(directory(central(b"a", 0), central(b"b", 100)))
    for offset, (form, *values) in changes.items():
        struct.pack_into(form, raw, len(raw) - 22 + offset, *values)
    assert error_of(raw).code == code


def test_a_zip64_record_outside_the_file_is_refused(tmp_path):
    raw = bytearray(widened(archive(tmp_path / "a.zip")))
    locator = raw.rindex(b"PK\x06\x07")
    for place in [(1 << 64) - 1, len(raw), 0]:
        struct.pack_into("<Q", raw, locator + 8, place)
        assert error_of(raw).code == "bad_directory"
