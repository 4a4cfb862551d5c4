"""Notes for people behind the last payload: what happened to which tensor. A device never fetches them."""

import json
from typing import Any

import zstandard

from sdk_contract.patch.errors import PatchCorrupt
from workers.delta.writer import TensorChange

# Higher ones search for seconds in the notes of ten thousand tensors, while no core has anything else to do, and find
# no more: columns of numbers and of names that differ in a digit.
LEVEL = 9
MAX_NOTES = 64 << 20


def pack_notes(format_name: str, tensors: tuple[TensorChange, ...]) -> bytes:
    """The notes as they stand in the patch: one Zstandard frame of JSON, column by column."""
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
    return zstandard.ZstdCompressor(level=LEVEL).compress(text)


def read_notes(data: bytes) -> tuple[str, int, tuple[TensorChange, ...]]:
    """The file format, how many tensors are unchanged, and the others.

    Raises:
        PatchCorrupt: the notes are damaged.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MAX_NOTES:
            raise PatchCorrupt("notes of no or too large a size")
        table = json.loads(zstandard.ZstdDecompressor().decompress(data, max_output_size=size))
        columns = [table[key] for key in ("names", "sizes", "values", "changed", "costs", "ops")]
        rows = list(zip(*columns, strict=True))
        return str(table["format"]), int(table["unchanged"]), tuple(_tensor(row) for row in rows)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PatchCorrupt(f"damaged notes: {error}") from None


def _tensor(row: tuple[Any, ...]) -> TensorChange:
    name, size, values, changed, cost, ops = row
    each = {ops: size} if isinstance(ops, str) else ops
    return TensorChange(str(name), int(size), int(values), int(changed), int(cost), each)
