"""From an answer to an order: every signature and rule that stands between a server and this disk.

The order of the checks is normative for SDKs: directive (signature, device, model, nonce, request bytes,
age), manifest (digest, signature, model, expiry, counter, floor, variant), then each way to each
component. The answer's plain fields are never believed; they only carry addresses.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sdk_contract import strict_json
from sdk_contract.client.record import Record, Release
from sdk_contract.documents import (
    Component,
    Directive,
    Manifest,
    PatchDescriptor,
    TrustBundle,
    payload_digest,
    require_fresh,
)
from sdk_contract.errors import (
    ContractError,
    MixedVersions,
    RollbackRefused,
    WrongDevice,
    WrongManifest,
    WrongModel,
    WrongNonce,
    WrongRequest,
    WrongVariant,
)
from sdk_contract.wire import Conditions, Download, PollAnswer, Way

CLOCK_IS_SANE = timedelta(days=1)
"""A clock this close to a fresh signature is right; one further off is not asked about expiry."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, byte for byte, and how long ago."""

    body: bytes
    device_id: str
    model: str | None
    nonce: str
    elapsed_s: float
    modules: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A verified way to a component's bytes.

    Attributes:
        descriptor: of a patch; absent for the whole file.
    """

    way: Way
    descriptor: PatchDescriptor | None


@dataclass(frozen=True, slots=True)
class Order:
    """What the server wants, and may want.

    Attributes:
        release: the version to install, part by part; absent for `hold` and `none`.
        routes: component name -> ways in the order to try; empty where the answer gave none.
        floor: of the manifest.
        skipped: codes of ways that did not verify.
    """

    directive: Directive
    release: Release | None = None
    manifest_envelope: bytes = b""
    floor: int = 0
    routes: dict[str, list[Route]] = field(default_factory=dict)
    conditions: Conditions | None = None
    skipped: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether the release shall be staged, and switched to at a later word only."""
        return self.directive.ext.get("activation") == "hold"


def check_answer(
    answer: PollAnswer, question: Question, trust: TrustBundle, record: Record, now: datetime
) -> Order:
    """Verify an answer against what was asked and what this device remembers.

    Raises:
        ContractError: the first rule that does not hold; nothing of the answer may be used then.
    """
    directive = check_directive(strict_json.dumps(answer.directive), question, trust)
    if directive.action not in ("install", "rollback"):
        return Order(directive)
    if answer.manifest is None:
        raise WrongManifest(f"the directive says {directive.action} but no manifest came")
    envelope = strict_json.dumps(answer.manifest.envelope)
    manifest = _open_manifest(envelope, directive, trust)
    present = trusted_time(directive.issued, record.newest_issued, now)
    require_fresh(trust, present)
    require_fresh(manifest, present)
    require_allowed(manifest, record, rollback=directive.action == "rollback")
    release = _release(manifest, directive, question.modules)
    routes, skipped = _routes(release.components, answer.downloads, trust)
    return Order(
        directive,
        release,
        envelope,
        manifest.floor,
        routes,
        answer.conditions,
        skipped,
    )


def check_directive(envelope: bytes, question: Question, trust: TrustBundle) -> Directive:
    """The directive, once it is known to answer this question and nobody else's.

    Raises:
        ContractError: a signature, or `WrongDevice`, `WrongModel`, `WrongNonce`, `WrongRequest`, `Expired`.
    """
    directive = Directive.open(envelope, trust.for_role("director"))
    if directive.device_id != question.device_id:
        raise WrongDevice(f"for {directive.device_id}")
    if question.model is not None and directive.model != question.model:
        raise WrongModel(f"{directive.model}, asked for {question.model}")
    if directive.nonce != question.nonce:
        raise WrongNonce("not the nonce of this poll")
    if directive.request_sha256 != hashlib.sha256(question.body).hexdigest():
        raise WrongRequest("made for other request bytes")
    # The nonce proves freshness without a clock: it was signed at most `elapsed_s` ago.
    require_fresh(directive, moment(directive.issued) + timedelta(seconds=question.elapsed_s))
    return directive


def require_allowed(manifest: Manifest, record: Record, *, rollback: bool) -> None:
    """Refuse to go back, but where a fresh directive orders it, and never below the floor.

    Raises:
        RollbackRefused: below the floor, or older than what runs.
    """
    if manifest.counter < max(record.floor, manifest.floor):
        raise RollbackRefused(f"counter {manifest.counter} is below the floor {record.floor}")
    if rollback or record.current is None:
        return
    if manifest.counter < record.current.counter:
        raise RollbackRefused(f"counter {manifest.counter} is older than {record.current.counter}")


def trusted_time(issued: str, newest_issued: str, now: datetime) -> datetime:
    """The moment to compare expiry with: the device's clock when it is sane, else the newest signature.

    A directive's `issued` was signed in answer to this poll, so it is true within the round trip, unless
    the director's key is lost; then a sane clock and the newest signature ever seen still hold.
    """
    floor = max(moment(issued), moment(newest_issued) if newest_issued else moment(issued))
    return max(floor, now) if agree(floor, now) else floor


def agree(signed: datetime, now: datetime) -> bool:
    """Do a signature's time and the device's clock say the same? Only then is either worth remembering.

    One server with a wrong clock must not make a fleet believe, for ever, that everything has expired.
    """
    return abs(now - signed) <= CLOCK_IS_SANE


def open_shipped(envelope: bytes, trust: TrustBundle, modules: list[str] | None) -> tuple[Manifest, Release]:
    """A manifest that came with the app: verified like any other, its highest-priority variant taken.

    Raises:
        ContractError: not signed by the publishers.
    """
    manifest = Manifest.open(envelope, trust.for_role("publisher"))
    variant = max(manifest.variants, key=lambda entry: entry.priority)
    digest = payload_digest(envelope)
    return manifest, Release.of(manifest, digest, variant.name, modules)


def _open_manifest(envelope: bytes, directive: Directive, trust: TrustBundle) -> Manifest:
    if payload_digest(envelope) != directive.manifest_sha256:
        raise WrongManifest("not the manifest that the directive names")
    manifest = Manifest.open(envelope, trust.for_role("publisher"))
    if manifest.model != directive.model:
        raise WrongModel(f"the manifest is of {manifest.model}, the directive of {directive.model}")
    return manifest


def _release(manifest: Manifest, directive: Directive, modules: list[str] | None) -> Release:
    variant = manifest.variant(directive.variant or "")
    if variant is None:
        raise WrongVariant(f"the manifest has no variant {directive.variant}")
    names = [part.name for part in variant.components]
    paths = [part.path for part in variant.components]
    if len(set(names)) != len(names) or len(set(paths)) != len(paths):
        raise MixedVersions("the manifest gives one name or path to two components")
    absent = sorted(set(modules or []) - set(names))
    if absent:
        raise MixedVersions(f"the version has no module {', '.join(absent)}")
    return Release.of(manifest, directive.manifest_sha256 or "", variant.name, modules)


def _routes(
    components: Sequence[Component], downloads: Sequence[Download], trust: TrustBundle
) -> tuple[dict[str, list[Route]], tuple[str, ...]]:
    offered = {download.name: download for download in downloads}
    routes: dict[str, list[Route]] = {}
    skipped: list[str] = []
    for component in components:
        routes[component.name] = []
        for way in offered[component.name].ways if component.name in offered else []:
            try:
                routes[component.name].append(_route(way, component, trust))
            except ContractError as fault:
                skipped.append(fault.code)
    return routes, tuple(skipped)


def _route(way: Way, component: Component, trust: TrustBundle) -> Route:
    if way.format == "full":
        if (way.sha256, way.size) != (component.sha256, component.size):
            raise MixedVersions(f"the whole file of {component.name} is not the manifest's")
        return Route(way, None)
    if way.descriptor is None:
        raise MixedVersions(f"a patch of {component.name} without a descriptor")
    envelope = strict_json.dumps(way.descriptor)
    descriptor = PatchDescriptor.open(envelope, trust.for_role("patcher"))
    if (descriptor.target.sha256, descriptor.target.size) != (component.sha256, component.size):
        raise MixedVersions(f"a patch of {component.name} leads elsewhere")
    if (descriptor.patch.sha256, descriptor.patch.size) != (way.sha256, way.size):
        raise MixedVersions(f"a patch of {component.name} is not the one that was signed")
    if descriptor.format != way.format or descriptor.index_sha256 is None:
        raise MixedVersions(f"a patch of {component.name} is no {way.format} with an index")
    return Route(way, descriptor)


def moment(text: str) -> datetime:
    """A document's timestamp as a time."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
