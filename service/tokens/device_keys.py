"""What devices sign with keys of their own: Ed25519, or P-256 where their hardware has nothing else."""

from functools import partial

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from service import ed25519
from service.tokens.compact import Check
from service.tokens.reading import ED25519

P256_SIGNATURE = 64
"""Bytes of an ES256 signature: r and s (RFC 7518, 3.4)."""


def check_of(public_key: bytes) -> Check:
    """The one algorithm that a key is for, by its length: 32 bytes of Ed25519, else an encoded point of P-256."""
    if len(public_key) == ed25519.PUBLIC:
        return Check(ED25519, partial(ed25519.fits, public_key))
    return Check(("ES256",), partial(_fits_p256, public_key))


def _fits_p256(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    if len(signature) != P256_SIGNATURE:
        return False
    r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):  # ValueError: no point of the curve
        return False
    return True
