import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import redis.asyncio

from sdk_contract.documents import TrustBundle
from service import signing
from service.tokens import AccessTokens
from tests.service.support import actors
from tests.service.support.actors import Device, enroll, ok, refused


def assertion(device, **changes):
    """A device-key assertion with claims changed; None removes one."""
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": device.id,
        "sub": device.id,
        "aud": "graylag",
        "iat": now,
        "exp": now + 200,
        "jti": "j" * 22,
    }
    header = {"typ": changes.pop("typ", "graylag-device+jwt"), "alg": "EdDSA"}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{unpadded(device.key.sign(signed.encode()))}"


def part(value):
    return unpadded(json.dumps(value).encode())


def unpadded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_device_enrolls_with_a_key_of_its_own_and_may_say_it_again(live):
    device = Device(live)
    first = ok(device.enroll(attributes={"soc": "x1", "ram_mb": 8192}))
    assert (first["status"], first["expires_in"]) == ("accepted", live.settings.access_token_ttl_s)
    assert ok(device.enroll())["status"] == "accepted"
    shown = ok(live.call("GET", "/v1/admin/devices/d1"))
    assert shown["attributes"] == {"soc": "x1", "ram_mb": 8192}
    assert actors.rows(live, "select uses from enrollment_tokens")[0]["uses"] == 1


def test_an_id_belongs_to_the_key_that_came_first_until_an_operator_decides(live):
    enroll(live)
    answer = ok(Device(live).enroll())
    assert (answer["status"], answer["access_token"]) == ("pending", None)


def test_a_device_that_does_not_hold_its_key_does_not_come_in(live):
    body = Device(live).enroll_body()
    for forged in (
        body | {"proof": Device(live).enroll_body()["proof"]},
        body | {"device_id": "d2"},
        body | {"proof": "no base64"},
        body | {"proof": "\N{LATIN SMALL LETTER O WITH DIAERESIS}" * 88},
    ):
        refused(live.client.post("/v1/device/enroll", json=forged), 422, "invalid", "proof")
    assert ok(live.call("GET", "/v1/admin/devices")) == []


def test_a_key_that_vouches_for_anything_does_not_come_in(live):
    """The neutral point as a key, and (R, S) = (it, 0): OpenSSL takes that for a signature of every message."""
    neutral = b"\x01" + bytes(31)
    forged = {
        "public_key": base64.b64encode(neutral).decode(),
        "proof": base64.b64encode(neutral + bytes(32)).decode(),
    }
    refused(
        live.client.post("/v1/device/enroll", json=Device(live).enroll_body() | forged),
        422,
        "invalid",
        "proof",
    )
    assert ok(live.call("GET", "/v1/admin/devices")) == []


def test_an_enrollment_token_counts_its_uses_and_expires(live):
    made = ok(live.call("POST", "/v1/admin/enrollment-tokens", {"name": "one", "max_uses": 1}))
    ok(Device(live, "a").enroll(made["token"]))
    refused(Device(live, "b").enroll(made["token"]), 401, "unauthorized", "enrollment_token")
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    made = ok(live.call("POST", "/v1/admin/enrollment-tokens", {"name": "old", "expires_at": past}))
    refused(Device(live, "b").enroll(made["token"]), 401, "unauthorized", "enrollment_token")
    refused(Device(live, "b").enroll("gle_guess"), 401, "unauthorized", "enrollment_token")
    actors.write(live, "update enrollment_tokens set revoked = true")
    refused(Device(live, "b").enroll(), 401, "unauthorized", "enrollment_token")
    refused(live.call("POST", "/v1/admin/enrollment-tokens", {"name": "one"}), 409, "name_taken", "name")


def test_attributes_that_cannot_be_stored_are_refused(live):
    refused(Device(live).enroll(attributes={"soc": "a\u0000b"}), 422, "invalid")


def test_an_assertion_by_the_devices_key_gives_a_fresh_token_once(live):
    device = enroll(live)
    proof = device.key.assertion("d1")
    fresh = ok(device.ask_token(proof))
    assert fresh["status"] == "accepted"
    device.token = fresh["access_token"]
    refused(device.ask_token(proof), 401, "replayed", "assertion")


def test_who_is_not_enrolled_gets_no_token(live):
    refused(Device(live).ask_token(), 401, "unauthorized")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"typ": "JWT"}, "unauthorized"),
        ({"typ": "graylag-access+jwt"}, "unauthorized"),
        ({"aud": "other"}, "unauthorized"),
        ({"aud": ["graylag", "other"]}, "unauthorized"),
        ({"iss": "d3"}, "unauthorized"),
        ({"exp": None}, "unauthorized"),
        ({"iat": None}, "unauthorized"),
        ({"jti": None}, "unauthorized"),
        ({"jti": "short"}, "unauthorized"),
        ({"exp": 2**33}, "unauthorized"),
        ({"exp": "soon"}, "unauthorized"),
        ({"iat": 1000, "exp": 1200}, "token_expired"),
        ({"iat": 2**33, "exp": 2**33 + 200}, "token_expired"),
    ],
)
def test_an_assertion_with_claims_that_it_must_not_have_is_refused(live, changes, code):
    refused(enroll(live).ask_token(assertion(Device(live), **changes)), 401, "unauthorized")
    device = enroll(live, "d2")
    refused(device.ask_token(assertion(device, **changes)), 401, code)


def test_an_assertion_by_another_key_or_algorithm_is_refused(live):
    device = enroll(live)
    stranger = Device(live, "d1")
    refused(device.ask_token(stranger.key.assertion("d1")), 401, "unauthorized")
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": "d1", "sub": "d1", "aud": "graylag", "iat": now, "exp": now + 200, "jti": "j" * 22}
    public = base64.b64encode(device.key.public_key).decode()
    shared = jwt.encode(claims, public, algorithm="HS256", headers={"typ": "graylag-device+jwt"})
    refused(device.ask_token(shared), 401, "unauthorized")
    none = jwt.encode(claims, None, algorithm="none", headers={"typ": "graylag-device+jwt"})
    refused(device.ask_token(none), 401, "unauthorized")


@pytest.mark.parametrize("text", ["x", "a.b.c", "....", f"{unpadded(b'[' * 2900)}.e30.e30"])
def test_what_is_no_token_at_all_is_refused_and_not_a_failure(live, text):
    device = enroll(live)
    refused(device.ask_token(text), 401, "unauthorized")
    refused(device.ask_token(f"e30.{unpadded(b'[' * 2900)}.e30"), 401, "unauthorized")
    device.token = text
    refused(device.post("/v1/model/update", {"device_id": "d1"}), 401, "unauthorized")


def test_an_access_token_is_short_lived_and_of_its_own_kind(live):
    device = enroll(live)
    body = {"device_id": "d1"}
    secret = live.settings.access_token_secret.get_secret_value().encode()
    issuer = AccessTokens(secret, live.settings.access_token_ttl_s)
    device.token = issuer.issue("d1", {}, datetime.now(UTC) - timedelta(hours=2))
    problem = refused(device.post("/v1/model/update", body), 401, "token_expired")
    assert abs(problem["server_time"] - datetime.now(UTC).timestamp()) < 60
    device.token = AccessTokens(b"x" * 32, 3600).issue("d1", {}, datetime.now(UTC))
    refused(device.post("/v1/model/update", body), 401, "unauthorized")
    device.token = device.key.assertion("d1")
    refused(device.post("/v1/model/update", body), 401, "unauthorized")
    answer = live.client.post("/v1/model/update", json=body)
    refused(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_device_acts_for_itself_only(live):
    device = enroll(live)
    refused(device.post("/v1/model/update", {"device_id": "d2"}), 403, "device_mismatch", "device_id")


def test_where_devices_wait_for_approval_there_is_no_token_before_it(live):
    device = enroll(live)
    actors.write(live, "update devices set status = 'pending'")
    assert ok(device.ask_token())["status"] == "pending"
    assert "access_token" not in {k: v for k, v in ok(device.enroll()).items() if v is not None}
    ok(live.call("POST", "/v1/admin/devices/d1/accept", {"reason": "known"}))
    assert ok(device.ask_token())["access_token"]
    ok(live.call("POST", "/v1/admin/devices/d1/suspend", {}))
    refused(device.ask_token(), 403, "device_suspended")
    ok(live.call("POST", "/v1/admin/devices/d1/decommission", {}))
    refused(device.enroll(), 403, "device_suspended")
    refused(live.call("POST", "/v1/admin/devices/d1/accept", {}), 409, "wrong_state")
    refused(live.call("POST", "/v1/admin/devices/d9/accept", {}), 404, "unknown_device", "device_id")


def test_the_trust_chain_is_public_and_starts_behind_what_the_device_has(live):
    actors.refresh(live)
    assert ok(live.client.get("/v1/trust"))["bundles"] == [json.loads(live.trust)]
    assert ok(live.client.get("/v1/trust?after=1"))["bundles"] == []
    refused(live.client.get("/v1/trust?after=-1"), 422, "invalid", "after")


def test_a_trust_bundle_follows_from_the_one_before(live):
    root = signing.load_signer(f"file:{live.settings.scratch_dir}/root.pem", "root")
    newest = TrustBundle.from_initial_envelope(live.trust)
    second = replace(newest, version=2)

    def add(envelope):
        return live.call("POST", "/v1/admin/trust", {"envelope": envelope})

    skipped = replace(newest, version=3).sign([root])
    assert refused(add(json.loads(skipped)), 422, "invalid_trust_bundle", "envelope")["contract_code"]
    foreign = second.sign([signing.create_key(live.settings.scratch_dir / "other.pem")])
    refused(add(json.loads(foreign)), 422, "invalid_trust_bundle", "envelope")
    assert ok(add(json.loads(second.sign([root])))) == {"version": 2}
    assert ok(add(json.loads(second.sign([root])))) == {"version": 2}
    refused(add({"payload": 1.5}), 422, "invalid_trust_bundle", "envelope")
    refused(
        live.client.post("/v1/admin/trust", content=b'{"envelope": {"a": NaN}}', headers=bearer(live)),
        422,
        "invalid",
    )
    actors.refresh(live)
    assert len(ok(live.client.get("/v1/trust"))["bundles"]) == 2


def bearer(live):
    return {"Authorization": f"Bearer {live.tokens['admin']}"}


def test_without_valkey_nobody_gets_a_token_twice_and_polls_go_on(live):
    """Nobody could tell a replay, so the write is refused; an answer to a poll is bound to its nonce anyway."""
    device = enroll(live)
    actors.publish(live, "v1", b"weights without valkey")
    away = redis.asyncio.Redis.from_url("redis://127.0.0.1:1/0")
    actors.rewire(live, redis=away)
    assert refused(device.ask_token(), 503, "unavailable")["retry_after_s"] > 0
    assert device.poll()["reason"] == "no_rollout"
    ready = live.client.get("/ready")
    assert (ready.status_code, ready.json()["valkey"]) == (200, False)
    live.client.portal.call(away.aclose)
