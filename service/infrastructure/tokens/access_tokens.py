"""Access tokens: short-lived JWTs that this server issues to devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.infrastructure.tokens.jws import Jwt, hs256_signer, hs256_verifier, verified_claims
from service.infrastructure.tokens.jwt_claims import AUDIENCE, check_times, string_claim

ACCESS_JWT_TYPE = "graylag-access+jwt"


@dataclass(frozen=True, slots=True)
class DeviceClaims:
    """What a credential says about an authenticated device.

    Attributes:
        device_id: id of the device.
        attributes: attributes from the token; they override those that the device reports.
        models: the models that the device is enrolled for; None for all.
    """

    device_id: str
    attributes: dict[str, Any]
    models: frozenset[str] | None = None


class AccessTokens:
    """Issues and verifies access tokens."""

    def __init__(self, secret: bytes, lifetime_s: int) -> None:
        """Sign with `secret`; tokens expire after `lifetime_s` seconds.

        Raises:
            ValueError: the secret is shorter than 32 bytes.
        """
        if len(secret) < 32:
            raise ValueError("GRAYLAG_ACCESS_TOKEN_SECRET must have at least 32 bytes")
        self._sign, self._check = hs256_signer(secret, ACCESS_JWT_TYPE), hs256_verifier(secret)
        self.lifetime_s = lifetime_s

    def issue(
        self,
        device_id: str,
        attributes: dict[str, Any],
        now: datetime,
        *,
        models: Sequence[str] | None = None,
    ) -> str:
        """A token for an enrolled device.

        Args:
            device_id: id of the device.
            attributes: attributes that override those that the device reports.
            now: the time of issue.
            models: the models that the device is enrolled for; None for all.
        """
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
        """The claims of a token.

        Raises:
            TokenExpired: the token has expired, or is not valid yet.
            Unauthorized: the token is invalid.
        """
        claims = verified_claims(token, self._check, ACCESS_JWT_TYPE, ("sub", "aud", "iat", "exp"))
        check_times(claims, now, self.lifetime_s)
        attributes, models = claims.get("attrs", {}), claims.get("models")
        return DeviceClaims(
            string_claim(claims, "sub"),
            attributes if isinstance(attributes, dict) else {},
            frozenset(models) if models is not None else None,
        )
