"""Verification of a poll response: applies the rules of `sdk_contract.verification` to the response and the stored state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sdk_contract import strict_json
from sdk_contract.client.storage.client_state import ClientState, Release
from sdk_contract.documents import (
    Component,
    Directive,
    Manifest,
    PatchDescriptor,
    TrustBundle,
    payload_digest,
)
from sdk_contract.errors import ContractError
from sdk_contract.verification import (
    INSTALL_ACTIONS,
    PollContext,
    verify_directive,
    verify_option,
    verify_target,
)
from sdk_contract.wire import Conditions, Download, DownloadOption, PollResponse


@dataclass(frozen=True, slots=True)
class VerifiedOption:
    """A verified option to download a component.

    Attributes:
        offer: the download option from the response.
        descriptor: the verified descriptor of a patch; absent for the full file.
    """

    offer: DownloadOption
    descriptor: PatchDescriptor | None


@dataclass(frozen=True, slots=True)
class VerifiedUpdate:
    """A verified poll response.

    Attributes:
        directive: the verified directive.
        release: the release to install; absent for the actions `pause` and `none`.
        manifest_envelope: the manifest as it was received.
        floor: the manifest's floor.
        options: component name -> verified download options, in the order to try them.
        conditions: device conditions that the server asks for.
        skipped_codes: error codes of download options that failed verification.
    """

    directive: Directive
    release: Release | None = None
    manifest_envelope: bytes = b""
    floor: int = 0
    options: dict[str, list[VerifiedOption]] = field(default_factory=dict)
    conditions: Conditions | None = None
    skipped_codes: tuple[str, ...] = ()

    @property
    def activation_deferred(self) -> bool:
        """Whether the release is to be staged only, and activated by a later directive."""
        return self.directive.ext.get("activation") == "deferred"


def verify_poll_response(
    response: PollResponse, context: PollContext, trust: TrustBundle, state: ClientState, now: datetime
) -> VerifiedUpdate:
    """Verify a response against the request and the stored state.

    Raises:
        ContractError: the first rule that is broken; nothing of the response may be used.
    """
    directive = verify_directive(strict_json.dumps(response.directive), context, trust)
    if directive.action not in INSTALL_ACTIONS:
        return VerifiedUpdate(directive)
    envelope = strict_json.dumps(response.manifest.envelope) if response.manifest is not None else None
    target = verify_target(envelope, directive, context, trust, state.trust_state(), now=now)
    options, skipped = _verify_options(target.components, response.downloads, trust)
    release = Release.from_manifest(
        target.manifest, directive.manifest_sha256 or "", directive.variant or "", target.components
    )
    return VerifiedUpdate(
        directive, release, envelope or b"", target.manifest.floor, options, response.conditions, skipped
    )


def open_factory_manifest(
    envelope: bytes, trust: TrustBundle, wanted_components: list[str] | None
) -> tuple[Manifest, Release]:
    """Verify the manifest that shipped with the app, and select its variant of the highest priority.

    Raises:
        ContractError: the publishers' signatures are missing or invalid.
    """
    manifest = Manifest.from_envelope(envelope, trust.for_role("publisher"))
    variant = max(manifest.variants, key=lambda candidate: candidate.priority)
    wanted = [
        part for part in variant.components if wanted_components is None or part.name in wanted_components
    ]
    return manifest, Release.from_manifest(manifest, payload_digest(envelope), variant.name, wanted)


def _verify_options(
    components: Sequence[Component], downloads: Sequence[Download], trust: TrustBundle
) -> tuple[dict[str, list[VerifiedOption]], tuple[str, ...]]:
    offered = {download.name: download for download in downloads}
    options: dict[str, list[VerifiedOption]] = {}
    skipped: list[str] = []
    for component in components:
        options[component.name] = []
        for offer in offered[component.name].options if component.name in offered else []:
            try:
                options[component.name].append(VerifiedOption(offer, verify_option(offer, component, trust)))
            except ContractError as fault:
                skipped.append(fault.code)
    return options, tuple(skipped)
