"""Device authentication: four modes, each of which a deployment can turn on.

`access`: the access token from enrollment. `device_key`: a JWT for one request, signed with the device's own key.
`idp`: a bearer token of the app's own identity provider. `hmac`: a MAC over the request with a shared secret.

Credentials for a single request are remembered in Valkey. While Valkey is down, nobody can detect a replay: writes are
refused then, but polls are answered, because a replayed poll returns nothing that its sender could use.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.errors import DeviceSuspended, TokenExpired, Unauthorized, Unavailable
from service.infrastructure import tokens
from service.infrastructure.tokens import AccessTokens, DeviceClaims, Jwt, ProviderRules, RequestBinding
from service.serving.auth.provider_keys import ProviderKeys
from service.serving.auth.replay_cache import ReplayGuard

MAX_TIMESTAMP_SKEW_S = 300
"""How far the timestamp of an HMAC request may differ from the server's clock, in seconds."""
REPLAY_WINDOW_S = 2 * MAX_TIMESTAMP_SKEW_S + tokens.CLOCK_SKEW_S
DEVICE_HEADER, TIMESTAMP_HEADER, NONCE_HEADER, SIGNATURE_HEADER = (
    "x-graylag-device",
    "x-graylag-timestamp",
    "x-graylag-nonce",
    "x-graylag-signature",
)
AUTH_HEADERS = ("authorization", DEVICE_HEADER, TIMESTAMP_HEADER, NONCE_HEADER, SIGNATURE_HEADER)
"""The request headers that authenticate a device."""
_NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class DeviceCredential:
    """What is stored about a device to authenticate it.

    Attributes:
        status: `accepted`, `pending`, `suspended` or `decommissioned`.
        public_key: the device's own key: 32 bytes of Ed25519, or a point of P-256.
        secret_salt: the salt of its `hmac` secret.
        models: the models that it is enrolled for; None for all.
    """

    status: str
    public_key: bytes | None
    secret_salt: bytes | None
    models: list[str] | None


class CredentialStore(Protocol):
    """Stores the credentials of devices."""

    async def find(self, device_id: str) -> DeviceCredential | None:
        """The credential of a device; None if it is not enrolled."""

    async def find_or_enroll(self, device_id: str) -> DeviceCredential:
        """The credential of a device, which is enrolled first if it is new."""


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """The parts of a request that authenticate its sender.

    Attributes:
        headers: those of `AUTH_HEADERS` that the request has, by lower-case name.
        binding: method, path and body, which a signed credential must cover.
        is_write: whether a replay would do harm.
        now: the time of the request.
    """

    headers: Mapping[str, str]
    binding: RequestBinding
    is_write: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """An OpenID Connect provider.

    Attributes:
        keys: its public keys.
        rules: what its tokens must contain.
        auto_enroll: whether a good token of an unknown device enrolls the device.
    """

    keys: ProviderKeys
    rules: ProviderRules
    auto_enroll: bool


@dataclass(frozen=True, slots=True)
class DeviceAuth:
    """Authenticates devices; one instance per process.

    Attributes:
        modes: the modes that are turned on.
        access_tokens: verifies tokens of the `access` mode.
        credentials: the stored credentials.
        replay_cache: refuses credentials that were used before.
        hmac_secret: the secrets of `hmac` devices are derived from this.
        provider: the identity provider of the `idp` mode.
    """

    modes: frozenset[str]
    access_tokens: AccessTokens
    credentials: CredentialStore
    replay_cache: ReplayGuard
    hmac_secret: bytes = b""
    provider: IdentityProvider | None = None

    async def authenticate(self, request: AuthRequest) -> DeviceClaims:
        """The device that sent a request.

        Raises:
            Unauthorized: the credential is missing or invalid.
            TokenExpired: the credential has expired, or the device's clock is wrong.
            Replayed: the credential was used before.
            DeviceSuspended: the device was decommissioned.
            Unavailable: the request is a write, and Valkey does not answer.
        """
        if SIGNATURE_HEADER in request.headers:
            self._require_mode("hmac")
            return await self._by_hmac(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("the request has no token; send `Authorization: Bearer TOKEN`")
        jwt = tokens.parse_jwt(token)
        kind = jwt.token_type
        if kind == tokens.ACCESS_JWT_TYPE:
            self._require_mode("access")
            return self.access_tokens.verify(jwt, request.now)
        if kind == tokens.DEVICE_ASSERTION_TYPE:
            self._require_mode("device_key")
            return await self._by_device_key(jwt, request)
        self._require_mode("idp")
        return await self._by_provider(token, jwt, request)

    def _require_mode(self, mode: str) -> None:
        if mode not in self.modes:
            raise Unauthorized(
                f"this server does not accept {mode} credentials; use one of {', '.join(sorted(self.modes))}"
            )

    async def _by_device_key(self, token: Jwt, request: AuthRequest) -> DeviceClaims:
        device_id = token.subject
        credential = await self._find_credential(device_id)
        if credential is None or credential.public_key is None:
            raise Unauthorized("the device is not enrolled with a key; enroll it with its public key")
        jti = tokens.verify_device_assertion(token, credential.public_key, request.now, request.binding)
        await self._require_first_use(f"request:{device_id}:{jti}", request)
        return _claims(device_id, credential)

    async def _by_provider(self, token: str, jwt: Jwt, request: AuthRequest) -> DeviceClaims:
        if self.provider is None:
            raise Unauthorized("this server has no identity provider for devices")
        key = await self.provider.keys.find(jwt.key_id)
        verified = tokens.verify_provider_token(token, key, self.provider.rules, request.now)
        claims = tokens.device_from_claims(verified, self.provider.rules)
        find = self.credentials.find_or_enroll if self.provider.auto_enroll else self.credentials.find
        credential = await find(claims.device_id)
        if credential is None:
            return claims
        return DeviceClaims(claims.device_id, claims.attributes, _claims(claims.device_id, credential).models)

    async def _by_hmac(self, request: AuthRequest) -> DeviceClaims:
        sent = {
            name: request.headers.get(name, "")
            for name in (DEVICE_HEADER, TIMESTAMP_HEADER, NONCE_HEADER, SIGNATURE_HEADER)
        }
        if not (_NONCE.fullmatch(sent[NONCE_HEADER]) and _SECONDS.fullmatch(sent[TIMESTAMP_HEADER])):
            raise Unauthorized(
                f"{TIMESTAMP_HEADER} must be Unix time in seconds, "
                f"{NONCE_HEADER} at least 128 random bits in base64url"
            )
        seconds = int(request.now.timestamp())
        if abs(int(sent[TIMESTAMP_HEADER]) - seconds) > MAX_TIMESTAMP_SKEW_S:
            raise TokenExpired(
                f"the timestamp differs from the server's clock by more than {MAX_TIMESTAMP_SKEW_S} s; "
                "set the device's clock by `server_time`",
                server_time=seconds,
            )
        device_id = sent[DEVICE_HEADER]
        credential = await self._find_credential(device_id)
        salt = credential.secret_salt if credential else None
        # Unknown devices take the same time, so that timing does not reveal which ids exist.
        secret = tokens.derive_device_secret(self.hmac_secret, device_id, salt or b"\0" * 16)
        expected = tokens.request_mac(
            secret, device_id, sent[TIMESTAMP_HEADER], sent[NONCE_HEADER], request.binding
        )
        matches = hmac.compare_digest(expected.encode(), sent[SIGNATURE_HEADER].lower().encode())
        if credential is None or salt is None or not matches:
            raise Unauthorized("the signature is wrong, or the device is not enrolled with a shared secret")
        await self._require_first_use(f"request:{device_id}:{sent[NONCE_HEADER]}", request)
        return _claims(device_id, credential)

    async def _find_credential(self, device_id: str) -> DeviceCredential | None:
        return await self.credentials.find(device_id) if _DEVICE.fullmatch(device_id) else None

    async def _require_first_use(self, key: str, request: AuthRequest) -> None:
        try:
            await self.replay_cache.require_first_use(key, ttl_s=REPLAY_WINDOW_S)
        except Unavailable:
            if request.is_write:
                raise


def _claims(device_id: str, credential: DeviceCredential) -> DeviceClaims:
    if credential.status == "decommissioned":
        raise DeviceSuspended("this device was decommissioned; ask the operator of the fleet")
    return DeviceClaims(
        device_id, {}, frozenset(credential.models) if credential.models is not None else None
    )
