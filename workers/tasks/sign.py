"""Vouch for a version: the publisher's signature, the manifest in its place, and `ready`, in that order.

Where the publisher has signed the manifest itself, no key is needed here.
"""

from datetime import timedelta

from sdk_contract.documents import Manifest, payload_digest, timestamp
from service import database, signing
from service.blobs import manifest_key
from service.operations import manifests, patches, versions
from service.tokens import utc_now
from workers.context import Job

LIFETIME = timedelta(days=5 * 365)


def run(job: Job) -> None:
    """Sign, store, publish; then plan the patches that the version is worth.

    Raises:
        KeyUnusable: this worker does not hold the publisher's key, or one that devices believe.
        WrongState: the publisher signs this version itself, and has not.
    """
    context, version_id, now = job.context, job.args["version_id"], utc_now()
    with database.read_only(context.engine) as session:
        version = versions.require_by_id(session, version_id)
        manifest = versions.manifest_for(version, issued=timestamp(now), expires=timestamp(now + LIFETIME))
        envelope = versions.publishers_own(version)
    if envelope is None:
        envelope = manifest.seal([signing.signer_from(context.settings.publisher_key, "publisher")])
    with database.read_only(context.engine) as session:
        if not manifests.is_believed(session, envelope):
            # A version that is ready and that every device refuses would be found out by the fleet.
            raise signing.KeyUnusable(
                "devices do not believe the publisher key of this worker, or not it alone"
            )
    digest = payload_digest(envelope, limit=Manifest.limit)
    context.blobs.put(manifest_key(digest), envelope)
    with job.closing() as session:
        versions.publish(session, version_id, manifest=envelope, manifest_sha256=digest, now=now)
        patches.plan_for(session, context.bell, version_id, bases=context.settings.patch_bases)
