"""Manifests signed by publishers, so that the server holds no publisher key.

CI declares a version with `signed_by_publisher`, uploads its files, and submits the signed manifest once the files are
ingested. A manifest is accepted if devices would accept it and it describes exactly the ingested version.
"""

from dataclasses import fields, replace
from datetime import datetime

from sqlalchemy.orm import Session

from sdk_contract.documents import Manifest, check_not_expired, payload_digest
from sdk_contract.errors import ContractError
from service import store
from service.errors import Conflict, Invalid, VersionNotReady, WrongState
from service.infrastructure.jobs import JobNotifier
from service.operations.platform import audit, trust
from service.operations.releases import versions


class InvalidManifest(Invalid):
    """Devices would refuse the manifest; `contract_code` is the code with which they would."""

    code, title = "invalid_manifest", "Invalid manifest"


class ManifestMismatch(Conflict):
    """The signature is valid, but the manifest describes other content than the ingested version."""

    code, title = "manifest_mismatch", "Manifest differs from the uploaded version"


def submit(
    session: Session,
    notifier: JobNotifier,
    model: str,
    label: str,
    envelope: bytes,
    *,
    actor: str,
    now: datetime,
) -> store.versions.VersionRow:
    """Submit the manifest of a version that its publisher has signed. Repeating it changes nothing.

    Raises:
        UnknownModel, NotFound: there is no such version.
        WrongState: the version was not declared with `signed_by_publisher`, or is not being ingested.
        VersionNotReady: not all files are ingested yet; the same request may succeed later.
        InvalidManifest: devices would refuse it according to the newest trust bundle.
        ManifestMismatch: it does not describe the ingested version.
    """
    version = versions.require(session, model, label, lock=True)
    if version.manifest == envelope:
        return version
    if not version.signed_by_publisher or version.state != "ingesting":
        raise WrongState(f"{model} {label} is {version.state} and expects no manifest", state=version.state)
    if not versions.is_ingested(version):
        raise VersionNotReady(
            "the files are still being ingested; try again later", state=version.state, retry_after_s=2
        )
    _require_match(_verified(session, envelope, now), version)
    versions.attach_manifest(session, version, envelope, payload_digest(envelope, limit=Manifest.limit))
    versions.request_signature(session, notifier, version.id)
    audit.record(session, actor=actor, verb="version.manifest", subject=f"version:{model}/{label}", now=now)
    return version


def is_trusted(session: Session, envelope: bytes) -> bool:
    """Whether devices with the newest trust bundle accept a manifest; True if there is no trust bundle yet."""
    try:
        Manifest.from_envelope(envelope, trust.latest(session).for_role("publisher"))
    except trust.NoTrustBundle:
        return True
    except ContractError:
        return False
    return True


def _verified(session: Session, envelope: bytes, now: datetime) -> Manifest:
    bundle = trust.latest(session)
    try:
        manifest = Manifest.from_envelope(envelope, bundle.for_role("publisher"))
        check_not_expired(manifest, now)
    except ContractError as error:
        raise InvalidManifest(str(error), field="envelope", contract_code=error.code) from error
    return manifest


def _require_match(manifest: Manifest, version: store.versions.VersionRow) -> None:
    """Compare all fields but `requires` and `ext`, which only the publisher knows."""
    expected = versions.manifest_for(version, issued=manifest.issued, expires=manifest.expires)
    claimed = replace(manifest, requires={}, ext={})
    for name in (entry.name for entry in fields(Manifest)):
        if getattr(claimed, name) != getattr(expected, name):
            raise ManifestMismatch(
                f"the field {name} of the manifest differs from the ingested version; sign the manifest that the server returns",
                field=f"envelope.{name}",
            )
