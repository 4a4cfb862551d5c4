"""A model file several times over: large files for measurements, out of small real ones.

Every tile has the same tensors under names of its own, so that two files tiled alike are a pair like the small one.
"""

import json
import struct
from pathlib import Path
from typing import BinaryIO

from workers.delta.layouts import ggml, gguf, read_layout, safetensors
from workers.delta.layouts.layout import Tensor
from workers.delta.ranges import LocalFile

PIECE = 8 << 20
ALIGNMENT = 32
GGUF_VERSION = 3


class NotTileable(Exception):
    """A format that cannot be written here."""


def tile(path: Path, count: int, out: Path) -> None:
    """Write a safetensors or GGUF file's tensors `count` times.

    Raises:
        NotTileable: another format.
        OSError: a file cannot be read or written.
    """
    with LocalFile(path) as source, out.open("wb") as file:
        layout = read_layout(source)
        if layout.format == safetensors.FORMAT:
            _tile_safetensors(source, count, file)
        elif layout.format == gguf.FORMAT:
            _tile_gguf(source, layout.tensors, count, file)
        else:
            raise NotTileable(layout.format)


def _tile_safetensors(source: LocalFile, count: int, file: BinaryIO) -> None:
    (length,) = struct.unpack("<Q", source.read(0, 8))
    header = json.loads(source.read(8, length))
    begin, size = 8 + length, source.size - 8 - length
    tiled = {}
    for number in range(count):
        for name, entry in header.items():
            if name != "__metadata__":
                offsets = [offset + number * size for offset in entry["data_offsets"]]
                tiled[f"tile{number}.{name}"] = entry | {"data_offsets": offsets}
    text = json.dumps(tiled, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _ in range(count):
        _copy(source, begin, size, file)


def _tile_gguf(source: LocalFile, tensors: tuple[Tensor, ...], count: int, file: BinaryIO) -> None:
    numbers = {block.dtype: number for number, block in ggml.TYPES.items()}
    records, at = [], 0
    for tile_number in range(count):
        for tensor in tensors:
            name = f"tile{tile_number}.{tensor.name}".encode()
            shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *reversed(tensor.shape))
            place = struct.pack("<IQ", numbers[tensor.dtype], at)
            records.append(struct.pack("<Q", len(name)) + name + shape + place)
            at += tensor.size + -tensor.size % ALIGNMENT
    counts = struct.pack("<IQQ", GGUF_VERSION, len(records), 0)
    head = gguf.MAGIC + counts + b"".join(records)
    file.write(head + bytes(-len(head) % ALIGNMENT))
    for _ in range(count):
        for tensor in tensors:
            _copy(source, tensor.offset, tensor.size, file)
            file.write(bytes(-tensor.size % ALIGNMENT))


def _copy(source: LocalFile, begin: int, size: int, file: BinaryIO) -> None:
    file.writelines(source.read(begin + at, min(PIECE, size - at)) for at in range(0, size, PIECE))
