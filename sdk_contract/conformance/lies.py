"""What an evil server changes of an honest answer: everything here is the identity until a scenario says otherwise."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sdk_contract.documents import Directive, Manifest, PatchDescriptor

Fields = dict[str, Any]
Edit = Callable[[Fields], Fields]
EditBytes = Callable[[bytes], bytes]


def same_fields(fields: Fields) -> Fields:
    """No lie."""
    return fields


def same_bytes(data: bytes) -> bytes:
    """No lie."""
    return data


@dataclass(slots=True)
class Forgery:
    """How one kind of document departs from the truth.

    Attributes:
        fields: before it is written.
        payload: after it is written, before it is signed.
        signers: names of keys.
        label: the type that the envelope claims, where it differs from the one signed.
        envelope: after it is signed.
    """

    kind: str
    signers: tuple[str, ...]
    fields: Edit = same_fields
    payload: EditBytes = same_bytes
    signed_as: str | None = None
    label: str | None = None
    envelope: Edit = same_fields


def _directive() -> Forgery:
    return Forgery(Directive.payload_type, ("director",))


def _manifest() -> Forgery:
    return Forgery(Manifest.payload_type, ("publisher",))


def _patch() -> Forgery:
    return Forgery(PatchDescriptor.payload_type, ("patcher",))


@dataclass(slots=True)
class Lies:
    """All that one server may be lying about.

    Attributes:
        way: of one component, after its descriptor was signed.
        answer: the whole answer, before it is written.
        body: the answer's bytes.
        chain: what `/v1/trust` serves instead of the chain.
    """

    directive: Forgery = field(default_factory=_directive)
    manifest: Forgery = field(default_factory=_manifest)
    patch: Forgery = field(default_factory=_patch)
    way: Edit = same_fields
    answer: Edit = same_fields
    body: EditBytes = same_bytes
    chain: list[bytes] | None = None


@dataclass(slots=True)
class Fault:
    """What goes wrong with one exchange, of an object or of the API.

    Attributes:
        status: instead of the answer.
        headers: on top of the usual ones.
        body: instead of what was asked for.
        ignore_range: answer 200 with the whole object.
        shift: bytes by which the range served differs from the one asked for.
        claim: `Content-Length` says this many bytes more than come.
        flip: offset of a byte that arrives wrong.
        cut: bytes of the body after which the connection ends.
        stall: the same, but it stays open and silent.
        drip: bytes per second.
        endless: bytes of junk behind the end, as many as the other side takes.
        lose: the request is carried out, the answer never comes.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    ignore_range: bool = False
    shift: int = 0
    claim: int = 0
    flip: int | None = None
    cut: int | None = None
    stall: int | None = None
    drip: int | None = None
    endless: bool = False
    lose: bool = False
