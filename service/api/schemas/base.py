"""Base classes of the bodies, and the bodies of models, versions, uploads and patches."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from sdk_contract.documents import FileName, Label, Name, Sha256

MAX_COMPONENT = 2**40
LAST_YEAR = 9000


def _to_storable_utc(time: datetime) -> datetime:
    """Refuse years that have no four digits in some time zone, because PostgreSQL's driver cannot read them back."""
    if not 1 < time.year < LAST_YEAR:
        raise ValueError(f"the year must be between 2 and {LAST_YEAR - 1}")
    return time.astimezone(UTC)


Timestamp = Annotated[AwareDatetime, AfterValidator(_to_storable_utc)]


class Body(BaseModel):
    """A request body; unknown fields are refused, because they are usually misspelled."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """A response body."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class ModelBody(Body):
    """The properties of a model."""

    description: str = Field(default="", max_length=1000)


class ModelView(View):
    """A model.

    Attributes:
        disabled: whether its kill switch is on, so that every poll is answered with `pause`.
    """

    name: str
    description: str
    disabled: bool
    created_at: datetime


class ComponentBody(Body):
    """A file of a variant, declared before it is uploaded; size in bytes."""

    name: Name
    path: FileName
    size: int = Field(ge=0, lt=MAX_COMPONENT)
    sha256: Sha256


class VariantBody(Body):
    """A build of a version for the devices that match its selector; the highest matching priority wins."""

    name: Name = "default"
    selector: dict[str, Any] = Field(default_factory=dict)
    priority: int = Field(default=0, ge=-(2**31), lt=2**31)
    components: list[ComponentBody] = Field(min_length=1, max_length=64)


class VersionBody(Body):
    """A version, declared completely before its files are uploaded.

    Attributes:
        counter: number that rises with every version of the model; absent for the next free one.
        floor: label of the oldest version that devices may go back to.
        notes: release notes.
        signed_by_publisher: whether the publisher submits a signed manifest instead of the server signing one.
    """

    label: Label
    variants: list[VariantBody] = Field(min_length=1, max_length=64)
    counter: int | None = Field(default=None, ge=1, lt=2**53)
    floor: Label | None = None
    notes: str = Field(default="", max_length=10_000)
    signed_by_publisher: bool = False
    barrier: bool = Field(
        default=False, description="Whether devices must install this version before a newer one."
    )


class ManifestBody(Body):
    """The manifest as a DSSE envelope that the publisher has signed."""

    envelope: dict[str, Any]


class ComponentView(View):
    """A file of a variant.

    Attributes:
        stored: whether a worker has verified the file.
        format: the detected format.
        contents: the tensors and other contents of the file, as far as the format is known.
    """

    name: str
    path: str
    sha256: str
    size: int
    stored: bool
    format: str
    contents: dict[str, Any]


class VariantView(View):
    """A build of a version."""

    name: str
    selector: dict[str, Any]
    priority: int
    components: list[ComponentView]


class VersionView(View):
    """A version and its state.

    Attributes:
        floor: counter of the oldest version that devices may go back to; 0 for none.
        problem: why it was rejected: `code`, `detail`, `field`.
        pending: digests of the files that are not stored yet.
        awaits_manifest: whether only the manifest signed by the publisher is missing.
        barrier: whether devices must install this version before a newer one.
    """

    model: str
    label: str
    counter: int
    floor: int
    state: str
    problem: dict[str, Any] | None
    notes: str
    manifest_sha256: str | None
    created_by: str
    created_at: datetime
    ready_at: datetime | None
    variants: list[VariantView]
    pending: list[str] = Field(default_factory=list)
    awaits_manifest: bool = False
    barrier: bool = False


class UploadBody(Body):
    """The digest of the declared file to upload."""

    sha256: Sha256


class UploadView(View):
    """The state of an upload.

    Attributes:
        stored: whether the file is uploaded completely; then the other fields are empty.
        size: size of the file in bytes.
        part_bytes: size in bytes of every part but the last.
        missing_parts: numbers, from 1 to `part_count`, of the parts to upload.
    """

    stored: bool
    upload_id: UUID | None = None
    size: int = 0
    part_bytes: int = 0
    part_count: int = 0
    missing_parts: list[int] = Field(default_factory=list)


class PartsBody(Body):
    """The numbers of the parts to upload next."""

    numbers: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(min_length=1, max_length=100)


class PartUrls(View):
    """Part number -> presigned URL for a PUT request."""

    urls: dict[int, str]


class PatchView(View):
    """A patch from one file to another.

    Attributes:
        size: size in bytes; absent until it is built.
        working_set: memory in bytes that applying it needs.
    """

    id: int
    source_sha256: str
    target_sha256: str
    format: str
    state: str
    sha256: str | None
    size: int | None
    working_set: int | None
    stats: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None
    retired_at: datetime | None


class ReasonBody(Body):
    """The reason of an action, for the audit log."""

    reason: str = Field(default="", max_length=1000)
