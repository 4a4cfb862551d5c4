"""Models, versions, variants and components."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, UniqueConstraint, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from service.store.base import Created, Serial, Table, locked
from service.store.releases.blobs import BlobRow


class ModelRow(Table):
    """An AI model that has versions.

    Attributes:
        disabled: the kill switch; no device gets any version while it is set.
    """

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    disabled: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class VersionRow(Table):
    """A version of a model; immutable once ready.

    Attributes:
        counter: rises with every version of the model.
        floor: the smallest counter that devices may go back to from this version.
        barrier: whether devices must install this version before a newer one.
    """

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
    barrier: Mapped[bool] = mapped_column(server_default=text("false"))
    created_by: Mapped[str]
    created_at: Mapped[Created]
    ready_at: Mapped[datetime | None]

    variants: Mapped[list["VariantRow"]] = relationship(
        lazy="raise", cascade="all, delete-orphan", order_by="VariantRow.id"
    )


class VariantRow(Table):
    """A build of a version for the devices that match its selector."""

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
    """A file of a variant."""

    __tablename__ = "components"
    __table_args__ = (UniqueConstraint("variant_id", "name"), UniqueConstraint("variant_id", "path"))

    id: Mapped[Serial]
    variant_id: Mapped[int] = mapped_column(ForeignKey("variants.id", ondelete="CASCADE"))
    name: Mapped[str]
    path: Mapped[str]
    blob_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)

    blob: Mapped[BlobRow] = relationship(lazy="raise")


def _with_contents() -> Any:
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
    """The version of a model with that label, with its variants, components and blobs."""
    query = (
        select(VersionRow)
        .where(VersionRow.model == model_name, VersionRow.label == label)
        .options(_with_contents())
    )
    return session.scalar(locked(query) if lock else query)


def version_by_id(session: Session, version_id: int, *, lock: bool = False) -> VersionRow | None:
    """The version of that id, with its variants, components and blobs."""
    query = select(VersionRow).where(VersionRow.id == version_id).options(_with_contents())
    return session.scalar(locked(query) if lock else query)


def versions(session: Session, model_name: str, *, limit: int = 100) -> Sequence[VersionRow]:
    """The versions of a model with their contents, newest first."""
    query = select(VersionRow).where(VersionRow.model == model_name).options(_with_contents())
    return session.scalars(query.order_by(VersionRow.counter.desc()).limit(limit)).all()


def served_versions(session: Session) -> Sequence[VersionRow]:
    """The versions of all models that devices may run, by model and counter: ready and revoked ones."""
    query = select(VersionRow).where(VersionRow.state.in_(("ready", "revoked"))).options(_with_contents())
    return session.scalars(query.order_by(VersionRow.model, VersionRow.counter)).all()


def selectors(session: Session, model_name: str) -> Sequence[dict[str, Any]]:
    """The selectors of all variants in the ready and revoked versions of a model."""
    query = (
        select(VariantRow.selector)
        .join(VersionRow, VersionRow.id == VariantRow.version_id)
        .where(VersionRow.model == model_name, VersionRow.state.in_(("ready", "revoked")))
    )
    return session.scalars(query).all()


def earlier_served(session: Session, of: VersionRow, *, limit: int) -> Sequence[VersionRow]:
    """The ready and revoked versions below `of`, newest first.

    Revoked versions are included, because devices that run them need a patch away from them.
    """
    query = (
        select(VersionRow)
        .where(
            VersionRow.model == of.model,
            VersionRow.state.in_(("ready", "revoked")),
            VersionRow.counter < of.counter,
        )
        .order_by(VersionRow.counter.desc())
        .limit(limit)
        .options(_with_contents())
    )
    return session.scalars(query).all()


def highest_counter(session: Session, model_name: str) -> int:
    """The highest counter among the versions of a model, 0 if there are none."""
    query = select(func.coalesce(func.max(VersionRow.counter), 0)).where(VersionRow.model == model_name)
    return session.scalar(query) or 0
