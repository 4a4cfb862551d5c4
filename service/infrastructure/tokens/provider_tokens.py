"""Tokens of external OpenID Connect providers: the app's, or that of CI."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from service.errors import Unauthorized
from service.infrastructure.tokens.access_tokens import DeviceClaims
from service.infrastructure.tokens.jwt_claims import ED25519, check_times, decode_provider_token, string_claim

MAX_PROVIDER_KEYS = 64
_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_PROVIDER_ALGORITHMS: dict[tuple[Any, Any], tuple[str, ...]] = {
    ("RSA", None): ("RS256",),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ED25519,
}


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A public key of a provider, and the names of its one algorithm."""

    key: Any
    algorithms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProviderRules:
    """What the tokens of a provider must contain.

    Attributes:
        issuer: the `iss`.
        audience: the `aud`.
        device_claim: the claim that contains the device id.
        attributes_claim: the claim that contains the device's attributes; None for none.
        max_lifetime_s: longest time from `iat` to `exp`, in seconds.
    """

    issuer: str
    audience: str
    device_claim: str = "sub"
    attributes_claim: str | None = None
    max_lifetime_s: int = 86400


def parse_key_set(key_set: bytes) -> dict[str, ProviderKey]:
    """Key id -> key, for the usable keys of a JWK set (RFC 7517): RSA of at least 2048 bits, P-256, Ed25519.

    Raises:
        ValueError: the bytes are not a JWK set.
    """
    try:
        entries = json.loads(key_set)["keys"]
        found = [
            (entry["kid"], _provider_key(entry)) for entry in entries[:MAX_PROVIDER_KEYS] if "kid" in entry
        ]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("not a JWK set") from error
    return {kid: key for kid, key in found if isinstance(kid, str) and key is not None}


def verify_provider_token(
    token: str, key: ProviderKey, rules: ProviderRules, now: datetime
) -> dict[str, Any]:
    """The verified claims of a provider's token; a bearer token may be used more than once.

    Raises:
        TokenExpired: the token has expired, or is not valid yet.
        Unauthorized: the token is invalid.
    """
    required = ["iss", "aud", "iat", "exp", rules.device_claim]
    claims = decode_provider_token(token, key.key, key.algorithms, required, rules.audience)
    if claims["iss"] != rules.issuer:
        raise Unauthorized(f"the token's iss is not {rules.issuer}")
    check_times(claims, now, rules.max_lifetime_s)
    return claims


def device_from_claims(claims: dict[str, Any], rules: ProviderRules) -> DeviceClaims:
    """The device that verified claims are about.

    Raises:
        Unauthorized: the claim does not contain a valid device id.
    """
    device_id = string_claim(claims, rules.device_claim)
    if not _DEVICE_ID.fullmatch(device_id):
        raise Unauthorized(f"the token's {rules.device_claim} is not a valid device id")
    attributes = claims.get(rules.attributes_claim, {}) if rules.attributes_claim else {}
    return DeviceClaims(device_id, _scalar_attributes(attributes))


def _provider_key(entry: dict[str, Any]) -> ProviderKey | None:
    algorithms = _PROVIDER_ALGORITHMS.get((entry.get("kty"), entry.get("crv")))
    if (
        algorithms is None
        or entry.get("use", "sig") != "sig"
        or entry.get("alg", algorithms[0]) not in algorithms
    ):
        return None
    try:
        key = jwt.PyJWK(entry, algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    small = isinstance(key, RSAPublicKey) and key.key_size < 2048
    private = not isinstance(key, (RSAPublicKey, Ed25519PublicKey, ec.EllipticCurvePublicKey))
    return None if small or private else ProviderKey(key, algorithms)


def _scalar_attributes(attributes: Any) -> dict[str, Any]:
    """The attributes that cohort rules can compare: strings, numbers and booleans."""
    if not isinstance(attributes, dict):
        return {}
    return {
        name: value
        for name, value in list(attributes.items())[:64]
        if isinstance(value, (str, int, float, bool)) and len(name) < 64
    }
