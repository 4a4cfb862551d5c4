"""Versions from their declaration (`declarations`) to ready, rejected or revoked. Writes `versions`.

The bytes go straight to the object store, a worker re-hashes them, and one transaction makes the version
ready. Until then no device sees it.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

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
from service.jobs import INGEST_VERSION, SIGN_VERSION, Bell
from service.operations import audit, jobs, models

EDITABLE = ("draft", "uploading", "rejected")
"""States in which a version has not been published yet, so that its declaration may still change."""


def list_versions(session: Session, model: str) -> Sequence[store.versions.VersionRow]:
    """The newest versions of a model, newest first.

    Raises:
        UnknownModel: there is no such model.
    """
    models.require(session, model)
    return store.versions.versions(session, model)


def largest_download(version: store.versions.VersionRow) -> int:
    """Bytes of the version's largest build, whole."""
    return max((sum(part.blob.size for part in build.components) for build in version.variants), default=0)


def signed_manifest(session: Session, model: str, label: str) -> dict[str, Any]:
    """The publisher's envelope of a version.

    Raises:
        UnknownModel, NotFound: no such version.
        VersionNotReady: it has not been signed yet.
    """
    version = require(session, model, label)
    if version.manifest is None:
        raise VersionNotReady(
            f"{model} {label} is {version.state}; it has no manifest yet", state=version.state
        )
    envelope: dict[str, Any] = json.loads(version.manifest)
    return envelope


def require(session: Session, model: str, label: str, *, lock: bool = False) -> store.versions.VersionRow:
    """The version of that label.

    Raises:
        UnknownModel: there is no such model.
        NotFound: it has no such version.
    """
    row = store.versions.version(session, model, label, lock=lock)
    if row is None:
        models.require(session, model)
        raise NotFound(f"{model} has no version {label!r}", field="version")
    return row


def require_by_id(session: Session, version_id: int) -> store.versions.VersionRow:
    """The version of that id.

    Raises:
        NotFound: there is none.
    """
    row = store.versions.version_by_id(session, version_id)
    if row is None:
        raise NotFound(f"there is no version {version_id}")
    return row


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
    missing = sorted({c.name for c in components(version) if not store.versions.has_arrived(session, c.blob)})
    if missing:
        raise UploadIncomplete(
            f"not uploaded yet: {', '.join(missing)}", field="components", components=missing
        )
    version.state, version.problem = "ingesting", None
    jobs.enqueue(session, bell, INGEST_VERSION, f"{INGEST_VERSION}:{version.id}", {"version_id": version.id})
    audit.record(session, actor=actor, verb="version.submit", subject=f"version:{model}/{label}", now=now)
    return version


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


def revoke(
    session: Session, model: str, label: str, *, actor: str, reason: str, now: datetime
) -> store.versions.VersionRow:
    """Nobody is offered the version any more, and devices that run it are brought to a good one.

    It stays known: its manifest, so that devices are understood, and the patches that lead away from it.

    Raises:
        UnknownModel, NotFound: no such version.
        WrongState: devices cannot run it, since it was never ready.
    """
    version = require(session, model, label, lock=True)
    if version.state == "revoked":
        return version
    if version.state != "ready":
        raise WrongState(f"{model} {label} is {version.state}; no device has it", state=version.state)
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


def reopen(session: Session, kind: str, args: dict[str, Any]) -> None:
    """A job that was given up gets another round: what had been rejected with it is in work again."""
    if kind not in (INGEST_VERSION, SIGN_VERSION):
        return
    version = store.versions.version_by_id(session, args["version_id"], lock=True)
    if version is not None and version.state == "rejected":
        version.state, version.problem = "ingesting", None


def ask_for_signature(session: Session, bell: Bell, version_id: int) -> None:
    """All bytes are in place: the publisher's signature is what is missing.

    Where the publisher signs itself, there is nothing to ask for until its manifest has come.
    """
    version = require_by_id(session, version_id)
    if version.signed_by_publisher and version.manifest is None:
        return
    jobs.enqueue(session, bell, SIGN_VERSION, f"{SIGN_VERSION}:{version_id}", {"version_id": version_id})


def is_ingested(version: store.versions.VersionRow) -> bool:
    """Whether a worker has seen all of its bytes."""
    return all(component.blob.stored for component in components(version))


def awaits_manifest(version: store.versions.VersionRow) -> bool:
    """Whether its publisher's signature is all that is missing."""
    waiting = version.signed_by_publisher and version.manifest is None
    return waiting and version.state == "ingesting" and is_ingested(version)


def publishers_own(version: store.versions.VersionRow) -> bytes | None:
    """The manifest that the publisher has signed itself; None where that is left to a worker.

    Raises:
        WrongState: it is the publisher who signs, and has not.
    """
    if not version.signed_by_publisher:
        return None
    if version.manifest is None:
        raise WrongState(f"{version.model} {version.label} waits for its publisher's signature")
    return version.manifest


def keep_manifest(session: Session, version: store.versions.VersionRow, envelope: bytes, digest: str) -> None:
    """Write the publisher's verified manifest down; the version becomes ready in a job of its own."""
    version.manifest, version.manifest_sha256 = envelope, digest
    session.flush()


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
    if not is_ingested(version):
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


def components(version: store.versions.VersionRow) -> list[store.versions.ComponentRow]:
    """The files of all of its builds."""
    return [component for variant in version.variants for component in variant.components]
