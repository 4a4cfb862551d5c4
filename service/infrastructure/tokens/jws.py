"""JSON Web Signatures of Graylag's own two token types, without PyJWT, which costs more than the rest of a poll.

The rules: three parts of base64url (RFC 7515, 7.1), only the algorithm that the verifier's key is for, and nothing is used
before the signature is checked.
"""

import hmac
import json
import re
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from service.errors import Unauthorized
from service.infrastructure.tokens.jwt_claims import AUDIENCE, MAX_TOKEN_CHARS, string_claim

_COMPACT = re.compile(r"([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{1,4096})")

VerifySignature = Callable[[bytes, bytes], bool]
"""(signature, signed bytes) -> whether the signature is valid; never raises."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies signatures with one key.

    Attributes:
        algorithms: the names of the key's one algorithm in a header.
        verify: checks a signature.
    """

    algorithms: tuple[str, ...]
    verify: VerifySignature


@dataclass(slots=True)
class Jwt:
    """A parsed JWT whose signature is not checked yet.

    Attributes:
        header: the parsed header.
        signed: the bytes that the signature covers.
    """

    header: dict[str, Any]
    signed: bytes
    _claims: str
    _signature: str
    _parsed: dict[str, Any] | None = None

    @property
    def token_type(self) -> str:
        """The `typ` of the header, which selects the verification."""
        return str(self.header.get("typ", ""))

    @property
    def key_id(self) -> str:
        """The `kid` of the header: the id of a known key, never an address to fetch one from.

        Raises:
            Unauthorized: the header has no `kid`.
        """
        return string_claim(self.header, "kid")

    @property
    def subject(self) -> str:
        """The unverified `sub`, which selects the key to verify with.

        Raises:
            Unauthorized: the claims have no `sub`.
        """
        return string_claim(self.claims, "sub")

    @property
    def claims(self) -> dict[str, Any]:
        """The unverified claims, parsed on first use.

        Raises:
            Unauthorized: the claims are not a JSON object.
        """
        if self._parsed is None:
            self._parsed = _parse_object(self._claims)
        return self._parsed

    @property
    def signature(self) -> bytes:
        """The signature bytes.

        Raises:
            ValueError: the signature is not base64url.
        """
        return _from_base64(self._signature)


def parse_jwt(token: str | Jwt) -> Jwt:
    """Parse a token; a `Jwt` is returned as it is.

    Raises:
        Unauthorized: the token is too long, or is not three parts of base64url with a JSON header.
    """
    if isinstance(token, Jwt):
        return token
    if len(token) > MAX_TOKEN_CHARS:
        raise Unauthorized(f"the token is longer than {MAX_TOKEN_CHARS} characters")
    found = _COMPACT.fullmatch(token)
    if found is None:
        raise Unauthorized("the token is not a JWT")
    header, claims, signature = found.groups()
    return Jwt(_parse_header(header), token[: found.end(2)].encode(), claims, signature)


def unverified_subject(token: str) -> str:
    """The `sub` of an unverified token, which selects the key to verify with.

    Raises:
        Unauthorized: the token is not a JWT with a `sub`.
    """
    return parse_jwt(token).subject


def verified_claims(
    token: str | Jwt, verifier: Verifier, token_type: str, required: Sequence[str]
) -> dict[str, Any]:
    """The verified claims of a token of Graylag's own types, except for its times (see `check_times`).

    Args:
        token: the JWT.
        verifier: verifies its signature.
        token_type: the `typ` that it must have.
        required: claims that it must have.

    Raises:
        Unauthorized: the signature, the type or the audience is wrong, or a claim is missing.
    """
    jwt = parse_jwt(token)
    # Critical header parameters must be understood (RFC 7515, 4.1.11), and none is.
    if (
        jwt.header.get("alg") not in verifier.algorithms
        or "crit" in jwt.header
        or not _has_valid_signature(jwt, verifier)
    ):
        raise Unauthorized("the token's signature is wrong")
    if jwt.header.get("typ") != token_type:
        raise Unauthorized(f"the token's typ is not {token_type}")
    claims = jwt.claims
    for name in required:
        if claims.get(name) is None:
            raise Unauthorized(f"the token has no {name}")
    if claims["aud"] != AUDIENCE:
        raise Unauthorized(f"the token's aud is not {AUDIENCE}")
    return claims


def hs256_verifier(secret: bytes) -> Verifier:
    """The verifier of HS256 with a shared secret."""

    def verify(signature: bytes, signed: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(secret, signed, "sha256"), signature)

    return Verifier(("HS256",), verify)


def hs256_signer(secret: bytes, token_type: str) -> Callable[[Mapping[str, Any]], str]:
    """A function that signs claims with HS256 and returns the token."""
    header = _segment({"alg": "HS256", "typ": token_type})

    def sign(claims: Mapping[str, Any]) -> str:
        signed = header + b"." + _segment(claims)
        return (signed + b"." + _to_base64(hmac.digest(secret, signed, "sha256"))).decode()

    return sign


def _segment(value: Mapping[str, Any]) -> bytes:
    return _to_base64(json.dumps(value, separators=(",", ":")).encode())


def _to_base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _has_valid_signature(jwt: Jwt, verifier: Verifier) -> bool:
    try:
        return verifier.verify(jwt.signature, jwt.signed)
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _parse_header(segment: str) -> dict[str, Any]:
    """The parsed header; cached, because few different headers occur."""
    return _parse_object(segment)


def _parse_object(segment: str) -> dict[str, Any]:
    try:
        parsed = from_json(_from_base64(segment))
    except (ValueError, RecursionError) as error:
        raise Unauthorized("the token is not a JWT") from error
    if not isinstance(parsed, dict):
        raise Unauthorized("the token is not a JWT")
    return parsed


def _from_base64(segment: str) -> bytes:
    return a2b_base64(segment.replace("-", "+").replace("_", "/") + "=" * (-len(segment) % 4))
