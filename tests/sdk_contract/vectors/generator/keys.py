"""Fixed, published test keys, and functions that make envelopes with them."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.documents import Manifest, TrustBundle
from sdk_contract.envelope import key_id, pae

TRUST = TrustBundle.payload_type
MANIFEST = Manifest.payload_type
PATCH = "application/vnd.graylag.patch.v1+json"
DIRECTIVE = "application/vnd.graylag.directive.v1+json"


class Key:
    """A private key that is published in the vectors; never trust it."""

    def __init__(self, name):
        self.name = name
        self.seed = hashlib.sha256(f"graylag test vector key, known to everybody: {name}".encode()).digest()
        self.private = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public_key = self.private.public_key().public_bytes_raw()
        self.id = key_id(self.public_key)

    def sign(self, message):
        return self.private.sign(message)


ROOT, ROOT2, ROOT3, PUBLISHER, PUBLISHER2, DIRECTOR, PATCHER, STRANGER, DEVICE = (
    Key(name)
    for name in (
        "root",
        "root2",
        "root3",
        "publisher",
        "publisher2",
        "director",
        "patcher",
        "stranger",
        "device",
    )
)


def b64(data):
    return base64.b64encode(data).decode()


def encode(value):
    """JSON as `strict_json.dumps` writes it, without its checks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signature(key, message, keyid=None):
    return {"keyid": key.id if keyid is None else keyid, "sig": b64(key.sign(message))}


def sealed(payload, kind, *keys, label=None):
    """An envelope as an object; `label` is the type that it states, if another one is signed."""
    data = payload if isinstance(payload, bytes) else encode(payload)
    return {
        "payloadType": label or kind,
        "payload": b64(data),
        "signatures": [signature(key, pae(kind, data)) for key in keys],
    }


def flip(data, at=0):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def sha(data):
    return hashlib.sha256(data).hexdigest()
