"""Public keys of devices: Ed25519, or P-256 for hardware without Ed25519."""

from functools import partial

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from service.infrastructure import ed25519
from service.infrastructure.tokens.jws import Verifier
from service.infrastructure.tokens.jwt_claims import ED25519

P256_SIGNATURE_BYTES = 64
"""Length of an ES256 signature: r and s, 32 bytes each (RFC 7518, 3.4)."""


def verifier_for(public_key: bytes) -> Verifier:
    """The verifier of a public key: Ed25519 if it has 32 bytes, else ES256 with an encoded point of P-256."""
    if len(public_key) == ed25519.PUBLIC_KEY_BYTES:
        return Verifier(ED25519, partial(ed25519.verify_signature, public_key))
    return Verifier(("ES256",), partial(_verify_p256, public_key))


def _verify_p256(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    if len(signature) != P256_SIGNATURE_BYTES:
        return False
    r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):  # ValueError: not a point of the curve
        return False
    return True
