"""Four ways to prove who a device is, and every way to pretend."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis
from starlette.testclient import TestClient

from service import tokens
from service.config import Settings
from service.errors import (
    DeviceSuspended,
    Replayed,
    ServiceError,
    TokenExpired,
    Unauthorized,
    Unavailable,
)
from service.main import create_app
from service.serving.device_auth import Credential, DeviceAuth, Presented, Provider
from service.serving.provider_keys import LIFETIME_S, REFETCH_S, ProviderKeys
from service.tokens import AccessTokens, Binding, ProviderRules
from tests.service.actors import Device, ok, publish, refresh, refused, roll_out

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


@pytest.fixture
def bench():
    return Bench()


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


# --- which way ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "present"),
    [
        ("access", lambda b: b.bearer(b.auth.access_tokens.issue("d1", {}, NOW))),
        ("device_key", lambda b: b.bearer(device_token())),
        ("idp", lambda b: b.bearer(provider_token())),
        ("hmac", lambda b: b.ask(mac_headers())),
    ],
)
def test_a_way_is_open_where_it_is_switched_on_and_nowhere_else(mode, present):
    assert present(Bench(frozenset({mode}))).device_id
    with pytest.raises(Unauthorized, match=f"not {mode}"):
        present(Bench(ALL - {mode}))


@pytest.mark.parametrize(
    "header", [{}, {"authorization": ""}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}]
)
def test_without_a_credential_nobody_is_known(bench, header):
    with pytest.raises(Unauthorized):
        bench.ask(header)


@pytest.mark.parametrize("token", ["x", "a.b.c", "." * 9, "e30.e30.", "x" * 5000, "é.é.é", "[" * 4000])
def test_what_is_no_token_is_refused_by_name(bench, token):
    with pytest.raises(Unauthorized):
        bench.bearer(token)


def test_a_signature_header_is_never_overruled_by_a_token(bench):
    headers = mac_headers(secret=b"wrong" * 8) | {"authorization": f"Bearer {device_token()}"}
    with pytest.raises(Unauthorized):
        bench.ask(headers)


# --- the device's own key -------------------------------------------------------------------------


def test_a_device_signs_each_request_with_its_own_key(bench):
    assert bench.bearer(device_token()).device_id == "ed"


def test_a_key_of_p256_signs_with_es256(bench):
    claims = bench.bearer(device_token("p256", P256, "ES256"))
    assert (claims.device_id, claims.models) == ("p256", frozenset({"m"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"aud": "elsewhere"},
        {"aud": ["graylag", "elsewhere"]},
        {"exp": None},
        {"iat": None},
        {"jti": None},
        {"jti": "short"},
        {"exp": at(301)},
        {"exp": at(10**9)},
        {"exp": at(-1), "iat": at(0)},
        {"iat": str(at())},
        {"htm": "GET"},
        {"htm": None},
        {"htu": None},
        {"htu": "https://updates.example/v1/model/events"},
        {"htu": "http://[broken"},
        {"bh": None},
        {"bh": "0" * 64},
        {"kind": "JWT"},
        {"kind": "dpop+jwt"},
        {"kind": "graylag-access+jwt"},
        {"key": Ed25519PrivateKey.from_private_bytes(b"\2" * 32)},
        {"device": "p256"},
        {"device": "nobody"},
        {"device": "../../etc/passwd"},
    ],
)
def test_a_device_token_with_anything_wrong_is_refused(bench, changes):
    with pytest.raises(Unauthorized):
        bench.bearer(device_token(**changes))
    assert bench.memory.seen == {}


@pytest.mark.parametrize("changes", [{"iat": at(-400), "exp": at(-100)}, {"iat": at(100), "exp": at(200)}])
def test_a_device_whose_clock_is_wrong_is_told_the_time(bench, changes):
    with pytest.raises(TokenExpired) as refusal:
        bench.bearer(device_token(**changes))
    assert refusal.value.extra["server_time"] == at()


def test_a_token_for_one_body_is_not_good_for_another(bench):
    with pytest.raises(Unauthorized, match="another body"):
        bench.bearer(device_token(), Binding("POST", POLL.path, b'{"device_id":"ed" }'))


def test_hs256_with_the_public_key_as_its_secret_is_refused(bench):
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "graylag-device+jwt"}).encode())
    claims = device_token().split(".")[1]
    signed = f"{header.rstrip(b'=').decode()}.{claims}"
    mac = hmac.new(ED_PUBLIC, signed.encode(), hashlib.sha256).digest()
    with pytest.raises(Unauthorized):
        bench.bearer(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_a_device_that_was_taken_out_of_service_is_told_so(bench):
    with pytest.raises(DeviceSuspended):
        bench.bearer(device_token("gone"))


@pytest.mark.parametrize("write", [True, False])
def test_a_token_is_good_for_one_request(bench, write):
    token = device_token()
    bench.bearer(token, write=write)
    with pytest.raises(Replayed):
        bench.bearer(token, write=write)


def test_two_devices_may_choose_the_same_jti(bench):
    bench.bearer(device_token(jti="j" * 22))
    bench.bearer(device_token("p256", P256, "ES256", jti="j" * 22))


def test_while_valkey_is_away_polls_are_answered_and_writes_are_not(bench):
    bench.memory.away = True
    token = device_token()
    bench.bearer(token)
    bench.bearer(token)
    with pytest.raises(Unavailable) as refusal:
        bench.bearer(device_token(binding=EVENTS), EVENTS, write=True)
    assert refusal.value.retry_after_s == 5


# --- the shared secret ----------------------------------------------------------------------------


def test_a_small_device_signs_with_a_shared_secret(bench):
    assert bench.ask(mac_headers()).device_id == "tiny"


def test_the_mac_is_the_one_that_the_contract_writes_down():
    secret = tokens.derived_secret(b"k" * 32, "tiny", b"s" * 16)
    mac = tokens.request_mac(secret, "tiny", "1", "n" * 22, Binding("POST", "/p", b""))
    empty = hashlib.sha256(b"").hexdigest()
    lines = f"graylag-hmac-v1\ntiny\nPOST\n/p\n1\n{'n' * 22}\n{empty}"
    assert mac == hmac.new(secret, lines.encode(), "sha256").hexdigest()
    assert secret != tokens.derived_secret(b"k" * 32, "tiny", b"t" * 16)
    assert secret != tokens.derived_secret(b"k" * 32, "tinz", b"s" * 16)


@pytest.mark.parametrize("seconds", [-301, 301, 10**6])
def test_a_timestamp_outside_the_window_is_refused_with_the_time(bench, seconds):
    with pytest.raises(TokenExpired) as refusal:
        bench.ask(mac_headers(seconds=seconds))
    assert refusal.value.extra["server_time"] == at()


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_timestamp_inside_the_window_is_good(bench, seconds):
    assert bench.ask(mac_headers(seconds=seconds)).device_id == "tiny"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-graylag-device", "ed"),
        ("x-graylag-device", "nobody"),
        ("x-graylag-device", ""),
        ("x-graylag-device", "a" * 4000),
        ("x-graylag-timestamp", str(at(1))),
        ("x-graylag-timestamp", ""),
        ("x-graylag-timestamp", "1e9"),
        ("x-graylag-timestamp", "٣" * 10),
        ("x-graylag-timestamp", "9" * 400),
        ("x-graylag-nonce", "n" * 30),
        ("x-graylag-nonce", "short"),
        ("x-graylag-nonce", "n" * 65),
        ("x-graylag-nonce", "n" * 21 + "\n"),
        ("x-graylag-signature", "0" * 64),
        ("x-graylag-signature", ""),
        ("x-graylag-signature", "é" * 64),
    ],
)
def test_a_signed_request_with_one_header_changed_is_refused(bench, name, value):
    with pytest.raises(Unauthorized):
        bench.ask(mac_headers() | {name: value})
    assert bench.memory.seen == {}


@pytest.mark.parametrize(
    "other", [EVENTS, Binding("GET", POLL.path, POLL.body), Binding("POST", POLL.path, b"{}")]
)
def test_a_signature_over_one_request_is_not_good_for_another(bench, other):
    with pytest.raises(Unauthorized):
        bench.ask(mac_headers(), other)


def test_a_nonce_is_good_once_and_writes_wait_for_valkey(bench):
    headers = mac_headers()
    bench.ask(headers)
    with pytest.raises(Replayed):
        bench.ask(headers)
    bench.memory.away = True
    bench.ask(headers)
    with pytest.raises(Unavailable):
        bench.ask(mac_headers(binding=EVENTS), EVENTS, write=True)


def test_a_device_without_a_secret_cannot_use_the_one_of_salt_zero(bench):
    forged = tokens.derived_secret(SERVER_SECRET, "ed", b"\0" * 16)
    with pytest.raises(Unauthorized):
        bench.ask(mac_headers("ed", secret=forged))


# --- the app's own identity provider --------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "r"), (P256, "ES256", "p"), (ED, "EdDSA", "e")]
)
def test_a_token_of_the_apps_own_provider_is_good(bench, key, algorithm, kid):
    claims = bench.bearer(provider_token(key, algorithm, kid))
    assert (claims.device_id, claims.attributes) == ("phone-1", {"group": "staff"})


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "other-app"},
        {"aud": ["my-app", "other-app"]},
        {"exp": None},
        {"iat": None},
        {"exp": at(10**9)},
        {"exp": at(-10), "iat": at(-20)},
        {"device": None},
        {"device": 7},
        {"device": "../x"},
        {"device": "x" * 200},
        {"kid": "unknown"},
        {"kid": "../../etc/passwd"},
        {"kid": "p"},
        {"key": P256, "algorithm": "ES256"},
        {"key": b"s" * 32, "algorithm": "HS256"},
        {"kind": "graylag-access+jwt"},
        {"kind": "graylag-device+jwt"},
        {"kind": "graylag-other"},
    ],
)
def test_a_provider_token_with_anything_wrong_is_refused(bench, changes):
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token(**changes))


def test_rs256_keys_are_not_good_for_other_algorithms_of_the_same_key(bench):
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token(RSA, "PS256"))


def test_an_unknown_kid_fetches_once_in_ten_seconds_whoever_asks(bench):
    for number in range(50):
        with pytest.raises(Unauthorized):
            bench.bearer(provider_token(kid=f"invented-{number}"))
    assert bench.publisher.asked == 1
    bench.clock += REFETCH_S
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token(kid="invented"))
    assert bench.publisher.asked == 2


def test_a_new_key_of_the_provider_is_found_and_a_withdrawn_one_ends(bench):
    bench.bearer(provider_token())
    bench.publisher.keys = [jwk(P256, "p2")]
    bench.clock += REFETCH_S
    assert bench.bearer(provider_token(P256, "ES256", "p2")).device_id == "phone-1"
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token())


def test_keys_are_fetched_anew_after_their_life_and_kept_while_the_provider_is_away(bench):
    bench.bearer(provider_token())
    bench.clock += LIFETIME_S + 1
    bench.publisher.away = True
    assert bench.bearer(provider_token()).device_id == "phone-1"
    assert bench.publisher.asked == 2
    bench.publisher.away, bench.publisher.keys = False, []
    bench.clock += REFETCH_S
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token())


@pytest.mark.parametrize(
    "key_set",
    [b"", b"[]", b'{"keys":7}', b'{"keys":[7]}', b"[" * 9999, b'{"keys":[{"kid":"r","kty":["RSA"]}]}'],
)
def test_a_key_set_that_is_none_is_refused_by_name(key_set):
    with pytest.raises(ValueError, match="JWK set"):
        tokens.provider_keys(key_set)


def test_keys_that_are_weak_private_or_for_something_else_are_left_aside():
    small = rsa.generate_private_key(65537, 1024)
    private = jwt.algorithms.OKPAlgorithm.to_jwk(ED, as_dict=True) | {"kid": "private"}
    symmetric = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}
    other_use, other_alg = jwk(RSA, "enc", use="enc"), jwk(RSA, "ps", alg="PS256")
    p384 = jwk(ec.derive_private_key(7, ec.SECP384R1()), "p384")
    odd = {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "odd"}
    listed = [jwk(small, "small"), private, symmetric, other_use, other_alg, p384, odd, jwk(RSA, "good")]
    assert set(tokens.provider_keys(json.dumps({"keys": listed}).encode())) == {"good"}


@pytest.mark.parametrize("enrol", [True, False])
def test_a_stranger_with_a_good_token_is_let_in_only_where_that_is_switched_on(enrol):
    bench = Bench(enrol=enrol)
    bench.bearer(provider_token())
    assert ("phone-1" in bench.shelf.held) is enrol


def test_a_provider_does_not_bring_a_decommissioned_device_back(bench):
    with pytest.raises(DeviceSuspended):
        bench.bearer(provider_token(device="gone"))


# --- settings and the whole service ---------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"device_auth": []},
        {"device_auth": ["password"]},
        {"hmac_secret": "short"},
        {"idp_jwks_url": "http://id.example/keys"},
        {"idp_jwks_url": "file:///etc/passwd"},
    ],
)
def test_settings_that_would_open_a_door_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


@pytest.mark.parametrize("mode", ["hmac", "idp"])
def test_a_mode_without_what_it_needs_does_not_start(settings, mode):
    with (
        pytest.raises(ServiceError, match=f"the {mode} mode needs"),
        TestClient(create_app(settings.model_copy(update={"device_auth": [mode]}))),
    ):
        pass


@contextmanager
def service_with(live, **changes):
    """Another API process on the same database."""
    changed = live.settings.model_copy(update=changes)
    with TestClient(create_app(changed)) as client:
        usual, live.client = live.client, client
        yield live
        live.client = usual


def test_a_device_polls_and_reports_with_its_own_key(live):
    publish(live, "v1", b"weights" * 999)
    roll_out(live, "r", "v1")
    device = Device(live)
    ok(device.enrol())

    def send(path, body, **changes):
        content = json.dumps(body).encode()
        now = int(time.time())
        token = device_token(
            "d1",
            device.key._private,
            binding=Binding("POST", path, content),
            iat=now,
            exp=now + 60,
            **changes,
        )
        return live.client.post(path, content=content, headers={"Authorization": f"Bearer {token}"})

    answer = ok(send("/v1/model/update", {"device_id": "d1"}))
    assert answer["target_version"] == "v1"
    event = device.event(answer["attempt_id"], "committed")
    assert ok(send("/v1/model/events", [event]))["accepted"] == 1
    refused(send("/v1/model/update", {"device_id": "d2"}), 403, "not_yourself")
    ok(send("/v1/model/update", {"device_id": "d1"}, jti="j" * 22))
    refused(send("/v1/model/update", {"device_id": "d1"}, jti="j" * 22), 401, "replayed")


def test_a_small_device_gets_a_secret_and_polls_with_it(live):
    publish(live, "v1", b"weights" * 999)
    with service_with(live, device_auth=["hmac"], hmac_secret=SecretStr("k" * 32)):
        first = ok(live.call("POST", "/v1/admin/devices/tiny/secret"))["secret"]

        def poll(secret):
            binding = Binding("POST", "/v1/model/update", b'{"device_id":"tiny"}')
            offset = int(time.time()) - at()
            headers = mac_headers("tiny", binding, seconds=offset, secret=bytes.fromhex(secret))
            return live.client.post(binding.path, content=binding.body, headers=headers)

        assert ok(poll(first))["reason"] == "no_rollout"
        second = ok(live.call("POST", "/v1/admin/devices/tiny/secret"))["secret"]
        refused(poll(first), 401, "unauthorized")
        assert ok(poll(second))["need_update"] is False
        refused(live.call("POST", "/v1/admin/devices/tiny/secret", scope="release-manager"), 403, "forbidden")
    refused(live.call("POST", "/v1/admin/devices/tiny/secret"), 409, "conflict")


def test_a_device_with_a_key_of_its_own_gets_no_shared_secret(live):
    ok(Device(live).enrol())
    with service_with(live, device_auth=["hmac"], hmac_secret=SecretStr("k" * 32)):
        refused(live.call("POST", "/v1/admin/devices/d1/secret"), 409, "wrong_state")


def test_the_app_answers_503_to_reports_and_polls_on_while_valkey_is_away(live):
    publish(live, "v1", b"weights" * 999)
    device = Device(live)
    ok(device.enrol())
    process = live.client.app.state.process
    away = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    object.__setattr__(process.device_auth, "valkey", away)
    now = int(time.time())
    for path, body, status in (
        ("/v1/model/update", b'{"device_id":"d1"}', 200),
        ("/v1/model/events", b"[]", 503),
    ):
        binding = Binding("POST", path, body)
        token = device_token("d1", device.key._private, binding=binding, iat=now, exp=now + 60)
        answer = live.client.post(path, content=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.text
    assert answer.headers["retry-after"] == "5"
    live.client.portal.call(away.aclose)


# --- what operators decide ------------------------------------------------------------------------


def key_id_of(live, name="pending_key_id"):
    return ok(live.call("GET", "/v1/admin/devices/d1"))[name]


def decide(live, key_id, *, accept, scope="release-manager"):
    body = {"key_id": key_id, "accept": accept, "reason": "board was swapped"}
    return live.call("POST", "/v1/admin/devices/d1/key", body, scope)


def test_the_old_key_stays_good_until_an_operator_accepts_the_new_one(live):
    old, new = Device(live), Device(live)
    ok(old.enrol())
    answer = ok(new.enrol())
    assert (answer["status"], answer["access_token"]) == ("pending", None)
    ok(old.ask_token())
    refused(new.ask_token(), 401, "unauthorized")
    waiting = key_id_of(live)
    ok(decide(live, waiting, accept=True))
    ok(new.ask_token())
    refused(old.ask_token(), 401, "unauthorized")
    assert (key_id_of(live), key_id_of(live, "key_id")) == (None, waiting)


def test_a_key_that_was_refused_is_forgotten(live):
    old, new = Device(live), Device(live)
    ok(old.enrol())
    ok(new.enrol())
    waiting = key_id_of(live)
    refused(decide(live, "0" * 16, accept=True), 409, "wrong_state")
    refused(decide(live, waiting, accept=True, scope="publisher"), 403, "forbidden")
    ok(decide(live, waiting, accept=False))
    refused(decide(live, waiting, accept=True), 409, "wrong_state")
    ok(old.ask_token())


def test_a_new_key_needs_an_enrolment_token(live):
    ok(Device(live).enrol())
    refused(Device(live).enrol(token="gle_invented"), 401, "unauthorized")
    assert key_id_of(live) is None


def test_a_device_that_was_taken_out_of_service_does_not_come_back_with_another_key(live):
    ok(Device(live).enrol())
    ok(live.call("POST", "/v1/admin/devices/d1/decommission", {"reason": "stolen"}))
    refused(Device(live).enrol(), 409, "device_exists")


def test_an_enrolment_token_may_let_devices_in_for_some_models_only(live):
    for model in ("m", "n"):
        publish(live, "v1", model.encode() * 999, model=model)
    body = {"name": "narrow", "models": ["m"]}
    narrow = ok(live.call("POST", "/v1/admin/enrolment-tokens", body))["token"]
    device = Device(live)
    device.token = ok(device.enrol(token=narrow))["access_token"]
    refresh(live)
    assert device.poll(model="m")["reason"] == "no_rollout"
    answer = device.post("/v1/model/update", {"device_id": "d1", "model": "n"})
    refused(answer, 403, "model_not_served", "model")
    device.token = ok(device.ask_token())["access_token"]
    refused(device.post("/v1/model/update", {"device_id": "d1", "model": "n"}), 403, "model_not_served")
    assert ok(live.call("GET", "/v1/admin/devices/d1"))["models"] == ["m"]


def test_without_auto_accept_a_device_waits_for_an_operator(live):
    device = Device(live)
    with service_with(live, auto_accept=False):
        answer = ok(device.enrol())
        assert (answer["status"], answer["access_token"]) == ("pending", None)
        assert ok(device.ask_token())["status"] == "pending"
        ok(live.call("POST", "/v1/admin/devices/d1/accept", {"reason": "known serial number"}))
        assert ok(device.ask_token())["access_token"]


def test_a_device_that_polls_with_its_own_key_while_pending_gets_nothing(live):
    publish(live, "v1", b"weights" * 999)
    roll_out(live, "r", "v1")
    device = Device(live)
    with service_with(live, auto_accept=False):
        ok(device.enrol())
        binding, now = Binding("POST", "/v1/model/update", b'{"device_id":"d1"}'), int(time.time())
        token = device_token("d1", device.key._private, binding=binding, iat=now, exp=now + 60)
        headers = {"Authorization": f"Bearer {token}"}
        answer = ok(live.client.post(binding.path, content=binding.body, headers=headers))
        assert (answer["need_update"], answer["reason"]) == (False, "suspended")


def test_a_token_lives_no_longer_than_it_says():
    issued = AccessTokens(b"a" * 32, 3600)
    token = issued.issue("d1", {}, NOW, models=["m"])
    assert issued.verify(token, NOW).models == frozenset({"m"})
    with pytest.raises(TokenExpired):
        issued.verify(token, NOW + timedelta(hours=1))
