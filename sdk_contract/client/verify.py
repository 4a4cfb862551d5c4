"""From an answer to an order: the rules of `sdk_contract.rules`, applied to what the wire carries and the record keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sdk_contract import strict_json
from sdk_contract.client.record import Record, Release
from sdk_contract.documents import (
    Component,
    Directive,
    Manifest,
    PatchDescriptor,
    TrustBundle,
    payload_digest,
)
from sdk_contract.errors import ContractError
from sdk_contract.rules import INSTALLS, Question, check_directive, check_target, check_way
from sdk_contract.wire import Conditions, Download, PollAnswer, Way


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
    if directive.action not in INSTALLS:
        return Order(directive)
    envelope = strict_json.dumps(answer.manifest.envelope) if answer.manifest is not None else None
    target = check_target(envelope, directive, question, trust, record.memory(), now=now)
    routes, skipped = _routes(target.components, answer.downloads, trust)
    release = Release.of(
        target.manifest, directive.manifest_sha256 or "", directive.variant or "", target.components
    )
    return Order(
        directive, release, envelope or b"", target.manifest.floor, routes, answer.conditions, skipped
    )


def open_shipped(envelope: bytes, trust: TrustBundle, modules: list[str] | None) -> tuple[Manifest, Release]:
    """A manifest that came with the app: verified like any other, its highest-priority variant taken.

    Raises:
        ContractError: not signed by the publishers.
    """
    manifest = Manifest.open(envelope, trust.for_role("publisher"))
    variant = max(manifest.variants, key=lambda entry: entry.priority)
    wanted = [part for part in variant.components if modules is None or part.name in modules]
    return manifest, Release.of(manifest, payload_digest(envelope), variant.name, wanted)


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
                routes[component.name].append(Route(way, check_way(way, component, trust)))
            except ContractError as fault:
                skipped.append(fault.code)
    return routes, tuple(skipped)
