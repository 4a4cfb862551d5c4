"""A server on the loopback interface that signs real documents with real keys, and can inject faults."""

import base64
import io
import json
import threading
import time
from collections import deque
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract.documents import (
    Component,
    Directive,
    FileDigest,
    Manifest,
    PatchDescriptor,
    RoleKeys,
    TrustBundle,
    Variant,
    public_key_entry,
)
from sdk_contract.envelope import key_id
from sdk_contract.wire import EnrollRequest, Event, PollRequest, proof_message
from tests.sdk_contract.client.documents import Blob, Key, Version, decode_base64url, sha256_hex, timestamp_in
from tests.sdk_contract.client.http_faults import DeviceHandler, HttpFault, LoopbackServer, problem
from workers.delta.build import BuiltPatch, build_patch


class ServerSimulator:
    """The server side of the contract for one model, `demo`."""

    def __init__(self):
        self.keys = {role: Key() for role in ("root", "publisher", "director", "patcher")}
        self.trust_chain = [self.trust_bundle(1, self.keys).sign([self.keys["root"]])]
        self.versions: dict[str, Version] = {}
        self.objects: dict[str, bytes] = {}
        self.descriptors: dict[tuple[str, str], bytes] = {}
        self.target: str | None = None
        self.action = "install"
        self.always_offer = False
        self.attempt = "attempt-1"
        self.directive_ext: dict[str, object] = {}
        self.devices: dict[str, bytes] = {}
        self.events: list[Event] = []
        self.event_ids: set[str] = set()
        self.polls: list[PollRequest] = []
        self.downloads: list[tuple[str, int, int]] = []
        self.sent_bytes = 0
        self.faults: deque[HttpFault] = deque()
        self.poll_responses: deque[tuple[int, dict[str, Any], dict[str, str]]] = deque()
        self.alter = lambda response: response
        self.alter_directive = lambda fields: fields
        self.tokens: set[str] = set()
        self.token_requests = 0
        self.lock = threading.Lock()

    # -- documents --------------------------------------------------------------------------

    def trust_bundle(self, version, keys, expires=None):
        entries = dict(public_key_entry(key.public_key) for key in keys.values())
        roles = {role: RoleKeys(keys=[key_id(key.public_key)], threshold=1) for role, key in keys.items()}
        return TrustBundle(
            version=version, expires=expires or timestamp_in(days=365), keys=entries, roles=roles
        )

    def publish(self, label, counter, files, *, floor=0, expires=None, variants=None):
        components = [
            Component(name=name, path=f"{name}.bin", size=len(data), sha256=sha256_hex(data))
            for name, data in files.items()
        ]
        manifest = Manifest(
            model="demo",
            version=label,
            counter=counter,
            floor=floor,
            variants=variants or [Variant(name="default", components=components)],
            issued=timestamp_in(),
            expires=expires or timestamp_in(days=90),
        )
        envelope = manifest.sign([self.keys["publisher"]])
        self.versions[label] = Version(label, counter, files, manifest, envelope)
        for data in files.values():
            self.objects[sha256_hex(data)] = data
        return self.versions[label]

    def patch(self, source, target, *, reversible=False):
        out = io.BytesIO()
        built = build_patch(Blob(source), Blob(target), out, threads=1, reversible=reversible)
        patch = out.getvalue()
        assert isinstance(built, BuiltPatch), built
        self.objects[sha256_hex(patch)] = patch
        descriptor = PatchDescriptor(
            format="glp1",
            source=FileDigest(sha256=sha256_hex(source), size=len(source)),
            target=FileDigest(sha256=sha256_hex(target), size=len(target)),
            patch=FileDigest(sha256=sha256_hex(patch), size=len(patch)),
            index_sha256=built.index_sha256.hex(),
            working_set=built.working_set,
            issued=timestamp_in(),
        )
        self.descriptors[sha256_hex(source), sha256_hex(target)] = descriptor.sign([self.keys["patcher"]])
        return patch

    def response(self, body):
        request = PollRequest.model_validate_json(body)
        self.polls.append(request)
        version = self.versions.get(self.target) if self.target else None
        current = not self.always_offer and version is not None and self.has_version(request, version)
        action = "none" if version is None or current else self.action
        reason = {"install": "update", "rollback": "rollback"}.get(
            action, "up_to_date" if current else "no_rollout"
        )
        offers = action in ("install", "rollback")
        response = {
            "need_update": offers,
            "reason": reason,
            "action": action,
            "model": "demo",
            "next_poll_s": 300,
            "directive": self.directive(request, body, action, reason, version if offers else None),
            "trust_version": len(self.trust_chain),
        }
        if offers:
            response |= self.offer(request, version)
        return self.alter(response)

    def directive(self, request, body, action, reason, version):
        fields = {
            "device_id": request.device_id,
            "model": "demo",
            "nonce": request.nonce or "",
            "request_sha256": sha256_hex(body),
            "action": action,
            "reason": reason,
            "next_poll_s": 300,
            "issued": timestamp_in(),
            "expires": timestamp_in(minutes=10),
            "ext": self.directive_ext,
        }
        if version is not None:
            fields |= {
                "manifest_sha256": sha256_hex(version.manifest.to_bytes()),
                "variant": version.manifest.variants[0].name,
                "attempt_id": self.attempt,
            }
        return json.loads(Directive(**self.alter_directive(fields)).sign([self.keys["director"]]))

    def offer(self, request, version):
        components = version.manifest.variants[0].components
        return {
            "target_version": version.label,
            "attempt_id": self.attempt,
            "manifest": {
                "sha256": sha256_hex(version.manifest.to_bytes()),
                "url": "unused",
                "envelope": json.loads(version.envelope),
            },
            "downloads": [self.download(component, request) for component in components],
        }

    def has_version(self, request, version):
        parts = version.manifest.variants[0].components
        wanted = {
            component.name
            for component in parts
            if request.wanted_components is None or component.name in request.wanted_components
        }
        return request.current_version == version.label and wanted <= set(request.components)

    def download(self, component, request):
        current_digest = request.components.get(component.name)
        options = []
        descriptor = self.descriptors.get((current_digest, component.sha256))
        if descriptor is not None and "glp1" in request.accepts:
            fields = json.loads(base64.b64decode(json.loads(descriptor)["payload"]))
            options.append(
                {
                    "format": "glp1",
                    "url": self.url(fields["patch"]["sha256"]),
                    "size": fields["patch"]["size"],
                    "sha256": fields["patch"]["sha256"],
                    "from_sha256": current_digest,
                    "descriptor": json.loads(descriptor),
                }
            )
        options.append(
            {
                "format": "full",
                "url": self.url(component.sha256),
                "size": component.size,
                "sha256": component.sha256,
            }
        )
        return {
            "name": component.name,
            "path": component.path,
            "target_sha256": component.sha256,
            "target_size": component.size,
            "keep": current_digest == component.sha256,
            "options": [] if current_digest == component.sha256 else options,
        }

    # -- HTTP -------------------------------------------------------------------------------

    def url(self, digest):
        return f"{self.base}/objects/{digest}?signature={time.monotonic_ns()}"

    def __enter__(self):
        simulator = self

        class Handler(DeviceHandler):
            server_side = simulator

        self.server = LoopbackServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def states(self):
        return [event.state for event in self.events]

    def enroll(self, body):
        request = EnrollRequest.model_validate_json(body)
        public_key = base64.b64decode(request.public_key)
        message = proof_message(request.device_id, public_key, request.enrollment_token)
        Ed25519PublicKey.from_public_bytes(public_key).verify(base64.b64decode(request.proof), message)
        if request.enrollment_token != "let-me-in":
            return 403, problem(403, "enrollment_token")
        self.devices[request.device_id] = public_key
        return 201, self.token()

    def renew(self, body):
        header, claims, signature = json.loads(body)["assertion"].split(".")
        fields = json.loads(decode_base64url(claims))
        public_key = self.devices[fields["sub"]]
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            decode_base64url(signature), f"{header}.{claims}".encode()
        )
        assert json.loads(decode_base64url(header))["kid"] == key_id(public_key)
        assert fields["exp"] - fields["iat"] <= 300
        self.token_requests += 1
        return 200, self.token()

    def token(self):
        token = f"token-{time.monotonic_ns()}"
        self.tokens.add(token)
        return {
            "status": "accepted",
            "access_token": token,
            "expires_in": 900,
            "server_time": int(time.time()),
        }

    def take_events(self, body):
        events = [Event.model_validate(entry) for entry in json.loads(body)]
        assert len(events) <= 50
        with self.lock:
            fresh = [event for event in events if event.event_id not in self.event_ids]
            self.event_ids |= {event.event_id for event in fresh}
            self.events += fresh
        return 202, {"accepted": len(fresh), "duplicates": len(events) - len(fresh)}
