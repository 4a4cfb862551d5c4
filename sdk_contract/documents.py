"""The four signed documents, their fields, and the one way to open each.

Times are strings `YYYY-MM-DDTHH:MM:SSZ`, always UTC and always of this length, so that a client in
C compares them with `strcmp`. Digests are 64 lower-case hex digits. Unknown fields are refused but
under `ext`, where anything may stand that an older client can ignore.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from sdk_contract import strict_json
from sdk_contract.envelope import Role, key_id, peek, unseal
from sdk_contract.errors import Expired, Malformed, TrustChainBroken
from sdk_contract.fields import Checked, Rule, length, number, read_object, text, within
from sdk_contract.writing import Written

Sha256 = Annotated[str, text(r"^[0-9a-f]{64}$")]
Timestamp = Annotated[
    str,
    # Not `\d`, which is any digit of any script here, and only 0 to 9 elsewhere. Years 2000 to 2999: adding a
    # few seconds to the last moment of 9999, or reading one before 1970, fails in half of all libraries.
    text(r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"),
    # 30 February would be one string to compare and another failure in every library.
    Rule(datetime.fromisoformat, {}),
]
Name = Annotated[str, text(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Label = Annotated[str, text(r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$")]
FileName = Annotated[str, text(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
DeviceId = Annotated[str, text(r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
KeyId = Annotated[str, text(r"^[0-9a-f]{16}$")]
PublicKey = Annotated[str, text(r"^[A-Za-z0-9+/]{43}=$")]
Counter = Annotated[int, number(0, 2**53)]
Size = Annotated[int, number(0, 2**53)]
Short = Annotated[str, length(0, 64)]

RoleName = Literal["root", "publisher", "director", "patcher"]
Action = Literal["install", "rollback", "hold", "none"]


def timestamp(moment: datetime) -> str:
    """`moment` in the one spelling of the documents, cut to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Document(Written):
    """Base of the four: frozen, exact, with one byte form.

    Attributes:
        payload_type: what the envelope says it holds.
        role: whose signature counts.
        limit: bound of the envelope in bytes.
        ext: additions that an older client may ignore.
    """

    payload_type: ClassVar[str]
    role: ClassVar[RoleName]
    limit: ClassVar[int]

    ext: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, envelope: bytes, role: Role) -> Self:
        """The document in `envelope`, once `role` vouches for it; expiry is the caller's question.

        Raises:
            ContractError: any of `envelope.unseal`, and `Malformed` for wrong fields.
        """
        return cls.from_payload(unseal(envelope, cls.payload_type, role, limit=cls.limit))

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Parse bytes that have been verified already.

        Raises:
            Malformed: not strict JSON, or not the fields of this document.
        """
        found: Self = read_object(cls, strict_json.loads(payload, limit=cls.limit))
        return found


@dataclass(frozen=True, kw_only=True)
class RoleKeys(Checked):
    """The keys of a role and how many different ones must sign."""

    keys: Annotated[list[KeyId], length(1, 16)]
    threshold: Annotated[int, within(1, 16)]


@dataclass(frozen=True, kw_only=True)
class Key(Checked):
    """One public key, raw bytes in base64."""

    alg: Literal["ed25519"] = "ed25519"
    public: PublicKey


@dataclass(frozen=True, kw_only=True)
class TrustBundle(Document):
    """Who may sign what; N+1 is believed when the roots of N and of N+1 have signed it."""

    payload_type: ClassVar[str] = "application/vnd.graylag.trust.v1+json"
    role: ClassVar[RoleName] = "root"
    limit: ClassVar[int] = 32 * 1024

    version: Counter
    expires: Timestamp
    keys: dict[KeyId, Key]
    roles: dict[RoleName, RoleKeys]

    def for_role(self, name: RoleName) -> Role:
        """The keys and threshold that count for documents of a role.

        Raises:
            Malformed: the bundle has no such role, or names a key that it does not hold.
        """
        try:
            entry = self.roles[name]
            held = {keyid: base64.b64decode(self.keys[keyid].public) for keyid in entry.keys}
        except KeyError as error:
            raise Malformed(f"the trust bundle lacks {error} for role {name}") from error
        return Role(held, entry.threshold)

    @classmethod
    def open_first(cls, envelope: bytes) -> Self:
        """The bundle that came with the app: it vouches for itself, so its channel must be trusted.

        Raises:
            ContractError: as `open`.
        """
        claimed = cls.from_payload(peek(envelope, limit=cls.limit))
        return cls.open(envelope, claimed.for_role("root"))

    def open_next(self, envelope: bytes) -> Self:
        """The successor of this bundle.

        Raises:
            TrustChainBroken: not version N+1.
            ContractError: not signed by the threshold of N's root and of N+1's root.
        """
        successor = self.open(envelope, self.for_role("root"))
        self.open(envelope, successor.for_role("root"))
        if successor.version != self.version + 1:
            raise TrustChainBroken(f"version {successor.version} does not follow {self.version}")
        return successor


@dataclass(frozen=True, kw_only=True)
class Component(Checked):
    """One file of a variant.

    Attributes:
        name: what it is: `backbone`, `vision`, `tokenizer`, ...
        path: file name that the runtime sees; a base name, never a path.
        size: bytes; a hard stop for every download.
        sha256: of the file.
        format: what the server found inside; for information.
    """

    name: Name
    path: FileName
    size: Size
    sha256: Sha256
    format: Name = "opaque"


@dataclass(frozen=True, kw_only=True)
class Variant(Checked):
    """One build of a version for a class of device.

    Attributes:
        selector: cohort-rule JSON over device attributes; empty matches every device.
        priority: the highest that matches wins.
    """

    name: Name
    selector: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    components: Annotated[list[Component], length(1, 64)]


@dataclass(frozen=True, kw_only=True)
class Manifest(Document):
    """What a version is: the publisher's word, valid on every device and for ever addressed by digest."""

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
        """Read the fields; a directive names a variant, so a name has to mean one.

        Raises:
            Malformed: a field is not as its annotation says, or two variants have one name.
        """
        super().__post_init__()
        if len({variant.name for variant in self.variants}) != len(self.variants):
            raise Malformed("variants: two have the same name")

    def variant(self, name: str) -> Variant | None:
        """The variant of that name, if the manifest has it."""
        return next((variant for variant in self.variants if variant.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Bytes(Checked):
    """A file by its content."""

    sha256: Sha256
    size: Size


@dataclass(frozen=True, kw_only=True)
class PatchDescriptor(Document):
    """A patch as its builder proved it; the target still has to be one that a manifest names."""

    payload_type: ClassVar[str] = "application/vnd.graylag.patch.v1+json"
    role: ClassVar[RoleName] = "patcher"
    limit: ClassVar[int] = 16 * 1024

    format: Literal["glp1", "bsdiff40"]
    source: Bytes
    target: Bytes
    patch: Bytes
    index_sha256: Sha256 | None = None
    working_set: Size
    issued: Timestamp


@dataclass(frozen=True, kw_only=True)
class Directive(Document):
    """What one device shall do now, in answer to one request.

    Attributes:
        nonce: echo of the request's nonce, or empty where it sent none.
        request_sha256: of the request body, byte for byte.
        manifest_sha256: digest of the manifest's payload; with `install` and `rollback`.
        variant: which build of it.
        ext: `activation: hold` stops the device at `STAGED` until a later directive for the attempt lacks it; only
            clients that announce the feature `hold` are told so. `retry: true` lets a version be tried again.
    """

    payload_type: ClassVar[str] = "application/vnd.graylag.directive.v1+json"
    role: ClassVar[RoleName] = "director"
    limit: ClassVar[int] = 16 * 1024

    device_id: DeviceId
    model: Name
    nonce: Short = ""
    request_sha256: Sha256
    action: Action
    reason: Short
    manifest_sha256: Sha256 | None = None
    variant: Name | None = None
    attempt_id: Short | None = None
    next_poll_s: Annotated[int, within(0, 7 * 86400)]
    issued: Timestamp
    expires: Timestamp


def require_fresh(document: TrustBundle | Manifest | Directive, now: datetime) -> None:
    """Refuse a document whose time is over, for new installs only: what runs keeps running.

    Raises:
        Expired: `now` is at or after `expires`.
    """
    if timestamp(now) >= document.expires:
        raise Expired(f"{type(document).__name__} expired at {document.expires}")


def public_key_entry(public_key: bytes) -> tuple[str, Key]:
    """A raw public key as the trust bundle lists it: its id and its entry."""
    return key_id(public_key), Key(public=base64.b64encode(public_key).decode())


def payload_digest(envelope: bytes, *, limit: int = Manifest.limit) -> str:
    """SHA-256 of an envelope's payload, hex: how a directive names a manifest. Proves nothing alone.

    Raises:
        Oversize, Malformed: as `envelope.peek`.
    """
    return hashlib.sha256(peek(envelope, limit=limit)).hexdigest()
