"""What a malicious server changes in a genuine response. Every default leaves the response unchanged."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sdk_contract.documents import Directive, Manifest, PatchDescriptor

Fields = dict[str, Any]
EditFields = Callable[[Fields], Fields]
EditBytes = Callable[[bytes], bytes]


def unchanged_fields(fields: Fields) -> Fields:
    """Change nothing."""
    return fields


def unchanged_bytes(data: bytes) -> bytes:
    """Change nothing."""
    return data


@dataclass(slots=True)
class Forgery:
    """How documents of one kind are forged.

    Attributes:
        payload_type: genuine type of the document.
        signers: names of the keys that sign.
        fields: edits the fields before they are serialized.
        payload: edits the payload before it is signed.
        signed_type: type that is signed, if not `payload_type`.
        claimed_type: type that the envelope states, if not `payload_type`.
        envelope: edits the envelope after it was signed.
    """

    payload_type: str
    signers: tuple[str, ...]
    fields: EditFields = unchanged_fields
    payload: EditBytes = unchanged_bytes
    signed_type: str | None = None
    claimed_type: str | None = None
    envelope: EditFields = unchanged_fields


def _directive() -> Forgery:
    return Forgery(Directive.payload_type, ("director",))


def _manifest() -> Forgery:
    return Forgery(Manifest.payload_type, ("publisher",))


def _patch() -> Forgery:
    return Forgery(PatchDescriptor.payload_type, ("patcher",))


@dataclass(slots=True)
class Tampering:
    """Everything that one fake server tampers with.

    Attributes:
        option: edits each download option after its descriptor was signed.
        response: edits the whole poll response before it is serialized.
        response_bytes: edits the bytes of the poll response.
        trust_chain: envelopes that `/v1/trust` serves instead of the genuine ones.
    """

    directive: Forgery = field(default_factory=_directive)
    manifest: Forgery = field(default_factory=_manifest)
    patch: Forgery = field(default_factory=_patch)
    option: EditFields = unchanged_fields
    response: EditFields = unchanged_fields
    response_bytes: EditBytes = unchanged_bytes
    trust_chain: list[bytes] | None = None
