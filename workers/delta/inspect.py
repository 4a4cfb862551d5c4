"""Looking into a patch file: its index, and its notes on what happened to which tensor."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdk_contract.patch import PatchCorrupt, PatchIndex, read_index
from workers.delta.notes import MAX_NOTES, read_notes
from workers.delta.writer import TensorChange


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in a patch file.

    Attributes:
        index: header and blocks.
        format: of the target file.
        unchanged: tensors that are copied whole.
        tensors: the others, in target order.
    """

    index: PatchIndex
    format: str
    unchanged: int
    tensors: tuple[TensorChange, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON's types."""
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
        PatchError: the file is not a patch, or damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as patch:
        index = read_index(patch)
        if index.header.notes_size > MAX_NOTES:
            raise PatchCorrupt("notes of an absurd size")
        patch.seek(index.header.patch_size - index.header.notes_size)
        notes = patch.read(index.header.notes_size)
    if not notes:
        return Inspection(index, "unknown", 0, ())
    return Inspection(index, *read_notes(notes))
