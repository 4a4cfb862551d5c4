"""JWTs of our own two kinds, and what any JWT says of itself, read without PyJWT.

Its way costs more than the rest of a poll. The rules are few: three parts of base64url (RFC 7515, 7.1), only the
algorithm that the caller's key is for, and the signature is checked before the claims are parsed.
"""

import base64
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from service.errors import Unauthorized
from service.tokens.reading import AUDIENCE, MAX_TOKEN, text_of

P256_SIGNATURE = 64
"""Bytes of an ES256 signature: r and s (RFC 7518, 3.4)."""
_COMPACT = re.compile(r"([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{1,4096})")


@dataclass(frozen=True, slots=True)
class _Segments:
    """The three parts of a JWT in base64url, and what of it is signed."""

    header: str
    claims: str
    signature: str
    signed: bytes


def unverified_subject(token: str) -> str:
    """Whose key to check an assertion with; proves nothing.

    Raises:
        Unauthorized: not a JWT with a subject.
    """
    return text_of(_object(_split(token).claims), "sub")


def kind_of(token: str) -> str:
    """What a token says it is (`typ`), to find out who should look at it; proves nothing.

    Raises:
        Unauthorized: not a JWT.
    """
    return str(_header(_split(token).header).get("typ", ""))


def key_name_of(token: str) -> str:
    """The `kid` of a token: a name to look up among keys that we have, never a place to fetch one from.

    Raises:
        Unauthorized: not a JWT, or without one.
    """
    return text_of(_header(_split(token).header), "kid")


def own_claims(
    token: str, key: Any, algorithms: tuple[str, ...], kind: str, required: Sequence[str]
) -> dict[str, Any]:
    """The claims of a token of one of our two kinds; times are the caller's question (`check_times`).

    Args:
        token: the JWT.
        key: bytes of a secret, or a public key, of a type that fits `algorithms`.
        algorithms: names of the one algorithm that the key is for.
        kind: the `typ` that it must have.
        required: claims that must be there.

    Raises:
        Unauthorized: not signed by this key, of another kind, for somebody else, or incomplete.
    """
    parts = _split(token)
    header = _header(parts.header)
    # What a header calls critical must be understood (RFC 7515, 4.1.11), and there is nothing of that kind here.
    if header.get("alg") not in algorithms or "crit" in header or not _fits(parts, key):
        raise Unauthorized("the token is not good: its signature does not fit")
    if header.get("typ") != kind:
        raise Unauthorized("the token is of another kind")
    claims = _object(parts.claims)
    missing = [name for name in required if claims.get(name) is None]
    if missing or claims["aud"] != AUDIENCE:
        raise Unauthorized(f"the token is not good: {missing[0] if missing else 'aud'}")
    return claims


def _split(token: str) -> _Segments:
    """The parts of a token; nothing is decoded yet.

    Raises:
        Unauthorized: not three parts of base64url, or too long.
    """
    if len(token) > MAX_TOKEN:
        raise Unauthorized("the token is too long")
    found = _COMPACT.fullmatch(token)
    if found is None:
        raise Unauthorized("the token is not a JWT")
    header, claims, signature = found.groups()
    return _Segments(header, claims, signature, token[: found.end(2)].encode())


@lru_cache(maxsize=256)
def _header(segment: str) -> dict[str, Any]:
    """The header; there are few different ones, so they are kept."""
    return _object(segment)


def _object(segment: str) -> dict[str, Any]:
    try:
        parsed = json.loads(_bytes(segment))
    # Brackets nested deep end in RecursionError.
    except (ValueError, RecursionError) as error:
        raise Unauthorized("the token is not a JWT") from error
    if not isinstance(parsed, dict):
        raise Unauthorized("the token is not a JWT")
    return parsed


def _bytes(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _fits(parts: _Segments, key: Any) -> bool:
    """Whether the signature is right: the key's type decides on the algorithm."""
    try:
        signature = _bytes(parts.signature)
        if isinstance(key, bytes):
            return hmac.compare_digest(hmac.digest(key, parts.signed, "sha256"), signature)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, parts.signed)
        elif len(signature) == P256_SIGNATURE:
            r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
            key.verify(encode_dss_signature(r, s), parts.signed, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True
