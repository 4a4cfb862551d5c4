"""TFLite: a FlatBuffer of subgraphs, tensors and buffers; big models keep buffers behind the FlatBuffer.

Fields and element kinds from `schema.fbs` (github.com/tensorflow/tensorflow).
"""

import struct
from collections.abc import Iterator

from workers.delta.layouts.flatbuffer import Table, Vector, root
from workers.delta.layouts.layout import Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.pages import Pages
from workers.delta.layouts.rules import (
    BITS,
    MAX_DIMENSIONS,
    MAX_NAME_BYTES,
    MAX_TENSORS,
    packed_size,
    shown,
    side_by_side,
    tensor_name,
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


def claims(head: bytes) -> bool:
    """Whether a file has TFLite's identifier."""
    return head[4:8] == IDENTIFIER


def read(reader: RangeReader) -> Layout:
    """The constant tensors of a TFLite model, named `<subgraph index>/<tensor name>`.

    A buffer that several tensors share is listed once, under the first of them. Where dtype and shape do not account
    for the buffer (strings, sparse tensors) the dtype is `bytes`.

    Raises:
        MalformedFile: a table, vector, index or buffer outside the file, or buffers that overlap.
    """
    return _Model(reader).layout()


class _Model:
    def __init__(self, reader: RangeReader) -> None:
        self._pages = Pages(reader, FORMAT, budget=MAX_FETCHED_BYTES)
        self._root = root(self._pages, "the model")
        self._buffers = self._root.vector(4, 4)
        if self._buffers.count > MAX_TENSORS:
            raise self._refuse(
                "count_too_large", f"{self._buffers.count} buffers, at most {MAX_TENSORS} are read"
            )
        self._listed: dict[int, None] = {}
        self._places: set[tuple[int, int]] = set()
        self._names: set[str] = set()

    def layout(self) -> Layout:
        subgraphs = self._root.vector(2, 4)
        if subgraphs.count > MAX_SUBGRAPHS:
            raise self._refuse(
                "count_too_large", f"{subgraphs.count} subgraphs, at most {MAX_SUBGRAPHS} are read"
            )
        found = list(self._tensors(subgraphs))
        words = {
            "version": self._root.number(0, 4),
            "description": self._root.text(3, 400) or "",
            "subgraphs": subgraphs.count,
        }
        size = self._pages.size
        return Layout(FORMAT, size, side_by_side(FORMAT, found, size), shown(words))

    def _tensors(self, subgraphs: Vector) -> Iterator[Tensor]:
        walked = 0
        for index in range(subgraphs.count):
            subgraph = self._root.element(subgraphs, index, f"subgraph {index}")
            tensors = subgraph.vector(0, 4)
            # Subgraphs may point to one and the same vector, so what counts is how often tensors are visited.
            walked += tensors.count
            if walked > MAX_TENSORS:
                raise self._refuse("too_many_tensors", f"more than {MAX_TENSORS} tensors")
            for number in range(tensors.count):
                what = f"tensor {index}/#{number}"
                tensor = self._tensor(subgraph.element(tensors, number, what), index, number)
                if tensor:
                    yield tensor

    def _tensor(self, table: Table, subgraph: int, number: int) -> Tensor | None:
        buffer = table.number(2, 4)
        if buffer == 0 or buffer in self._listed:
            return None
        if buffer >= self._buffers.count:
            raise self._refuse(
                "bad_index", f"tensor {subgraph}/#{number} is in buffer {buffer} of {self._buffers.count}"
            )
        self._listed[buffer] = None
        place = self._place(buffer)
        if place.count == 0 or (place.start, place.count) in self._places:
            return None
        self._places.add((place.start, place.count))
        dtype, shape = self._meaning(table, place.count)
        return Tensor(self._name(table, subgraph, number), dtype, shape, place.start, place.count)

    def _place(self, buffer: int) -> Vector:
        what = f"buffer {buffer}"
        table = self._root.element(self._buffers, buffer, what)
        inline = table.vector(0, 1)
        offset, size = table.number(1, 8), table.number(2, 8)
        # The schema: offset and size are of a buffer outside the FlatBuffer only when they are greater than 1.
        if inline.count or offset <= 1 or size <= 1:
            return inline
        if offset > self._pages.size or size > self._pages.size - offset:
            raise self._refuse(
                "truncated", f"{what} is {size} bytes at {offset}, the file has {self._pages.size}"
            )
        return Vector(offset, size)

    def _meaning(self, table: Table, size: int) -> tuple[str, tuple[int, ...]]:
        dtype = DTYPES.get(table.number(1, 1), "bytes")
        extents = table.vector(0, 4)
        if dtype in BITS and extents.count <= MAX_DIMENSIONS:
            raw = self._pages.take(extents.start, 4 * extents.count, "a shape")
            shape = struct.unpack(f"<{extents.count}i", raw)
            if min(shape, default=0) >= 0 and packed_size(dtype, shape) == size:
                return dtype, shape
        return "bytes", (size,)

    def _name(self, table: Table, subgraph: int, number: int) -> str:
        # Converters join the names of all fused operations, and nothing forbids two tensors of one name.
        text = table.text(3, MAX_NAME_BYTES - 100)
        name = f"{subgraph}/{text}" if text else f"{subgraph}/#{number}"
        while name in self._names:
            name = f"{name}#{number}"
        self._names.add(name)
        return tensor_name(FORMAT, name.encode())

    def _refuse(self, code: str, detail: str) -> MalformedFile:
        return MalformedFile(FORMAT, code, detail)
