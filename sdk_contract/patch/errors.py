"""What can be wrong with a patch or its source: one class, one code, one number each."""

from sdk_contract.errors import ContractError, Reaction


class PatchError(ContractError):
    """A patch cannot be used; the device falls back to the full file."""

    code = "patch"
    number = 3000
    reaction = Reaction.FULL


class BaseMissing(PatchError):
    """The source file, or a range of it, cannot be read."""

    code = "base_missing"
    number = 3001


class BaseMismatch(PatchError):
    """The source bytes are not those that the patch was made from."""

    code = "base_mismatch"
    number = 3002


class PatchCorrupt(PatchError):
    """The patch breaks its format, or a payload does not have its digest."""

    code = "patch_corrupt"
    number = 3003


class PatchTooLarge(PatchError):
    """The patch asks for more memory or bytes than the reader allows."""

    code = "patch_too_large"
    number = 3004


class PatchUnsupported(PatchError):
    """The patch uses a version, flag, operation, element or codec that this reader does not know."""

    code = "patch_unsupported"
    number = 3005


class PatchTruncated(PatchError):
    """The patch ended before its last block."""

    code = "patch_truncated"
    number = 3006


class TargetMismatch(PatchError):
    """The bytes produced, or those found at a resume, are not the target's."""

    code = "target_mismatch"
    number = 3007


class IndexMismatch(PatchError):
    """Header and index do not have the digest that the signed descriptor names."""

    code = "index_mismatch"
    number = 3008


class NotReversible(PatchError):
    """The patch holds blocks that cannot take the new file back to the old one."""

    code = "not_reversible"
    number = 3009
