"""The bytes of an answer: what is the same for all devices of a kind is composed once, the rest is added.

Signing a directive costs 23 microseconds and cannot be shared. Everything else can: a decision's version,
variant, downloads and URLs are the same for thousands of devices, so their JSON is made once for each
snapshot and window of URLs, and a poll adds its attempt, its pause and its directive in front.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sdk_contract.wire import Download, ManifestReference, PollAnswer, PollRequest, Way
from sdk_contract.writing import Signer
from service.blobs import blob_key, manifest_key
from service.domain.catalogue import Line, Version
from service.domain.decisions import Decision, Delivery
from service.serving.directives import DirectiveSeal, Form, form
from service.serving.snapshot import Snapshot
from service.serving.urls import DownloadUrls

MAX_KEPT = 2_000
"""Different answers kept; there are as many as combinations of version, variant and what devices hold already."""
_OWN = {"attempt_id", "next_poll_s", "directive"}
"""The fields of an answer that no two devices share."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided, granted and timed for one poll.

    Attributes:
        retry: the device may try a version again that failed on it.
    """

    line: Line
    decision: Decision
    attempt_id: str | None
    next_poll_s: int
    retry: bool = False


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all answers of a kind have in common.

    Attributes:
        decision: kept, because as long as its objects live no other has their identity.
        form: of their directives.
        rest: the answer's JSON behind the directive.
    """

    decision: Decision
    form: Form
    rest: bytes


class Composer:
    """Writes answers; one per process."""

    def __init__(self, urls: DownloadUrls, director: Signer) -> None:
        """Keep the ports."""
        self._urls = urls
        self._seal = DirectiveSeal(director)
        self._made_for: tuple[Snapshot, int] | None = None
        self._kept: dict[Any, _Shared] = {}

    def compose(
        self, snapshot: Snapshot, verdict: Verdict, request: PollRequest, body: bytes, now: datetime
    ) -> bytes:
        """The answer as JSON, its directive signed over `body`."""
        shared = self._shared(snapshot, verdict)
        directive = self._seal.sealed(
            shared.form,
            now,
            device_id=request.device_id,
            nonce=request.nonce,
            request_sha256=hashlib.sha256(body).hexdigest(),
            attempt_id=verdict.attempt_id,
            next_poll_s=verdict.next_poll_s,
        )
        attempt = f'"attempt_id":"{verdict.attempt_id}",' if verdict.attempt_id else ""
        own = f'{{{attempt}"next_poll_s":{verdict.next_poll_s},"directive":'.encode()
        return b"".join((own, directive, shared.rest))

    def _shared(self, snapshot: Snapshot, verdict: Verdict) -> _Shared:
        window = self._urls.window
        if self._made_for is None or self._made_for[0] is not snapshot or self._made_for[1] != window:
            self._made_for, self._kept = (snapshot, window), {}
        key = _kind(verdict)
        made = self._kept.get(key)
        if made is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            answer = self._compose(snapshot, verdict.line, verdict.decision)
            made = self._kept[key] = _Shared(verdict.decision, _form(verdict), b"," + answer[1:])
        return made

    def _compose(self, snapshot: Snapshot, line: Line, decision: Decision) -> bytes:
        version = decision.version if decision.offered else None
        manifest = self._manifest(version) if version else None
        downloads = [self._download(delivery) for delivery in decision.deliveries]
        answer = PollAnswer(
            need_update=decision.offered,
            target_version=version.label if version else None,
            download_url=_mirror(downloads, manifest),
            reason=decision.reason,
            action=decision.action,
            model=line.name,
            rollout=decision.rollout.name if decision.rollout and decision.offered else None,
            manifest=manifest,
            downloads=downloads,
            next_poll_s=0,
            directive={},
            trust_version=snapshot.trust_version or None,
        )
        return answer.model_dump_json(exclude_none=True, exclude=_OWN).encode()

    def _manifest(self, version: Version) -> ManifestReference:
        return ManifestReference(
            sha256=version.manifest_sha256,
            url=self._urls.url(manifest_key(version.manifest_sha256)),
            envelope=_loads(version.manifest),
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
                descriptor=_loads(patch.descriptor),
            )
            for patch in delivery.patches
            if patch.sha256 is not None
        ]

    def _full_way(self, delivery: Delivery) -> Way:
        part = delivery.component
        return Way(
            format="full", url=self._urls.url(blob_key(part.sha256)), size=part.size, sha256=part.sha256
        )


def _form(verdict: Verdict) -> Form:
    decision = verdict.decision
    version = decision.version if decision.offered else None
    return form(
        {
            "action": decision.action,
            "ext": _additions(verdict) or None,
            "manifest_sha256": (version.manifest_sha256 or None) if version else None,
            "model": verdict.line.name,
            "reason": decision.reason,
            "variant": decision.variant.name if version and decision.variant else None,
        }
    )


def _additions(verdict: Verdict) -> dict[str, Any]:
    """What clients of the first contract ignore."""
    found: dict[str, Any] = {"activation": "hold"} if verdict.decision.held else {}
    return found | ({"retry": True} if verdict.retry else {})


def _kind(verdict: Verdict) -> Any:
    """Decisions of one kind have the same shared part; objects of one snapshot are told apart by identity."""
    line, decision = verdict.line, verdict.decision
    if not decision.offered:
        return line.name, decision.reason, decision.action, decision.held, verdict.retry
    return (
        line.name,
        decision.reason,
        decision.action,
        decision.held,
        verdict.retry,
        id(decision.rollout),
        id(decision.version),
        id(decision.variant),
        *[
            (id(delivery.component), delivery.keep, *[id(patch) for patch in delivery.patches])
            for delivery in decision.deliveries
        ],
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
