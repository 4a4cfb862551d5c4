"""Patches in the `GLP1` container: what a device needs to check and apply one (see `README.md`)."""

from sdk_contract.patch.apply import Applier
from sdk_contract.patch.container import Header, Limits, Record, parse_header
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
from sdk_contract.patch.index import PatchIndex, open_patch
from sdk_contract.patch.reverse import read_index, reverse_patch

__all__ = [
    "AppliedPatch",
    "Applier",
    "BaseMismatch",
    "BaseMissing",
    "FileRange",
    "Header",
    "IndexMismatch",
    "Limits",
    "NotReversible",
    "PatchCorrupt",
    "PatchError",
    "PatchIndex",
    "PatchTooLarge",
    "PatchTruncated",
    "PatchUnsupported",
    "Record",
    "TargetMismatch",
    "apply_patch",
    "open_patch",
    "parse_header",
    "read_index",
    "reverse_patch",
]
