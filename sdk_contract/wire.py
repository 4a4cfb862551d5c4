"""The JSON that a device sends and sees. `/v1` only grows: fields are added, never changed.

Unknown fields in a request are ignored, so that a newer SDK may talk to an older server.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

from sdk_contract.documents import Action, DeviceId, Label, Name, Sha256, Size

MAX_BODY = 64 * 1024
"""Bound of every request body on the device API, bytes."""
MAX_EVENTS = 50
"""Bound of one event batch."""

DevicePublicKey = Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{87}=)$")]

AttributeValue = str | int | FiniteFloat | bool
"""Finite, because NaN and infinities are no JSON: the database would refuse the row that holds one."""
EventState = Literal[
    "acknowledged",
    "downloading",
    "downloaded",
    "staged",
    "activating",
    "committed",
    "rolled_back",
    "failed",
    "rejected",
    "cancelled",
    "superseded",
    "metrics",
]

Reason = Literal[
    "update",
    "rollback",
    "up_to_date",
    "no_rollout",
    "not_in_cohort",
    "not_in_stage",
    "held_back",
    "awaits_activation",
    "stratum_held",
    "paused",
    "halted",
    "outside_window",
    "paced",
    "no_variant",
    "below_floor",
    "patch_building",
    "penalty",
    "attempt_closed",
    "downgrade",
    "killed",
    "revoked",
    "suspended",
    "degraded",
]
"""Why a poll got its answer: stable codes, the same that `why` shows to an operator."""


class Request(BaseModel):
    """Base of all bodies from a device."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Answer(BaseModel):
    """Base of all bodies to a device."""

    model_config = ConfigDict(frozen=True)


class PollRequest(Request):
    """May I have something new? Only the first two fields are needed.

    Attributes:
        current_version: label of what runs now; absent on a device with no model yet.
        model: needed only where the server has several.
        components: name -> sha256 of what is really on disk, so that nothing is sent twice.
        modules: the components that this device wants; absent for all.
        attributes: facts about the device that cohort rules and variants may ask for.
        accepts: patch formats in order of preference.
        nonce: 16 to 32 random bytes, base64url; echoed under the directive's signature.
        trust_version: of the trust bundle that the device holds.
        previous_version: label of what ran before, if its files are still here: a rollback leads there first.
        factory_version: label of what shipped inside the app.
        staged_version: label of what is staged and waits for the word: to switch it needs no window.
        features: what this client can do beyond the first contract: `hold` for stopping at `STAGED` when told to.
    """

    device_id: DeviceId
    current_version: Label | None = None
    model: Name | None = None
    components: dict[Name, Sha256] = Field(default_factory=dict, max_length=64)
    modules: list[Name] | None = Field(default=None, max_length=64)
    attributes: dict[Name, AttributeValue] = Field(default_factory=dict, max_length=64)
    accepts: list[str] = Field(default_factory=lambda: ["full"], max_length=8)
    nonce: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{22,43}$")
    trust_version: int | None = Field(default=None, ge=0, lt=2**53)
    previous_version: Label | None = None
    factory_version: Label | None = None
    staged_version: Label | None = None
    features: list[Name] = Field(default_factory=list, max_length=16)


class Way(Answer):
    """One way to come by a component's bytes.

    Attributes:
        format: `glp1`, `bsdiff40` or `full`.
        url: where to GET it, without our token; unsigned advice, the digests decide.
        size: bytes to download.
        sha256: of what is downloaded.
        from_sha256: the file that a patch starts from.
        working_set: bytes of memory that applying the patch takes.
        descriptor: signed patch descriptor (DSSE envelope); absent for `full`.
    """

    format: str
    url: str
    size: Size
    sha256: Sha256
    from_sha256: Sha256 | None = None
    working_set: Size | None = None
    descriptor: dict[str, Any] | None = None


class Download(Answer):
    """What to do about one component: keep the file at hand, or try the ways in order.

    Attributes:
        target_sha256: of the file in the end; equals the manifest's.
        target_size: its bytes.
    """

    name: Name
    path: str
    target_sha256: Sha256
    target_size: Size
    keep: bool = False
    ways: list[Way] = Field(default_factory=list)


class ManifestReference(Answer):
    """A manifest by the digest of its payload, and the envelope itself."""

    sha256: Sha256
    url: str
    envelope: dict[str, Any]


class Conditions(Answer):
    """What the device shall wait for before it downloads; its own policy may ask for more."""

    network: Literal["any", "unmetered"] = "any"
    charging: bool = False
    idle: bool = False
    deadline: str | None = None


class PollAnswer(Answer):
    """The first three fields are for the simplest client; `directive` is the authority.

    Attributes:
        reason: one of `Reason`, or a code that this reader does not know yet: it is for people.
    """

    need_update: bool
    target_version: str | None = None
    download_url: str | None = None
    reason: Reason | Annotated[str, StringConstraints(max_length=64)]
    action: Action = "none"
    model: str
    attempt_id: str | None = None
    rollout: str | None = None
    manifest: ManifestReference | None = None
    downloads: list[Download] = Field(default_factory=list)
    conditions: Conditions | None = None
    next_poll_s: int
    directive: dict[str, Any]
    trust_version: int | None = None


class Event(Request):
    """Something that happened to an attempt, or what the model measured while it ran.

    Attributes:
        event_id: UUID made by the device (version 7 where it can); the same on every retry.
        attempt_id: from the poll answer; absent for metrics of a version that runs already.
        seq: counts up within an attempt, so that late reports do not undo newer ones.
        code: error code of a failure, for example `output_hash_mismatch`.
        bytes: downloaded for this attempt so far.
        metrics: name -> number, for example `load_ms`, `first_token_ms`, `quality`.
        at: the device's clock, for information only.
    """

    event_id: str = Field(
        pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
    )
    attempt_id: str | None = Field(default=None, max_length=64)
    model: Name | None = None
    version: Label | None = None
    seq: int = Field(default=0, ge=0, lt=2**31)
    state: str = Field(min_length=1, max_length=32)
    code: str | None = Field(default=None, max_length=64)
    detail: str | None = Field(default=None, max_length=1024)
    bytes: Size | None = None
    duration_ms: Size | None = None
    metrics: dict[Name, FiniteFloat] = Field(default_factory=dict, max_length=32)
    at: str | None = Field(default=None, max_length=40)


class TrustAnswer(Answer):
    """Envelopes of the trust bundles above the version asked about, oldest first, at most 64."""

    bundles: list[dict[str, Any]]


class Health(Answer):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class EventsAnswer(Answer):
    """How many events were new, and how many we had already."""

    accepted: int
    duplicates: int


class EnrolRequest(Request):
    """A device introduces itself.

    Attributes:
        public_key: base64 of Ed25519, raw (32 bytes), or of P-256, uncompressed point (65 bytes), which is what
            hardware key stores hold; the private half never leaves the device.
        proof: signature over `proof_message(...)`, base64, 64 bytes: Ed25519, or ES256 as r and s.
        enrolment_token: from the operator.
    """

    device_id: DeviceId
    public_key: DevicePublicKey
    proof: str = Field(max_length=200)
    enrolment_token: str = Field(min_length=1, max_length=200)
    attributes: dict[Name, AttributeValue] = Field(default_factory=dict, max_length=64)


class TokenAnswer(Answer):
    """An access token (`Authorization: Bearer ...`) and its life in seconds.

    Attributes:
        status: `accepted`, or `pending` until an operator accepts the device; then there is no token.
    """

    status: Literal["accepted", "pending"]
    access_token: str | None = None
    expires_in: int | None = None
    server_time: int


class TokenRequest(Request):
    """A fresh access token for a device-key assertion (a JWT signed by the enrolled key)."""

    assertion: str = Field(min_length=1, max_length=4096)


class ModelInfo(Answer):
    """The newest fully released version of a model."""

    model: str
    version: str | None
    counter: int | None = None
    released_at: str | None = None


class Problem(Answer):
    """RFC 9457, plus what a device needs to decide.

    Attributes:
        code: stable; decide on this, never on `title` or `detail`.
        field: the place at fault in the request, where there is one.
        retryable: the same request may succeed later.
        retry_after_s: how long to wait at least.
        server_time: the server's clock, seconds since 1970; with `token_expired`, so that a wrong clock can be set.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    code: str
    field: str | None = None
    retryable: bool = False
    retry_after_s: int | None = None
    server_time: int | None = None


def proof_message(device_id: str, public_key: bytes, enrolment_token: str) -> bytes:
    """What an enrolling device signs: length-prefixed, so that no two requests share the bytes."""
    parts = [b"graylag-enrol-v1", device_id.encode(), public_key, enrolment_token.encode()]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
