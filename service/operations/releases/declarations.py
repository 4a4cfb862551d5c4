"""Versions as publishers declare them. Writes `versions`, `variants` and `components`.

A version is declared with the size and digest of every file before the first byte is uploaded. A declaration that
cannot become a version that devices accept is refused here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from sdk_contract.documents import Manifest
from sdk_contract.errors import ContractError
from sdk_contract.verification import MAX_FLOOR_INCREASE
from service import store
from service.domain.targeting.rules import compile_rule
from service.errors import CounterNotRising, FloorTooHigh, Invalid, NotFound, VersionExists
from service.operations.platform import audit
from service.operations.releases import models, uploads, versions

MAX_FORMAT_BYTES = 40
"""Bytes that the detected format of a component may add to the manifest."""
MAX_MANIFEST_BYTES = Manifest.limit * 3 // 4 - 4096
"""Payload bytes of a manifest that fit into an envelope as base64 together with the signatures."""


@dataclass(frozen=True, slots=True)
class ComponentDeclaration:
    """A component as the publisher declares it; size in bytes."""

    name: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class VariantDeclaration:
    """A variant as the publisher declares it."""

    name: str
    components: Sequence[ComponentDeclaration]
    selector: dict[str, Any] = field(default_factory=dict)
    priority: int = 0


@dataclass(frozen=True, slots=True)
class VersionDeclaration:
    """A version as the publisher declares it.

    Attributes:
        counter: None for the next free one.
        floor: label of the oldest version that devices may go back to; None for no floor.
        signed_by_publisher: the publisher submits a signed manifest; the server does not sign this version.
        barrier: devices must install this version before a newer one.
    """

    label: str
    variants: Sequence[VariantDeclaration]
    counter: int | None = None
    floor: str | None = None
    notes: str = ""
    signed_by_publisher: bool = False
    barrier: bool = False


def declare(
    session: Session,
    model: str,
    declaration: VersionDeclaration,
    *,
    max_component_bytes: int,
    actor: str,
    now: datetime,
) -> store.versions.VersionRow:
    """Declare a version. Repeating the same declaration changes nothing.

    The model is inserted if it is new.

    Raises:
        VersionExists: there is a version with that label and other content.
        CounterNotRising: the counter is not above all earlier ones.
        FloorTooHigh, NotFound: the floor is not an earlier version.
        Invalid, InvalidRule: a file or selector is invalid, or a file is too large; `field` says which.
    """
    models.create(session, model, actor=actor, now=now)
    session.get(store.versions.ModelRow, model, with_for_update=True)
    _validate(declaration, max_component_bytes)
    existing = store.versions.version(session, model, declaration.label, lock=True)
    if existing is not None and _matches(session, existing, declaration):
        return existing
    if existing is not None and existing.state not in versions.EDITABLE:
        raise VersionExists(
            f"{model} {declaration.label} exists with other content and is {existing.state}; choose a new label",
            field="label",
        )
    if existing is not None:
        session.delete(existing)
        session.flush()
    return _insert(session, model, declaration, actor, now)


def _insert(
    session: Session, model: str, declaration: VersionDeclaration, actor: str, now: datetime
) -> store.versions.VersionRow:
    counter = _next_counter(session, model, declaration)
    version = store.versions.VersionRow(
        model=model,
        label=declaration.label,
        counter=counter,
        floor=_floor_counter(session, model, declaration, counter),
        state="uploading",
        notes=declaration.notes,
        signed_by_publisher=declaration.signed_by_publisher,
        barrier=declaration.barrier,
        created_by=actor,
        variants=[_variant_row(session, variant) for variant in declaration.variants],
    )
    session.add(version)
    session.flush()
    audit.record(
        session, actor=actor, verb="version.declare", subject=f"version:{model}/{declaration.label}", now=now
    )
    inserted = versions.require(session, model, declaration.label)
    _require_valid_manifest(inserted)
    return inserted


def _require_valid_manifest(version: store.versions.VersionRow) -> None:
    """Check that every SDK could open the manifest: its size, its depth, and its numbers."""
    far_future = "2999-12-31T23:59:59Z"
    components = len(versions.all_components(version))
    try:
        payload = versions.manifest_for(version, issued=far_future, expires=far_future).to_bytes()
        Manifest.from_payload(payload)
    except ContractError as error:
        raise Invalid(f"the manifest of this version would be invalid: {error}", field="variants") from error
    if len(payload) + MAX_FORMAT_BYTES * components > MAX_MANIFEST_BYTES:
        raise Invalid(
            f"the manifest would have {len(payload)} bytes; the limit is {MAX_MANIFEST_BYTES}",
            field="variants",
        )


def _variant_row(session: Session, declaration: VariantDeclaration) -> store.versions.VariantRow:
    for file in declaration.components:
        uploads.register_blob(session, file.sha256, file.size)
    return store.versions.VariantRow(
        name=declaration.name,
        selector=declaration.selector,
        priority=declaration.priority,
        components=[
            store.versions.ComponentRow(name=file.name, path=file.path, blob_sha256=file.sha256)
            for file in declaration.components
        ],
    )


def _validate(declaration: VersionDeclaration, max_component_bytes: int) -> None:
    _require_unique([variant.name for variant in declaration.variants], "variants", "name")
    for index, variant in enumerate(declaration.variants):
        place = f"variants.{index}"
        _require_unique([file.name for file in variant.components], f"{place}.components", "name")
        _require_unique([file.path for file in variant.components], f"{place}.components", "path")
        compile_rule(variant.selector, path=f"{place}.selector")
        for number, file in enumerate(variant.components):
            _require_valid_size(file, max_component_bytes, f"{place}.components.{number}.size")


def _require_valid_size(file: ComponentDeclaration, max_bytes: int, place: str) -> None:
    if file.size == 0:
        raise Invalid(f"{file.name} is empty", field=place)
    if file.size > max_bytes:
        raise Invalid(
            f"{file.name} has {file.size} bytes; the limit of this server is {max_bytes}", field=place
        )


def _require_unique(names: Sequence[str], place: str, what: str) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Invalid(
                f"the {what} {name!r} is used twice; use each {what} once", field=f"{place}.{index}.{what}"
            )


def _matches(session: Session, row: store.versions.VersionRow, declaration: VersionDeclaration) -> bool:
    if declaration.counter not in (None, row.counter) or declaration.notes != row.notes:
        return False
    if declaration.signed_by_publisher != row.signed_by_publisher:
        return False
    if declaration.barrier != row.barrier:
        return False
    if _floor_counter(session, row.model, declaration, row.counter) != row.floor:
        return False
    declared = [
        (v.name, v.selector, v.priority, [(c.name, c.path, c.sha256, c.size) for c in v.components])
        for v in declaration.variants
    ]
    return declared == [
        (v.name, v.selector, v.priority, [(c.name, c.path, c.blob_sha256, c.blob.size) for c in v.components])
        for v in row.variants
    ]


def _next_counter(session: Session, model: str, declaration: VersionDeclaration) -> int:
    highest = store.versions.highest_counter(session, model)
    if declaration.counter is None:
        return highest + 1
    if declaration.counter <= highest:
        raise CounterNotRising(
            f"the counter {declaration.counter} is not above {highest}, the highest of {model}; use a higher one, or leave it out",
            field="counter",
        )
    return declaration.counter


def _floor_counter(session: Session, model: str, declaration: VersionDeclaration, counter: int) -> int:
    if declaration.floor is None:
        return 0
    row = store.versions.version(session, model, declaration.floor)
    if row is None:
        raise NotFound(f"{model} has no version {declaration.floor!r}", field="floor")
    floor = row.counter
    if floor > MAX_FLOOR_INCREASE:
        raise FloorTooHigh(
            f"devices accept no floor above {MAX_FLOOR_INCREASE} in one step; choose an older version",
            field="floor",
        )
    if floor > counter:
        raise FloorTooHigh(
            f"the floor {declaration.floor} is newer than {declaration.label}; choose an older version",
            field="floor",
        )
    return floor
