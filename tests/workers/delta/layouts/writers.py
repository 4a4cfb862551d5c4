"""Small writers of model files for tests: valid by default, and easy to make malformed."""

import json
import struct
import zipfile
from dataclasses import dataclass


@dataclass
class Bytes:
    """A file in memory that counts the bytes and calls of reads."""

    raw: bytes
    taken: int = 0
    reads: int = 0

    @property
    def size(self):
        return len(self.raw)

    def read(self, offset, length):
        if offset < 0 or length < 0 or offset + length > len(self.raw):
            raise EOFError
        self.taken += length
        self.reads += 1
        return self.raw[offset : offset + length]


@dataclass
class Sparse:
    """A huge file: only the beginning is stored, the rest is zeros."""

    head: bytes
    size: int
    taken: int = 0

    def read(self, offset, length):
        if offset < 0 or length < 0 or offset + length > self.size:
            raise EOFError
        self.taken += length
        return self.head[offset : offset + length].ljust(length, b"\0")


def safetensors_header(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors(tensors, metadata=None):
    """Write `{name: (dtype, shape, bytes)}` as safetensors."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    return safetensors_header(text + b" " * (-len(text) % 8), data)


def gguf_string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_pair(key, kind, value):
    return gguf_string(key) + struct.pack("<I", kind) + value


def gguf_record(name, dims, kind, offset):
    return gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf_header(tensor_count, pair_count, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensor_count, pair_count)


def gguf(tensors, pairs=(), version=3, alignment=32):
    """Write `{name: (type number, dims fastest first, bytes)}` as GGUF."""
    records, data = b"", b""
    for name, (kind, dims, raw) in tensors.items():
        data += bytes(-len(data) % alignment)
        records += gguf_record(name, dims, kind, len(data))
        data += raw
    head = gguf_header(len(tensors), len(pairs), version) + b"".join(pairs) + records
    return head + bytes(-len(head) % alignment) + data


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """Encode a protocol-buffers field: an int as varint, bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_tensor(name="w", dims=(4,), kind=2, raw=b"abcd"):
    return b"".join(field(1, dim) for dim in dims) + field(2, kind) + field(8, name.encode()) + field(9, raw)


def onnx_external(name="w", location="weights.bin", **entries):
    out = field(1, 4) + field(2, 2) + field(8, name.encode()) + field(14, 1)
    for key, value in {"location": location, **entries}.items():
        out += field(13, field(1, key.encode()) + field(2, str(value).encode()))
    return out


def onnx_model(*graph_fields):
    return field(1, 10) + field(2, b"test") + field(7, b"".join(graph_fields) + field(2, b"g"))


class FlatBuffer:
    """Writes tables, vectors and strings front to back; references are filled in afterwards."""

    def __init__(self, identifier=b"TFL3"):
        self.raw = bytearray(4) + identifier

    def pad(self, alignment=4):
        self.raw += bytes(-len(self.raw) % alignment)

    def table(self, fields):
        """Write `{slot: (format, value)}`; a `ref` is four bytes to be filled in. Return table and field positions."""
        self.pad(8)
        sizes = {"ref": 4, "b": 1, "B": 1, "I": 4, "Q": 8, "i": 4}
        at, places, body = 4, {}, bytearray(4)
        for slot, (form, value) in fields.items():
            size = sizes[form]
            body += bytes(-len(body) % min(size, 4))
            at = len(body)
            places[slot] = at
            body += bytes(4) if form == "ref" else struct.pack("<" + form, value)
        slots = max(fields, default=-1) + 1
        vtable = struct.pack("<HH", 4 + 2 * slots, len(body))
        vtable += b"".join(struct.pack("<H", places.get(slot, 0)) for slot in range(slots))
        begin = len(self.raw)
        self.raw += vtable
        self.pad()
        position = len(self.raw)
        body[:4] = struct.pack("<i", position - begin)
        self.raw += body
        return position, {slot: position + place for slot, place in places.items()}

    def point(self, place, target):
        self.raw[place : place + 4] = struct.pack("<I", target - place)

    def bytes_vector(self, data):
        self.pad()
        position = len(self.raw)
        self.raw += struct.pack("<I", len(data)) + data
        return position

    def ints(self, values):
        return self.bytes_vector_of(struct.pack(f"<{len(values)}i", *values), len(values))

    def bytes_vector_of(self, data, count):
        self.pad()
        position = len(self.raw)
        self.raw += struct.pack("<I", count) + data
        return position

    def references(self, targets):
        """Write a vector of references to tables that the callables write later."""
        position = self.bytes_vector_of(bytes(4 * len(targets)), len(targets))
        for number, write in enumerate(targets):
            self.point(position + 4 + 4 * number, write())
        return position


def tflite(tensors, buffers, outside=()):
    """Write subgraph 0 as a TFLite model.

    `tensors` are (name, type number, shape, buffer index); `buffers` are the inline ones from buffer 1 on; `outside`
    are buffers behind the FlatBuffer, numbered on.
    """
    flat = FlatBuffer()
    offsets = []

    def buffer(data):
        position, places = flat.table({0: ("ref", 0)} if data is not None else {})
        if data is not None:
            flat.point(places[0], flat.bytes_vector(data))
        return position

    def far_buffer(data):
        position, places = flat.table({1: ("Q", 0), 2: ("Q", len(data))})
        offsets.append((places[1], data))
        return position

    def tensor(name, kind, shape, number):
        position, places = flat.table({0: ("ref", 0), 1: ("b", kind), 2: ("I", number), 3: ("ref", 0)})
        flat.point(places[0], flat.ints(shape))
        flat.point(places[3], flat.bytes_vector(name.encode()))
        return position

    def subgraph():
        position, places = flat.table({0: ("ref", 0)})
        flat.point(places[0], flat.references([lambda row=row: tensor(*row) for row in tensors]))
        return position

    model, places = flat.table({0: ("I", 3), 2: ("ref", 0), 3: ("ref", 0), 4: ("ref", 0)})
    flat.point(0, model)
    flat.point(places[2], flat.references([subgraph]))
    flat.point(places[3], flat.bytes_vector(b"tiny"))
    writers = [lambda data=data: buffer(data) for data in (None, *buffers)]
    writers += [lambda data=data: far_buffer(data) for data in outside]
    flat.point(places[4], flat.references(writers))
    for place, data in offsets:
        flat.pad(16)
        flat.raw[place : place + 8] = struct.pack("<Q", len(flat.raw))
        flat.raw += data
    return bytes(flat.raw)


def torch_pickle(storages, prefix=b"\x80\x02"):
    """The opcodes that `torch.save` writes for a dict of tensors: `{key: storage class}`."""
    out = prefix + b"}q\x00("
    for key, kind in storages.items():
        out += b"X" + struct.pack("<I", len(key)) + key.encode() + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += b"X\x07\x00\x00\x00storagectorch\n" + kind.encode() + b"\n"
        out += b"X" + struct.pack("<I", len(key)) + key.encode() + b"X\x03\x00\x00\x00cpuK\x04tQ"
        out += b"K\x00K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    return out + b"u."


def torch_zip(path, storages, program, byteorder=b"little", compression=0):
    """Write a `.pt` with `zipfile`; entries start at multiples of 64, as in PyTorch."""
    with zipfile.ZipFile(path, "w") as archive:
        entries = {"m/data.pkl": program, "m/byteorder": byteorder}
        entries |= {f"m/data/{key}": raw for key, raw in storages.items()} | {"m/version": b"3\n"}
        for name, raw in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression if name.startswith("m/data/") else 0
            assert archive.fp is not None
            begin = archive.fp.tell() + 30 + len(name) + 4
            info.extra = struct.pack("<2sH", b"FB", -begin % 64) + b"Z" * (-begin % 64)
            archive.writestr(info, raw)
    return path.read_bytes()
