"""Manifests that publishers sign themselves: this server holds no key that could make a model genuine.

CI declares a version as one that it will sign, uploads, and hands in the envelope once the files have
been looked at. What is accepted is what devices would accept, of exactly the version that was ingested.
"""

from dataclasses import fields, replace
from datetime import datetime

from sqlalchemy.orm import Session

from sdk_contract.documents import Manifest, payload_digest, require_fresh
from sdk_contract.errors import ContractError
from service import store
from service.errors import Conflict, Invalid, VersionNotReady, WrongState
from service.jobs import Bell
from service.operations import audit, trust, versions


class InvalidManifest(Invalid):
    """A manifest that devices would refuse; `contract_code` says as what."""

    code, title = "invalid_manifest", "Invalid manifest"


class ManifestDiffers(Conflict):
    """A genuine manifest, of something else than was uploaded here."""

    code, title = "manifest_differs", "Not the version that was uploaded"


def hand_in(
    session: Session, bell: Bell, model: str, label: str, envelope: bytes, *, actor: str, now: datetime
) -> store.versions.VersionRow:
    """Take the publisher's signed manifest of a version; taking the same one again changes nothing.

    Raises:
        UnknownModel, NotFound: no such version.
        WrongState: the version was not declared as one that its publisher signs, or is not being ingested.
        VersionNotReady: the files have not all been looked at yet; the same request may succeed later.
        InvalidManifest: devices would refuse it, by the newest trust bundle.
        ManifestDiffers: it is not of the version as it was ingested.
    """
    version = versions.require(session, model, label, lock=True)
    if version.manifest == envelope:
        return version
    if not version.signed_by_publisher or version.state != "ingesting":
        raise WrongState(
            f"{model} {label} is {version.state} and does not wait for a manifest", state=version.state
        )
    if not versions.is_ingested(version):
        raise VersionNotReady("the files are still being looked at", state=version.state, retry_after_s=2)
    _require_same(_genuine(session, envelope, now), version)
    versions.keep_manifest(session, version, envelope, payload_digest(envelope, limit=Manifest.limit))
    versions.ask_for_signature(session, bell, version.id)
    audit.record(session, actor=actor, verb="version.manifest", subject=f"version:{model}/{label}", now=now)
    return version


def is_believed(session: Session, envelope: bytes) -> bool:
    """Whether devices on the newest trust bundle believe a manifest; yes where there is no bundle yet to ask."""
    try:
        Manifest.open(envelope, trust.newest(session).for_role("publisher"))
    except trust.NoTrustBundle:
        return True
    except ContractError:
        return False
    return True


def _genuine(session: Session, envelope: bytes, now: datetime) -> Manifest:
    bundle = trust.newest(session)
    try:
        manifest = Manifest.open(envelope, bundle.for_role("publisher"))
        require_fresh(manifest, now)
    except ContractError as error:
        raise InvalidManifest(str(error), field="envelope", contract_code=error.code) from error
    return manifest


def _require_same(manifest: Manifest, version: store.versions.VersionRow) -> None:
    """`requires` and `ext` are the publisher's own; whatever this server knows has to be as it knows it."""
    expected = versions.manifest_for(version, issued=manifest.issued, expires=manifest.expires)
    claimed = replace(manifest, requires={}, ext={})
    for name in (entry.name for entry in fields(Manifest)):
        if getattr(claimed, name) != getattr(expected, name):
            raise ManifestDiffers(f"its {name} is not that of the version here", field=f"envelope.{name}")
