"""Small writers of model files for the tests: right by construction, and easy to break on purpose."""

import json
import struct
from dataclasses import dataclass


@dataclass
class Bytes:
    """A file in memory that counts what is read of it."""

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
    """A huge file of which only the beginning is kept; the rest is zeros."""

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
