"""ONNX: a protocol-buffers message; its initializers are located but never loaded.

The layout has the initializers and tensor attributes (constants) with `raw_data`, in the main graph and in the graphs
of its nodes, and tensors in external files. It does not have tensors in typed fields (`float_data`, ...), sparse
tensors, local functions and training information: a patch treats their bytes as bytes outside tensors.

Field numbers from `onnx.proto3` (github.com/onnx/onnx).
"""

from collections import Counter

from workers.delta.layouts.formats.onnx_tensor import (
    TensorProto,
    external_tensor,
    inline_tensor,
    read_tensor,
    read_text,
)
from workers.delta.layouts.layout import ExternalTensor, Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.parsing.cursor import Cursor
from workers.delta.layouts.parsing.protobuf import BYTES, VARINT, fields
from workers.delta.layouts.validation import (
    MAX_TENSORS,
    decode_tensor_name,
    display_metadata,
    printable,
    sorted_without_overlap,
)

FORMAT = "onnx"
MAX_HEADER_BYTES = 32 << 20
MAX_DEPTH = 16
MAX_IR_VERSION = 1000
MAX_OUTLINE_FIELDS = 4096
SMALL_READ = 4096

_IR_VERSION, _GRAPH = 1, 7
_MODEL_WIRE_TYPES = {
    _IR_VERSION: VARINT,
    2: BYTES,
    3: BYTES,
    4: BYTES,
    5: VARINT,
    6: BYTES,
    _GRAPH: BYTES,
    8: BYTES,
    14: BYTES,
    20: BYTES,
    25: BYTES,
    26: BYTES,
}
_GRAPH_FIELDS = {1, 2, 5, 10, 11, 12, 13, 14, 15, 16}
_METADATA_FIELDS = {2: "producer_name", 3: "producer_version", 4: "domain"}


def matches_format(head: bytes, reader: RangeReader) -> bool:
    """Whether the file looks like an ONNX model, well-formed or not. Protocol buffers have no magic number.

    The top-level fields must be those of a model, with an `ir_version` and a graph whose first field fits. A file that
    is malformed after that point is malformed ONNX; a file that is malformed before it is not ONNX.
    """
    if head[:1] not in {
        bytes([number << 3 | wire]) for number, wire in _MODEL_WIRE_TYPES.items() if number < 16
    }:
        return False
    cursor = Cursor(reader, FORMAT, budget=1 << 20, first_read=SMALL_READ)
    try:
        return _has_model_outline(cursor, reader.size)
    except MalformedFile:
        return False


def _has_model_outline(cursor: Cursor, size: int) -> bool:
    has_version = has_graph = False
    for _ in range(MAX_OUTLINE_FIELDS):
        if cursor.position >= size:
            break
        tag = cursor.varint("the model")
        number, wire = tag >> 3, tag & 7
        if _MODEL_WIRE_TYPES.get(number) != wire:
            # A field of a newer ONNX version, or garbage after a model: the reader distinguishes them.
            return has_version and has_graph
        value = cursor.varint("the model")
        if number == _IR_VERSION:
            has_version = 0 < value <= MAX_IR_VERSION
        elif number == _GRAPH:
            end = cursor.position + value
            has_graph = value > 0 and cursor.varint("the graph") >> 3 in _GRAPH_FIELDS
            if has_version and has_graph:
                return True
            cursor.skip(end - cursor.position, "the graph")
        elif wire == BYTES:
            cursor.skip(value, "the model")
    return has_version and has_graph


def read(reader: RangeReader) -> Layout:
    """Read the tensors of an ONNX model. The bytes read depend on the size of the graph, not of the weights.

    Raises:
        MalformedFile: fields are malformed, graphs are nested too deep, the bytes of a tensor do not fit its shape, or
            external data lies outside the directory of the model.
    """
    graph = _GraphReader(Cursor(reader, FORMAT, budget=MAX_HEADER_BYTES, first_read=SMALL_READ))
    graph.read_model(reader.size)
    locations = sorted({tensor.location for tensor in graph.external})
    metadata = graph.metadata | {f"external:{number}": path for number, path in enumerate(locations[:8])}
    tensors = sorted_without_overlap(FORMAT, graph.tensors, reader.size)
    return Layout(FORMAT, reader.size, tensors, display_metadata(metadata), tuple(graph.external))


class _GraphReader:
    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._name_counts: Counter[str] = Counter()
        self._tensor_count = 0
        self.tensors: list[Tensor] = []
        self.external: list[ExternalTensor] = []
        self.metadata: dict[str, str] = {}

    def read_model(self, end: int) -> None:
        for item in fields(self._cursor, end, "the model"):
            if item.number == _IR_VERSION and item.wire == VARINT:
                self.metadata["ir_version"] = str(item.value)
            elif item.number in _METADATA_FIELDS and item.wire == BYTES:
                text = self._cursor.take(min(item.value, 400), "the model").decode(errors="replace")
                self.metadata[_METADATA_FIELDS[item.number]] = printable(text)
            elif item.number == _GRAPH and item.wire == BYTES:
                self._read_graph(item.end, "", 0)

    def _read_graph(self, end: int, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._cursor.malformed("nested_too_deep", f"graphs are nested more than {MAX_DEPTH} deep")
        names: set[str] = set()
        index = 0
        for item in fields(self._cursor, end, "a graph"):
            if item.number == 1 and item.wire == BYTES:
                self._read_node(item.end, path, index, depth)
                index += 1
            elif item.number == 5 and item.wire == BYTES:
                found = read_tensor(self._cursor, item.end)
                if found.name in names:
                    raise self._cursor.malformed(
                        "duplicate_name", f"two initializers are named {found.name!r}"
                    )
                names.add(found.name)
                self._add(found, path + found.name)

    def _read_node(self, end: int, path: str, index: int, depth: int) -> None:
        # A node is named after its first output, which does not change when other nodes are inserted.
        label = ""
        for item in fields(self._cursor, end, "a node"):
            if item.number == 2 and item.wire == BYTES and not label:
                label = decode_tensor_name(FORMAT, read_text(self._cursor, item.value, "a node's output"))
            elif item.number == 5 and item.wire == BYTES:
                self._read_attribute(item.end, f"{path}{label or index}/", depth)

    def _read_attribute(self, end: int, path: str, depth: int) -> None:
        label = ""
        for item in fields(self._cursor, end, "an attribute"):
            if item.wire != BYTES:
                continue
            if item.number == 1:
                label = decode_tensor_name(FORMAT, read_text(self._cursor, item.value, "an attribute's name"))
            elif item.number in {5, 10}:
                self._add(read_tensor(self._cursor, item.end), path + label)
            elif item.number in {6, 11}:
                self._read_graph(item.end, f"{path}{label}/", depth + 1)

    def _add(self, found: TensorProto, name: str) -> None:
        self._tensor_count += 1
        if self._tensor_count > MAX_TENSORS:
            raise self._cursor.malformed("too_many_tensors", f"more than {MAX_TENSORS} tensors")
        if found.raw is None and not found.is_external:
            return
        unique = decode_tensor_name(FORMAT, self._unique_name(name).encode())
        inline, external = inline_tensor(found, unique), external_tensor(found, unique)
        if inline:
            self.tensors.append(inline)
        if external:
            self.external.append(external)

    def _unique_name(self, name: str) -> str:
        # A constant's path can equal an initializer's name in a valid file.
        self._name_counts[name] += 1
        count = self._name_counts[name]
        return name if count == 1 else f"{name}#{count}"
