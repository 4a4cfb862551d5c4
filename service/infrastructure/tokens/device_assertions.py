"""Device assertions: JWTs that a device signs with its own key."""

import hashlib
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from service.errors import Unauthorized
from service.infrastructure.tokens.device_keys import verifier_for
from service.infrastructure.tokens.jws import Jwt, verified_claims
from service.infrastructure.tokens.jwt_claims import CLOCK_SKEW_S, check_times, string_claim
from service.infrastructure.tokens.request_binding import RequestBinding

DEVICE_ASSERTION_TYPE = "graylag-device+jwt"
MAX_ASSERTION_LIFETIME_S = 300
MIN_JTI_CHARS = 16


def verify_device_assertion(
    token: str | Jwt, public_key: bytes, now: datetime, binding: RequestBinding | None = None
) -> str:
    """Verify a device assertion; return its `jti`, which must be used only once.

    Args:
        token: the JWT.
        public_key: 32 bytes of Ed25519, or an uncompressed point of P-256, 65 bytes; the key, not the token, selects the
            algorithm.
        now: the time of the request.
        binding: the request that the assertion must cover; None at the token endpoint.

    Raises:
        TokenExpired: the assertion is too old, or the device's clock is wrong.
        Unauthorized: the signature is wrong, the assertion covers another request, or a claim is invalid.
    """
    claims = verified_claims(
        token, verifier_for(public_key), DEVICE_ASSERTION_TYPE, ("iss", "sub", "aud", "iat", "exp", "jti")
    )
    if claims["iss"] != claims["sub"]:
        raise Unauthorized("iss and sub of a device assertion must both be the device id")
    check_times(claims, now, MAX_ASSERTION_LIFETIME_S, skew_s=CLOCK_SKEW_S)
    jti = string_claim(claims, "jti")
    if len(jti) < MIN_JTI_CHARS:
        raise Unauthorized("the assertion's jti must have at least 128 random bits in base64url")
    if binding is not None:
        _check_binding(claims, binding)
    return jti


def _check_binding(claims: dict[str, Any], binding: RequestBinding) -> None:
    """Compare `htm` and the path of `htu` (RFC 9449; proxies change the rest), and `bh`, the SHA-256 of the body, hex."""
    try:
        path = urlsplit(string_claim(claims, "htu")).path
    except ValueError as error:
        raise Unauthorized("the assertion's htu is not a URL") from error
    if (claims.get("htm"), path) != (binding.method, binding.path):
        raise Unauthorized("the assertion was signed for another method or path; sign each request anew")
    if claims.get("bh") != hashlib.sha256(binding.body).hexdigest():
        raise Unauthorized("the assertion was signed for another body; sign each request anew")
