"""The fake server's state and its decisions: honest, apart from its `tampering`."""

import base64
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sdk_contract.conformance.fake_server import documents
from sdk_contract.conformance.fake_server.faults import Fault
from sdk_contract.conformance.fake_server.keys import Key, make_keys
from sdk_contract.conformance.fake_server.patches import BuiltPatch
from sdk_contract.conformance.fake_server.tampering import Fields, Forgery, Tampering
from sdk_contract.conformance.fake_server.values import (
    MODEL,
    RecordedRequest,
    Version,
    sha256_hex,
    timestamp_in,
    unchecked_json,
)
from sdk_contract.documents import TrustBundle
from sdk_contract.formats import FULL, GLP1
from sdk_contract.wire import PollRequest

FINAL_STATES = ("committed", "rolled_back", "failed")


@dataclass(slots=True)
class FakeServer:
    """The state of one fake server.

    Attributes:
        trust_chain: envelopes of the trust bundles 1, 2, ...
        versions: label -> version.
        patches: (source sha256, target sha256) -> patch.
        objects: sha256 -> bytes that can be downloaded.
        offered: label of the version that polls are offered; None for no offer.
        action: the directive's action with an offer.
        pause: respond `pause` if there is no offer.
        defer_activation: clients that can defer activation must stage the version and wait; others get no offer.
        offer_even_if_current: offer the version to a device that already runs it.
        attempt_number: number of the open attempt; rises when an attempt ends.
        devices: device id -> enrolled public key.
        tokens: valid access tokens.
        clock_ahead_s: seconds by which the server's clock is ahead.
        faults: path prefix -> faults of the next exchanges with such a path.
        events: event id -> event, as reported.
        bytes_sent: body bytes of all responses.
    """

    keys: dict[str, Key] = field(default_factory=make_keys)
    tampering: Tampering = field(default_factory=Tampering)
    trust_chain: list[bytes] = field(default_factory=list)
    versions: dict[str, Version] = field(default_factory=dict)
    patches: dict[tuple[str, str], BuiltPatch] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    offered: str | None = None
    action: str = "install"
    pause: bool = False
    defer_activation: bool = False
    offer_even_if_current: bool = False
    attempt_number: int = 1
    base_url: str = ""
    devices: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    tokens_renewed: int = 0
    clock_ahead_s: int = 0
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    requests: list[RecordedRequest] = field(default_factory=list)
    polls: list[PollRequest] = field(default_factory=list)
    events: dict[str, Fields] = field(default_factory=dict)
    bytes_sent: int = 0

    def __post_init__(self) -> None:
        """Start with version 1 of the trust bundle."""
        self.trust_chain.append(self.trust_envelope(1, ("root",)))

    # -- documents ------------------------------------------------------------------------------

    def trust_fields(
        self, version: int, roles: Mapping[str, tuple[str, ...]] | None = None, **fields: Any
    ) -> Fields:
        """Fields of a trust bundle; see `documents.trust_fields`."""
        return documents.trust_fields(self.keys, version, roles or {}, **fields)

    def trust_envelope(
        self,
        version: int,
        signers: Iterable[str],
        roles: Mapping[str, tuple[str, ...]] | None = None,
        **fields: Any,
    ) -> bytes:
        """The envelope of a trust bundle."""
        return self.sign_trust(self.trust_fields(version, roles, **fields), signers)

    def sign_trust(self, bundle: Fields, signers: Iterable[str]) -> bytes:
        """The envelope of a trust bundle with the given fields."""
        return unchecked_json(self._sign(bundle, Forgery(TrustBundle.payload_type, tuple(signers))))

    def manifest_envelope(self, version: Version, forgery: Forgery) -> Fields:
        """The envelope of a version's manifest."""
        return self._sign(documents.manifest_fields(version), forgery)

    def _sign(self, fields: Fields, forgery: Forgery) -> Fields:
        return documents.sign(fields, forgery, self.keys)

    def publish(self, label: str, counter: int, files: dict[str, bytes], *, floor: int = 0) -> Version:
        """Add a version; its files can be downloaded from now on."""
        self.versions[label] = Version(label, counter, files, floor)
        self.objects |= {sha256_hex(data): data for data in files.values()}
        return self.versions[label]

    def add_patch(self, source: bytes, patch: BuiltPatch) -> None:
        """Add a patch; devices that have its source are offered it."""
        self.objects[sha256_hex(patch.data)] = patch.data
        self.patches[sha256_hex(source), sha256_hex(patch.target)] = patch

    # -- the poll -------------------------------------------------------------------------------

    def poll_response(self, body: bytes) -> bytes:
        """The response to a poll with the given body."""
        request = PollRequest.model_validate_json(body)
        self.polls.append(request)
        version = self._version_to_offer(request)
        if version is None:
            response = self._response_without_offer(request, body)
        else:
            response = self._response_with_offer(version, request, body)
        return self.tampering.response_bytes(unchecked_json(self.tampering.response(response)))

    def _version_to_offer(self, request: PollRequest) -> Version | None:
        version = self.versions.get(self.offered or "")
        if version is None or (self._is_current(request, version) and not self.offer_even_if_current):
            return None
        can_wait = "deferred_activation" in request.features
        return version if can_wait or not self.defer_activation else None

    def _is_current(self, request: PollRequest, version: Version) -> bool:
        wanted = {
            name: sha256_hex(data)
            for name, data in version.files.items()
            if request.wanted_components is None or name in request.wanted_components
        }
        return request.current_version == version.label and wanted == dict(request.components)

    def _response_without_offer(self, request: PollRequest, body: bytes) -> Fields:
        action = "pause" if self.pause else "none"
        reason = "paused" if self.pause else "awaiting_activation" if self.defer_activation else ""
        reason = reason or ("up_to_date" if self.offered else "no_rollout")
        return {
            "need_update": False,
            "reason": reason,
            "action": action,
            "model": MODEL,
            "next_poll_s": 300,
            "trust_version": len(self.trust_chain),
            "directive": self._directive_envelope(request, body, {"action": action, "reason": reason}),
        }

    def _response_with_offer(self, version: Version, request: PollRequest, body: bytes) -> Fields:
        manifest = self.manifest_envelope(version, self.tampering.manifest)
        digest = sha256_hex(base64.b64decode(manifest["payload"]))
        order = {
            "action": self.action,
            "reason": "rollback" if self.action == "rollback" else "update",
            "manifest_sha256": digest,
            "variant": "default",
            "attempt_id": self.attempt_id,
            **({"ext": {"activation": "deferred"}} if self.defer_activation else {}),
        }
        return {
            "need_update": True,
            "target_version": version.label,
            "download_url": f"{self.base_url}/manifest",
            "reason": order["reason"],
            "action": self.action,
            "model": MODEL,
            "attempt_id": self.attempt_id,
            "next_poll_s": 300,
            "trust_version": len(self.trust_chain),
            "manifest": {"sha256": digest, "url": f"{self.base_url}/manifest", "envelope": manifest},
            "downloads": [self._download(name, data, request) for name, data in version.files.items()],
            "directive": self._directive_envelope(request, body, order),
        }

    def _directive_envelope(self, request: PollRequest, body: bytes, order: Fields) -> Fields:
        fields = {
            "device_id": request.device_id,
            "model": MODEL,
            "nonce": request.nonce or "",
            "request_sha256": sha256_hex(body),
            "next_poll_s": 300,
            "issued": timestamp_in(),
            "expires": timestamp_in(minutes=10),
            **order,
        }
        return self._sign(fields, self.tampering.directive)

    def _download(self, name: str, data: bytes, request: PollRequest) -> Fields:
        source, target = request.components.get(name, ""), sha256_hex(data)
        options = [{"format": FULL, "url": self.url(target), "size": len(data), "sha256": target}]
        patch = self.patches.get((source, target))
        if patch is not None and GLP1 in request.accepts:
            options.insert(0, self._patch_option(source, data, patch))
        keep = source == target
        return {
            "name": name,
            "path": f"{name}.bin",
            "target_sha256": target,
            "target_size": len(data),
            "keep": keep,
            "options": [] if keep else [self.tampering.option(option) for option in options],
        }

    def _patch_option(self, source: str, target: bytes, patch: BuiltPatch) -> Fields:
        descriptor = documents.descriptor_fields(self.objects[source], target, patch)
        return {
            "format": GLP1,
            "url": self.url(sha256_hex(patch.data)),
            **descriptor["patch"],
            "from_sha256": source,
            "working_set": patch.working_set,
            "descriptor": self._sign(descriptor, self.tampering.patch),
        }

    def url(self, digest: str) -> str:
        """A new URL of an object."""
        return f"{self.base_url}/objects/{digest}?signature={time.monotonic_ns()}"

    # -- what the SDK sent ----------------------------------------------------------------------

    def requests_to(self, prefix: str) -> list[RecordedRequest]:
        """The requests whose path starts with `prefix`."""
        return [entry for entry in self.requests if entry.path.startswith(prefix)]

    @property
    def attempt_id(self) -> str:
        """Id of the open attempt."""
        return f"attempt-{self.attempt_number}"

    def record_event(self, event: Fields) -> bool:
        """Record a reported event; return False if the server already had it."""
        if event["event_id"] in self.events:
            return False
        self.events[event["event_id"]] = event
        if event["state"] in FINAL_STATES and event.get("attempt_id") == self.attempt_id:
            self.attempt_number += 1
        return True

    @property
    def reported_states(self) -> list[str]:
        """States of all events, in the order in which they arrived."""
        return [str(event["state"]) for event in self.events.values()]
