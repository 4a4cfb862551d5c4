"""Read the central directory of a ZIP archive, including ZIP64, without decompressing anything.

Source: PKWARE's APPNOTE 6.3.10, sections 4.3 (records) and 4.5.3 (ZIP64 extra field).
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

from workers.delta.layouts.layout import MalformedFile, RangeReader
from workers.delta.layouts.parsing.cursor import Cursor
from workers.delta.layouts.validation import MAX_TENSORS

LOCAL_MAGIC = b"PK\x03\x04"
STORED = 0
MAX_DIRECTORY_BYTES = 64 << 20
MAX_COMMENT_BYTES = 0xFFFF
MAX_DEFLATE_RATIO = 1032
MAX_NAME_BYTES = 4096

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive.

    Attributes:
        name: path inside the archive.
        method: `STORED` or a compression method.
        compressed_size: bytes in the archive.
        size: bytes after decompression.
        header_offset: offset of the local header.
        is_encrypted: whether reading needs a password.
    """

    name: bytes
    method: int
    compressed_size: int
    size: int
    header_offset: int
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class _Directory:
    entries: int
    size: int
    offset: int
    end: int


def read_entries(reader: RangeReader, format_name: str) -> list[Entry]:
    """Return all entries in ascending order of offset. The directory is found from the end of the file.

    Raises:
        MalformedFile: there is no directory, it does not fit the file, entries overlap each other or the directory (as
            in zip bombs), or a size is impossible.
    """
    directory = _find_directory(reader, format_name)
    cursor = Cursor(reader, format_name, position=directory.offset, budget=MAX_DIRECTORY_BYTES)
    entries = [_read_entry(cursor) for _ in range(directory.entries)]
    if cursor.position > directory.offset + directory.size:
        raise cursor.malformed(
            "bad_directory", f"{directory.entries} entries need more than {directory.size} bytes"
        )
    entries.sort(key=lambda entry: entry.header_offset)
    _require_no_overlap(entries, directory.offset, format_name)
    return entries


def data_offset(cursor: Cursor, entry: Entry) -> int:
    """Return the offset of an entry's data; the cursor moves forward to it.

    Raises:
        MalformedFile: `bad_local_header`, if the local header contradicts the directory; `entries_overlap`.
    """
    if entry.header_offset < cursor.position:
        raise cursor.malformed(
            "entries_overlap",
            f"entry {entry.name[:80]!r} at {entry.header_offset} overlaps the previous entry",
        )
    cursor.skip(entry.header_offset - cursor.position, "a local header")
    magic, _, _, method, *_, name_bytes, extra_bytes = _LOCAL.unpack(
        cursor.take(_LOCAL.size, "a local header")
    )
    name = cursor.take(name_bytes, "a name in a local header") if name_bytes == len(entry.name) else b""
    if magic != LOCAL_MAGIC or method != entry.method or name != entry.name:
        raise cursor.malformed(
            "bad_local_header", f"the local header at {entry.header_offset} contradicts the directory"
        )
    cursor.skip(extra_bytes, "an extra field")
    return cursor.position


def _find_directory(reader: RangeReader, format_name: str) -> _Directory:
    length = min(reader.size, _END.size + MAX_COMMENT_BYTES)
    tail = reader.read(reader.size - length, length)
    at = tail.rfind(b"PK\x05\x06", 0, max(length - _END.size + 4, 0))
    while at >= 0:
        *_, comment = _END.unpack_from(tail, at)
        if comment == length - at - _END.size:
            return _parse_end_record(
                reader, format_name, tail[at : at + _END.size], reader.size - length + at
            )
        at = tail.rfind(b"PK\x05\x06", 0, at + 3)
    raise MalformedFile(format_name, "truncated", "the archive has no end of central directory")


def _parse_end_record(reader: RangeReader, format_name: str, record: bytes, end: int) -> _Directory:
    _, disk, first_disk, entries_on_disk, entries, size, offset, _ = _END.unpack(record)
    zip64 = _read_zip64_record(reader, format_name, end)
    if zip64:
        end, disk, first_disk, entries_on_disk, entries, size, offset = zip64
    elif _FULL16 in {entries_on_disk, entries} or _FULL32 in {size, offset}:
        raise MalformedFile(format_name, "bad_directory", "a ZIP64 archive has no ZIP64 record")
    if disk or first_disk or entries_on_disk != entries:
        raise MalformedFile(format_name, "bad_directory", "the archive is split into several parts")
    if offset > end or size > end - offset:
        raise MalformedFile(
            format_name,
            "bad_directory",
            f"a directory of {size} bytes at {offset} ends after its end record at {end}",
        )
    if entries > min(size // _CENTRAL.size, MAX_TENSORS):
        raise MalformedFile(
            format_name, "count_too_large", f"{entries} entries do not fit into a directory of {size} bytes"
        )
    return _Directory(entries, size, offset, end)


def _read_zip64_record(reader: RangeReader, format_name: str, end: int) -> tuple[int, ...] | None:
    if end < _LOCATOR.size:
        return None
    magic, _, at, _ = _LOCATOR.unpack(reader.read(end - _LOCATOR.size, _LOCATOR.size))
    if magic != b"PK\x06\x07":
        return None
    if at > end - _LOCATOR.size or _END64.size > end - _LOCATOR.size - at:
        raise MalformedFile(
            format_name, "bad_directory", f"the locator places the ZIP64 record at {at}, after {end}"
        )
    magic, _, _, _, disk, first_disk, entries_on_disk, entries, size, offset = _END64.unpack(
        reader.read(at, _END64.size)
    )
    if magic != b"PK\x06\x06":
        raise MalformedFile(format_name, "bad_directory", f"there is no ZIP64 record at {at}")
    return at, disk, first_disk, entries_on_disk, entries, size, offset


def _read_entry(cursor: Cursor) -> Entry:
    record = _CENTRAL.unpack(cursor.take(_CENTRAL.size, "a directory entry"))
    magic, _, _, flags, method, _, _, _, compressed, size, name_bytes, extra_bytes, comment_bytes = record[
        :13
    ]
    header_offset = record[-1]
    if magic != b"PK\x01\x02" or name_bytes > MAX_NAME_BYTES:
        raise cursor.malformed("bad_directory", f"no directory entry before byte {cursor.position}")
    name = cursor.take(name_bytes, "an entry's name")
    extra = cursor.take(extra_bytes, "an extra field")
    cursor.skip(comment_bytes, "a comment")
    if _FULL32 in {compressed, size, header_offset}:
        size, compressed, header_offset = _apply_zip64_sizes(cursor, extra, [size, compressed, header_offset])
    entry = Entry(name, method, compressed, size, header_offset, bool(flags & 1))
    _require_plausible_sizes(cursor, entry)
    return entry


def _apply_zip64_sizes(cursor: Cursor, extra: bytes, values: list[int]) -> list[int]:
    at = 0
    while len(extra) - at >= 4:
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and length <= len(extra) - at - 4:
            zip64_values = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            values = [next(zip64_values, value) if value == _FULL32 else value for value in values]
            break
        at += 4 + length
    if _FULL32 in values:
        raise cursor.malformed(
            "bad_directory", f"a ZIP64 size is missing in the entry before {cursor.position}"
        )
    return values


def _require_plausible_sizes(cursor: Cursor, entry: Entry) -> None:
    if entry.method == STORED and entry.compressed_size != entry.size and not entry.is_encrypted:
        raise cursor.malformed(
            "size_mismatch",
            f"entry {entry.name[:80]!r} is not compressed but has sizes {entry.compressed_size} and {entry.size}",
        )
    if entry.size > MAX_DEFLATE_RATIO * (entry.compressed_size + 1):
        raise cursor.malformed(
            "zip_bomb",
            f"entry {entry.name[:80]!r} expands from {entry.compressed_size} to {entry.size} bytes, "
            "which no deflate stream can do",
        )


def _require_no_overlap(entries: list[Entry], end: int, format_name: str) -> None:
    spans = [
        (entry.header_offset, _LOCAL.size + len(entry.name) + entry.compressed_size, entry.name)
        for entry in entries
    ]
    for (start, length, _), (following, _, name) in pairwise([*spans, (end, 0, b"the directory")]):
        if following < start or length > following - start:
            raise MalformedFile(
                format_name,
                "entries_overlap",
                f"{name[:80]!r} at {following} overlaps the entry at {start}",
            )
