"""Sign a version's manifest, store it, and mark the version ready.

A version whose publisher signed the manifest needs no key here.
"""

from datetime import timedelta

from sdk_contract.documents import Manifest, format_timestamp, payload_digest
from service.infrastructure import database, signing
from service.infrastructure.blobs import manifest_key
from service.infrastructure.clock import utc_now
from service.operations.patching import patches
from service.operations.releases import manifests, versions
from workers.job_runner import Job

MANIFEST_LIFETIME = timedelta(days=5 * 365)


def run(job: Job) -> None:
    """Sign, store and publish a version; then request patches to it.

    Raises:
        KeyUnusable: this worker has no publisher key, or devices do not trust it.
        WrongState: the publisher has to sign this version and has not done so.
    """
    context, version_id, now = job.context, job.args["version_id"], utc_now()
    with database.read_only(context.engine) as session:
        version = versions.require_by_id(session, version_id)
        manifest = versions.manifest_for(
            version, issued=format_timestamp(now), expires=format_timestamp(now + MANIFEST_LIFETIME)
        )
        envelope = versions.publisher_manifest(version)
    if envelope is None:
        envelope = manifest.sign([signing.load_signer(context.settings.publisher_key, "publisher")])
    with database.read_only(context.engine) as session:
        if not manifests.is_trusted(session, envelope):
            # Devices would reject the manifest; fail here, before the version is ready.
            raise signing.KeyUnusable(
                "the trust bundle does not accept the signature of this worker's publisher key; "
                "check the publisher keys and threshold in the bundle"
            )
    digest = payload_digest(envelope, limit=Manifest.limit)
    context.blobs.put(manifest_key(digest), envelope)
    with job.completion() as session:
        versions.publish(session, version_id, manifest=envelope, manifest_sha256=digest, now=now)
        patches.request_for_version(session, context.notifier, version_id, bases=context.settings.patch_bases)
