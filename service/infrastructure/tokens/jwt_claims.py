"""Checks that all JWTs share: size, type, algorithm, audience, times.

PyJWT's defaults accept tokens without expiry, with any lifetime, and with any `typ` or `iss`. So only its signature check is
used, and every claim is checked here.
"""

import json
from datetime import datetime
from typing import Any

import jwt
from jwt.algorithms import OKPAlgorithm

from service.errors import TokenExpired, Unauthorized

AUDIENCE = "graylag"
CLOCK_SKEW_S = 60
MAX_TOKEN_CHARS = 4096
ED25519 = ("EdDSA", "Ed25519")
"""Both names of the algorithm: RFC 9864 introduced the second one, and SDKs use either."""
# PyJWT parses header and claims before it checks the signature, so deep nesting raises RecursionError.
_UNREADABLE = (jwt.PyJWTError, ValueError, RecursionError)
_JWS = jwt.PyJWS()
if "Ed25519" not in _JWS.get_algorithms():  # PyJWT 2.15 supports only the older name
    _JWS.register_algorithm("Ed25519", OKPAlgorithm())


def token_id(claims: dict[str, Any]) -> str:
    """The `jti` of verified claims, by which a replayed token is recognized.

    Raises:
        Unauthorized: the `jti` is missing or not a short string.
    """
    return string_claim(claims, "jti")


def decode_provider_token(
    token: str,
    key: Any,
    algorithms: tuple[str, ...],
    required: list[str],
    audience: str,
) -> dict[str, Any]:
    """The verified claims of a provider's token, except for its times (see `check_times`).

    Args:
        token: the JWT.
        key: the public key.
        algorithms: the names of the key's one algorithm.
        required: claims that the token must have.
        audience: the `aud` that the token must have; a list of audiences is refused.

    Raises:
        Unauthorized: the signature, the type or the audience is wrong, or a claim is missing.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise Unauthorized(f"the token is longer than {MAX_TOKEN_CHARS} characters")
    try:
        decoded = _JWS.decode_complete(token, key, algorithms=list(algorithms))
        claims = json.loads(decoded["payload"])
    except _UNREADABLE as error:
        raise Unauthorized(f"the token is invalid: {type(error).__name__}") from error
    # A provider's token has the type JWT, at+jwt or none; one of Graylag's own types must not pass as one.
    if str(decoded["header"].get("typ")).startswith("graylag-"):
        raise Unauthorized("the token is a Graylag token, not one of the identity provider")
    if not isinstance(claims, dict) or any(claims.get(name) is None for name in required):
        raise Unauthorized(f"the token must have the claims {', '.join(required)}")
    if claims.get("aud") != audience:
        raise Unauthorized(f"the token's aud is not {audience}")
    return claims


def check_times(claims: dict[str, Any], now: datetime, max_lifetime_s: int, *, skew_s: int = 0) -> None:
    """Refuse a token that has expired, is not valid yet, or lives longer than `max_lifetime_s` seconds.

    Raises:
        TokenExpired: the token has expired, or is not valid yet.
        Unauthorized: `iat` or `exp` is not an integer, or the lifetime is too long.
    """
    issued, expires = claims["iat"], claims["exp"]
    whole = type(issued) is int and type(expires) is int  # not isinstance, because true is an int
    if not whole or not 0 < expires - issued <= max_lifetime_s:
        raise Unauthorized(f"iat and exp must be integers, and exp at most {max_lifetime_s} s after iat")
    seconds = now.timestamp()
    if issued > seconds + CLOCK_SKEW_S:
        raise TokenExpired(
            "the token is not valid yet; set the clock by `server_time`", server_time=int(seconds)
        )
    if expires <= seconds - skew_s:
        raise TokenExpired("the token has expired; get a new one", server_time=int(seconds))


def string_claim(claims: dict[str, Any], name: str) -> str:
    """A claim that must be a string of 1 to 256 characters.

    Raises:
        Unauthorized: the claim is missing, or is anything else.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise Unauthorized(f"the token's {name} must be a string of 1 to 256 characters")
    return value
