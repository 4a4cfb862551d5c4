"""Proofs of who a device is, good ones and forged ones, and all that stands behind their check."""

import asyncio
import hashlib
import json
import secrets
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service import tokens
from service.serving.device_auth import Credential, DeviceAuth, Presented, Provider
from service.serving.provider_keys import ProviderKeys
from service.tokens import AccessTokens, Binding, ProviderRules

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLL = Binding("POST", "/v1/model/update", b'{"device_id":"d1"}')
EVENTS = Binding("POST", "/v1/model/events", b"[]")
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


class Shelf:
    """Credentials in a dictionary."""

    def __init__(self, **held):
        self.held = {name.replace("_", "-"): credential for name, credential in held.items()}

    async def find(self, device_id):
        return self.held.get(device_id)

    async def admit(self, device_id):
        return self.held.setdefault(device_id, Credential("accepted", None, None, None))


class Memory:
    """What Valkey remembers, or a Valkey that is away."""

    def __init__(self):
        self.seen, self.away = {}, False

    async def set(self, name, _value, *, nx, ex):
        assert nx
        assert ex >= 600
        if self.away:
            raise ConnectionError
        fresh = name not in self.seen
        self.seen[name] = True
        return fresh or None


class Publisher:
    """An identity provider's key endpoint."""

    def __init__(self, *keys):
        self.keys, self.asked, self.away = list(keys), 0, False

    async def __call__(self):
        self.asked += 1
        if self.away:
            raise OSError("no route")
        return json.dumps({"keys": self.keys}).encode()


class Bench:
    """Everything that device authentication talks to, with a hand on it."""

    def __init__(self, modes=ALL, enrol=False):
        self.clock = 1000.0
        self.publisher = Publisher(jwk(RSA, "r"), jwk(P256, "p"), jwk(ED, "e"))
        self.memory = Memory()
        self.shelf = Shelf(
            ed=Credential("accepted", ED_PUBLIC, None, None),
            p256=Credential("accepted", P256_PUBLIC, None, ["m"]),
            tiny=Credential("accepted", None, SALT, None),
            gone=Credential("decommissioned", ED_PUBLIC, SALT, None),
        )
        self.keys = ProviderKeys(self.publisher, lambda: self.clock)
        self.auth = DeviceAuth(
            modes=modes,
            access_tokens=AccessTokens(b"a" * 32, 3600),
            credentials=self.shelf,
            valkey=self.memory,
            hmac_secret=SERVER_SECRET,
            provider=Provider(self.keys, RULES, enrol),
        )

    def ask(self, headers, binding=POLL, *, write=False, now=NOW):
        return asyncio.run(self.auth.identify(Presented(headers, binding, write, now)))

    def bearer(self, token, binding=POLL, **more):
        return self.ask({"authorization": f"Bearer {token}"}, binding, **more)


def device_token(
    device="ed", key=ED, algorithm="EdDSA", binding=POLL, *, kind="graylag-device+jwt", **changes
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
    return jwt.encode(kept, key, algorithm=algorithm, headers={"typ": kind})


def jwk(private, kid, **more):
    algorithm = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    maker = next(maker for kind, maker in algorithm.items() if isinstance(private, kind))
    return maker.to_jwk(private.public_key(), as_dict=True) | {"kid": kid} | more


def provider_token(key=RSA, algorithm="RS256", kid="r", *, kind="JWT", **changes):
    claims = {
        "iss": RULES.issuer,
        "aud": RULES.audience,
        "device": "phone-1",
        "iat": at(),
        "exp": at(3600),
        "facts": {"group": "staff", "nested": {"a": 1}},
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"typ": kind, "kid": kid})


def mac_headers(device="tiny", binding=POLL, *, nonce=None, seconds=0, secret=None):
    secret = secret or tokens.derived_secret(SERVER_SECRET, device, SALT)
    nonce, stamp = nonce or secrets.token_urlsafe(16), str(at(seconds))
    return {
        "x-graylag-device": device,
        "x-graylag-timestamp": stamp,
        "x-graylag-nonce": nonce,
        "x-graylag-signature": tokens.request_mac(secret, device, stamp, nonce, binding),
    }
