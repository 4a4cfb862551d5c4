"""Who is this device? Four ways to prove it, of which a deployment switches on those that it wants.

`access`: the token from enrolment. `device_key`: a JWT for this one request, signed by the device's own key.
`idp`: a bearer token of the app's own identity provider. `hmac`: a shared secret over the request.

What is good for one request only is remembered in Valkey. When that is away nobody can tell a replay: then
writes are refused, and polls are answered, since a replayed poll gets nothing that its sender could use.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from redis.exceptions import RedisError

from service import tokens
from service.errors import DeviceSuspended, Replayed, TokenExpired, Unauthorized, Unavailable
from service.serving.provider_keys import ProviderKeys
from service.tokens import AccessTokens, Binding, DeviceClaims, Jwt, ProviderRules

WINDOW_S = 300
"""How far the timestamp of an HMAC request may be off, seconds."""
REMEMBER_S = 2 * WINDOW_S + tokens.CLOCK_SKEW_S
DEVICE, TIMESTAMP, NONCE, SIGNATURE = (
    "x-graylag-device",
    "x-graylag-timestamp",
    "x-graylag-nonce",
    "x-graylag-signature",
)
HEADERS = ("authorization", DEVICE, TIMESTAMP, NONCE, SIGNATURE)
"""The headers by which a request proves who sends it."""
_NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Credential:
    """What is kept of a device to check it with."""

    status: str
    public_key: bytes | None
    secret_salt: bytes | None
    models: list[str] | None


class Credentials(Protocol):
    """Where credentials of devices are."""

    async def find(self, device_id: str) -> Credential | None:
        """The credential of a device, None where there is no such device."""

    async def admit(self, device_id: str) -> Credential:
        """The same, and the device is let in if it is new."""


class Memory(Protocol):
    """Where it is written down what may be used once."""

    async def set(self, name: str, value: bytes, /, *, nx: bool, ex: int) -> bool | None:
        """Whether the name was not there; it is now, for `ex` seconds."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A request as far as it proves who sends it.

    Attributes:
        headers: those of `HEADERS` that it has, by lower-case name.
        write: whether a replay would do harm.
    """

    headers: Mapping[str, str]
    binding: Binding
    write: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Provider:
    """The app's own identity provider."""

    keys: ProviderKeys
    rules: ProviderRules
    enrol: bool


@dataclass(frozen=True, slots=True)
class DeviceAuth:
    """Finds out who sends a request; one per process.

    Attributes:
        modes: the ways that are switched on.
        hmac_secret: what the secrets of `hmac` devices are derived from.
    """

    modes: frozenset[str]
    access_tokens: AccessTokens
    credentials: Credentials
    valkey: Memory
    hmac_secret: bytes = b""
    provider: Provider | None = None

    async def identify(self, presented: Presented) -> DeviceClaims:
        """The device behind a request.

        Raises:
            Unauthorized: no proof, or one that is not good; `TokenExpired` and `Replayed` say so.
            DeviceSuspended: the device has been decommissioned.
            Unavailable: a write, and nobody can tell whether it is a replay.
        """
        if SIGNATURE in presented.headers:
            self._require("hmac")
            return await self._by_mac(presented)
        scheme, _, token = presented.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("send a token as Authorization: Bearer ...")
        jwt = tokens.read(token)
        kind = jwt.kind
        if kind == tokens.ACCESS_TYPE:
            self._require("access")
            return self.access_tokens.verify(jwt, presented.now)
        if kind == tokens.DEVICE_TYPE:
            self._require("device_key")
            return await self._by_key(jwt, presented)
        self._require("idp")
        return await self._by_provider(token, jwt, presented)

    def _require(self, mode: str) -> None:
        if mode not in self.modes:
            raise Unauthorized(f"this server takes {', '.join(sorted(self.modes))}, not {mode}")

    async def _by_key(self, token: Jwt, presented: Presented) -> DeviceClaims:
        device_id = token.subject
        credential = await self._known(device_id)
        if credential is None or credential.public_key is None:
            raise Unauthorized("the device is not known here, or its key is another one")
        jti = tokens.verify_assertion(token, credential.public_key, presented.now, presented.binding)
        await self._use_once(f"{device_id}:{jti}", presented)
        return _claims(device_id, credential)

    async def _by_provider(self, token: str, jwt: Jwt, presented: Presented) -> DeviceClaims:
        if self.provider is None:
            raise Unauthorized("no identity provider is set up here")
        key = await self.provider.keys.find(jwt.key_name)
        verified = tokens.verify_provider_token(token, key, self.provider.rules, presented.now)
        claims = tokens.device_of(verified, self.provider.rules)
        known = self.credentials.admit if self.provider.enrol else self.credentials.find
        credential = await known(claims.device_id)
        if credential is None:
            return claims
        return DeviceClaims(claims.device_id, claims.attributes, _claims(claims.device_id, credential).models)

    async def _by_mac(self, presented: Presented) -> DeviceClaims:
        said = {name: presented.headers.get(name, "") for name in (DEVICE, TIMESTAMP, NONCE, SIGNATURE)}
        if not (_NONCE.fullmatch(said[NONCE]) and _SECONDS.fullmatch(said[TIMESTAMP])):
            raise Unauthorized("a timestamp in seconds, and a nonce of at least 128 random bits in base64url")
        seconds = int(presented.now.timestamp())
        if abs(int(said[TIMESTAMP]) - seconds) > WINDOW_S:
            raise TokenExpired(f"the timestamp is more than {WINDOW_S} s off", server_time=seconds)
        device_id = said[DEVICE]
        credential = await self._known(device_id)
        salt = credential.secret_salt if credential else None
        # The work is the same for an unknown device: time does not tell which ids exist.
        secret = tokens.derived_secret(self.hmac_secret, device_id, salt or b"\0" * 16)
        wanted = tokens.request_mac(secret, device_id, said[TIMESTAMP], said[NONCE], presented.binding)
        right = hmac.compare_digest(wanted.encode(), said[SIGNATURE].lower().encode())
        if credential is None or salt is None or not right:
            raise Unauthorized("the signature does not fit, or the device is not known here")
        await self._use_once(f"{device_id}:{said[NONCE]}", presented)
        return _claims(device_id, credential)

    async def _known(self, device_id: str) -> Credential | None:
        return await self.credentials.find(device_id) if _DEVICE.fullmatch(device_id) else None

    async def _use_once(self, proof: str, presented: Presented) -> None:
        try:
            fresh = await self.valkey.set(f"graylag:proof:{proof}", b"1", nx=True, ex=REMEMBER_S)
        except (RedisError, OSError) as error:
            if not presented.write:
                return
            raise Unavailable("cannot tell whether this was sent before", retry_after_s=5) from error
        if not fresh:
            raise Replayed("this was sent before; sign each request anew")


def _claims(device_id: str, credential: Credential) -> DeviceClaims:
    if credential.status == "decommissioned":
        raise DeviceSuspended("this device has been decommissioned")
    return DeviceClaims(
        device_id, {}, frozenset(credential.models) if credential.models is not None else None
    )
