"""The short-lived tokens that devices poll with: issued by this server, for this server."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.tokens.compact import Jwt, hs256, hs256_writer, own_claims
from service.tokens.reading import AUDIENCE, check_times, text_of

ACCESS_TYPE = "graylag-access+jwt"


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


class AccessTokens:
    """Issues and verifies the short-lived tokens that devices poll with."""

    def __init__(self, secret: bytes, lifetime_s: int) -> None:
        """Keep the secret; at least 32 bytes.

        Raises:
            ValueError: the secret is too short to resist guessing.
        """
        if len(secret) < 32:
            raise ValueError("GRAYLAG_ACCESS_TOKEN_SECRET needs at least 32 bytes")
        self._sign, self._check = hs256_writer(secret, ACCESS_TYPE), hs256(secret)
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
        return self._sign(claims)

    def verify(self, token: str | Jwt, now: datetime) -> DeviceClaims:
        """Who is behind a token.

        Raises:
            TokenExpired: it was good once.
            Unauthorized: it never was.
        """
        claims = own_claims(token, self._check, ACCESS_TYPE, ("sub", "aud", "iat", "exp"))
        check_times(claims, now, self.lifetime_s)
        attributes, models = claims.get("attrs", {}), claims.get("models")
        return DeviceClaims(
            text_of(claims, "sub"),
            attributes if isinstance(attributes, dict) else {},
            frozenset(models) if models is not None else None,
        )
