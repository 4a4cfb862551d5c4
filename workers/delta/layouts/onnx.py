"""ONNX: a protocol-buffers message whose initialisers are found by offset, never loaded.

Found are initialisers and tensor attributes (constants) with `raw_data`, in the main graph and in the graphs inside
its nodes, and tensors in external files. Left out are tensors in typed fields (`float_data`, ...), sparse ones, local
functions and training information: a patch treats their bytes as header.

Field numbers from `onnx.proto3` (github.com/onnx/onnx).
"""

from collections import Counter

from workers.delta.layouts.cursor import Cursor
from workers.delta.layouts.layout import ExternalTensor, Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.onnx_tensor import TensorProto, inside, outside, read_tensor, read_text
from workers.delta.layouts.protobuf import BYTES, VARINT, fields
from workers.delta.layouts.rules import MAX_TENSORS, printable, shown, side_by_side, tensor_name

FORMAT = "onnx"
MAX_HEADER_BYTES = 32 << 20
MAX_DEPTH = 16
MAX_IR_VERSION = 1000
MAX_OUTLINE_FIELDS = 4096
SMALL_READ = 4096

_IR_VERSION, _GRAPH = 1, 7
_MODEL_WIRES = {
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
_SHOWN = {2: "producer_name", 3: "producer_version", 4: "domain"}


def claims(head: bytes, reader: RangeReader) -> bool:
    """Whether a file is an ONNX model, well formed or not; protocol buffers have no magic, so by its outline.

    The outermost fields must be a model's and include `ir_version` and a graph that begins like one. Broken inside
    or behind the graph's beginning is broken ONNX; broken before is no ONNX.
    """
    if head[:1] not in {bytes([number << 3 | wire]) for number, wire in _MODEL_WIRES.items() if number < 16}:
        return False
    cursor = Cursor(reader, FORMAT, budget=1 << 20, first_read=SMALL_READ)
    try:
        return _has_outline(cursor, reader.size)
    except MalformedFile:
        return False


def _has_outline(cursor: Cursor, size: int) -> bool:
    has_version = has_graph = False
    for _ in range(MAX_OUTLINE_FIELDS):
        if cursor.position >= size:
            break
        tag = cursor.varint("the model")
        number, wire = tag >> 3, tag & 7
        if _MODEL_WIRES.get(number) != wire:
            # A field from a newer ONNX, or rubbish behind a model: the reader tells them apart.
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
    """The tensors of an ONNX model, with reads in proportion to its graph and not to its weights.

    Raises:
        MalformedFile: broken fields, graphs nested too deep, tensors whose bytes do not fit their shape, or
            external data outside the model's folder.
    """
    walk = _Walk(Cursor(reader, FORMAT, budget=MAX_HEADER_BYTES, first_read=SMALL_READ))
    walk.model(reader.size)
    locations = sorted({tensor.location for tensor in walk.external})
    words = walk.words | {f"external:{number}": location for number, location in enumerate(locations[:8])}
    tensors = side_by_side(FORMAT, walk.tensors, reader.size)
    return Layout(FORMAT, reader.size, tensors, shown(words), tuple(walk.external))


class _Walk:
    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._used: Counter[str] = Counter()
        self._found = 0
        self.tensors: list[Tensor] = []
        self.external: list[ExternalTensor] = []
        self.words: dict[str, str] = {}

    def model(self, end: int) -> None:
        for item in fields(self._cursor, end, "the model"):
            if item.number == _IR_VERSION and item.wire == VARINT:
                self.words["ir_version"] = str(item.value)
            elif item.number in _SHOWN and item.wire == BYTES:
                text = self._cursor.take(min(item.value, 400), "the model").decode(errors="replace")
                self.words[_SHOWN[item.number]] = printable(text)
            elif item.number == _GRAPH and item.wire == BYTES:
                self._graph(item.end, "", 0)

    def _graph(self, end: int, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._cursor.refuse("nested_too_deep", f"graphs inside graphs, more than {MAX_DEPTH} deep")
        names: set[str] = set()
        index = 0
        for item in fields(self._cursor, end, "a graph"):
            if item.number == 1 and item.wire == BYTES:
                self._node(item.end, path, index, depth)
                index += 1
            elif item.number == 5 and item.wire == BYTES:
                found = read_tensor(self._cursor, item.end)
                if found.name in names:
                    raise self._cursor.refuse("duplicate_name", f"two initialisers are named {found.name!r}")
                names.add(found.name)
                self._keep(found, path + found.name)

    def _node(self, end: int, path: str, index: int, depth: int) -> None:
        # A node's first output names it: unlike its place it stays the same when nodes are inserted.
        label = ""
        for item in fields(self._cursor, end, "a node"):
            if item.number == 2 and item.wire == BYTES and not label:
                label = tensor_name(FORMAT, read_text(self._cursor, item.value, "a node's output"))
            elif item.number == 5 and item.wire == BYTES:
                self._attribute(item.end, f"{path}{label or index}/", depth)

    def _attribute(self, end: int, path: str, depth: int) -> None:
        label = ""
        for item in fields(self._cursor, end, "an attribute"):
            if item.wire != BYTES:
                continue
            if item.number == 1:
                label = tensor_name(FORMAT, read_text(self._cursor, item.value, "an attribute's name"))
            elif item.number in {5, 10}:
                self._keep(read_tensor(self._cursor, item.end), path + label)
            elif item.number in {6, 11}:
                self._graph(item.end, f"{path}{label}/", depth + 1)

    def _keep(self, found: TensorProto, name: str) -> None:
        self._found += 1
        if self._found > MAX_TENSORS:
            raise self._cursor.refuse("too_many_tensors", f"more than {MAX_TENSORS} tensors")
        if found.raw is None and not found.is_external:
            return
        unique = tensor_name(FORMAT, self._unique(name).encode())
        here, elsewhere = inside(found, unique), outside(found, unique)
        if here:
            self.tensors.append(here)
        if elsewhere:
            self.external.append(elsewhere)

    def _unique(self, name: str) -> str:
        # Paths of constants and names of initialisers are different spaces, so a file may be right and two collide.
        self._used[name] += 1
        count = self._used[name]
        return name if count == 1 else f"{name}#{count}"
