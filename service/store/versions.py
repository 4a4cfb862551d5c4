"""Models, versions, variants, components, blobs and uploads."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, UniqueConstraint, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from service.store.base import Created, Serial, Table, locked


class ModelRow(Table):
    """A line of versions of one AI model."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    killed: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class VersionRow(Table):
    """One version; immutable once ready."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("model", "label"),
        UniqueConstraint("model", "counter"),
        CheckConstraint("floor <= counter", name="floor_not_above_counter"),
        CheckConstraint(
            "state in ('draft','uploading','ingesting','ready','rejected','revoked','archived')", name="state"
        ),
    )

    id: Mapped[Serial]
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    label: Mapped[str]
    counter: Mapped[int]
    floor: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str]
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    notes: Mapped[str] = mapped_column(server_default="")
    manifest: Mapped[bytes | None] = mapped_column(LargeBinary)
    manifest_sha256: Mapped[str | None] = mapped_column(unique=True)
    signed_by_publisher: Mapped[bool] = mapped_column(server_default=text("false"))
    watershed: Mapped[bool] = mapped_column(server_default=text("false"))
    created_by: Mapped[str]
    created_at: Mapped[Created]
    ready_at: Mapped[datetime | None]

    variants: Mapped[list["VariantRow"]] = relationship(
        lazy="raise", cascade="all, delete-orphan", order_by="VariantRow.id"
    )


class VariantRow(Table):
    """One build of a version for a class of device."""

    __tablename__ = "variants"
    __table_args__ = (UniqueConstraint("version_id", "name"),)

    id: Mapped[Serial]
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"))
    name: Mapped[str]
    selector: Mapped[dict[str, Any]]
    priority: Mapped[int] = mapped_column(server_default="0")

    components: Mapped[list["ComponentRow"]] = relationship(
        lazy="raise", cascade="all, delete-orphan", order_by="ComponentRow.id"
    )


class ComponentRow(Table):
    """One file of a variant."""

    __tablename__ = "components"
    __table_args__ = (UniqueConstraint("variant_id", "name"), UniqueConstraint("variant_id", "path"))

    id: Mapped[Serial]
    variant_id: Mapped[int] = mapped_column(ForeignKey("variants.id", ondelete="CASCADE"))
    name: Mapped[str]
    path: Mapped[str]
    blob_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)

    blob: Mapped["BlobRow"] = relationship(lazy="raise")


class BlobRow(Table):
    """Bytes by their digest; `stored` once a worker has re-hashed them."""

    __tablename__ = "blobs"
    __table_args__ = (CheckConstraint("size > 0", name="not_empty"),)

    sha256: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int]
    stored: Mapped[bool] = mapped_column(server_default=text("false"))
    format: Mapped[str] = mapped_column(server_default="opaque")
    contents: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[Created]


class UploadRow(Table):
    """A multipart upload under way into the staging area."""

    __tablename__ = "uploads"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), unique=True)
    key: Mapped[str]
    s3_upload_id: Mapped[str]
    part_bytes: Mapped[int]
    completed: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


def _whole() -> Any:
    return (
        selectinload(VersionRow.variants).selectinload(VariantRow.components).selectinload(ComponentRow.blob)
    )


def model(session: Session, name: str) -> ModelRow | None:
    """The model of that name."""
    return session.get(ModelRow, name)


def models(session: Session) -> Sequence[ModelRow]:
    """All models, by name."""
    return session.scalars(select(ModelRow).order_by(ModelRow.name)).all()


def version(session: Session, model_name: str, label: str, *, lock: bool = False) -> VersionRow | None:
    """A version with its variants, components and blobs; locked for change on demand."""
    query = (
        select(VersionRow).where(VersionRow.model == model_name, VersionRow.label == label).options(_whole())
    )
    return session.scalar(locked(query) if lock else query)


def version_by_id(session: Session, version_id: int, *, lock: bool = False) -> VersionRow | None:
    """The same, by id."""
    query = select(VersionRow).where(VersionRow.id == version_id).options(_whole())
    return session.scalar(locked(query) if lock else query)


def versions(session: Session, model_name: str, *, limit: int = 100) -> Sequence[VersionRow]:
    """The newest versions first, with all that is in them."""
    query = select(VersionRow).where(VersionRow.model == model_name).options(_whole())
    return session.scalars(query.order_by(VersionRow.counter.desc()).limit(limit)).all()


def served_versions(session: Session) -> Sequence[VersionRow]:
    """Every version that devices may run or be given, of all models."""
    query = select(VersionRow).where(VersionRow.state.in_(("ready", "revoked"))).options(_whole())
    return session.scalars(query.order_by(VersionRow.model, VersionRow.counter)).all()


def selectors(session: Session, model_name: str) -> Sequence[dict[str, Any]]:
    """What the builds of a model's versions ask of a device, of those that devices may run or be given."""
    query = (
        select(VariantRow.selector)
        .join(VersionRow, VersionRow.id == VariantRow.version_id)
        .where(VersionRow.model == model_name, VersionRow.state.in_(("ready", "revoked")))
    )
    return session.scalars(query).all()


def earlier_served(session: Session, of: VersionRow, *, limit: int) -> Sequence[VersionRow]:
    """The versions below `of` that devices may run, newest first: revoked ones too, since devices have to leave them."""
    query = (
        select(VersionRow)
        .where(
            VersionRow.model == of.model,
            VersionRow.state.in_(("ready", "revoked")),
            VersionRow.counter < of.counter,
        )
        .order_by(VersionRow.counter.desc())
        .limit(limit)
        .options(_whole())
    )
    return session.scalars(query).all()


def highest_counter(session: Session, model_name: str) -> int:
    """The greatest counter that any version of the model has, 0 for none."""
    query = select(func.coalesce(func.max(VersionRow.counter), 0)).where(VersionRow.model == model_name)
    return session.scalar(query) or 0


def blob(session: Session, sha256: str, *, lock: bool = False) -> BlobRow | None:
    """The blob of that digest."""
    return session.get(BlobRow, sha256, with_for_update=lock)


def upload(session: Session, upload_id: UUID, *, lock: bool = False) -> UploadRow | None:
    """An upload by its id."""
    return session.get(UploadRow, upload_id, with_for_update=lock)


def upload_of(session: Session, sha256: str) -> UploadRow | None:
    """The upload that is to bring a blob."""
    return session.scalar(select(UploadRow).where(UploadRow.sha256 == sha256))


def stale_uploads(session: Session, before: datetime) -> Sequence[UploadRow]:
    """Uploads begun before a moment."""
    return session.scalars(select(UploadRow).where(UploadRow.created_at < before)).all()


def has_arrived(session: Session, row: BlobRow) -> bool:
    """Whether all bytes of a blob are here, checked or not."""
    brought = None if row.stored else upload_of(session, row.sha256)
    return row.stored or (brought is not None and brought.completed)
