"""Errors of patches and their sources; each class has a code and a number."""

from sdk_contract.errors import ContractError, Reaction


class PatchError(ContractError):
    """A patch cannot be used; the device downloads the full file instead."""

    code = "patch"
    number = 3000
    reaction = Reaction.FULL_DOWNLOAD


class BaseMissing(PatchError):
    """The source file, or a range of it, is missing or cannot be read."""

    code = "base_missing"
    number = 3001


class BaseMismatch(PatchError):
    """The source file is not the one that the patch was built from."""

    code = "base_mismatch"
    number = 3002


class PatchCorrupt(PatchError):
    """The patch violates the format, or a payload has the wrong digest."""

    code = "patch_corrupt"
    number = 3003


class PatchTooLarge(PatchError):
    """The patch needs more memory or bytes than the reader allows."""

    code = "patch_too_large"
    number = 3004


class PatchUnsupported(PatchError):
    """The patch uses an unknown version, flag, operation, element or codec."""

    code = "patch_unsupported"
    number = 3005


class PatchTruncated(PatchError):
    """The patch ends before its last block."""

    code = "patch_truncated"
    number = 3006


class TargetMismatch(PatchError):
    """The result, or the part found at a resume, has the wrong digest."""

    code = "target_mismatch"
    number = 3007


class IndexMismatch(PatchError):
    """The header and index do not have the digest from the signed descriptor."""

    code = "index_mismatch"
    number = 3008


class NotReversible(PatchError):
    """The patch has blocks that cannot restore the old file from the new one."""

    code = "not_reversible"
    number = 3009
