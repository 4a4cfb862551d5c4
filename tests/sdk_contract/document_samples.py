"""Sample documents for the tests of `documents`."""

from typing import Any

from sdk_contract import strict_json
from sdk_contract.documents import (
    Document,
    RoleKeys,
    RoleName,
    TrustBundle,
    public_key_entry,
)
from tests.sdk_contract.signers import FixedSigner

A, B = "a" * 64, "b" * 64
ISSUED, EXPIRES = "2026-11-20T12:00:00Z", "2027-11-20T12:00:00Z"
COMPONENT = {"name": "backbone", "path": "backbone.safetensors", "size": 4096, "sha256": A}
MANIFEST: dict[str, Any] = {
    "model": "assistant",
    "version": "v1.3",
    "counter": 3,
    "variants": [{"name": "int8", "components": [COMPONENT]}],
    "issued": ISSUED,
    "expires": EXPIRES,
}
PATCH = {
    "format": "glp1",
    "source": {"sha256": A, "size": 1},
    "target": {"sha256": B, "size": 2},
    "patch": {"sha256": A, "size": 3},
    "working_set": 4,
    "issued": ISSUED,
}
DIRECTIVE = {
    "device_id": "dev_12345",
    "model": "assistant",
    "request_sha256": A,
    "action": "none",
    "reason": "up_to_date",
    "next_poll_s": 60,
    "issued": ISSUED,
    "expires": EXPIRES,
}
ROOT, ROOT2, ROOT3, PUBLISHER, OTHER = (FixedSigner(seed) for seed in range(1, 6))


def with_component(**fields):
    return MANIFEST | {"variants": [{"name": "int8", "components": [COMPONENT | fields]}]}


def parsed(kind: type[Document], fields):
    return kind.from_payload(strict_json.dumps(fields))


def bundle(number, roots, *, threshold=1, publishers=(PUBLISHER,)):
    signers: dict[RoleName, tuple[FixedSigner, ...]] = {
        "root": roots,
        "publisher": publishers,
        "director": (OTHER,),
        "patcher": (OTHER,),
    }
    keys = {
        name: dict(public_key_entry(signer.public_key) for signer in group) for name, group in signers.items()
    }
    return TrustBundle(
        version=number,
        expires=EXPIRES,
        keys={keyid: key for group in keys.values() for keyid, key in group.items()},
        roles={
            name: RoleKeys(keys=list(group), threshold=threshold if name == "root" else 1)
            for name, group in keys.items()
        },
    )
