"""What all JWTs have in common: bounded, of one kind, by one algorithm, for a short time.

PyJWT's defaults accept a token without expiry, with any lifetime, of any `typ` and with any `iss`. So only its
check of the signature is used; every claim is looked at here.
"""

import json
from datetime import datetime
from typing import Any

import jwt
from jwt.algorithms import OKPAlgorithm

from service.errors import TokenExpired, Unauthorized

AUDIENCE = "graylag"
CLOCK_SKEW_S = 60
MAX_TOKEN = 4096
ED25519 = ("EdDSA", "Ed25519")
"""RFC 9864 gives the algorithm a name of its own; SDKs in the field know one of the two."""
# PyJWT parses header and claims before it checks a signature; brackets nested deep end in RecursionError.
UNREADABLE = (jwt.PyJWTError, ValueError, RecursionError)
_JWS = jwt.PyJWS()
if "Ed25519" not in _JWS.get_algorithms():  # PyJWT 2.15 knows the older name only
    _JWS.register_algorithm("Ed25519", OKPAlgorithm())


def unique_id(claims: dict[str, Any]) -> str:
    """The `jti` of verified claims, by which a token is known when it comes again.

    Raises:
        Unauthorized: none, or one that is no name.
    """
    return text_of(claims, "jti")


def decode(
    token: str,
    key: Any,
    algorithms: tuple[str, ...],
    required: list[str],
    audience: str,
) -> dict[str, Any]:
    """The claims of somebody else's token that `key` has signed; times are the caller's question (`check_times`).

    Args:
        token: the JWT.
        key: of a type that fits `algorithms`.
        algorithms: names of the one algorithm that the key is for.
        required: claims that must be there.
        audience: the one `aud`, as a string: a token for several is none for us.

    Raises:
        Unauthorized: too long, not signed by this key, one of ours, for somebody else, or incomplete.
    """
    if len(token) > MAX_TOKEN:
        raise Unauthorized("the token is too long")
    try:
        decoded = _JWS.decode_complete(token, key, algorithms=list(algorithms))
        claims = json.loads(decoded["payload"])
    except UNREADABLE as error:
        raise Unauthorized(f"the token is not good: {type(error).__name__}") from error
    # Somebody else's tokens say JWT, at+jwt or nothing; ours are never good in their place.
    if str(decoded["header"].get("typ")).startswith("graylag-"):
        raise Unauthorized("the token is of another kind")
    if not isinstance(claims, dict) or any(claims.get(name) is None for name in required):
        raise Unauthorized(f"the token needs {', '.join(required)}")
    if claims.get("aud") != audience:
        raise Unauthorized("the token is for somebody else")
    return claims


def check_times(claims: dict[str, Any], now: datetime, span_s: int, *, skew_s: int = 0) -> None:
    """Refuse a token that is over, not yet begun, or meant to live longer than `span_s` seconds.

    Raises:
        TokenExpired: it was good once, or will be.
        Unauthorized: no whole seconds, or too long a life.
    """
    issued, expires = claims["iat"], claims["exp"]
    whole = type(issued) is int and type(expires) is int  # not isinstance: true is no time
    if not whole or not 0 < expires - issued <= span_s:
        raise Unauthorized(f"exp must be at most {span_s} s after iat")
    seconds = now.timestamp()
    if issued > seconds + CLOCK_SKEW_S:
        raise TokenExpired("the token is from the future; is the clock right?", server_time=int(seconds))
    if expires <= seconds - skew_s:
        raise TokenExpired("the token has expired", server_time=int(seconds))


def text_of(claims: dict[str, Any], name: str) -> str:
    """A claim that is a short string.

    Raises:
        Unauthorized: absent, empty, long, or something else.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise Unauthorized(f"the token's {name} is missing or not a string")
    return value
