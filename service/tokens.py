"""Credentials: opaque secrets of people and machines, and JWTs of devices.

PyJWT's defaults accept a token without expiry, with any lifetime, of any `typ` and with any `iss`;
each of those is checked here.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service.errors import TokenExpired, Unauthorized

AUDIENCE = "graylag"
ACCESS_TYPE = "graylag-access+jwt"
DEVICE_TYPE = "graylag-device+jwt"
ASSERTION_SPAN_S = 300
CLOCK_SKEW_S = 60
MAX_TOKEN = 4096
MIN_JTI = 16
# PyJWT parses header and claims before it checks a signature; brackets nested deep end in RecursionError.
_UNREADABLE = (jwt.PyJWTError, ValueError, RecursionError)


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
    """

    device_id: str
    attributes: dict[str, Any]


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

    def issue(self, device_id: str, attributes: dict[str, Any], now: datetime) -> str:
        """A token for a device that has enrolled."""
        issued = int(now.timestamp())
        claims = {"sub": device_id, "aud": AUDIENCE, "iat": issued, "exp": issued + self.lifetime_s}
        if attributes:
            claims["attrs"] = attributes
        return jwt.encode(claims, self._secret, algorithm="HS256", headers={"typ": ACCESS_TYPE})

    def verify(self, token: str, now: datetime) -> DeviceClaims:
        """Who is behind a token.

        Raises:
            TokenExpired: it was good once.
            Unauthorized: it never was.
        """
        claims = _decode(token, self._secret, "HS256", ACCESS_TYPE, ["sub", "aud", "iat", "exp"])
        _check_times(claims, now, self.lifetime_s)
        attributes = claims.get("attrs", {})
        return DeviceClaims(_text(claims, "sub"), attributes if isinstance(attributes, dict) else {})


def unverified_subject(token: str) -> str:
    """Whose key to check an assertion with; proves nothing.

    Raises:
        Unauthorized: not a JWT with a subject.
    """
    if len(token) > MAX_TOKEN:
        raise Unauthorized("the assertion is too long")
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except _UNREADABLE as error:
        raise Unauthorized("the assertion is not a JWT") from error
    return _text(claims, "sub")


def verify_assertion(token: str, public_key: bytes, now: datetime) -> str:
    """Check a device-key assertion; return its `jti`, which may be used once.

    Raises:
        TokenExpired: too old, or the device's clock is wrong.
        Unauthorized: not by this key, or with claims that it must not have.
    """
    key = Ed25519PublicKey.from_public_bytes(public_key)
    claims = _decode(token, key, "EdDSA", DEVICE_TYPE, ["iss", "sub", "aud", "iat", "exp", "jti"])
    if claims["iss"] != claims["sub"]:
        raise Unauthorized("iss and sub of a device assertion are the same")
    _check_times(claims, now, ASSERTION_SPAN_S)
    jti = _text(claims, "jti")
    if len(jti) < MIN_JTI:
        raise Unauthorized("jti needs at least 128 random bits")
    return jti


def _decode(token: str, key: Any, algorithm: str, kind: str, required: list[str]) -> dict[str, Any]:
    if len(token) > MAX_TOKEN:
        raise Unauthorized("the token is too long")
    try:
        decoded = jwt.decode_complete(
            token,
            key,
            algorithms=[algorithm],
            audience=AUDIENCE,
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
    if decoded["header"].get("typ") != kind:
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
