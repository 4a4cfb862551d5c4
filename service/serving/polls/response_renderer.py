"""The bytes of poll responses: the component that many devices share is rendered once and cached.

Signing a directive costs 23 microseconds and cannot be shared. Everything else can: thousands of devices get the same
version, variant, downloads and URLs. Their JSON is rendered once for each snapshot and URL window. Each poll adds its
attempt, its next poll and its directive in front.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sdk_contract.formats import FULL
from sdk_contract.signing import Signer
from sdk_contract.wire import Download, DownloadOption, ManifestReference, PollRequest, PollResponse
from service.domain.catalog import ModelView, Version
from service.domain.polling.decisions import Decision, Delivery
from service.infrastructure.blobs import blob_key, manifest_key
from service.serving.polls.directives import DirectiveSigner, DirectiveTemplate, directive_template
from service.serving.polls.download_urls import DownloadUrls
from service.serving.snapshots.snapshot import Snapshot

MAX_CACHED = 2_000
"""Shared parts in the cache: one per combination of version, variant and components that devices already have."""
_PER_DEVICE_FIELDS = {"attempt_id", "next_poll_s", "directive"}
"""Response fields that differ between devices."""


@dataclass(frozen=True, slots=True)
class PollResult:
    """The outcome of one poll.

    Attributes:
        decision: what the device gets, and why.
        attempt_id: the attempt, if there is an offer.
        retry: the device may retry a version that failed on it.
    """

    model: ModelView
    decision: Decision
    attempt_id: str | None
    next_poll_s: int
    retry: bool = False


@dataclass(frozen=True, slots=True)
class _SharedPart:
    """The component of a response that many devices share.

    Attributes:
        decision: kept alive, because the cache key contains the `id` of its objects.
        template: the shared component of the directives.
        tail: the JSON of the response after the directive.
    """

    decision: Decision
    template: DirectiveTemplate
    tail: bytes


class ResponseRenderer:
    """Renders poll responses; one instance per process."""

    def __init__(self, urls: DownloadUrls, director: Signer) -> None:
        """Take download URLs from `urls`; sign directives with `director`."""
        self._urls = urls
        self._signer = DirectiveSigner(director)
        self._cached_for: tuple[Snapshot, int] | None = None
        self._cache: dict[Any, _SharedPart] = {}

    def render(
        self, snapshot: Snapshot, result: PollResult, request: PollRequest, body: bytes, now: datetime
    ) -> bytes:
        """The response as JSON; the signed directive covers the digest of the request's `body`."""
        shared = self._shared(snapshot, result)
        directive = self._signer.sign(
            shared.template,
            now,
            device_id=request.device_id,
            nonce=request.nonce,
            request_sha256=hashlib.sha256(body).hexdigest(),
            attempt_id=result.attempt_id,
            next_poll_s=result.next_poll_s,
        )
        attempt = f'"attempt_id":"{result.attempt_id}",' if result.attempt_id else ""
        head = f'{{{attempt}"next_poll_s":{result.next_poll_s},"directive":'.encode()
        return b"".join((head, directive, shared.tail))

    def _shared(self, snapshot: Snapshot, result: PollResult) -> _SharedPart:
        window = self._urls.window
        if self._cached_for is None or self._cached_for[0] is not snapshot or self._cached_for[1] != window:
            self._cached_for, self._cache = (snapshot, window), {}
        key = _cache_key(result)
        shared = self._cache.get(key)
        if shared is None:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            rendered = self._render_shared(snapshot, result.model, result.decision)
            shared = self._cache[key] = _SharedPart(result.decision, _template(result), b"," + rendered[1:])
        return shared

    def _render_shared(self, snapshot: Snapshot, model: ModelView, decision: Decision) -> bytes:
        version = decision.version if decision.offered else None
        manifest = self._manifest(version) if version else None
        downloads = [self._download(delivery) for delivery in decision.deliveries]
        response = PollResponse(
            need_update=decision.offered,
            target_version=version.label if version else None,
            download_url=_download_url(downloads, manifest),
            reason=decision.reason,
            action=decision.action,
            model=model.name,
            rollout=decision.rollout.name if decision.rollout and decision.offered else None,
            manifest=manifest,
            downloads=downloads,
            next_poll_s=0,
            directive={},
            trust_version=snapshot.trust_version or None,
        )
        return response.model_dump_json(exclude_none=True, exclude=_PER_DEVICE_FIELDS).encode()

    def _manifest(self, version: Version) -> ManifestReference:
        return ManifestReference(
            sha256=version.manifest_sha256,
            url=self._urls.url(manifest_key(version.manifest_sha256)),
            envelope=_parse_envelope(version.manifest),
        )

    def _download(self, delivery: Delivery) -> Download:
        component = delivery.component
        options = [] if delivery.keep else [*self._patch_options(delivery), self._full_option(delivery)]
        return Download(
            name=component.name,
            path=component.path,
            target_sha256=component.sha256,
            target_size=component.size,
            keep=delivery.keep,
            options=options,
        )

    def _patch_options(self, delivery: Delivery) -> list[DownloadOption]:
        return [
            DownloadOption(
                format=patch.format,
                url=self._urls.url(blob_key(patch.sha256)),
                size=patch.size,
                sha256=patch.sha256,
                from_sha256=patch.source_sha256,
                working_set=patch.working_set,
                descriptor=_parse_envelope(patch.descriptor),
            )
            for patch in delivery.patches
            if patch.sha256 is not None
        ]

    def _full_option(self, delivery: Delivery) -> DownloadOption:
        component = delivery.component
        return DownloadOption(
            format=FULL,
            url=self._urls.url(blob_key(component.sha256)),
            size=component.size,
            sha256=component.sha256,
        )


def _template(result: PollResult) -> DirectiveTemplate:
    decision = result.decision
    version = decision.version if decision.offered else None
    return directive_template(
        {
            "action": decision.action,
            "ext": _extensions(result) or None,
            "manifest_sha256": (version.manifest_sha256 or None) if version else None,
            "model": result.model.name,
            "reason": decision.reason,
            "variant": decision.variant.name if version and decision.variant else None,
        }
    )


def _extensions(result: PollResult) -> dict[str, Any]:
    """Directive fields that clients of the first contract version ignore."""
    extensions: dict[str, Any] = {"activation": "deferred"} if result.decision.activation_deferred else {}
    return extensions | ({"retry": True} if result.retry else {})


def _cache_key(result: PollResult) -> Any:
    """Responses with the same key have the same shared component; objects of one snapshot are compared by identity."""
    model, decision = result.model, result.decision
    if not decision.offered:
        return model.name, decision.reason, decision.action, decision.activation_deferred, result.retry
    return (
        model.name,
        decision.reason,
        decision.action,
        decision.activation_deferred,
        result.retry,
        id(decision.rollout),
        id(decision.version),
        id(decision.variant),
        *[
            (id(delivery.component), delivery.keep, *[id(patch) for patch in delivery.patches])
            for delivery in decision.deliveries
        ],
    )


def _download_url(downloads: list[Download], manifest: ManifestReference | None) -> str | None:
    """`download_url` for the simplest clients: the only download if there is just one, else the manifest."""
    needed = [download for download in downloads if not download.keep]
    if len(needed) == 1:
        return needed[0].options[0].url
    return manifest.url if manifest else None


def _parse_envelope(envelope: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(envelope)
    return parsed
