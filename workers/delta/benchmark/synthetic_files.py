"""Write large model files for measurements by repeating the tensors of small real ones.

Each copy has the same tensors under new names, so two files repeated equally often are a pair like the original.
"""

import json
import struct
from pathlib import Path
from typing import BinaryIO

from workers.delta.layouts import read_layout
from workers.delta.layouts.formats import ggml, gguf, safetensors
from workers.delta.layouts.layout import Tensor
from workers.delta.local_file import LocalFile

CHUNK_BYTES = 8 << 20
ALIGNMENT = 32
GGUF_VERSION = 3


class UnsupportedFormat(Exception):
    """Files of this format cannot be written here."""


def write_repeated(path: Path, count: int, out: Path) -> None:
    """Write a safetensors or GGUF file's tensors `count` times.

    Raises:
        UnsupportedFormat: the file has another format.
        OSError: a file cannot be read or written.
    """
    with LocalFile(path) as source, out.open("wb") as file:
        layout = read_layout(source)
        if layout.format == safetensors.FORMAT:
            _repeat_safetensors(source, count, file)
        elif layout.format == gguf.FORMAT:
            _repeat_gguf(source, layout.tensors, count, file)
        else:
            raise UnsupportedFormat(layout.format)


def _repeat_safetensors(source: LocalFile, count: int, file: BinaryIO) -> None:
    (length,) = struct.unpack("<Q", source.read(0, 8))
    header = json.loads(source.read(8, length))
    begin, size = 8 + length, source.size - 8 - length
    repeated = {}
    for number in range(count):
        for name, entry in header.items():
            if name != "__metadata__":
                offsets = [offset + number * size for offset in entry["data_offsets"]]
                repeated[f"copy{number}.{name}"] = entry | {"data_offsets": offsets}
    text = json.dumps(repeated, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _ in range(count):
        _copy(source, begin, size, file)


def _repeat_gguf(source: LocalFile, tensors: tuple[Tensor, ...], count: int, file: BinaryIO) -> None:
    type_numbers = {block.dtype: number for number, block in ggml.TYPES.items()}
    records, offset = [], 0
    for number in range(count):
        for tensor in tensors:
            name = f"copy{number}.{tensor.name}".encode()
            shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *reversed(tensor.shape))
            type_and_offset = struct.pack("<IQ", type_numbers[tensor.dtype], offset)
            records.append(struct.pack("<Q", len(name)) + name + shape + type_and_offset)
            offset += tensor.size + -tensor.size % ALIGNMENT
    counts = struct.pack("<IQQ", GGUF_VERSION, len(records), 0)
    head = gguf.MAGIC + counts + b"".join(records)
    file.write(head + bytes(-len(head) % ALIGNMENT))
    for _ in range(count):
        for tensor in tensors:
            _copy(source, tensor.offset, tensor.size, file)
            file.write(bytes(-tensor.size % ALIGNMENT))


def _copy(source: LocalFile, begin: int, size: int, file: BinaryIO) -> None:
    file.writelines(
        source.read(begin + at, min(CHUNK_BYTES, size - at)) for at in range(0, size, CHUNK_BYTES)
    )
