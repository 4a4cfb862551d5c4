"""JWTs of our own two kinds, and what any JWT says of itself, read without PyJWT.

Its way costs more than the rest of a poll. The rules are few: three parts of base64url (RFC 7515, 7.1), only the
algorithm that the caller's key is for, and what is acted upon is what the signature covers.
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
from service.tokens.reading import AUDIENCE, MAX_TOKEN, text_of

_COMPACT = re.compile(r"([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{1,4096})")

Fits = Callable[[bytes, bytes], bool]
"""(signature, what is signed) -> is it by the key that the caller holds?"""


@dataclass(frozen=True, slots=True)
class Check:
    """A key, and the one algorithm that it is for.

    Attributes:
        algorithms: the names of that algorithm in a header.
        fits: never raises.
    """

    algorithms: tuple[str, ...]
    fits: Fits


@dataclass(slots=True)
class Jwt:
    """A token in its parts; nothing in it is believed before its signature was checked.

    Attributes:
        header: parsed.
        signed: what the signature covers.
    """

    header: dict[str, Any]
    signed: bytes
    _claims: str
    _signature: str
    _parsed: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        """What the token says it is (`typ`), to find out who should look at it."""
        return str(self.header.get("typ", ""))

    @property
    def key_name(self) -> str:
        """The `kid`: a name to look up among keys that we have, never a place to fetch one from.

        Raises:
            Unauthorized: there is none.
        """
        return text_of(self.header, "kid")

    @property
    def subject(self) -> str:
        """Whose key to check the token with; proves nothing.

        Raises:
            Unauthorized: no claims, or none of that name.
        """
        return text_of(self.claims, "sub")

    @property
    def claims(self) -> dict[str, Any]:
        """Parsed when they are asked for.

        Raises:
            Unauthorized: they are no JSON object.
        """
        if self._parsed is None:
            self._parsed = _object(self._claims)
        return self._parsed

    @property
    def signature(self) -> bytes:
        """As it came.

        Raises:
            ValueError: not base64.
        """
        return _bytes(self._signature)


def read(token: str | Jwt) -> Jwt:
    """The parts of a token, or of one that has been read before.

    Raises:
        Unauthorized: not three parts of base64url, too long, or without a header.
    """
    if isinstance(token, Jwt):
        return token
    if len(token) > MAX_TOKEN:
        raise Unauthorized("the token is too long")
    found = _COMPACT.fullmatch(token)
    if found is None:
        raise Unauthorized("the token is not a JWT")
    header, claims, signature = found.groups()
    return Jwt(_header(header), token[: found.end(2)].encode(), claims, signature)


def unverified_subject(token: str) -> str:
    """Whose key to check an assertion with; proves nothing.

    Raises:
        Unauthorized: not a JWT with a subject.
    """
    return read(token).subject


def own_claims(token: str | Jwt, check: Check, kind: str, required: Sequence[str]) -> dict[str, Any]:
    """The claims of a token of one of our two kinds; times are the caller's question (`check_times`).

    Args:
        token: the JWT.
        check: how to check its signature.
        kind: the `typ` that it must have.
        required: claims that must be there.

    Raises:
        Unauthorized: not signed by this key, of another kind, for somebody else, or incomplete.
    """
    jwt = read(token)
    # What a header calls critical must be understood (RFC 7515, 4.1.11), and there is nothing of that kind here.
    if jwt.header.get("alg") not in check.algorithms or "crit" in jwt.header or not _is_signed(jwt, check):
        raise Unauthorized("the token is not good: its signature does not fit")
    if jwt.header.get("typ") != kind:
        raise Unauthorized("the token is of another kind")
    claims = jwt.claims
    for name in required:
        if claims.get(name) is None:
            raise Unauthorized(f"the token is not good: {name}")
    if claims["aud"] != AUDIENCE:
        raise Unauthorized("the token is not good: aud")
    return claims


def hs256(secret: bytes) -> Check:
    """By a shared secret."""

    def fits(signature: bytes, signed: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(secret, signed, "sha256"), signature)

    return Check(("HS256",), fits)


def hs256_writer(secret: bytes, kind: str) -> Callable[[Mapping[str, Any]], str]:
    """What writes tokens of one kind, signed with a shared secret: claims in, the token out."""
    header = _segment({"alg": "HS256", "typ": kind})

    def write(claims: Mapping[str, Any]) -> str:
        signed = header + b"." + _segment(claims)
        return (signed + b"." + _base64(hmac.digest(secret, signed, "sha256"))).decode()

    return write


def _segment(value: Mapping[str, Any]) -> bytes:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _is_signed(jwt: Jwt, check: Check) -> bool:
    try:
        return check.fits(jwt.signature, jwt.signed)
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _header(segment: str) -> dict[str, Any]:
    """The header; there are few different ones, so they are kept."""
    return _object(segment)


def _object(segment: str) -> dict[str, Any]:
    try:
        parsed = from_json(_bytes(segment))
    except (ValueError, RecursionError) as error:
        raise Unauthorized("the token is not a JWT") from error
    if not isinstance(parsed, dict):
        raise Unauthorized("the token is not a JWT")
    return parsed


def _bytes(segment: str) -> bytes:
    return a2b_base64(segment.replace("-", "+").replace("_", "/") + "=" * (-len(segment) % 4))
