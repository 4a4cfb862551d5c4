"""What a device proves itself with, request by request: a JWT of its own key, or a MAC with a shared secret."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.errors import Unauthorized
from service.tokens.compact import Jwt, own_claims
from service.tokens.device_keys import check_of
from service.tokens.reading import CLOCK_SKEW_S, check_times, text_of

DEVICE_TYPE = "graylag-device+jwt"
ASSERTION_SPAN_S = 300
MIN_JTI = 16


@dataclass(frozen=True, slots=True)
class Binding:
    """The request that a device's token was made for, so that it is good for no other."""

    method: str
    path: str
    body: bytes


def verify_assertion(
    token: str | Jwt, public_key: bytes, now: datetime, binding: Binding | None = None
) -> str:
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
    claims = own_claims(token, check_of(public_key), DEVICE_TYPE, ("iss", "sub", "aud", "iat", "exp", "jti"))
    if claims["iss"] != claims["sub"]:
        raise Unauthorized("iss and sub of a device assertion are the same")
    check_times(claims, now, ASSERTION_SPAN_S, skew_s=CLOCK_SKEW_S)
    jti = text_of(claims, "jti")
    if len(jti) < MIN_JTI:
        raise Unauthorized("jti needs at least 128 random bits")
    if binding is not None:
        _check_binding(claims, binding)
    return jti


def derived_secret(server_secret: bytes, device_id: str, salt: bytes) -> bytes:
    """The shared secret of a device of the HMAC mode, 32 bytes: HKDF-SHA256 (RFC 5869), so nothing is stored."""
    info = b"graylag-hmac-v1\0" + device_id.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(server_secret)


def request_mac(secret: bytes, device_id: str, timestamp: str, nonce: str, binding: Binding) -> str:
    """HMAC-SHA256 in hex over the lines version, device, method, path, timestamp, nonce, sha256(body)."""
    digest = hashlib.sha256(binding.body).hexdigest()
    lines = ("graylag-hmac-v1", device_id, binding.method, binding.path, timestamp, nonce, digest)
    return hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def _check_binding(claims: dict[str, Any], binding: Binding) -> None:
    """`htm`, `htu` as in RFC 9449, of which the path counts, since proxies change the rest; `bh` = sha256(body), hex."""
    try:
        path = urlsplit(text_of(claims, "htu")).path
    except ValueError as error:
        raise Unauthorized("htu is no URL") from error
    if (claims.get("htm"), path) != (binding.method, binding.path):
        raise Unauthorized("the token was made for another request")
    if claims.get("bh") != hashlib.sha256(binding.body).hexdigest():
        raise Unauthorized("the token was made for another body")
