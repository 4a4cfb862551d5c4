"""The four signed documents: their fields and how to verify each.

- Times are strings `YYYY-MM-DDTHH:MM:SSZ`, always in UTC. The length is fixed, so a C client compares them with `strcmp`.
- Digests are 64 lowercase hex digits.
- An unknown field is an error, except below `ext`, where a newer server may put what an older client can ignore.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from sdk_contract import strict_json
from sdk_contract.envelope import Role, key_id, unverified_payload, verify_envelope
from sdk_contract.errors import Expired, Malformed, TrustChainBroken
from sdk_contract.formats import PatchFormat
from sdk_contract.signing import SignedDocument
from sdk_contract.validation import Constraint, Validated, between, length, parse_object, pattern

Sha256 = Annotated[str, pattern(r"^[0-9a-f]{64}$")]
Timestamp = Annotated[
    str,
    # `[0-9]`, because Python's `\d` also matches digits of other scripts. Only the years 2000 to 2999, because many
    # libraries fail on times before 1970 or on sums that pass the year 9999.
    pattern(r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"),
    # Rejects dates that do not exist, such as 30 February, because libraries disagree about them.
    Constraint(datetime.fromisoformat, {}),
]
Name = Annotated[str, pattern(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Label = Annotated[str, pattern(r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$")]
FileName = Annotated[str, pattern(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
DeviceId = Annotated[str, pattern(r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
KeyId = Annotated[str, pattern(r"^[0-9a-f]{16}$")]
PublicKey = Annotated[str, pattern(r"^[A-Za-z0-9+/]{43}=$")]
Counter = Annotated[int, between(0, strict_json.MAX_INTEGER)]
Size = Annotated[int, between(0, strict_json.MAX_INTEGER)]
ShortText = Annotated[str, length(0, 64)]

RoleName = Literal["root", "publisher", "director", "patcher"]
Action = Literal["install", "rollback", "pause", "none"]


def format_timestamp(moment: datetime) -> str:
    """`moment` as documents write it, in UTC, truncated to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Document(SignedDocument):
    """Base of the four documents.

    Attributes:
        payload_type: media type of the payload, as the envelope states it.
        role: the role that must sign the document.
        limit: maximum size of the envelope in bytes.
        ext: additions that an older client may ignore.
    """

    payload_type: ClassVar[str]
    role: ClassVar[RoleName]
    limit: ClassVar[int]

    ext: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_envelope(cls, envelope: bytes, role: Role) -> Self:
        """Verify the signatures of `envelope` by `role`, then parse its payload. Does not check the expiry.

        Raises:
            ContractError: an error of `envelope.verify_envelope`, or `Malformed` for invalid fields.
        """
        return cls.from_payload(verify_envelope(envelope, cls.payload_type, role, limit=cls.limit))

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Parse a payload whose signatures have already been verified.

        Raises:
            Malformed: the payload is not strict JSON, or its fields are invalid.
        """
        document: Self = parse_object(cls, strict_json.loads(payload, limit=cls.limit))
        return document


@dataclass(frozen=True, kw_only=True)
class RoleKeys(Validated):
    """The keys of a role, and how many different ones must sign."""

    keys: Annotated[list[KeyId], length(1, 16)]
    threshold: Annotated[int, between(1, 16)]


@dataclass(frozen=True, kw_only=True)
class Key(Validated):
    """One public key: raw bytes in base64."""

    alg: Literal["ed25519"] = "ed25519"
    public: PublicKey


@dataclass(frozen=True, kw_only=True)
class TrustBundle(Document):
    """The keys and thresholds of every role. A device accepts version N+1 if the roots of N and of N+1 signed it."""

    payload_type: ClassVar[str] = "application/vnd.graylag.trust.v1+json"
    role: ClassVar[RoleName] = "root"
    limit: ClassVar[int] = 32 * 1024

    version: Counter
    expires: Timestamp
    keys: dict[KeyId, Key]
    roles: dict[RoleName, RoleKeys]

    def for_role(self, name: RoleName) -> Role:
        """The keys and the threshold that verify documents of role `name`.

        Raises:
            Malformed: the bundle lacks the role or one of its keys.
        """
        try:
            entry = self.roles[name]
            keys = {keyid: base64.b64decode(self.keys[keyid].public) for keyid in entry.keys}
        except KeyError as error:
            raise Malformed(f"the trust bundle lacks {error} for role {name}") from error
        return Role(keys, entry.threshold)

    @classmethod
    def from_initial_envelope(cls, envelope: bytes) -> Self:
        """Verify the shipped bundle with its own root keys; it must have arrived through a trusted channel."""
        claimed = cls.from_payload(unverified_payload(envelope, limit=cls.limit))
        return cls.from_envelope(envelope, claimed.for_role("root"))

    def verify_successor(self, envelope: bytes) -> Self:
        """Verify the trust bundle that follows this one.

        Raises:
            TrustChainBroken: its version is not N+1.
            ContractError: the root threshold of N or of N+1 is not met.
        """
        successor = self.from_envelope(envelope, self.for_role("root"))
        self.from_envelope(envelope, successor.for_role("root"))
        if successor.version != self.version + 1:
            raise TrustChainBroken(f"version {successor.version} does not follow {self.version}")
        return successor


@dataclass(frozen=True, kw_only=True)
class Component(Validated):
    """One file of a variant.

    Attributes:
        name: role of the file, for example `backbone`, `vision` or `tokenizer`.
        path: file name that the runtime opens; never contains a folder.
        size: bytes; a hard limit for every download.
        sha256: digest of the file.
        format: file format that the server detected; informational.
    """

    name: Name
    path: FileName
    size: Size
    sha256: Sha256
    format: Name = "opaque"


@dataclass(frozen=True, kw_only=True)
class Variant(Validated):
    """One build of a version for a class of devices.

    Attributes:
        selector: cohort rule (JSON) over device attributes; empty matches every device.
        priority: the matching variant with the highest priority wins.
    """

    name: Name
    selector: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    components: Annotated[list[Component], length(1, 64)]


@dataclass(frozen=True, kw_only=True)
class Manifest(Document):
    """The content of a version, signed by the publisher. The same for every device; addressed by its digest.

    Attributes:
        counter: rises with every version of the model; rollback protection compares it.
        floor: minimum counter that a device accepts after it installed this version.
    """

    payload_type: ClassVar[str] = "application/vnd.graylag.manifest.v1+json"
    role: ClassVar[RoleName] = "publisher"
    limit: ClassVar[int] = 64 * 1024

    model: Name
    version: Label
    counter: Counter
    floor: Counter = 0
    variants: Annotated[list[Variant], length(1, 64)]
    requires: dict[str, str] = field(default_factory=dict)
    issued: Timestamp
    expires: Timestamp

    def __post_init__(self) -> None:
        """Validate the fields, and that variant names are unique, because a directive names a variant."""
        super().__post_init__()
        if len({variant.name for variant in self.variants}) != len(self.variants):
            raise Malformed("variants: two variants share a name")

    def variant(self, name: str) -> Variant | None:
        """The variant called `name`, or None."""
        return next((variant for variant in self.variants if variant.name == name), None)


@dataclass(frozen=True, kw_only=True)
class FileDigest(Validated):
    """Digest and size of a file."""

    sha256: Sha256
    size: Size


@dataclass(frozen=True, kw_only=True)
class PatchDescriptor(Document):
    """A patch and the files that it connects, signed by the patcher. The manifest must still name the target file.

    Attributes:
        index_sha256: digest of the patch's header and index; absent for formats without an index.
        working_set: bytes of memory that applying the patch takes.
    """

    payload_type: ClassVar[str] = "application/vnd.graylag.patch.v1+json"
    role: ClassVar[RoleName] = "patcher"
    limit: ClassVar[int] = 16 * 1024

    format: PatchFormat
    source: FileDigest
    target: FileDigest
    patch: FileDigest
    index_sha256: Sha256 | None = None
    working_set: Size
    issued: Timestamp


@dataclass(frozen=True, kw_only=True)
class Directive(Document):
    """What one device must do now; the signed response to one poll.

    Attributes:
        nonce: the poll's nonce; empty if the poll had none.
        request_sha256: digest of the poll's body, byte for byte.
        action: `install` or `rollback` to the named version, `pause` (change nothing, also no open attempt), or `none`.
        manifest_sha256: digest of the manifest's payload; present with `install` and `rollback`.
        variant: the variant of the manifest that this device installs.
        ext: `activation: deferred` makes the device wait in `STAGED` until a directive for the same attempt comes
            without it; only sent to clients that announce the feature `deferred_activation`. `retry: true` allows
            a version that failed on this device before.
    """

    payload_type: ClassVar[str] = "application/vnd.graylag.directive.v1+json"
    role: ClassVar[RoleName] = "director"
    limit: ClassVar[int] = 16 * 1024

    device_id: DeviceId
    model: Name
    nonce: ShortText = ""
    request_sha256: Sha256
    action: Action
    reason: ShortText
    manifest_sha256: Sha256 | None = None
    variant: Name | None = None
    attempt_id: ShortText | None = None
    next_poll_s: Annotated[int, between(0, 7 * 86400)]
    issued: Timestamp
    expires: Timestamp


def check_not_expired(document: TrustBundle | Manifest | Directive, now: datetime) -> None:
    """Reject an expired document. Expiry blocks new installs only; the running version is never affected.

    Raises:
        Expired: `now` is at or after `expires`.
    """
    if format_timestamp(now) >= document.expires:
        raise Expired(f"{type(document).__name__} expired at {document.expires}")


def public_key_entry(public_key: bytes) -> tuple[str, Key]:
    """The key id and the trust bundle's entry of a raw public key."""
    return key_id(public_key), Key(public=base64.b64encode(public_key).decode())


def payload_digest(envelope: bytes, *, limit: int = Manifest.limit) -> str:
    """SHA-256 of an envelope's payload in hex, as a directive names a manifest. Does not verify the envelope.

    Raises:
        Oversize, Malformed: as `envelope.unverified_payload`.
    """
    return hashlib.sha256(unverified_payload(envelope, limit=limit)).hexdigest()
