"""The central directory of a ZIP archive, ZIP64 included: what lies where, without inflating anything.

Source: PKWARE's APPNOTE 6.3.10, sections 4.3 (records) and 4.5.3 (ZIP64 extra field).
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

from workers.delta.layouts.cursor import Cursor
from workers.delta.layouts.layout import MalformedFile, RangeReader
from workers.delta.layouts.rules import MAX_TENSORS

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
        packed: bytes in the archive.
        size: bytes when unpacked.
        header: offset of the local header.
        is_encrypted: whether the bytes are useless without a password.
    """

    name: bytes
    method: int
    packed: int
    size: int
    header: int
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class _Directory:
    entries: int
    size: int
    offset: int
    end: int


def read_entries(reader: RangeReader, format_name: str) -> list[Entry]:
    """All entries in order of their place, found from the end of the file.

    Raises:
        MalformedFile: no directory, one that does not fit the file, entries that overlap each other or the directory
            (the trick of small archives that unpack to petabytes), or sizes that no compression can reach.
    """
    directory = _find_directory(reader, format_name)
    cursor = Cursor(reader, format_name, position=directory.offset, budget=MAX_DIRECTORY_BYTES)
    entries = [_read_entry(cursor) for _ in range(directory.entries)]
    if cursor.position > directory.offset + directory.size:
        raise cursor.refuse(
            "bad_directory", f"{directory.entries} entries need more than {directory.size} bytes"
        )
    entries.sort(key=lambda entry: entry.header)
    _require_apart(entries, directory.offset, format_name)
    return entries


def data_offset(cursor: Cursor, entry: Entry) -> int:
    """Where an entry's bytes begin; the cursor moves forward to there.

    Raises:
        MalformedFile: `bad_local_header`, when it contradicts the directory; `entries_overlap`.
    """
    if entry.header < cursor.position:
        raise cursor.refuse(
            "entries_overlap", f"entry {entry.name[:80]!r} at {entry.header} is inside the one before"
        )
    cursor.skip(entry.header - cursor.position, "a local header")
    magic, _, _, method, *_, name_bytes, extra_bytes = _LOCAL.unpack(
        cursor.take(_LOCAL.size, "a local header")
    )
    name = cursor.take(name_bytes, "a name in a local header") if name_bytes == len(entry.name) else b""
    if magic != LOCAL_MAGIC or method != entry.method or name != entry.name:
        raise cursor.refuse(
            "bad_local_header", f"the local header at {entry.header} contradicts the directory"
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
            return _checked(reader, format_name, tail[at : at + _END.size], reader.size - length + at)
        at = tail.rfind(b"PK\x05\x06", 0, at + 3)
    raise MalformedFile(format_name, "truncated", "the archive has no end of central directory")


def _checked(reader: RangeReader, format_name: str, record: bytes, end: int) -> _Directory:
    _, disk, first_disk, here, entries, size, offset, _ = _END.unpack(record)
    wide = _zip64(reader, format_name, end)
    if wide:
        end, disk, first_disk, here, entries, size, offset = wide
    elif _FULL16 in {here, entries} or _FULL32 in {size, offset}:
        raise MalformedFile(
            format_name, "bad_directory", "the archive says it is ZIP64 and has no ZIP64 record"
        )
    if disk or first_disk or here != entries:
        raise MalformedFile(format_name, "bad_directory", "the archive is in several parts")
    if offset > end or size > end - offset:
        raise MalformedFile(
            format_name,
            "bad_directory",
            f"a directory of {size} bytes at {offset} ends behind its end at {end}",
        )
    if entries > min(size // _CENTRAL.size, MAX_TENSORS):
        raise MalformedFile(
            format_name, "count_too_large", f"{entries} entries do not fit into a directory of {size} bytes"
        )
    return _Directory(entries, size, offset, end)


def _zip64(reader: RangeReader, format_name: str, end: int) -> tuple[int, ...] | None:
    if end < _LOCATOR.size:
        return None
    magic, _, at, _ = _LOCATOR.unpack(reader.read(end - _LOCATOR.size, _LOCATOR.size))
    if magic != b"PK\x06\x07":
        return None
    if at > end - _LOCATOR.size or _END64.size > end - _LOCATOR.size - at:
        raise MalformedFile(
            format_name, "bad_directory", f"the ZIP64 record is said to be at {at}, behind {end}"
        )
    magic, _, _, _, disk, first_disk, here, entries, size, offset = _END64.unpack(
        reader.read(at, _END64.size)
    )
    if magic != b"PK\x06\x06":
        raise MalformedFile(format_name, "bad_directory", f"there is no ZIP64 record at {at}")
    return at, disk, first_disk, here, entries, size, offset


def _read_entry(cursor: Cursor) -> Entry:
    record = _CENTRAL.unpack(cursor.take(_CENTRAL.size, "a directory entry"))
    magic, _, _, flags, method, _, _, _, packed, size, name_bytes, extra_bytes, comment_bytes = record[:13]
    header = record[-1]
    if magic != b"PK\x01\x02" or name_bytes > MAX_NAME_BYTES:
        raise cursor.refuse("bad_directory", f"no directory entry before byte {cursor.position}")
    name = cursor.take(name_bytes, "an entry's name")
    extra = cursor.take(extra_bytes, "an extra field")
    cursor.skip(comment_bytes, "a comment")
    if _FULL32 in {packed, size, header}:
        size, packed, header = _widened(cursor, extra, [size, packed, header])
    entry = Entry(name, method, packed, size, header, bool(flags & 1))
    _require_plausible(cursor, entry)
    return entry


def _widened(cursor: Cursor, extra: bytes, values: list[int]) -> list[int]:
    at = 0
    while len(extra) - at >= 4:
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and length <= len(extra) - at - 4:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            values = [next(wide, value) if value == _FULL32 else value for value in values]
            break
        at += 4 + length
    if _FULL32 in values:
        raise cursor.refuse("bad_directory", f"a ZIP64 size is missing in the entry before {cursor.position}")
    return values


def _require_plausible(cursor: Cursor, entry: Entry) -> None:
    if entry.method == STORED and entry.packed != entry.size and not entry.is_encrypted:
        raise cursor.refuse(
            "size_mismatch",
            f"entry {entry.name[:80]!r} is stored, with {entry.packed} and {entry.size} bytes",
        )
    if entry.size > MAX_DEFLATE_RATIO * (entry.packed + 1):
        raise cursor.refuse(
            "zip_bomb", f"entry {entry.name[:80]!r} says that {entry.packed} bytes unpack to {entry.size}"
        )


def _require_apart(entries: list[Entry], end: int, format_name: str) -> None:
    spans = [(entry.header, _LOCAL.size + len(entry.name) + entry.packed, entry.name) for entry in entries]
    for (start, length, _), (following, _, name) in pairwise([*spans, (end, 0, b"the directory")]):
        if following < start or length > following - start:
            raise MalformedFile(
                format_name,
                "entries_overlap",
                f"{name[:80]!r} at {following} is inside what begins at {start}",
            )
