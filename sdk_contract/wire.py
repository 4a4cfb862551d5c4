"""The JSON bodies of the device API. `/v1` only grows; the server ignores unknown fields in a request."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

from sdk_contract.documents import Action, DeviceId, Label, Name, Sha256, Size
from sdk_contract.formats import FULL
from sdk_contract.reasons import Reason

MAX_BODY = 64 * 1024
"""Maximum size of a request body on the device API, bytes."""
MAX_EVENTS = 50
"""Maximum number of events in one request."""

DevicePublicKey = Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{87}=)$")]

AttributeValue = str | int | FiniteFloat | bool
"""Finite, because JSON has no NaN or infinity, and the database rejects a row that holds one."""
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


class RequestBody(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ResponseBody(BaseModel):
    """Base of all response bodies."""

    model_config = ConfigDict(frozen=True)


class PollRequest(RequestBody):
    """A device's request for an update. Only the first two fields are required in practice.

    Attributes:
        device_id: the id that the device enrolled with.
        current_version: label of the running version; absent on a device without a model.
        model: the model to ask about; may be absent if the server has only one.
        components: name -> sha256 of the files that are really on disk, so that the server offers no file twice.
        wanted_components: names of the components that this device wants; absent for all.
        attributes: facts about the device that cohort rules and variant selectors can refer to.
        accepts: download formats in order of preference.
        nonce: 16 to 32 random bytes in base64url; the directive repeats it under its signature.
        trust_version: version of the trust bundle that the device holds.
        previous_version: label of the version before, if its files are still on disk; preferred by a rollback.
        factory_version: label of the version that shipped inside the app.
        staged_version: label of a staged version; activating it needs no update window.
        features: optional capabilities of this client. `deferred_activation`: it can wait in `STAGED` on request.
    """

    device_id: DeviceId
    current_version: Label | None = None
    model: Name | None = None
    components: dict[Name, Sha256] = Field(default_factory=dict, max_length=64)
    wanted_components: list[Name] | None = Field(default=None, max_length=64)
    attributes: dict[Name, AttributeValue] = Field(default_factory=dict, max_length=64)
    accepts: list[str] = Field(default_factory=lambda: [FULL], max_length=8)
    nonce: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{22,43}$")
    trust_version: int | None = Field(default=None, ge=0, lt=2**53)
    previous_version: Label | None = None
    factory_version: Label | None = None
    staged_version: Label | None = None
    features: list[Name] = Field(default_factory=list, max_length=16)


class DownloadOption(ResponseBody):
    """One way to get a component's bytes.

    Attributes:
        format: `glp1`, `bsdiff40` or `full`.
        url: where to download, without the access token; unsigned, so only the digests decide.
        size: bytes to download.
        sha256: digest of the downloaded bytes.
        from_sha256: digest of the file that a patch is applied to.
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


class Download(ResponseBody):
    """How to get one component: keep the local file, or try the options in order.

    Attributes:
        name: name of the component.
        path: file name that the runtime opens.
        target_sha256: digest of the resulting file; the same as in the manifest.
        target_size: size of the resulting file in bytes.
        keep: the device already has the file; `options` is empty.
        options: download options in order of preference: patches first, the whole file last.
    """

    name: Name
    path: str
    target_sha256: Sha256
    target_size: Size
    keep: bool = False
    options: list[DownloadOption] = Field(default_factory=list)


class ManifestReference(ResponseBody):
    """A manifest: the digest of its payload, its URL and its envelope."""

    sha256: Sha256
    url: str
    envelope: dict[str, Any]


class Conditions(ResponseBody):
    """What the device waits for before it downloads. The device's own policy may require more."""

    network: Literal["any", "unmetered"] = "any"
    charging: bool = False
    idle: bool = False
    deadline: str | None = None


class PollResponse(ResponseBody):
    """The server's decision. The first three fields serve the simplest client; an SDK trusts only `directive`.

    Attributes:
        need_update: whether there is a version to install.
        target_version: label of that version.
        download_url: the preferred URL if one download suffices, else the manifest's URL.
        reason: one of `Reason`, or a newer code; for people, never needed to decide.
        action: what the device must do; the signed directive has the same field.
        model: the model that the response is about.
        attempt_id: id of the install attempt, for the events.
        rollout: name of the rollout that offers the version.
        manifest: present if the action is `install` or `rollback`.
        downloads: how to get each component.
        conditions: what the device waits for before it downloads.
        next_poll_s: seconds until the next poll, with jitter already applied.
        directive: signed directive (DSSE envelope).
        trust_version: version of the newest trust bundle.
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


class Event(RequestBody):
    """A state change of an attempt, or metrics of the running version.

    Attributes:
        event_id: UUID made by the device (version 7 if possible); the same on every retry.
        attempt_id: from the poll response; absent for metrics of a version that was installed earlier.
        model: the model, if the event has no attempt.
        version: label of the version that the event is about.
        seq: rises within an attempt, so that a late event does not overwrite a newer one.
        state: name of the state, for example `downloaded` or `committed`, or `metrics`.
        code: error code of a failure, for example `output_hash_mismatch`.
        detail: one sentence for people.
        bytes: downloaded for this attempt so far.
        duration_ms: time that the state took.
        metrics: name -> number, for example `load_ms`, `first_token_ms`, `quality`.
        at: the device's clock; informational.
    """

    event_id: str = Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
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


class TrustResponse(ResponseBody):
    """Envelopes of the trust bundles after the version in the query, oldest first, at most 64."""

    bundles: list[dict[str, Any]]


class Health(ResponseBody):
    """The server process is running."""

    status: Literal["ok"] = "ok"


class EventsResponse(ResponseBody):
    """How many events were new, and how many the server already had."""

    accepted: int
    duplicates: int


class EnrollRequest(RequestBody):
    """A device registers its public key.

    Attributes:
        public_key: base64 of an Ed25519 key (32 raw bytes) or a P-256 key (uncompressed point, 65 bytes).
        proof: base64 of a signature over `proof_message(...)`, 64 bytes: Ed25519, or ES256 as r and s.
        enrollment_token: issued by the operator.
    """

    device_id: DeviceId
    public_key: DevicePublicKey
    proof: str = Field(max_length=200)
    enrollment_token: str = Field(min_length=1, max_length=200)
    attributes: dict[Name, AttributeValue] = Field(default_factory=dict, max_length=64)


class TokenResponse(ResponseBody):
    """An access token for `Authorization: Bearer`.

    Attributes:
        status: `accepted`, or `pending` without a token until an operator accepts the device.
        expires_in: lifetime of the token in seconds.
        server_time: the server's clock, seconds since 1970.
    """

    status: Literal["accepted", "pending"]
    access_token: str | None = None
    expires_in: int | None = None
    server_time: int


class TokenRequest(RequestBody):
    """Exchanges an assertion (a JWT signed with the enrolled device key) for an access token."""

    assertion: str = Field(min_length=1, max_length=4096)


class ModelInfo(ResponseBody):
    """The newest fully released version of a model; `version` is null before the first release."""

    model: str
    version: str | None
    counter: int | None = None
    released_at: str | None = None


class Problem(ResponseBody):
    """An error (RFC 9457), with the fields that a device needs to decide.

    Attributes:
        code: stable; decide on this, never on `title` or `detail`.
        field: the invalid field of the request, if there is one.
        retryable: the same request may succeed later.
        retry_after_s: seconds to wait at least.
        server_time: the server's clock, seconds since 1970; present with `token_expired`.
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


def proof_message(device_id: str, public_key: bytes, enrollment_token: str) -> bytes:
    """The bytes that a device signs to enroll. Every part has its length in front, so no two requests share bytes."""
    parts = [b"graylag-enroll-v1", device_id.encode(), public_key, enrollment_token.encode()]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
