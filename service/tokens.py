"""Credentials: opaque secrets of people and machines, and JWTs of devices.

PyJWT's defaults accept a token without expiry, with any lifetime, of any `typ` and with any `iss`;
each of those is checked here.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.errors import TokenExpired, Unauthorized

AUDIENCE = "graylag"
ACCESS_TYPE = "graylag-access+jwt"
DEVICE_TYPE = "graylag-device+jwt"
ASSERTION_SPAN_S = 300
CLOCK_SKEW_S = 60
MAX_TOKEN = 4096
MIN_JTI = 16
MAX_PROVIDER_KEYS = 64
# PyJWT parses header and claims before it checks a signature; brackets nested deep end in RecursionError.
_UNREADABLE = (jwt.PyJWTError, ValueError, RecursionError)
P256_SIGNATURE = 64
"""Bytes of an ES256 signature: r and s (RFC 7518, 3.4)."""
_COMPACT = re.compile(r"([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{1,4096})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody on the admin API."""

    name: str
    scope: str


@dataclass(frozen=True, slots=True)
class DeviceClaims:
    """A device that has proved who it is.

    Attributes:
        attributes: facts from the token; they outrank what the device says of itself.
        models: the only ones that it is served; None for all.
    """

    device_id: str
    attributes: dict[str, Any]
    models: frozenset[str] | None = None


def new_secret(prefix: str) -> str:
    """An opaque token of 256 random bits; the prefix tells people and scanners what it is."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def secret_hash(secret: str) -> str:
    """How an opaque token is kept: SHA-256, hex. Enough, since it is random and not a password."""
    return hashlib.sha256(secret.encode()).hexdigest()


class AccessTokens:
    """Issues and verifies the short-lived tokens that devices poll with."""

    def __init__(self, secret: bytes, lifetime_s: int) -> None:
        """Keep the secret; at least 32 bytes.

        Raises:
            ValueError: the secret is too short to resist guessing.
        """
        if len(secret) < 32:
            raise ValueError("GRAYLAG_ACCESS_TOKEN_SECRET needs at least 32 bytes")
        self._secret = secret
        self.lifetime_s = lifetime_s

    def issue(
        self,
        device_id: str,
        attributes: dict[str, Any],
        now: datetime,
        *,
        models: Sequence[str] | None = None,
    ) -> str:
        """A token for a device that has enrolled, on demand for some models only."""
        issued = int(now.timestamp())
        claims: dict[str, Any] = {
            "sub": device_id,
            "aud": AUDIENCE,
            "iat": issued,
            "exp": issued + self.lifetime_s,
        }
        if attributes:
            claims["attrs"] = attributes
        if models is not None:
            claims["models"] = list(models)
        return jwt.encode(claims, self._secret, algorithm="HS256", headers={"typ": ACCESS_TYPE})

    def verify(self, token: str, now: datetime) -> DeviceClaims:
        """Who is behind a token.

        Raises:
            TokenExpired: it was good once.
            Unauthorized: it never was.
        """
        claims = _own_claims(token, self._secret, "HS256", ACCESS_TYPE, ("sub", "aud", "iat", "exp"))
        _check_times(claims, now, self.lifetime_s)
        attributes, models = claims.get("attrs", {}), claims.get("models")
        return DeviceClaims(
            _text(claims, "sub"),
            attributes if isinstance(attributes, dict) else {},
            frozenset(models) if models is not None else None,
        )


def unverified_subject(token: str) -> str:
    """Whose key to check an assertion with; proves nothing.

    Raises:
        Unauthorized: not a JWT with a subject.
    """
    return _text(_claims(_split(token).claims), "sub")


@dataclass(frozen=True, slots=True)
class Binding:
    """The request that a device's token was made for, so that it is good for no other."""

    method: str
    path: str
    body: bytes


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
    return _text(_header(_split(token).header), "kid")


def verify_assertion(token: str, public_key: bytes, now: datetime, binding: Binding | None = None) -> str:
    """Check a device-key assertion; return its `jti`, which may be used once.

    Args:
        token: the JWT.
        public_key: 32 bytes of Ed25519, or an uncompressed point of P-256, 65 bytes; the key decides on the
            algorithm, not the token.
        now: the time of the request.
        binding: the request that it has to be made for; None at the token endpoint, which is what it is for.

    Raises:
        TokenExpired: too old, or the device's clock is wrong.
        Unauthorized: not by this key, for another request, or with claims that it must not have.
    """
    key, algorithm = _device_key(public_key)
    claims = _own_claims(token, key, algorithm, DEVICE_TYPE, ("iss", "sub", "aud", "iat", "exp", "jti"))
    if claims["iss"] != claims["sub"]:
        raise Unauthorized("iss and sub of a device assertion are the same")
    _check_times(claims, now, ASSERTION_SPAN_S)
    jti = _text(claims, "jti")
    if len(jti) < MIN_JTI:
        raise Unauthorized("jti needs at least 128 random bits")
    if binding is not None:
        _check_binding(claims, binding)
    return jti


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A key of the app's own identity provider, and the one algorithm that it is for."""

    key: Any
    algorithm: str


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
    claims = _provider_claims(token, key, required, rules.audience)
    if claims["iss"] != rules.issuer:
        raise Unauthorized("the token is of another issuer")
    _check_times(claims, now, rules.lifetime_s)
    return claims


def unique_id(claims: dict[str, Any]) -> str:
    """The `jti` of verified claims, by which a token is known when it comes again.

    Raises:
        Unauthorized: none, or one that is no name.
    """
    return _text(claims, "jti")


def device_of(claims: dict[str, Any], rules: ProviderRules) -> DeviceClaims:
    """The device that a provider's verified claims are about.

    Raises:
        Unauthorized: its id is none that a device can have.
    """
    device_id = _text(claims, rules.device_claim)
    if not _DEVICE_ID.fullmatch(device_id):
        raise Unauthorized(f"the token's {rules.device_claim} is no device id")
    facts = claims.get(rules.attributes_claim, {}) if rules.attributes_claim else {}
    return DeviceClaims(device_id, _plain(facts))


def derived_secret(server_secret: bytes, device_id: str, salt: bytes) -> bytes:
    """The shared secret of a device of the HMAC mode, 32 bytes: HKDF-SHA256 (RFC 5869), so nothing is stored."""
    info = b"graylag-hmac-v1\0" + device_id.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(server_secret)


def request_mac(secret: bytes, device_id: str, timestamp: str, nonce: str, binding: Binding) -> str:
    """HMAC-SHA256 in hex over the lines version, device, method, path, timestamp, nonce, sha256(body)."""
    digest = hashlib.sha256(binding.body).hexdigest()
    lines = ("graylag-hmac-v1", device_id, binding.method, binding.path, timestamp, nonce, digest)
    return hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class _Segments:
    """The three parts of a JWT in base64url, and what of it is signed."""

    header: str
    claims: str
    signature: str
    signed: bytes


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
    return _claims(segment)


def _claims(segment: str) -> dict[str, Any]:
    try:
        parsed = json.loads(_bytes(segment))
    except (ValueError, RecursionError) as error:
        raise Unauthorized("the token is not a JWT") from error
    if not isinstance(parsed, dict):
        raise Unauthorized("the token is not a JWT")
    return parsed


def _bytes(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _own_claims(token: str, key: Any, algorithm: str, kind: str, required: Sequence[str]) -> dict[str, Any]:
    """The claims of a token of one of our two kinds; the signature is checked before they are parsed.

    Read here and not by PyJWT, whose way costs more than the rest of a poll. Only one algorithm is ever
    looked at, the one that the caller's key is for, and any extension that a header calls critical is refused.
    """
    parts = _split(token)
    header = _header(parts.header)
    if header.get("alg") != algorithm or "crit" in header or not _fits(parts, key, algorithm):
        raise Unauthorized("the token is not good: its signature does not fit")
    if header.get("typ") != kind:
        raise Unauthorized("the token is of another kind")
    claims = _claims(parts.claims)
    missing = [name for name in required if claims.get(name) is None]
    if missing or claims["aud"] != AUDIENCE:
        raise Unauthorized(f"the token is not good: {missing[0] if missing else 'aud'}")
    return claims


def _fits(parts: _Segments, key: Any, algorithm: str) -> bool:
    try:
        signature = _bytes(parts.signature)
        if algorithm == "HS256":
            return hmac.compare_digest(hmac.digest(key, parts.signed, "sha256"), signature)
        if algorithm == "EdDSA":
            key.verify(signature, parts.signed)
        else:
            if len(signature) != P256_SIGNATURE:
                return False
            r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
            key.verify(encode_dss_signature(r, s), parts.signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _device_key(public_key: bytes) -> tuple[Any, str]:
    if len(public_key) == 32:
        return Ed25519PublicKey.from_public_bytes(public_key), "EdDSA"
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key), "ES256"


def _check_binding(claims: dict[str, Any], binding: Binding) -> None:
    """`htm`, `htu` as in RFC 9449, of which the path counts, since proxies change the rest; `bh` = sha256(body), hex."""
    try:
        path = urlsplit(_text(claims, "htu")).path
    except ValueError as error:
        raise Unauthorized("htu is no URL") from error
    if (claims.get("htm"), path) != (binding.method, binding.path):
        raise Unauthorized("the token was made for another request")
    if claims.get("bh") != hashlib.sha256(binding.body).hexdigest():
        raise Unauthorized("the token was made for another body")


def _provider_key(entry: dict[str, Any]) -> ProviderKey | None:
    algorithm = _PROVIDER_ALGORITHMS.get((entry.get("kty"), entry.get("crv")))
    if algorithm is None or entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    small = isinstance(key, RSAPublicKey) and key.key_size < 2048
    private = not isinstance(key, (RSAPublicKey, Ed25519PublicKey, ec.EllipticCurvePublicKey))
    return None if small or private else ProviderKey(key, algorithm)


_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_PROVIDER_ALGORITHMS: dict[tuple[Any, Any], str] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


def _plain(facts: Any) -> dict[str, Any]:
    """Of the claimed facts those that a cohort rule can compare."""
    if not isinstance(facts, dict):
        return {}
    return {
        name: value
        for name, value in list(facts.items())[:64]
        if isinstance(value, (str, int, float, bool)) and len(name) < 64
    }


def _provider_claims(token: str, key: ProviderKey, required: list[str], audience: str) -> dict[str, Any]:
    """The claims of somebody else's token."""
    if len(token) > MAX_TOKEN:
        raise Unauthorized("the token is too long")
    try:
        decoded = jwt.decode_complete(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=audience,
            # Times are checked here, against the time that the caller fixed for the whole request.
            options={
                "require": required,
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except _UNREADABLE as error:
        raise Unauthorized(f"the token is not good: {type(error).__name__}") from error
    # Somebody else's tokens say JWT, at+jwt or nothing; ours are never good in their place.
    if str(decoded["header"].get("typ")).startswith("graylag-"):
        raise Unauthorized("the token is of another kind")
    claims: dict[str, Any] = decoded["payload"]
    return claims


def _check_times(claims: dict[str, Any], now: datetime, span_s: int) -> None:
    issued, expires = claims["iat"], claims["exp"]
    if not isinstance(issued, int) or not isinstance(expires, int) or not 0 < expires - issued <= span_s:
        raise Unauthorized(f"exp must be at most {span_s} s after iat")
    seconds = now.timestamp()
    if issued > seconds + CLOCK_SKEW_S:
        raise TokenExpired("the token is from the future; is the clock right?", server_time=int(seconds))
    if expires <= seconds - (CLOCK_SKEW_S if span_s == ASSERTION_SPAN_S else 0):
        raise TokenExpired("the token has expired", server_time=int(seconds))


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise Unauthorized(f"the token's {name} is missing or not a string")
    return value


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
