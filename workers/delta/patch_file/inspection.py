"""Inspect a patch file: its index, and its notes on changed tensors."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdk_contract.patch import PatchCorrupt, PatchIndex, read_index
from workers.delta.patch_file.notes import MAX_NOTES_BYTES, read_notes
from workers.delta.patch_file.writer import TensorChange


@dataclass(frozen=True, slots=True)
class Inspection:
    """The contents of a patch file.

    Attributes:
        index: header and block records.
        format: format of the target file; `unknown` if the patch has no notes.
        unchanged: number of tensors that are copied whole.
        tensors: the changed tensors, in target order.
    """

    index: PatchIndex
    format: str
    unchanged: int
    tensors: tuple[TensorChange, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything as types that JSON has."""
        header = self.index.header
        return {
            "format": self.format,
            "source_size": header.source_size,
            "source_sha256": header.source_sha256.hex(),
            "target_size": header.target_size,
            "target_sha256": header.target_sha256.hex(),
            "patch_size": header.patch_size,
            "index_sha256": self.index.sha256.hex(),
            "reversible": header.reversible,
            "working_set": header.working_set,
            "blocks": dict(Counter(record.op.name.lower() for record in self.index.records)),
            "unchanged": self.unchanged,
            "tensors": [asdict(tensor) for tensor in self.tensors],
        }


def inspect_patch(path: Path) -> Inspection:
    """Read index and notes; no payload is decoded.

    Raises:
        PatchError: the file is not a patch, or is corrupt.
        OSError: the file cannot be read.
    """
    with path.open("rb") as patch:
        index = read_index(patch)
        if index.header.notes_size > MAX_NOTES_BYTES:
            raise PatchCorrupt(f"the notes are larger than {MAX_NOTES_BYTES} bytes")
        patch.seek(index.header.patch_size - index.header.notes_size)
        notes = patch.read(index.header.notes_size)
    if not notes:
        return Inspection(index, "unknown", 0, ())
    return Inspection(index, *read_notes(notes))
