"""Poll responses, and the parts of them that a case can replace."""

import copy
import json
from typing import Any

from tests.sdk_contract.vectors.generator.case import make_case
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTIVE,
    DIRECTOR,
    MANIFEST,
    PATCH,
    PATCHER,
    PUBLISHER,
    b64,
    encode,
    sealed,
    sha,
)
from tests.sdk_contract.vectors.generator.manifests import manifest
from tests.sdk_contract.vectors.generator.trust import V1

NOW = "2026-12-01T12:00:00Z"
NONCE = "n0nce-of-this-very-poll-0"
OLD = {"sha256": sha(b"old"), "size": 3}
PATCHED = {"sha256": sha(b"patch"), "size": 1234}
REQUEST = json.dumps(
    {"device_id": "dev-1", "current_version": "v4", "nonce": NONCE, "accepts": ["glp1", "full"]}
).encode()
STATE = {
    "device_id": "dev-1",
    "model": "demo",
    "nonce": NONCE,
    "elapsed_s": 0.5,
    "wanted_components": None,
    "current_counter": 4,
    "floor": 0,
    "newest_issued": "",
}
GOOD = {
    "action": "install",
    "version": "v5",
    "components": ["backbone"],
    "options": {"backbone": ["full"]},
    "skipped": [],
}
NOTHING: dict[str, Any] = {"action": "none", "version": None, "components": [], "options": {}, "skipped": []}


def directive(digest=None, **fields):
    named = {"manifest_sha256": digest, "variant": "default", "attempt_id": "attempt-1"} if digest else {}
    return {
        "device_id": "dev-1",
        "model": "demo",
        "nonce": NONCE,
        "request_sha256": sha(REQUEST),
        "action": "install" if digest else "none",
        "reason": "update" if digest else "up_to_date",
        "next_poll_s": 3600,
        "issued": "2026-12-01T12:00:00Z",
        "expires": "2026-12-01T13:00:00Z",
        **named,
        **fields,
    }


def full(part):
    return {
        "format": "full",
        "url": f"https://cdn.invalid/{part['sha256']}",
        "size": part["size"],
        "sha256": part["sha256"],
    }


def patch(part, *, key=PATCHER, option=None, **fields):
    descriptor = {
        "format": "glp1",
        "source": OLD,
        "target": {"sha256": part["sha256"], "size": part["size"]},
        "patch": PATCHED,
        "index_sha256": sha(b"index"),
        "working_set": 1 << 20,
        "issued": "2026-11-20T00:00:00Z",
        **fields,
    }
    kept = {name: value for name, value in descriptor.items() if value is not None}
    return {
        "format": "glp1",
        "url": "https://cdn.invalid/patch",
        **PATCHED,
        "from_sha256": OLD["sha256"],
        "descriptor": sealed(kept, PATCH, key),
        **(option or {}),
    }


def offer(value=None, *, publisher=PUBLISHER, director=DIRECTOR, options=None, order=None, plain=None):
    """A response that offers a version; arguments replace parts of it."""
    value = value or manifest()
    parts = value["variants"][0]["components"]
    envelope = sealed(value, MANIFEST, publisher)
    digest = sha(encode(value))
    said = directive(digest, **(order or {}))
    said = {name: entry for name, entry in said.items() if entry is not None}
    return {
        "need_update": True,
        "target_version": value["version"],
        "reason": "update",
        "action": "install",
        "model": "demo",
        "next_poll_s": 3600,
        "attempt_id": "attempt-1",
        "manifest": {"sha256": digest, "url": "https://cdn.invalid/manifest", "envelope": envelope},
        "downloads": [
            {
                "name": part["name"],
                "path": part["path"],
                "target_sha256": part["sha256"],
                "target_size": part["size"],
                "options": (options or {}).get(part["name"], [full(part)]),
            }
            for part in parts
        ],
        "directive": sealed(said, DIRECTIVE, director),
        **(plain or {}),
    }


def nothing(director=DIRECTOR, **fields):
    return {
        "need_update": False,
        "reason": "up_to_date",
        "action": "none",
        "model": "demo",
        "next_poll_s": 3600,
        "directive": sealed(directive(**fields), DIRECTIVE, director),
    }


def case(name, comment, response, expect, *, attack=None, now=NOW, trust=V1, request=REQUEST, **state):
    inputs = {"trust": b64(encode(trust)), "request": b64(request), "response": b64(encode(response))}
    return make_case(
        f"directive.{name}", comment, inputs, expect, attack=attack, now=now, state={**STATE, **state}
    )


def edited(response, edit):
    changed = copy.deepcopy(response)
    edit(changed)
    return changed
