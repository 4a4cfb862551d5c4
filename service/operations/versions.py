"""Versions from declaration to ready. Writes `models`, `versions`, `variants`, `components`, `blobs`, `uploads`.

A version is declared whole (every file with size and digest), its bytes go straight to the object
store, a worker re-hashes them, and one transaction makes it ready. Until then no device sees it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from sdk_contract.documents import Component as ManifestComponent
from sdk_contract.documents import Manifest
from sdk_contract.documents import Variant as ManifestVariant
from service import store
from service.blobs import BlobStore, Part, blob_key
from service.domain.cohorts import compile_rule
from service.errors import (
    CounterNotRising,
    FloorTooHigh,
    Invalid,
    NotFound,
    UnknownModel,
    UploadIncomplete,
    VersionExists,
    WrongState,
)
from service.jobs import INGEST_VERSION, SIGN_VERSION, Bell
from service.operations import audit, jobs

EDITABLE = ("draft", "uploading", "rejected")
"""States in which a version has not been published yet, so that its declaration may still change."""
MAX_PARTS = 10_000
"""S3's bound on the parts of one upload."""


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
    """

    label: str
    variants: Sequence[VariantDeclaration]
    counter: int | None = None
    floor: str | None = None
    notes: str = ""


def create_model(
    session: Session, name: str, *, actor: str, now: datetime, description: str = ""
) -> store.versions.ModelRow:
    """The model of that name, made if it is new."""
    done = session.execute(
        insert(store.versions.ModelRow)
        .values(name=name, description=description)
        .on_conflict_do_nothing()
        .returning(store.versions.ModelRow.name)
    ).scalar()
    if done:
        audit.record(session, actor=actor, verb="model.create", subject=f"model:{name}", now=now)
    return require_model(session, name)


def require_model(session: Session, name: str) -> store.versions.ModelRow:
    """The model of that name.

    Raises:
        UnknownModel: there is none.
    """
    row = store.versions.model(session, name)
    if row is None:
        raise UnknownModel(f"there is no model {name!r}", field="model")
    return row


def require(session: Session, model: str, label: str, *, lock: bool = False) -> store.versions.VersionRow:
    """The version of that label.

    Raises:
        UnknownModel: there is no such model.
        NotFound: it has no such version.
    """
    row = store.versions.version(session, model, label, lock=lock)
    if row is None:
        require_model(session, model)
        raise NotFound(f"{model} has no version {label!r}", field="version")
    return row


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
    if existing is not None and existing.state not in EDITABLE:
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
        created_by=actor,
        variants=[_variant(session, variant) for variant in declaration.variants],
    )
    session.add(version)
    session.flush()
    audit.record(
        session, actor=actor, verb="version.declare", subject=f"version:{model}/{declaration.label}", now=now
    )
    return require(session, model, declaration.label)


def _variant(session: Session, declaration: VariantDeclaration) -> store.versions.VariantRow:
    for file in declaration.components:
        session.execute(
            insert(store.versions.BlobRow).values(sha256=file.sha256, size=file.size).on_conflict_do_nothing()
        )
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
        compile_rule(variant.selector)
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
    floor = require(session, model, declaration.floor).counter
    if floor > counter:
        raise FloorTooHigh(f"{declaration.floor} is above {declaration.label}", field="floor")
    return floor


def start_upload(
    session: Session, blobs: BlobStore, sha256: str, *, part_bytes: int
) -> tuple[store.versions.UploadRow | None, list[Part]]:
    """Begin, or go on with, bringing a declared blob.

    Returns:
        The upload and the parts that have arrived; no upload when the bytes are here already.

    Raises:
        NotFound: no version declares such a blob.
    """
    blob = store.versions.blob(session, sha256, lock=True)
    if blob is None:
        raise NotFound("declare the version before uploading its files", field="sha256")
    if blob.stored:
        return None, []
    upload = store.versions.upload_of(session, sha256)
    if upload is None:
        upload = _open_upload(session, blobs, blob, part_bytes)
    if upload.completed:
        return None, []
    return upload, blobs.parts(upload.key, upload.s3_upload_id)


def _open_upload(
    session: Session, blobs: BlobStore, blob: store.versions.BlobRow, part_bytes: int
) -> store.versions.UploadRow:
    upload_id = uuid4()
    key = f"uploads/{upload_id}"
    upload = store.versions.UploadRow(
        id=upload_id,
        sha256=blob.sha256,
        key=key,
        s3_upload_id=blobs.start_upload(key),
        part_bytes=max(part_bytes, math.ceil(blob.size / MAX_PARTS)),
    )
    session.add(upload)
    session.flush()
    return upload


def part_count(size: int, part_bytes: int) -> int:
    """How many parts a blob of `size` bytes has."""
    return max(1, math.ceil(size / part_bytes))


def part_urls(
    session: Session, blobs: BlobStore, upload_id: UUID, numbers: Sequence[int], *, expires_s: int
) -> dict[int, str]:
    """Where to PUT parts of an upload.

    Raises:
        NotFound: no such upload.
        Invalid: a part number outside the upload.
    """
    upload = _require_upload(session, upload_id)
    count = part_count(_blob_of(session, upload).size, upload.part_bytes)
    for number in numbers:
        if not 1 <= number <= count:
            raise Invalid(f"part {number} of {count}", field="numbers")
    return {
        number: blobs.upload_url(upload.key, upload.s3_upload_id, number, expires_s=expires_s)
        for number in numbers
    }


def finish_upload(session: Session, blobs: BlobStore, upload_id: UUID) -> None:
    """Join the parts; the bytes are not believed before a worker has hashed them.

    Raises:
        NotFound: no such upload.
        UploadIncomplete: parts are missing or of the wrong length; the message says which.
    """
    upload = _require_upload(session, upload_id)
    if upload.completed:
        return
    size = _blob_of(session, upload).size
    parts = blobs.parts(upload.key, upload.s3_upload_id)
    expected = expected_parts(size, upload.part_bytes)
    wrong = [
        number for number in expected if {p.number: p.size for p in parts}.get(number) != expected[number]
    ]
    if wrong:
        raise UploadIncomplete(
            f"parts {wrong[:10]} are missing or of the wrong length", field="parts", parts=wrong[:100]
        )
    blobs.finish_upload(upload.key, upload.s3_upload_id, [part for part in parts if part.number in expected])
    upload.completed = True


def expected_parts(size: int, part_bytes: int) -> dict[int, int]:
    """Part number -> its length in bytes."""
    count = part_count(size, part_bytes)
    return {n: part_bytes if n < count else size - part_bytes * (count - 1) for n in range(1, count + 1)}


def submit(
    session: Session, bell: Bell, model: str, label: str, *, actor: str, now: datetime
) -> store.versions.VersionRow:
    """Hand a version whose bytes have all arrived to the workers.

    Raises:
        UploadIncomplete: components are still missing.
        WrongState: revoked or archived.
    """
    version = require(session, model, label, lock=True)
    if version.state in ("ingesting", "ready"):
        return version
    if version.state not in EDITABLE:
        raise WrongState(f"{model} {label} is {version.state}", state=version.state)
    missing = sorted({c.name for c in _components(version) if not _arrived(session, c.blob)})
    if missing:
        raise UploadIncomplete(
            f"not uploaded yet: {', '.join(missing)}", field="components", components=missing
        )
    version.state, version.problem = "ingesting", None
    jobs.enqueue(session, bell, INGEST_VERSION, f"{INGEST_VERSION}:{version.id}", {"version_id": version.id})
    audit.record(session, actor=actor, verb="version.submit", subject=f"version:{model}/{label}", now=now)
    return version


def pending_blobs(session: Session, version_id: int) -> dict[str, tuple[str, int]]:
    """Blobs of a version that a worker has yet to look at: sha256 -> (staging key, declared size)."""
    version = store.versions.version_by_id(session, version_id)
    found: dict[str, tuple[str, int]] = {}
    for component in _components(version) if version else ():
        upload = None if component.blob.stored else store.versions.upload_of(session, component.blob_sha256)
        if upload is not None:
            found[component.blob_sha256] = (upload.key, component.blob.size)
    return found


def record_blob(
    session: Session, blobs: BlobStore, sha256: str, *, file_format: str, contents: dict[str, Any]
) -> None:
    """A worker has hashed a blob and copied it to its place."""
    blob = store.versions.blob(session, sha256, lock=True)
    if blob is None or blobs.size(blob_key(sha256)) != blob.size:
        raise NotFound(f"blob {sha256} is not in its place")
    blob.stored, blob.format, blob.contents = True, file_format, contents
    upload = store.versions.upload_of(session, sha256)
    if upload is not None:
        session.delete(upload)


def reject(session: Session, version_id: int, *, problem: dict[str, Any], now: datetime) -> None:
    """A version turned out not to be what was declared: say why, and let its label be used again."""
    version = store.versions.version_by_id(session, version_id, lock=True)
    if version is None or version.state != "ingesting":
        return
    version.state, version.problem = "rejected", problem
    session.flush()
    audit.record(
        session,
        actor="worker",
        verb="version.reject",
        subject=f"version:{version.model}/{version.label}",
        now=now,
        detail=problem,
    )


def drop_upload(session: Session, blobs: BlobStore, sha256: str) -> None:
    """Forget bytes that were not what was declared, so that they can be brought again."""
    upload = store.versions.upload_of(session, sha256)
    if upload is not None:
        blobs.delete(upload.key)
        session.delete(upload)


def ask_for_signature(session: Session, bell: Bell, version_id: int) -> None:
    """All bytes are in place: the publisher's signature is what is missing."""
    jobs.enqueue(session, bell, SIGN_VERSION, f"{SIGN_VERSION}:{version_id}", {"version_id": version_id})


def manifest_for(version: store.versions.VersionRow, *, issued: str, expires: str) -> Manifest:
    """What the publisher signs: the version as it was ingested."""
    return Manifest(
        model=version.model,
        version=version.label,
        counter=version.counter,
        floor=version.floor,
        issued=issued,
        expires=expires,
        variants=[
            ManifestVariant(
                name=variant.name,
                selector=variant.selector,
                priority=variant.priority,
                components=[
                    ManifestComponent(
                        name=component.name,
                        path=component.path,
                        size=component.blob.size,
                        sha256=component.blob_sha256,
                        format=component.blob.format,
                    )
                    for component in variant.components
                ],
            )
            for variant in version.variants
        ],
    )


def publish(
    session: Session, version_id: int, *, manifest: bytes, manifest_sha256: str, now: datetime
) -> store.versions.VersionRow:
    """Make a version ready, in one go with its signed manifest.

    Raises:
        WrongState: it is not being ingested, or some of its bytes are not in place.
    """
    version = store.versions.version_by_id(session, version_id, lock=True)
    if version is None or version.state != "ingesting":
        raise WrongState(f"version {version_id} is not being ingested")
    if not all(component.blob.stored for component in _components(version)):
        raise WrongState(f"{version.model} {version.label} has components that no worker has seen")
    version.state, version.manifest, version.manifest_sha256, version.ready_at = (
        "ready",
        manifest,
        manifest_sha256,
        now,
    )
    audit.record(
        session,
        actor="worker",
        verb="version.ready",
        subject=f"version:{version.model}/{version.label}",
        now=now,
        detail={"manifest_sha256": manifest_sha256},
    )
    return version


def expire_uploads(session: Session, blobs: BlobStore, *, before: datetime) -> int:
    """Let uploads go that nobody came back for; return how many."""
    stale = store.versions.stale_uploads(session, before)
    for upload in stale:
        blobs.abort_upload(upload.key, upload.s3_upload_id)
        blobs.delete(upload.key)
        session.delete(upload)
    return len(stale)


def _components(version: store.versions.VersionRow) -> list[store.versions.ComponentRow]:
    return [component for variant in version.variants for component in variant.components]


def _arrived(session: Session, blob: store.versions.BlobRow) -> bool:
    upload = None if blob.stored else store.versions.upload_of(session, blob.sha256)
    return blob.stored or (upload is not None and upload.completed)


def _require_upload(session: Session, upload_id: UUID) -> store.versions.UploadRow:
    upload = store.versions.upload(session, upload_id)
    if upload is None:
        raise NotFound("no such upload; it may be done already", field="upload_id")
    return upload


def _blob_of(session: Session, upload: store.versions.UploadRow) -> store.versions.BlobRow:
    blob = store.versions.blob(session, upload.sha256)
    if blob is None:
        raise NotFound("the upload's blob is gone", field="upload_id")
    return blob
