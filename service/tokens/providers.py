"""Tokens of somebody else's identity provider: the app's, or that of CI."""

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
from service.tokens.access import DeviceClaims
from service.tokens.reading import ED25519, check_times, decode, text_of

MAX_PROVIDER_KEYS = 64
_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_PROVIDER_ALGORITHMS: dict[tuple[Any, Any], tuple[str, ...]] = {
    ("RSA", None): ("RS256",),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ED25519,
}


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A key of the app's own identity provider, and the one algorithm that it is for."""

    key: Any
    algorithms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProviderRules:
    """What the tokens of an identity provider must say.

    Attributes:
        device_claim: which claim names the device.
        attributes_claim: which claim holds facts about it; None for none.
        lifetime_s: longest span from `iat` to `exp`.
    """

    issuer: str
    audience: str
    device_claim: str = "sub"
    attributes_claim: str | None = None
    lifetime_s: int = 86400


def provider_keys(key_set: bytes) -> dict[str, ProviderKey]:
    """The usable keys of a JWK set (RFC 7517): RSA from 2048 bits, P-256, Ed25519; others are left aside.

    Raises:
        ValueError: not a key set.
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
    """The claims of a token of somebody else's identity provider; a bearer token, so no replay is looked for.

    Raises:
        TokenExpired: it was good once.
        Unauthorized: it never was.
    """
    required = ["iss", "aud", "iat", "exp", rules.device_claim]
    claims = decode(token, key.key, key.algorithms, required, rules.audience)
    if claims["iss"] != rules.issuer:
        raise Unauthorized("the token is of another issuer")
    check_times(claims, now, rules.lifetime_s)
    return claims


def device_of(claims: dict[str, Any], rules: ProviderRules) -> DeviceClaims:
    """The device that a provider's verified claims are about.

    Raises:
        Unauthorized: its id is none that a device can have.
    """
    device_id = text_of(claims, rules.device_claim)
    if not _DEVICE_ID.fullmatch(device_id):
        raise Unauthorized(f"the token's {rules.device_claim} is no device id")
    facts = claims.get(rules.attributes_claim, {}) if rules.attributes_claim else {}
    return DeviceClaims(device_id, _plain(facts))


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


def _plain(facts: Any) -> dict[str, Any]:
    """Of the claimed facts those that a cohort rule can compare."""
    if not isinstance(facts, dict):
        return {}
    return {
        name: value
        for name, value in list(facts.items())[:64]
        if isinstance(value, (str, int, float, bool)) and len(name) < 64
    }
