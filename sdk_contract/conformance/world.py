"""What one scenario's server knows and says: honest, but for its `lies`."""

import base64
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sdk_contract.conformance.facts import MODEL, Seen, Version, encode, later, sha
from sdk_contract.conformance.keys import ROLES, Key, keyring
from sdk_contract.conformance.lies import Fault, Fields, Forgery, Lies
from sdk_contract.conformance.patching import Patch
from sdk_contract.documents import TrustBundle, public_key_entry
from sdk_contract.envelope import pae
from sdk_contract.wire import PollRequest


@dataclass(slots=True)
class World:
    """The state of a server.

    Attributes:
        offered: label of the version that polls are given; absent for none.
        action: of the directive that offers it.
        held: whoever can shall stage it and wait; others do not get it yet.
        insist: offer it even to a device that has it.
        faults: path prefix -> what goes wrong with the next exchanges there.
        events: as reported, each id once.
        sent: bytes of objects that left.
    """

    keys: dict[str, Key] = field(default_factory=keyring)
    lies: Lies = field(default_factory=Lies)
    chain: list[bytes] = field(default_factory=list)
    versions: dict[str, Version] = field(default_factory=dict)
    patches: dict[tuple[str, str], Patch] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    offered: str | None = None
    action: str = "install"
    hold: bool = False
    held: bool = False
    insist: bool = False
    attempts: int = 1
    base: str = ""
    devices: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    logins: int = 0
    clock_ahead_s: int = 0
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    seen: list[Seen] = field(default_factory=list)
    polls: list[PollRequest] = field(default_factory=list)
    events: dict[str, Fields] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        """Begin with a trust bundle, version 1."""
        self.chain.append(self.trust(1, ("root",)))

    # -- documents ------------------------------------------------------------------------------

    def bundle(
        self, version: int, roles: Mapping[str, tuple[str, ...]] | None = None, **fields: Any
    ) -> Fields:
        """A trust bundle's fields; `roles` replaces the keys of some, thresholds are 1."""
        held = {role: (role,) for role in ROLES} | dict(roles or {})
        names = {name for group in held.values() for name in group}
        entries = dict(public_key_entry(self.keys[name].public_key) for name in names)
        return {
            "version": version,
            "expires": later(days=365),
            "keys": {keyid: {"public": key.public} for keyid, key in entries.items()},
            "roles": {
                role: {"keys": [self.keys[name].id for name in group], "threshold": 1}
                for role, group in held.items()
            },
            **fields,
        }

    def trust(
        self,
        version: int,
        signers: Iterable[str],
        roles: Mapping[str, tuple[str, ...]] | None = None,
        **fields: Any,
    ) -> bytes:
        """A trust bundle's envelope."""
        return self.sealed_trust(self.bundle(version, roles, **fields), signers)

    def sealed_trust(self, bundle: Fields, signers: Iterable[str]) -> bytes:
        """The envelope of a bundle whose fields were changed."""
        return encode(self.sealed(encode(bundle), Forgery(TrustBundle.payload_type, tuple(signers))))

    def sealed(self, payload: bytes, forgery: Forgery) -> Fields:
        """An envelope as an object, as the forgery has it."""
        payload = forgery.payload(payload)
        message = pae(forgery.signed_as or forgery.kind, payload)
        envelope = {
            "payloadType": forgery.label or forgery.kind,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [
                {
                    "keyid": self.keys[name].id,
                    "sig": base64.b64encode(self.keys[name].sign(message)).decode(),
                }
                for name in forgery.signers
            ],
        }
        return forgery.envelope(envelope)

    def publish(self, label: str, counter: int, files: dict[str, bytes], *, floor: int = 0) -> Version:
        """Have a version; its objects can be downloaded from now on."""
        self.versions[label] = Version(label, counter, files, floor)
        self.objects |= {sha(data): data for data in files.values()}
        return self.versions[label]

    def add_patch(self, source: bytes, patch: Patch) -> None:
        """Have a patch; it is offered to devices that hold its source."""
        self.objects[sha(patch.data)] = patch.data
        self.patches[sha(source), sha(patch.target)] = patch

    def manifest(self, version: Version, forgery: Forgery) -> Fields:
        """The envelope of a version's manifest."""
        parts = [
            {"name": name, "path": f"{name}.bin", "size": len(data), "sha256": sha(data)}
            for name, data in version.files.items()
        ]
        fields = {
            "model": MODEL,
            "version": version.label,
            "counter": version.counter,
            "floor": version.floor,
            "variants": [{"name": "default", "components": parts}],
            "issued": version.issued,
            "expires": version.expires,
        }
        return self.sealed(encode(forgery.fields(fields)), forgery)

    # -- the poll -------------------------------------------------------------------------------

    def answer(self, body: bytes) -> bytes:
        """The answer to a poll."""
        request = PollRequest.model_validate_json(body)
        self.polls.append(request)
        version = self.versions.get(self.offered or "")
        offers = version is not None and (self.insist or not self._holds(request, version))
        offers = offers and (not self.held or "hold" in request.features)
        told = self._offer(version, request, body) if version and offers else self._nothing(request, body)
        return self.lies.body(encode(self.lies.answer(told)))

    def _nothing(self, request: PollRequest, body: bytes) -> Fields:
        action = "hold" if self.hold else "none"
        reason = "paused" if self.hold else "awaits_activation" if self.held else ""
        reason = reason or ("up_to_date" if self.offered else "no_rollout")
        return {
            "need_update": False,
            "reason": reason,
            "action": action,
            "model": MODEL,
            "next_poll_s": 300,
            "trust_version": len(self.chain),
            "directive": self._directive(request, body, {"action": action, "reason": reason}),
        }

    def _offer(self, version: Version, request: PollRequest, body: bytes) -> Fields:
        manifest = self.manifest(version, self.lies.manifest)
        digest = sha(base64.b64decode(manifest["payload"]))
        reason = "rollback" if self.action == "rollback" else "update"
        named = {
            "action": self.action,
            "reason": reason,
            "manifest_sha256": digest,
            "variant": "default",
            "attempt_id": self.attempt,
            **({"ext": {"activation": "hold"}} if self.held else {}),
        }
        return {
            "need_update": True,
            "target_version": version.label,
            "download_url": f"{self.base}/manifest",
            "reason": reason,
            "action": self.action,
            "model": MODEL,
            "attempt_id": self.attempt,
            "next_poll_s": 300,
            "trust_version": len(self.chain),
            "manifest": {"sha256": digest, "url": f"{self.base}/manifest", "envelope": manifest},
            "downloads": [self._download(name, data, request) for name, data in version.files.items()],
            "directive": self._directive(request, body, named),
        }

    def _directive(self, request: PollRequest, body: bytes, named: Fields) -> Fields:
        forgery = self.lies.directive
        fields = {
            "device_id": request.device_id,
            "model": MODEL,
            "nonce": request.nonce or "",
            "request_sha256": sha(body),
            "next_poll_s": 300,
            "issued": later(),
            "expires": later(minutes=10),
            **named,
        }
        return self.sealed(encode(forgery.fields(fields)), forgery)

    def _holds(self, request: PollRequest, version: Version) -> bool:
        wanted = {
            name: sha(data)
            for name, data in version.files.items()
            if request.modules is None or name in request.modules
        }
        return request.current_version == version.label and wanted == dict(request.components)

    def _download(self, name: str, data: bytes, request: PollRequest) -> Fields:
        held, digest = request.components.get(name), sha(data)
        patch = self.patches.get((held or "", digest)) if "glp1" in request.accepts else None
        ways = [] if patch is None else [self.lies.way(self._patch_way(held or "", data, patch))]
        ways.append(
            self.lies.way({"format": "full", "url": self.url(digest), "size": len(data), "sha256": digest})
        )
        return {
            "name": name,
            "path": f"{name}.bin",
            "target_sha256": digest,
            "target_size": len(data),
            "keep": held == digest,
            "ways": [] if held == digest else ways,
        }

    def _patch_way(self, held: str, target: bytes, patch: Patch) -> Fields:
        forgery, size = self.lies.patch, len(self.objects[held])
        descriptor = {
            "format": "glp1",
            "source": {"sha256": held, "size": size},
            "target": {"sha256": sha(target), "size": len(target)},
            "patch": {"sha256": sha(patch.data), "size": len(patch.data)},
            "index_sha256": patch.index_sha256,
            "working_set": patch.working_set,
            "issued": later(),
        }
        return {
            "format": "glp1",
            "url": self.url(sha(patch.data)),
            "size": len(patch.data),
            "sha256": sha(patch.data),
            "from_sha256": held,
            "working_set": patch.working_set,
            "descriptor": self.sealed(encode(forgery.fields(descriptor)), forgery),
        }

    def url(self, digest: str) -> str:
        """A fresh address of an object."""
        return f"{self.base}/objects/{digest}?signature={time.monotonic_ns()}"

    # -- what was seen --------------------------------------------------------------------------

    def requests(self, prefix: str) -> list[Seen]:
        """The requests whose path begins like this."""
        return [entry for entry in self.seen if entry.path.startswith(prefix)]

    @property
    def attempt(self) -> str:
        """Id of the attempt that is open; a new one after each that ended."""
        return f"attempt-{self.attempts}"

    def take(self, event: Fields) -> bool:
        """Take a report in; false if it came before."""
        if event["event_id"] in self.events:
            return False
        self.events[event["event_id"]] = event
        ends = event["state"] in ("committed", "rolled_back", "failed")
        self.attempts += ends and event.get("attempt_id") == self.attempt
        return True

    @property
    def states(self) -> list[str]:
        """States of all events, in the order in which they came."""
        return [str(event["state"]) for event in self.events.values()]
