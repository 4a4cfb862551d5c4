"""Versions as publishers declare them. Writes `versions`, `variants`, `components`.

A version is declared whole, every file with size and digest, before its first byte arrives: what cannot
become a version that devices understand is refused here, and saying the same again changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from sdk_contract.documents import Manifest
from sdk_contract.errors import ContractError
from sdk_contract.rules import MAX_LEAP
from service import store
from service.domain.cohorts import compile_rule
from service.errors import CounterNotRising, FloorTooHigh, Invalid, NotFound, VersionExists
from service.operations import audit, uploads, versions

LONGEST_FORMAT = 40
"""Bytes that the name of a component's format may add to a manifest once it is known."""
MAX_MANIFEST = Manifest.limit * 3 // 4 - 4096
"""Bytes of a manifest's payload that fit, as base64 and with its signatures, into an envelope."""


@dataclass(frozen=True, slots=True)
class FileDeclaration:
    """A component as the publisher announces it."""

    name: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class VariantDeclaration:
    """A build as the publisher announces it."""

    name: str
    components: Sequence[FileDeclaration]
    selector: dict[str, Any] = field(default_factory=dict)
    priority: int = 0


@dataclass(frozen=True, slots=True)
class VersionDeclaration:
    """A version as the publisher announces it.

    Attributes:
        counter: None for the next one.
        floor: label of the oldest version that devices may go back to; None for no floor.
        signed_by_publisher: the publisher hands a signed manifest in; no key here vouches for the version.
        watershed: no device may skip it on its way to anything newer.
    """

    label: str
    variants: Sequence[VariantDeclaration]
    counter: int | None = None
    floor: str | None = None
    notes: str = ""
    signed_by_publisher: bool = False
    watershed: bool = False


def declare(
    session: Session, model: str, declaration: VersionDeclaration, *, actor: str, now: datetime
) -> store.versions.VersionRow:
    """Announce a version; saying the same again changes nothing.

    Raises:
        VersionExists: the label is taken by other content.
        CounterNotRising: the counter is not above all earlier ones.
        FloorTooHigh, NotFound: the floor is not an earlier version.
        Invalid, InvalidRule: a file or selector that makes no sense; `field` says which.
    """
    session.get(store.versions.ModelRow, model, with_for_update=True)
    _check_declaration(declaration)
    existing = store.versions.version(session, model, declaration.label, lock=True)
    if existing is not None and _same(session, existing, declaration):
        return existing
    if existing is not None and existing.state not in versions.EDITABLE:
        raise VersionExists(
            f"{model} {declaration.label} is {existing.state} with other content; choose a new label",
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
        floor=_floor(session, model, declaration, counter),
        state="uploading",
        notes=declaration.notes,
        signed_by_publisher=declaration.signed_by_publisher,
        watershed=declaration.watershed,
        created_by=actor,
        variants=[_variant(session, variant) for variant in declaration.variants],
    )
    session.add(version)
    session.flush()
    audit.record(
        session, actor=actor, verb="version.declare", subject=f"version:{model}/{declaration.label}", now=now
    )
    made = versions.require(session, model, declaration.label)
    _require_readable(made)
    return made


def _require_readable(version: store.versions.VersionRow) -> None:
    """What the publisher will sign has to be what every SDK can open: bounded, shallow, whole numbers only."""
    never = "2999-12-31T23:59:59Z"
    components = len(versions.components(version))
    try:
        payload = versions.manifest_for(version, issued=never, expires=never).to_bytes()
        Manifest.from_payload(payload)
    except ContractError as error:
        raise Invalid(f"no manifest can hold this: {error}", field="variants") from error
    if len(payload) + LONGEST_FORMAT * components > MAX_MANIFEST:
        raise Invalid(
            f"the manifest would have {len(payload)} bytes of at most {MAX_MANIFEST}", field="variants"
        )


def _variant(session: Session, declaration: VariantDeclaration) -> store.versions.VariantRow:
    for file in declaration.components:
        uploads.announce(session, file.sha256, file.size)
    return store.versions.VariantRow(
        name=declaration.name,
        selector=declaration.selector,
        priority=declaration.priority,
        components=[
            store.versions.ComponentRow(name=file.name, path=file.path, blob_sha256=file.sha256)
            for file in declaration.components
        ],
    )


def _check_declaration(declaration: VersionDeclaration) -> None:
    _require_unique([variant.name for variant in declaration.variants], "variants", "name")
    for index, variant in enumerate(declaration.variants):
        place = f"variants.{index}"
        _require_unique([file.name for file in variant.components], f"{place}.components", "name")
        _require_unique([file.path for file in variant.components], f"{place}.components", "path")
        compile_rule(variant.selector, path=f"{place}.selector")
        for number, file in enumerate(variant.components):
            if file.size == 0:
                raise Invalid(f"{file.name} is empty", field=f"{place}.components.{number}.size")


def _require_unique(names: Sequence[str], place: str, what: str) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Invalid(f"the {what} {name!r} is used twice", field=f"{place}.{index}.{what}")


def _same(session: Session, row: store.versions.VersionRow, declaration: VersionDeclaration) -> bool:
    if declaration.counter not in (None, row.counter) or declaration.notes != row.notes:
        return False
    if declaration.signed_by_publisher != row.signed_by_publisher:
        return False
    if declaration.watershed != row.watershed:
        return False
    if _floor(session, row.model, declaration, row.counter) != row.floor:
        return False
    wanted = [
        (v.name, v.selector, v.priority, [(c.name, c.path, c.sha256, c.size) for c in v.components])
        for v in declaration.variants
    ]
    return wanted == [
        (v.name, v.selector, v.priority, [(c.name, c.path, c.blob_sha256, c.blob.size) for c in v.components])
        for v in row.variants
    ]


def _next_counter(session: Session, model: str, declaration: VersionDeclaration) -> int:
    highest = store.versions.highest_counter(session, model)
    if declaration.counter is None:
        return highest + 1
    if declaration.counter <= highest:
        raise CounterNotRising(f"{declaration.counter} is not above {highest}", field="counter")
    return declaration.counter


def _floor(session: Session, model: str, declaration: VersionDeclaration, counter: int) -> int:
    if declaration.floor is None:
        return 0
    row = store.versions.version(session, model, declaration.floor)
    if row is None:
        raise NotFound(f"{model} has no version {declaration.floor!r}", field="floor")
    floor = row.counter
    if floor > MAX_LEAP:
        raise FloorTooHigh(f"devices take no floor beyond {MAX_LEAP} at once", field="floor")
    if floor > counter:
        raise FloorTooHigh(f"{declaration.floor} is above {declaration.label}", field="floor")
    return floor
