"""The example of `sdk_contract/README.md`: one update, made and signed by the code with the keys of the vectors."""

import base64
import copy
import hashlib
import json
from datetime import datetime
from functools import cache

from sdk_contract import strict_json, verification
from sdk_contract.conformance.fake_server.content import (
    patch_to_patched_content,
    patched_content,
    random_content,
)
from sdk_contract.documents import (
    Component,
    Directive,
    FileDigest,
    Manifest,
    PatchDescriptor,
    RoleKeys,
    RoleName,
    TrustBundle,
    Variant,
    public_key_entry,
)
from sdk_contract.formats import FULL, GLP1
from sdk_contract.wire import (
    Download,
    DownloadOption,
    EnrollRequest,
    Event,
    ManifestReference,
    PollRequest,
    PollResponse,
    proof_message,
)
from tests.sdk_contract.vectors.generator.keys import DEVICE, DIRECTOR, PATCHER, PUBLISHER, ROOT, Key, b64

DEVICE_ID, MODEL, TOKEN = "speaker-0042", "assistant", "enroll-7f3a9c"
NONCE = "Zq3-8vYkT1mJxw5RrUeBag"
ISSUED, NOW = "2026-12-01T12:00:00Z", datetime.fromisoformat("2026-12-01T12:00:03+00:00")
ELAPSED_S = 0.4
STATE = verification.TrustState(counter=12, floor=10, newest_issued="2026-12-01T08:31:07Z")
OLD = {"weights": random_content("readme weights"), "tokenizer": random_content("readme tokenizer", 4096)}
NEW = {"weights": patched_content(OLD["weights"]), "tokenizer": OLD["tokenizer"]}
PATCH = patch_to_patched_content(OLD["weights"])
KEYS: dict[RoleName, Key] = {"root": ROOT, "publisher": PUBLISHER, "director": DIRECTOR, "patcher": PATCHER}
CDN = "https://cdn.example.com"


def sha(data):
    return hashlib.sha256(data).hexdigest()


@cache
def trust():
    entries = dict(public_key_entry(key.public_key) for key in KEYS.values())
    roles: dict[RoleName, RoleKeys] = {
        name: RoleKeys(keys=[key.id], threshold=1) for name, key in KEYS.items()
    }
    return TrustBundle(version=3, expires="2027-12-01T00:00:00Z", keys=entries, roles=roles)


@cache
def manifest():
    components = [
        Component(name=name, path=f"{name}.bin", size=len(data), sha256=sha(data))
        for name, data in NEW.items()
    ]
    return Manifest(
        model=MODEL,
        version="v1.3",
        counter=13,
        floor=10,
        variants=[Variant(name="int4", components=components)],
        issued="2026-11-30T09:00:00Z",
        expires="2027-05-30T09:00:00Z",
    )


def manifest_envelope():
    return manifest().sign([PUBLISHER])


@cache
def poll_body():
    request = PollRequest(
        device_id=DEVICE_ID,
        current_version="v1.2",
        components={name: sha(data) for name, data in OLD.items()},
        accepts=[GLP1, FULL],
        nonce=NONCE,
        trust_version=3,
    )
    return strict_json.dumps(request.model_dump(exclude_defaults=True))


def poll_context():
    return verification.PollContext(poll_body(), DEVICE_ID, MODEL, NONCE, ELAPSED_S)


@cache
def directive():
    return Directive(
        device_id=DEVICE_ID,
        model=MODEL,
        nonce=NONCE,
        request_sha256=sha(poll_body()),
        action="install",
        reason="update",
        manifest_sha256=sha(manifest().to_bytes()),
        variant="int4",
        attempt_id="0197-5c1e",
        next_poll_s=3600,
        issued=ISSUED,
        expires="2026-12-01T12:10:00Z",
    )


@cache
def descriptor():
    def digest(data):
        return FileDigest(sha256=sha(data), size=len(data))

    return PatchDescriptor(
        format=GLP1,
        source=digest(OLD["weights"]),
        target=digest(NEW["weights"]),
        patch=digest(PATCH.data),
        index_sha256=PATCH.index_sha256,
        working_set=PATCH.working_set,
        issued="2026-11-30T09:05:00Z",
    )


def downloads():
    weights, digest = NEW["weights"], sha(NEW["weights"])
    patch = DownloadOption(
        format=GLP1,
        url=f"{CDN}/patches/{sha(PATCH.data)}",
        size=len(PATCH.data),
        sha256=sha(PATCH.data),
        from_sha256=sha(OLD["weights"]),
        working_set=PATCH.working_set,
        descriptor=json.loads(descriptor().sign([PATCHER])),
    )
    full = DownloadOption(format=FULL, url=f"{CDN}/blobs/{digest}", size=len(weights), sha256=digest)
    tokenizer = NEW["tokenizer"]
    return [
        Download(
            name="weights",
            path="weights.bin",
            target_sha256=digest,
            target_size=len(weights),
            options=[patch, full],
        ),
        Download(
            name="tokenizer",
            path="tokenizer.bin",
            target_sha256=sha(tokenizer),
            target_size=len(tokenizer),
            keep=True,
        ),
    ]


@cache
def response():
    """The poll response as a JSON object."""
    envelope = json.loads(manifest_envelope())
    digest = sha(manifest().to_bytes())
    answer = PollResponse(
        need_update=True,
        target_version="v1.3",
        download_url=downloads()[0].options[0].url,
        reason="update",
        action="install",
        model=MODEL,
        attempt_id=directive().attempt_id,
        rollout="v1.3-everyone",
        manifest=ManifestReference(sha256=digest, url=f"{CDN}/manifests/{digest}", envelope=envelope),
        downloads=downloads(),
        next_poll_s=3600,
        directive=json.loads(directive().sign([DIRECTOR])),
        trust_version=3,
    )
    return answer.model_dump(mode="json", exclude_none=True)


def verify(poll_response, context=None, state=STATE, bundle=None, now=NOW):
    """All checks of section 6; returns the names of the components and the formats of their valid options."""
    context, bundle = context or poll_context(), bundle or trust()
    order = verification.verify_directive(strict_json.dumps(poll_response["directive"]), context, bundle)
    envelope = poll_response.get("manifest", {}).get("envelope")
    target = verification.verify_target(
        strict_json.dumps(envelope) if envelope else None, order, context, bundle, state, now=now
    )
    offered = {entry["name"]: entry["options"] for entry in poll_response["downloads"]}
    formats = {}
    for part in target.components:
        options = [DownloadOption(**option) for option in offered[part.name]]
        formats[part.name] = [option.format for option in options if passes(option, part, bundle)]
    return formats


def passes(option, part, bundle):
    verification.verify_option(option, part, bundle)
    return True


def changed(**fields):
    """The response with other fields in its directive, correctly signed."""
    poll_response = copy.deepcopy(response())
    document = Directive(**{**vars(directive()), **fields})
    poll_response["directive"] = json.loads(document.sign([DIRECTOR]))
    return poll_response


def enrollment():
    request = EnrollRequest(
        device_id=DEVICE_ID,
        public_key=b64(DEVICE.public_key),
        proof=b64(DEVICE.sign(proof_message(DEVICE_ID, DEVICE.public_key, TOKEN))),
        enrollment_token=TOKEN,
    )
    return request.model_dump(exclude_defaults=True)


def events():
    states = ("acknowledged", "downloading", "downloaded", "staged", "activating", "committed")
    return [
        Event(
            event_id=f"0193807c-0000-7000-8000-00000000000{seq}",
            attempt_id=directive().attempt_id,
            seq=seq,
            state=state,
            **({"bytes": len(PATCH.data)} if state == "downloaded" else {}),
        ).model_dump(exclude_defaults=True)
        for seq, state in enumerate(states, start=1)
    ]


def decoded_payload(envelope):
    return json.loads(base64.b64decode(envelope["payload"]))


def as_file():
    """Everything that an SDK needs to verify the example."""
    return {
        "trust": json.loads(trust().sign([ROOT])),
        "request": b64(poll_body()),
        "response": response(),
        "device_state": {
            "device_id": DEVICE_ID,
            "model": MODEL,
            "nonce": NONCE,
            "elapsed_s": ELAPSED_S,
            "current_counter": STATE.counter,
            "floor": STATE.floor,
            "newest_issued": STATE.newest_issued,
        },
        "now": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
    }
