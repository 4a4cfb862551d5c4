"""Bodies of the admin API. Device bodies are `sdk_contract.wire`."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from sdk_contract.documents import FileName, Label, Name, Sha256

MAX_COMPONENT = 2**40
LAST_YEAR = 9000


def _storable(moment: datetime) -> datetime:
    """A moment whose year still has four digits in every time zone: PostgreSQL would give back no other."""
    if not 1 < moment.year < LAST_YEAR:
        raise ValueError(f"a year between 2 and {LAST_YEAR}")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_storable)]


class Body(BaseModel):
    """What an operator sends; a misspelt field is refused instead of ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """What an operator sees."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class ModelBody(Body):
    """A line of versions."""

    description: str = Field(default="", max_length=1000)


class ModelView(View):
    """A line of versions."""

    name: str
    description: str
    disabled: bool
    created_at: datetime


class ComponentBody(Body):
    """One file: announced before it is uploaded."""

    name: Name
    path: FileName
    size: int = Field(ge=0, lt=MAX_COMPONENT)
    sha256: Sha256


class VariantBody(Body):
    """One build of a version; the default one is for every device."""

    name: Name = "default"
    selector: dict[str, Any] = Field(default_factory=dict)
    priority: int = Field(default=0, ge=-(2**31), lt=2**31)
    components: list[ComponentBody] = Field(min_length=1, max_length=64)


class VersionBody(Body):
    """A version, whole, before any of its bytes arrive."""

    label: Label
    variants: list[VariantBody] = Field(min_length=1, max_length=64)
    counter: int | None = Field(default=None, ge=1, lt=2**53)
    floor: Label | None = None
    notes: str = Field(default="", max_length=10_000)
    signed_by_publisher: bool = False
    barrier: bool = Field(default=False, description="No device may skip it on its way to anything newer.")


class ManifestBody(Body):
    """The DSSE envelope that the publisher has signed."""

    envelope: dict[str, Any]


class ComponentView(View):
    """One file of a variant, and what was found inside."""

    name: str
    path: str
    sha256: str
    size: int
    stored: bool
    format: str
    contents: dict[str, Any]


class VariantView(View):
    """One build of a version."""

    name: str
    selector: dict[str, Any]
    priority: int
    components: list[ComponentView]


class VersionView(View):
    """A version and where it stands.

    Attributes:
        problem: why it was rejected: `code`, `detail`, `field`.
        pending: digests of the files that have not arrived.
        awaits_manifest: its publisher's signed manifest is all that is missing.
        barrier: no device may skip it.
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
    """Which declared file is to be brought."""

    sha256: Sha256


class UploadView(View):
    """How to bring it.

    Attributes:
        stored: nothing to do, the bytes are here.
        parts: numbers of the parts that have not arrived, 1 to `part_count`.
    """

    stored: bool
    upload_id: UUID | None = None
    size: int = 0
    part_bytes: int = 0
    part_count: int = 0
    parts: list[int] = Field(default_factory=list)


class PartsBody(Body):
    """Which parts to get URLs for."""

    numbers: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(min_length=1, max_length=100)


class PartUrls(View):
    """Part number -> where to PUT it."""

    urls: dict[int, str]


class PatchView(View):
    """A way from one blob to another."""

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


class ActBody(Body):
    """Why."""

    reason: str = Field(default="", max_length=1000)
