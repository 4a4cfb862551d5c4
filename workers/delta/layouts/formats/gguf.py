"""GGUF versions 2 and 3: counts, key-value pairs, tensor records, then aligned data.

Rules from `docs/gguf.md` of github.com/ggml-org/ggml. Every count is compared with the remaining bytes before a loop
over it starts.
"""

import struct
from bisect import bisect_right
from dataclasses import dataclass
from math import prod

from workers.delta.layouts.formats import ggml
from workers.delta.layouts.layout import Layout, RangeReader, Tensor
from workers.delta.layouts.parsing.cursor import Cursor
from workers.delta.layouts.validation import (
    MAX_NAME_BYTES,
    MAX_TENSORS,
    decode_tensor_name,
    display_metadata,
    sorted_without_overlap,
)

FORMAT = "gguf"
MAGIC = b"GGUF"
MAX_HEADER_BYTES = 64 << 20
MAX_PAIRS = 100_000
MAX_ARRAY_DEPTH = 4
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 20
MAX_TYPE = 1023

_ALIGNMENT_KEY = "general.alignment"
_STRING, _ARRAY, _U32 = 8, 9, 4
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MIN_ITEM_BYTES = {_STRING: 8, _ARRAY: 12}
_PAIR_BYTES = 8 + 4 + 1
_RECORD_BYTES = 8 + 4 + 4 + 8
_SHOWN_STRING_BYTES = 4096
_COUNTS = struct.Struct("<QQ")
_TYPE_AND_COUNT = struct.Struct("<IQ")
_TYPE_AND_OFFSET = struct.Struct("<IQ")


@dataclass(frozen=True, slots=True)
class _Record:
    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def matches_format(head: bytes) -> bool:
    """Whether the file starts with the magic number of GGUF."""
    return head.startswith(MAGIC)


def read(reader: RangeReader) -> Layout:
    """Read the tensors of a GGUF file from its header.

    A tensor of a type that this reader does not know gets dtype `bytes` and ends where the next tensor starts.

    Raises:
        MalformedFile: a count, length, alignment, offset or type does not fit the file.
    """
    cursor = Cursor(reader, FORMAT, position=len(MAGIC), budget=MAX_HEADER_BYTES)
    version = _version(cursor)
    tensor_count, pair_count = cursor.unpack(_COUNTS, "the counts")
    _require_count(cursor, "tensors", tensor_count, _RECORD_BYTES, MAX_TENSORS)
    _require_count(cursor, "key-value pairs", pair_count, _PAIR_BYTES, MAX_PAIRS)
    pairs = _read_pairs(cursor, pair_count)
    alignment = _alignment(cursor, pairs)
    records = [_read_record(cursor, alignment) for _ in range(tensor_count)]
    data = -(-cursor.position // alignment) * alignment
    tensors = sorted_without_overlap(FORMAT, _locate_tensors(cursor, records, data, reader.size), reader.size)
    general = {key: value for key, value in pairs.items() if key.startswith("general.")}
    return Layout(FORMAT, reader.size, tensors, display_metadata({"version": version} | general))


def _version(cursor: Cursor) -> int:
    version = cursor.u32("the version")
    if version & 0xFFFF == 0 and version:
        raise cursor.malformed("big_endian", "the file is big-endian; only little-endian files are supported")
    if version not in {2, 3}:
        raise cursor.malformed("unknown_version", f"version {version}; versions 2 and 3 are supported")
    return version


def _require_count(
    cursor: Cursor, what: str, count: int, min_bytes: int, max_count: int | None = None
) -> None:
    if count > cursor.remaining // min_bytes:
        raise cursor.malformed(
            "count_too_large",
            f"{count} {what} of at least {min_bytes} bytes do not fit into the remaining {cursor.remaining} bytes",
        )
    if max_count is not None and count > max_count:
        raise cursor.malformed("count_too_large", f"{count} {what}, the limit is {max_count}")


def _read_pairs(cursor: Cursor, count: int) -> dict[str, object]:
    pairs: dict[str, object] = {}
    for _ in range(count):
        key = _key(cursor)
        if key in pairs:
            raise cursor.malformed("duplicate_key", f"the key {key!r} occurs twice")
        kind = cursor.u32(f"the type of {key!r}")
        if key == _ALIGNMENT_KEY and kind != _U32:
            raise cursor.malformed("bad_alignment", f"{key} has value type {kind}, expected uint32")
        pairs[key] = _read_value(cursor, key, kind)
    return pairs


def _key(cursor: Cursor) -> str:
    length = cursor.u64("the length of a key")
    if length > MAX_NAME_BYTES:
        raise cursor.malformed("bad_key", f"a key at byte {cursor.position} has {length} bytes")
    return cursor.take(length, "a key").decode(errors="replace")


def _read_value(cursor: Cursor, key: str, kind: int) -> object:
    what = f"the value of {key!r}"
    if kind in _SCALARS:
        form = struct.Struct("<" + _SCALARS[kind])
        return form.unpack(cursor.take(form.size, what))[0]
    if kind == _ARRAY:
        _skip_array(cursor, what, 1)
        return ""
    if kind == _STRING:
        length = cursor.u64(what)
        if length <= _SHOWN_STRING_BYTES:
            return cursor.take(length, what).decode(errors="replace")
        cursor.skip(length, what)
        return ""
    raise cursor.malformed("unknown_value_type", f"{what} has type {kind}")


def _skip_array(cursor: Cursor, what: str, depth: int) -> None:
    if depth > MAX_ARRAY_DEPTH:
        raise cursor.malformed(
            "nested_too_deep", f"{what} has arrays nested more than {MAX_ARRAY_DEPTH} deep"
        )
    kind, count = cursor.unpack(_TYPE_AND_COUNT, what)
    if kind in _SCALARS:
        size = struct.calcsize("<" + _SCALARS[kind])
        _require_count(cursor, f"items of {what}", count, size)
        cursor.skip(count * size, what)
        return
    if kind not in _MIN_ITEM_BYTES:
        raise cursor.malformed("unknown_value_type", f"{what} is an array of type {kind}")
    _require_count(cursor, f"items of {what}", count, _MIN_ITEM_BYTES[kind])
    for _ in range(count):
        if kind == _STRING:
            cursor.skip(cursor.u64(what), what)
        else:
            _skip_array(cursor, what, depth + 1)


def _alignment(cursor: Cursor, pairs: dict[str, object]) -> int:
    alignment = pairs.get(_ALIGNMENT_KEY, 32)
    if not isinstance(alignment, int) or alignment.bit_count() != 1 or alignment > MAX_ALIGNMENT:
        raise cursor.malformed(
            "bad_alignment", f"{_ALIGNMENT_KEY} is {alignment}, not a power of two up to 1 MiB"
        )
    return alignment


def _read_record(cursor: Cursor, alignment: int) -> _Record:
    length = cursor.u64("the length of a tensor's name")
    if length > MAX_NAME_BYTES:
        raise cursor.malformed("bad_name", f"a tensor's name at byte {cursor.position} has {length} bytes")
    name = decode_tensor_name(FORMAT, cursor.take(length, "a tensor's name"))
    dimensions = cursor.u32(f"the number of dimensions of {name!r}")
    if dimensions > MAX_DIMENSIONS:
        raise cursor.malformed(
            "too_many_dimensions",
            f"tensor {name!r} has {dimensions} dimensions, the limit is {MAX_DIMENSIONS}",
        )
    extents = cursor.unpack(struct.Struct(f"<{dimensions}Q"), f"the shape of {name!r}")
    kind, offset = cursor.unpack(_TYPE_AND_OFFSET, f"type and offset of {name!r}")
    if kind > MAX_TYPE:
        raise cursor.malformed("unknown_dtype", f"tensor {name!r} has ggml type {kind}")
    if offset % alignment:
        raise cursor.malformed(
            "misaligned", f"tensor {name!r} starts at {offset}, not a multiple of {alignment}"
        )
    return _Record(name, extents[::-1], kind, offset)


def _locate_tensors(cursor: Cursor, records: list[_Record], data: int, size: int) -> list[Tensor]:
    starts = sorted({record.offset for record in records})
    tensors = []
    for record in records:
        block = ggml.TYPES.get(record.kind)
        if block is None:
            after = bisect_right(starts, record.offset)
            end = starts[after] if after < len(starts) else max(size - data, record.offset)
            length = end - record.offset
            tensors.append(Tensor(record.name, "bytes", (length,), data + record.offset, length))
        else:
            length = _tensor_size(cursor, record, block)
            tensors.append(Tensor(record.name, block.dtype, record.shape, data + record.offset, length))
    return tensors


def _tensor_size(cursor: Cursor, record: _Record, block: ggml.BlockType) -> int:
    row = record.shape[-1] if record.shape else 1
    if row % block.weights:
        raise cursor.malformed(
            "size_mismatch",
            f"tensor {record.name!r} has rows of {row} weights, {block.dtype} needs a multiple of {block.weights}",
        )
    return prod(record.shape) // block.weights * block.size
