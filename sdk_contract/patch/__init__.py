"""Patches in the `GLP1` format: checks and applies them on a device (see `README.md`)."""

from sdk_contract.patch.apply import Applier
from sdk_contract.patch.container import BlockRecord, Header, PatchLimits, parse_header
from sdk_contract.patch.errors import (
    BaseMismatch,
    BaseMissing,
    IndexMismatch,
    NotReversible,
    PatchCorrupt,
    PatchError,
    PatchTooLarge,
    PatchTruncated,
    PatchUnsupported,
    TargetMismatch,
)
from sdk_contract.patch.files import AppliedPatch, FileRange, apply_patch
from sdk_contract.patch.index import PatchIndex, parse_index
from sdk_contract.patch.reverse import read_index, reverse_patch

__all__ = [
    "AppliedPatch",
    "Applier",
    "BaseMismatch",
    "BaseMissing",
    "BlockRecord",
    "FileRange",
    "Header",
    "IndexMismatch",
    "NotReversible",
    "PatchCorrupt",
    "PatchError",
    "PatchIndex",
    "PatchLimits",
    "PatchTooLarge",
    "PatchTruncated",
    "PatchUnsupported",
    "TargetMismatch",
    "apply_patch",
    "parse_header",
    "parse_index",
    "read_index",
    "reverse_patch",
]
