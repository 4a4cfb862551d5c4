"""The notes after the last payload: what changed in which tensor, for people. A device never downloads them."""

import json
from typing import Any

import zstandard

from sdk_contract.patch.errors import PatchCorrupt
from workers.delta.patch_file.writer import TensorChange

# Higher levels take seconds for the notes of ten thousand tensors, on the critical path, and save nothing.
ZSTD_LEVEL = 9
MAX_NOTES_BYTES = 64 << 20


def pack_notes(format_name: str, tensors: tuple[TensorChange, ...]) -> bytes:
    """Encode the notes as one Zstandard frame of JSON with one list per column."""
    changed = [tensor for tensor in tensors if set(tensor.ops) - {"copy"}]
    table = {
        "format": format_name,
        "unchanged": len(tensors) - len(changed),
        "names": [tensor.name for tensor in changed],
        "sizes": [tensor.size for tensor in changed],
        "values": [tensor.values for tensor in changed],
        "changed": [tensor.changed for tensor in changed],
        "costs": [tensor.cost for tensor in changed],
        "ops": [tensor.ops if len(tensor.ops) > 1 else next(iter(tensor.ops), "") for tensor in changed],
    }
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(text)


def read_notes(data: bytes) -> tuple[str, int, tuple[TensorChange, ...]]:
    """Return the file format, the number of unchanged tensors, and the changed tensors.

    Raises:
        PatchCorrupt: the notes are malformed.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MAX_NOTES_BYTES:
            raise PatchCorrupt("the notes have no size, or a size above the limit")
        table = json.loads(zstandard.ZstdDecompressor().decompress(data, max_output_size=size))
        columns = [table[key] for key in ("names", "sizes", "values", "changed", "costs", "ops")]
        rows = list(zip(*columns, strict=True))
        return str(table["format"]), int(table["unchanged"]), tuple(_tensor_change(row) for row in rows)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PatchCorrupt(f"the notes are malformed: {error}") from None


def _tensor_change(row: tuple[Any, ...]) -> TensorChange:
    name, size, values, changed, cost, ops = row
    bytes_by_op = {ops: size} if isinstance(ops, str) else ops
    return TensorChange(str(name), int(size), int(values), int(changed), int(cost), bytes_by_op)
