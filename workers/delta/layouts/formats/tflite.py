"""TFLite: a FlatBuffer of subgraphs, tensors and buffers; large models store buffers after the FlatBuffer.

Fields and tensor types from `schema.fbs` (github.com/tensorflow/tensorflow).
"""

import struct
from collections.abc import Iterator

from workers.delta.layouts.layout import Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.parsing.flatbuffer import Table, Vector, root_table
from workers.delta.layouts.parsing.pages import PagedFile
from workers.delta.layouts.validation import (
    BITS,
    MAX_DIMENSIONS,
    MAX_NAME_BYTES,
    MAX_TENSORS,
    decode_tensor_name,
    display_metadata,
    packed_size,
    sorted_without_overlap,
)

FORMAT = "tflite"
IDENTIFIER = b"TFL3"
MAX_FETCHED_BYTES = 256 << 20
MAX_SUBGRAPHS = 10_000

DTYPES = {
    0: "f32",
    1: "f16",
    2: "i32",
    3: "u8",
    4: "i64",
    6: "bool",
    7: "i16",
    8: "c64",
    9: "i8",
    10: "f64",
    11: "c128",
    12: "u64",
    15: "u32",
    16: "u16",
    17: "i4",
    18: "bf16",
    19: "i2",
    20: "u4",
    21: "f8_e4m3",
    22: "f8_e5m2",
}


def matches_format(head: bytes) -> bool:
    """Whether the file has the identifier of TFLite."""
    return head[4:8] == IDENTIFIER


def read(reader: RangeReader) -> Layout:
    """Read the constant tensors of a TFLite model, named `<subgraph index>/<tensor name>`.

    A buffer that several tensors share is listed once, under the first of them. If dtype and shape do not match the
    size of the buffer (strings, sparse tensors), the dtype is `bytes`.

    Raises:
        MalformedFile: a table, vector, index or buffer lies outside the file, or buffers overlap.
    """
    return _ModelReader(reader).layout()


class _ModelReader:
    def __init__(self, reader: RangeReader) -> None:
        self._pages = PagedFile(reader, FORMAT, budget=MAX_FETCHED_BYTES)
        self._root = root_table(self._pages, "the model")
        self._buffers = self._root.vector(4, 4)
        if self._buffers.count > MAX_TENSORS:
            raise self._malformed(
                "count_too_large", f"{self._buffers.count} buffers, the limit is {MAX_TENSORS}"
            )
        self._buffers_seen: dict[int, None] = {}
        self._ranges_seen: set[tuple[int, int]] = set()
        self._names: set[str] = set()

    def layout(self) -> Layout:
        subgraphs = self._root.vector(2, 4)
        if subgraphs.count > MAX_SUBGRAPHS:
            raise self._malformed(
                "count_too_large", f"{subgraphs.count} subgraphs, the limit is {MAX_SUBGRAPHS}"
            )
        tensors = list(self._tensors(subgraphs))
        metadata = {
            "version": self._root.number(0, 4),
            "description": self._root.text(3, 400) or "",
            "subgraphs": subgraphs.count,
        }
        size = self._pages.size
        ordered = sorted_without_overlap(FORMAT, tensors, size)
        return Layout(FORMAT, size, ordered, display_metadata(metadata))

    def _tensors(self, subgraphs: Vector) -> Iterator[Tensor]:
        visited = 0
        for index in range(subgraphs.count):
            subgraph = self._root.element(subgraphs, index, f"subgraph {index}")
            tensors = subgraph.vector(0, 4)
            # Several subgraphs can refer to the same vector, so visits are counted and not tensors.
            visited += tensors.count
            if visited > MAX_TENSORS:
                raise self._malformed("too_many_tensors", f"more than {MAX_TENSORS} tensors")
            for number in range(tensors.count):
                what = f"tensor {index}/#{number}"
                tensor = self._tensor(subgraph.element(tensors, number, what), index, number)
                if tensor:
                    yield tensor

    def _tensor(self, table: Table, subgraph: int, number: int) -> Tensor | None:
        buffer = table.number(2, 4)
        if buffer == 0 or buffer in self._buffers_seen:
            return None
        if buffer >= self._buffers.count:
            raise self._malformed(
                "bad_index", f"tensor {subgraph}/#{number} is in buffer {buffer} of {self._buffers.count}"
            )
        self._buffers_seen[buffer] = None
        data = self._buffer_range(buffer)
        if data.count == 0 or (data.start, data.count) in self._ranges_seen:
            return None
        self._ranges_seen.add((data.start, data.count))
        dtype, shape = self._dtype_and_shape(table, data.count)
        return Tensor(self._unique_name(table, subgraph, number), dtype, shape, data.start, data.count)

    def _buffer_range(self, buffer: int) -> Vector:
        what = f"buffer {buffer}"
        table = self._root.element(self._buffers, buffer, what)
        inline = table.vector(0, 1)
        offset, size = table.number(1, 8), table.number(2, 8)
        # By the schema, offset and size refer to a buffer outside the FlatBuffer only if both are greater than 1.
        if inline.count or offset <= 1 or size <= 1:
            return inline
        if offset > self._pages.size or size > self._pages.size - offset:
            raise self._malformed(
                "truncated", f"{what} has {size} bytes at {offset}, the file has {self._pages.size} bytes"
            )
        return Vector(offset, size)

    def _dtype_and_shape(self, table: Table, size: int) -> tuple[str, tuple[int, ...]]:
        dtype = DTYPES.get(table.number(1, 1), "bytes")
        extents = table.vector(0, 4)
        if dtype in BITS and extents.count <= MAX_DIMENSIONS:
            raw = self._pages.take(extents.start, 4 * extents.count, "a shape")
            shape = struct.unpack(f"<{extents.count}i", raw)
            if min(shape, default=0) >= 0 and packed_size(dtype, shape) == size:
                return dtype, shape
        return "bytes", (size,)

    def _unique_name(self, table: Table, subgraph: int, number: int) -> str:
        # Converters join the names of fused operations, so names are long, and two tensors can have the same name.
        text = table.text(3, MAX_NAME_BYTES - 100)
        name = f"{subgraph}/{text}" if text else f"{subgraph}/#{number}"
        while name in self._names:
            name = f"{name}#{number}"
        self._names.add(name)
        return decode_tensor_name(FORMAT, name.encode())

    def _malformed(self, code: str, detail: str) -> MalformedFile:
        return MalformedFile(FORMAT, code, detail)
