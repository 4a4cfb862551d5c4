"""Authenticated device requests, valid and forged, and the parts that device authentication depends on."""

import asyncio
import hashlib
import json
import secrets
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.errors import Replayed, Unavailable
from service.infrastructure import tokens
from service.infrastructure.tokens import AccessTokens, ProviderRules, RequestBinding
from service.serving.auth.device_auth import AuthRequest, DeviceAuth, DeviceCredential, IdentityProvider
from service.serving.auth.provider_keys import ProviderKeys

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLL = RequestBinding("POST", "/v1/model/update", b'{"device_id":"d1"}')
EVENTS = RequestBinding("POST", "/v1/model/events", b"[]")
ED = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
P256 = ec.derive_private_key(7, ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
ED_PUBLIC = ED.public_key().public_bytes_raw()
P256_PUBLIC = P256.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
SALT, SERVER_SECRET = b"s" * 16, b"k" * 32
RULES = ProviderRules("https://id.example", "my-app", "device", "facts")
ALL = frozenset({"access", "device_key", "idp", "hmac"})


def at(seconds=0):
    return int(NOW.timestamp()) + seconds


class Credentials:
    """A credential store in a dictionary."""

    def __init__(self, **stored):
        self.stored = {name.replace("_", "-"): credential for name, credential in stored.items()}

    async def find(self, device_id):
        return self.stored.get(device_id)

    async def find_or_enroll(self, device_id):
        return self.stored.setdefault(device_id, DeviceCredential("accepted", None, None, None))


class UsedKeys:
    """A replay guard in memory; while it is `down`, it is unavailable."""

    def __init__(self):
        self.keys, self.down = set(), False

    async def require_first_use(self, key, *, ttl_s, field=None):
        assert ttl_s >= 600
        if self.down:
            raise Unavailable("Valkey does not answer", retry_after_s=5)
        if key in self.keys:
            raise Replayed("used before", field=field)
        self.keys.add(key)


class KeyEndpoint:
    """The key endpoint of an identity provider."""

    def __init__(self, *keys):
        self.keys, self.fetches, self.down = list(keys), 0, False

    async def __call__(self):
        self.fetches += 1
        if self.down:
            raise OSError("no route")
        return json.dumps({"keys": self.keys}).encode()


class AuthHarness:
    """Device authentication with fakes of everything that it depends on."""

    def __init__(self, modes=ALL, auto_enroll=False):
        self.clock = 1000.0
        self.endpoint = KeyEndpoint(jwk(RSA, "r"), jwk(P256, "p"), jwk(ED, "e"))
        self.used = UsedKeys()
        self.credentials = Credentials(
            ed=DeviceCredential("accepted", ED_PUBLIC, None, None),
            p256=DeviceCredential("accepted", P256_PUBLIC, None, ["m"]),
            tiny=DeviceCredential("accepted", None, SALT, None),
            gone=DeviceCredential("decommissioned", ED_PUBLIC, SALT, None),
        )
        self.keys = ProviderKeys(self.endpoint, lambda: self.clock)
        self.auth = DeviceAuth(
            modes=modes,
            access_tokens=AccessTokens(b"a" * 32, 3600),
            credentials=self.credentials,
            replay_cache=self.used,
            hmac_secret=SERVER_SECRET,
            provider=IdentityProvider(self.keys, RULES, auto_enroll),
        )

    def send(self, headers, binding=POLL, *, write=False, now=NOW):
        return asyncio.run(self.auth.authenticate(AuthRequest(headers, binding, write, now)))

    def send_token(self, token, binding=POLL, **more):
        return self.send({"authorization": f"Bearer {token}"}, binding, **more)


def device_assertion(
    device="ed", key=ED, algorithm="EdDSA", binding=POLL, *, token_type="graylag-device+jwt", **changes
):
    claims = {
        "iss": device,
        "sub": device,
        "aud": "graylag",
        "iat": at(),
        "exp": at(300),
        "jti": secrets.token_urlsafe(16),
        "htm": binding.method,
        "htu": f"https://updates.example{binding.path}",
        "bh": hashlib.sha256(binding.body).hexdigest(),
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"typ": token_type})


def jwk(private, kid, **more):
    algorithm: dict[type, Any] = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    found = next(found for kind, found in algorithm.items() if isinstance(private, kind))
    return found.to_jwk(private.public_key(), as_dict=True) | {"kid": kid} | more


def provider_token(key=RSA, algorithm="RS256", kid="r", *, token_type="JWT", **changes):
    claims = {
        "iss": RULES.issuer,
        "aud": RULES.audience,
        "device": "phone-1",
        "iat": at(),
        "exp": at(3600),
        "facts": {"group": "staff", "nested": {"a": 1}},
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"typ": token_type, "kid": kid})


def hmac_headers(device="tiny", binding=POLL, *, nonce=None, seconds=0, secret=None):
    secret = secret or tokens.derive_device_secret(SERVER_SECRET, device, SALT)
    nonce, stamp = nonce or secrets.token_urlsafe(16), str(at(seconds))
    return {
        "x-graylag-device": device,
        "x-graylag-timestamp": stamp,
        "x-graylag-nonce": nonce,
        "x-graylag-signature": tokens.request_mac(secret, device, stamp, nonce, binding),
    }
