"""One poll: decide from the snapshot, get a grant where something is offered, sign, answer."""

import hashlib
import json
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sdk_contract.documents import Directive, timestamp
from sdk_contract.wire import Download, ManifestReference, PollAnswer, PollRequest, Reason, Way
from sdk_contract.writing import Signer
from service.blobs import blob_key, manifest_key
from service.domain.catalogue import Line, Version
from service.domain.offers import Decision, Delivery, Facts, decide, refuge
from service.errors import DeviceSuspended, ModelNotServed, ModelRequired, UnknownDevice, UnknownModel
from service.serving.checkins import Checkin, Checkins
from service.serving.grants import Grant, Wish
from service.serving.group_commit import GroupCommit
from service.serving.snapshot import Snapshot, SnapshotKeeper
from service.serving.urls import DownloadUrls
from service.tokens import DeviceClaims

DIRECTIVE_LIFETIME = timedelta(hours=1)
SOON_S = 60
"""Next poll of a device that is waiting for something short, such as a patch in the making."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often devices come, how long they wait for a patch, how long an attempt may be silent."""

    poll_s: int
    patch_wait: timedelta
    lease: timedelta


@dataclass(frozen=True, slots=True)
class Question:
    """A poll as it arrived.

    Attributes:
        body: the request's bytes; their digest goes under the directive's signature.
    """

    request: PollRequest
    body: bytes
    claims: DeviceClaims
    now: datetime


class PollDesk:
    """Answers polls; one per process."""

    def __init__(
        self,
        *,
        snapshots: SnapshotKeeper,
        grants: GroupCommit[Wish, Grant],
        checkins: Checkins,
        urls: DownloadUrls,
        director: Signer,
        pace: Pace,
    ) -> None:
        """Keep the ports."""
        self._snapshots = snapshots
        self._grants = grants
        self._checkins = checkins
        self._urls = urls
        self._director = director
        self._pace = pace

    async def answer(self, question: Question) -> PollAnswer:
        """What the device shall do.

        Raises:
            UnknownModel, ModelRequired: nothing to decide about.
            UnknownDevice: the device has not enrolled here.
            ModelNotServed: the device was let in for other models.
            DeviceSuspended: the device has been decommissioned.
            Unavailable: something is offered and cannot be written down now.
        """
        snapshot = self._snapshots.current
        line = choose_line(snapshot, question.request.model)
        _require_served(line, question.claims)
        facts = facts_of(snapshot, question)
        if facts.blocked == "decommissioned":
            raise DeviceSuspended("this device has been decommissioned")
        decision = decide(line, facts, waiting_since=question.now - self._pace.patch_wait)
        self._note(line, question)
        attempt = None
        # Leaving a revoked version, or completing one, is no part of a rollout: no attempt is counted.
        if decision.offered and decision.rollout is not None:
            grant = await self._grants.submit(self._wish(line, decision, question))
            if not grant.known:
                raise UnknownDevice("this device has not enrolled here", field="device_id")
            attempt = grant.attempt_id
            if grant.refusal is not None:
                refused = replace(decision, reason=grant.refusal, action="none", deliveries=())
                decision = refuge(line, facts) or refused
        return self._compose(snapshot, line, decision, attempt, question)

    def _note(self, line: Line, question: Question) -> None:
        request = question.request
        self._checkins.note(
            Checkin(request.device_id, line.name, request.current_version, request.attributes, question.now)
        )

    def _wish(self, line: Line, decision: Decision, question: Question) -> Wish:
        if decision.rollout is None or decision.version is None:
            raise UnknownModel("an offer without a rollout")
        return Wish(
            device_id=question.request.device_id,
            model=line.name,
            rollout_id=decision.rollout.id,
            version_id=decision.version.id,
            stage=decision.stage,
            action=decision.action,
            from_version=question.request.current_version,
            bytes_offered=sum(delivery.bytes for delivery in decision.deliveries),
            now=question.now,
            lease_until=question.now + self._pace.lease,
        )

    def _compose(
        self, snapshot: Snapshot, line: Line, decision: Decision, attempt: str | None, question: Question
    ) -> PollAnswer:
        version = decision.version if decision.offered else None
        next_poll_s = self._next_poll_s(decision.reason)
        manifest = self._manifest(version) if version else None
        downloads = [self._download(delivery) for delivery in decision.deliveries]
        return PollAnswer(
            need_update=decision.offered,
            target_version=version.label if version else None,
            download_url=_mirror(downloads, manifest),
            reason=decision.reason,
            action=decision.action,
            model=line.name,
            attempt_id=attempt,
            rollout=decision.rollout.name if decision.rollout and decision.offered else None,
            manifest=manifest,
            downloads=downloads,
            next_poll_s=next_poll_s,
            directive=self._directive(line, decision, attempt, next_poll_s, question),
            trust_version=snapshot.trust_version or None,
        )

    def _directive(
        self, line: Line, decision: Decision, attempt: str | None, next_poll_s: int, question: Question
    ) -> dict[str, Any]:
        version = decision.version if decision.offered else None
        directive = Directive(
            device_id=question.request.device_id,
            model=line.name,
            nonce=question.request.nonce or "",
            request_sha256=hashlib.sha256(question.body).hexdigest(),
            action=decision.action,
            reason=decision.reason,
            manifest_sha256=version.manifest_sha256 if version else None,
            variant=decision.variant.name if version and decision.variant else None,
            attempt_id=attempt,
            next_poll_s=next_poll_s,
            issued=timestamp(question.now),
            expires=timestamp(question.now + DIRECTIVE_LIFETIME),
        )
        return _loads(directive.seal([self._director]))

    def _manifest(self, version: Version) -> ManifestReference:
        return ManifestReference(
            sha256=version.manifest_sha256,
            url=self._urls.url(manifest_key(version.manifest_sha256)),
            envelope=_loads_cached(version.manifest),
        )

    def _download(self, delivery: Delivery) -> Download:
        part = delivery.component
        ways = [] if delivery.keep else [*self._patch_ways(delivery), self._full_way(delivery)]
        return Download(
            name=part.name,
            path=part.path,
            target_sha256=part.sha256,
            target_size=part.size,
            keep=delivery.keep,
            ways=ways,
        )

    def _patch_ways(self, delivery: Delivery) -> list[Way]:
        return [
            Way(
                format=patch.format,
                url=self._urls.url(blob_key(patch.sha256)),
                size=patch.size,
                sha256=patch.sha256,
                from_sha256=patch.source_sha256,
                working_set=patch.working_set,
                descriptor=_loads_cached(patch.descriptor),
            )
            for patch in delivery.patches
            if patch.sha256 is not None
        ]

    def _full_way(self, delivery: Delivery) -> Way:
        part = delivery.component
        return Way(
            format="full", url=self._urls.url(blob_key(part.sha256)), size=part.size, sha256=part.sha256
        )

    def _next_poll_s(self, reason: Reason) -> int:
        base = min(SOON_S, self._pace.poll_s) if reason == "patch_building" else self._pace.poll_s
        # Jitter spreads a fleet that was started, or cut off, at the same moment.
        return max(1, round(base * random.uniform(0.9, 1.1)))  # noqa: S311 - timing, not a secret


def _require_served(line: Line, claims: DeviceClaims) -> None:
    if claims.models is not None and line.name not in claims.models:
        raise ModelNotServed(f"this device was not let in for {line.name}", field="model")


def choose_line(snapshot: Snapshot, model: str | None) -> Line:
    """The model that a request is about; it need not say so where there is only one.

    Raises:
        UnknownModel: it is not served.
        ModelRequired: there are several.
    """
    if model is not None:
        if model not in snapshot.lines:
            raise UnknownModel(f"there is no model {model!r}", field="model")
        return snapshot.lines[model]
    if len(snapshot.lines) > 1:
        raise ModelRequired("this server has several models; name one", field="model")
    if not snapshot.lines:
        raise UnknownModel("this server has no model yet", field="model")
    return next(iter(snapshot.lines.values()))


def facts_of(snapshot: Snapshot, question: Question) -> Facts:
    """What is known of the device: an operator's word over the token's over its own."""
    request, device_id = question.request, question.request.device_id
    attributes = {
        **request.attributes,
        **question.claims.attributes,
        **snapshot.overrides.get(device_id, {}),
    }
    return Facts(
        device_id=device_id,
        attributes=attributes,
        current=request.current_version,
        components=request.components,
        modules=frozenset(request.modules) if request.modules is not None else None,
        accepts=tuple(request.accepts),
        blocked=snapshot.blocked.get(device_id),
    )


def _mirror(downloads: list[Download], manifest: ManifestReference | None) -> str | None:
    """`download_url` for the simplest client: the one download if there is only one, else the manifest."""
    needed = [download for download in downloads if not download.keep]
    if len(needed) == 1:
        return needed[0].ways[0].url
    return manifest.url if manifest else None


def _loads(envelope: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(envelope)
    return parsed


@lru_cache(maxsize=4096)
def _loads_cached(envelope: bytes) -> dict[str, Any]:
    return _loads(envelope)
