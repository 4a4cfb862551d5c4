"""Versions after their declaration: submitted, ingested, signed, ready, rejected or revoked.

Files are uploaded directly to the object store. A worker verifies their digests, and one transaction makes the version
ready. Devices do not see it before that. Rows are inserted and deleted by `declarations`.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from sdk_contract.documents import Component as ManifestComponent
from sdk_contract.documents import Manifest
from sdk_contract.documents import Variant as ManifestVariant
from service import store
from service.errors import (
    NotFound,
    UploadIncomplete,
    VersionNotReady,
    WrongState,
)
from service.infrastructure.jobs import INGEST_VERSION, SIGN_VERSION, JobNotifier
from service.operations.platform import audit, jobs
from service.operations.releases import models

EDITABLE = ("draft", "uploading", "rejected")
"""States in which the declaration of a version may still change."""


def list_for_model(session: Session, model: str) -> Sequence[store.versions.VersionRow]:
    """The versions of a model, newest first.

    Raises:
        UnknownModel: there is no such model.
    """
    models.require(session, model)
    return store.versions.versions(session, model)


def max_download_bytes(version: store.versions.VersionRow) -> int:
    """The size of the largest variant in bytes."""
    sizes = [sum(part.blob.size for part in variant.components) for variant in version.variants]
    return max(sizes, default=0)


def signed_manifest(session: Session, model: str, label: str) -> dict[str, Any]:
    """The signed manifest of a version, as an envelope.

    Raises:
        UnknownModel, NotFound: there is no such version.
        VersionNotReady: it is not signed yet.
    """
    version = require(session, model, label)
    if version.manifest is None:
        raise VersionNotReady(
            f"{model} {label} is {version.state}; it has no signed manifest yet", state=version.state
        )
    envelope: dict[str, Any] = json.loads(version.manifest)
    return envelope


def require(session: Session, model: str, label: str, *, lock: bool = False) -> store.versions.VersionRow:
    """The version of a model with that label.

    Raises:
        UnknownModel: there is no such model.
        NotFound: it has no such version.
    """
    row = store.versions.version(session, model, label, lock=lock)
    if row is None:
        models.require(session, model)
        raise NotFound(f"{model} has no version {label!r}; see `graylag model show {model}`", field="version")
    return row


def require_by_id(session: Session, version_id: int) -> store.versions.VersionRow:
    """The version with that id.

    Raises:
        NotFound: there is none.
    """
    row = store.versions.version_by_id(session, version_id)
    if row is None:
        raise NotFound(f"there is no version {version_id}")
    return row


def submit(
    session: Session, notifier: JobNotifier, model: str, label: str, *, actor: str, now: datetime
) -> store.versions.VersionRow:
    """Submit a version whose files are all uploaded; workers ingest it.

    Raises:
        UploadIncomplete: files are missing.
        WrongState: the version is revoked or archived.
    """
    version = require(session, model, label, lock=True)
    if version.state in ("ingesting", "ready"):
        return version
    if version.state not in EDITABLE:
        raise WrongState(f"{model} {label} is {version.state}; publish another version", state=version.state)
    missing = sorted(
        {c.name for c in all_components(version) if not store.blobs.is_uploaded(session, c.blob)}
    )
    if missing:
        raise UploadIncomplete(
            f"upload these components first: {', '.join(missing)}", field="components", components=missing
        )
    version.state, version.problem = "ingesting", None
    jobs.enqueue(
        session, notifier, INGEST_VERSION, f"{INGEST_VERSION}:{version.id}", {"version_id": version.id}
    )
    audit.record(session, actor=actor, verb="version.submit", subject=f"version:{model}/{label}", now=now)
    return version


def reject(session: Session, version_id: int, *, problem: dict[str, Any], now: datetime) -> None:
    """Reject a version that is not what was declared; its label may be declared again."""
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


def revoke(
    session: Session, model: str, label: str, *, actor: str, reason: str, now: datetime
) -> store.versions.VersionRow:
    """Revoke a version: it is offered to no device, and devices that run it are moved to another version.

    The manifest and the patches away from it are kept, because devices still need them.

    Raises:
        UnknownModel, NotFound: there is no such version.
        WrongState: the version was never ready, so no device runs it.
    """
    version = require(session, model, label, lock=True)
    if version.state == "revoked":
        return version
    if version.state != "ready":
        raise WrongState(
            f"{model} {label} is {version.state}; only a ready version can be revoked", state=version.state
        )
    version.state = "revoked"
    session.flush()
    audit.record(
        session,
        actor=actor,
        verb="version.revoke",
        subject=f"version:{model}/{label}",
        now=now,
        detail={"reason": reason},
    )
    return version


def requeue_job(session: Session, notifier: JobNotifier, job_id: UUID, *, now: datetime) -> store.jobs.JobRow:
    """Queue a dead job again, and resume the version that was rejected because the job died, if any.

    Raises:
        NotFound: there is no such job.
        WrongState: it is not dead.
    """
    job = jobs.requeue(session, notifier, job_id, now=now)
    if job.kind in (INGEST_VERSION, SIGN_VERSION):
        version = store.versions.version_by_id(session, job.args["version_id"], lock=True)
        if version is not None and version.state == "rejected":
            version.state, version.problem = "ingesting", None
    return job


def request_signature(session: Session, notifier: JobNotifier, version_id: int) -> None:
    """Request a signature for an ingested version.

    If the publisher signs its manifests itself, this does nothing until the signed manifest is submitted.
    """
    version = require_by_id(session, version_id)
    if version.signed_by_publisher and version.manifest is None:
        return
    jobs.enqueue(session, notifier, SIGN_VERSION, f"{SIGN_VERSION}:{version_id}", {"version_id": version_id})


def is_ingested(version: store.versions.VersionRow) -> bool:
    """Whether a worker has verified all files of a version."""
    return all(component.blob.stored for component in all_components(version))


def awaits_manifest(version: store.versions.VersionRow) -> bool:
    """Whether only a manifest signed by the publisher is missing."""
    waiting = version.signed_by_publisher and version.manifest is None
    return waiting and version.state == "ingesting" and is_ingested(version)


def publisher_manifest(version: store.versions.VersionRow) -> bytes | None:
    """The manifest that the publisher has signed; None if a worker signs it.

    Raises:
        WrongState: the publisher signs this version, and has not done so yet.
    """
    if not version.signed_by_publisher:
        return None
    if version.manifest is None:
        raise WrongState(
            f"{version.model} {version.label} waits for a manifest signed by its publisher; submit one"
        )
    return version.manifest


def attach_manifest(
    session: Session, version: store.versions.VersionRow, envelope: bytes, digest: str
) -> None:
    """Store a verified manifest of the publisher; a job makes the version ready."""
    version.manifest, version.manifest_sha256 = envelope, digest
    session.flush()


def manifest_for(version: store.versions.VersionRow, *, issued: str, expires: str) -> Manifest:
    """The unsigned manifest of an ingested version."""
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
    """Make a version ready and store its signed manifest.

    Raises:
        WrongState: the version is not being ingested, or not all of its files are verified.
    """
    version = store.versions.version_by_id(session, version_id, lock=True)
    if version is None or version.state != "ingesting":
        raise WrongState(f"version {version_id} is not being ingested")
    if not is_ingested(version):
        raise WrongState(f"{version.model} {version.label} has components that are not verified yet")
    version.state, version.ready_at = "ready", now
    version.manifest, version.manifest_sha256 = manifest, manifest_sha256
    audit.record(
        session,
        actor="worker",
        verb="version.ready",
        subject=f"version:{version.model}/{version.label}",
        now=now,
        detail={"manifest_sha256": manifest_sha256},
    )
    return version


def all_components(version: store.versions.VersionRow) -> list[store.versions.ComponentRow]:
    """The components of all variants of a version."""
    return [component for variant in version.variants for component in variant.components]
