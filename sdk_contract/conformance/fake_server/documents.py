"""Fields and envelopes of the fake server's documents, without the checks of the genuine ones."""

import base64
from collections.abc import Mapping
from typing import Any

from sdk_contract.conformance.fake_server.keys import ROLES, Key
from sdk_contract.conformance.fake_server.patches import BuiltPatch
from sdk_contract.conformance.fake_server.tampering import Fields, Forgery
from sdk_contract.conformance.fake_server.values import (
    MODEL,
    Version,
    sha256_hex,
    timestamp_in,
    unchecked_json,
)
from sdk_contract.documents import public_key_entry
from sdk_contract.envelope import pae
from sdk_contract.formats import GLP1


def sign(fields: Fields, forgery: Forgery, keys: Mapping[str, Key]) -> Fields:
    """The envelope of a document, forged as `forgery` says, as a JSON object."""
    payload = forgery.payload(unchecked_json(forgery.fields(fields)))
    message = pae(forgery.signed_type or forgery.payload_type, payload)
    envelope = {
        "payloadType": forgery.claimed_type or forgery.payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": keys[name].id, "sig": base64.b64encode(keys[name].sign(message)).decode()}
            for name in forgery.signers
        ],
    }
    return forgery.envelope(envelope)


def trust_fields(
    keys: Mapping[str, Key], version: int, roles: Mapping[str, tuple[str, ...]], **fields: Any
) -> Fields:
    """Fields of a trust bundle with thresholds of 1; each role has its own key, unless `roles` names others."""
    signers = {role: (role,) for role in ROLES} | dict(roles)
    names = {name for group in signers.values() for name in group}
    entries = dict(public_key_entry(keys[name].public_key) for name in names)
    return {
        "version": version,
        "expires": timestamp_in(days=365),
        "keys": {keyid: {"public": key.public} for keyid, key in entries.items()},
        "roles": {
            role: {"keys": [keys[name].id for name in group], "threshold": 1}
            for role, group in signers.items()
        },
        **fields,
    }


def manifest_fields(version: Version) -> Fields:
    """Fields of a version's manifest."""
    components = [
        {"name": name, "path": f"{name}.bin", "size": len(data), "sha256": sha256_hex(data)}
        for name, data in version.files.items()
    ]
    return {
        "model": MODEL,
        "version": version.label,
        "counter": version.counter,
        "floor": version.floor,
        "variants": [{"name": "default", "components": components}],
        "issued": version.issued,
        "expires": version.expires,
    }


def descriptor_fields(source: bytes, target: bytes, patch: BuiltPatch) -> Fields:
    """Fields of the descriptor of a patch from `source` to `target`."""
    return {
        "format": GLP1,
        "source": {"sha256": sha256_hex(source), "size": len(source)},
        "target": {"sha256": sha256_hex(target), "size": len(target)},
        "patch": {"sha256": sha256_hex(patch.data), "size": len(patch.data)},
        "index_sha256": patch.index_sha256,
        "working_set": patch.working_set,
        "issued": timestamp_in(),
    }
