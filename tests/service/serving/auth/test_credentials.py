"""Device credentials over HTTP: every mode, key changes, enrollment tokens for some models."""

import json
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis
from starlette.testclient import TestClient

from service.config import Settings
from service.errors import (
    ServiceError,
    TokenExpired,
)
from service.infrastructure.tokens import AccessTokens, RequestBinding
from service.main import create_app
from service.serving.auth.replay_cache import ReplayCache
from tests.service.support.actors import Device, ok, publish, refresh, refused, roll_out
from tests.service.support.device_requests import (
    NOW,
    at,
    device_assertion,
    hmac_headers,
)

# --- settings and modes ---------------------------------------------------------------


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
def test_insecure_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


@pytest.mark.parametrize("mode", ["hmac", "idp"])
def test_a_mode_without_its_settings_does_not_start(settings, mode):
    with (
        pytest.raises(ServiceError, match=f"GRAYLAG_DEVICE_AUTH contains {mode}"),
        TestClient(create_app(settings.model_copy(update={"device_auth": [mode]}))),
    ):
        pass


@contextmanager
def service_with(live, **changes):
    """Use another API process with other settings on the same database."""
    changed = live.settings.model_copy(update=changes)
    with TestClient(create_app(changed)) as client:
        original, live.client = live.client, client
        yield live
        live.client = original


def test_a_device_polls_and_reports_with_its_own_key(live):
    publish(live, "v1", b"weights" * 999)
    roll_out(live, "r", "v1")
    device = Device(live)
    ok(device.enroll())

    def send(path, body, **changes):
        content = json.dumps(body).encode()
        now = int(time.time())
        token = device_assertion(
            "d1",
            device.key._private,
            binding=RequestBinding("POST", path, content),
            iat=now,
            exp=now + 60,
            **changes,
        )
        return live.client.post(path, content=content, headers={"Authorization": f"Bearer {token}"})

    answer = ok(send("/v1/model/update", {"device_id": "d1"}))
    assert answer["target_version"] == "v1"
    event = device.event(answer["attempt_id"], "committed")
    assert ok(send("/v1/model/events", [event]))["accepted"] == 1
    refused(send("/v1/model/update", {"device_id": "d2"}), 403, "device_mismatch")
    ok(send("/v1/model/update", {"device_id": "d1"}, jti="j" * 22))
    refused(send("/v1/model/update", {"device_id": "d1"}, jti="j" * 22), 401, "replayed")


def test_an_hmac_device_gets_a_secret_and_polls_with_it(live):
    publish(live, "v1", b"weights" * 999)
    with service_with(live, device_auth=["hmac"], hmac_secret=SecretStr("k" * 32)):
        first = ok(live.call("POST", "/v1/admin/devices/tiny/secret"))["secret"]

        def poll(secret):
            binding = RequestBinding("POST", "/v1/model/update", b'{"device_id":"tiny"}')
            offset = int(time.time()) - at()
            headers = hmac_headers("tiny", binding, seconds=offset, secret=bytes.fromhex(secret))
            return live.client.post(binding.path, content=binding.body, headers=headers)

        assert ok(poll(first))["reason"] == "no_rollout"
        second = ok(live.call("POST", "/v1/admin/devices/tiny/secret"))["secret"]
        refused(poll(first), 401, "unauthorized")
        assert ok(poll(second))["need_update"] is False
        refused(live.call("POST", "/v1/admin/devices/tiny/secret", scope="release-manager"), 403, "forbidden")
    refused(live.call("POST", "/v1/admin/devices/tiny/secret"), 409, "conflict")


def test_a_device_with_a_key_of_its_own_gets_no_shared_secret(live):
    ok(Device(live).enroll())
    with service_with(live, device_auth=["hmac"], hmac_secret=SecretStr("k" * 32)):
        refused(live.call("POST", "/v1/admin/devices/d1/secret"), 409, "wrong_state")


def test_while_valkey_is_down_events_get_503_and_polls_are_answered(live):
    publish(live, "v1", b"weights" * 999)
    device = Device(live)
    ok(device.enroll())
    process = live.client.app.state.process
    down = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    object.__setattr__(process.device_auth, "replay_cache", ReplayCache(down))
    now = int(time.time())
    for path, body, status in (
        ("/v1/model/update", b'{"device_id":"d1"}', 200),
        ("/v1/model/events", b"[]", 503),
    ):
        binding = RequestBinding("POST", path, body)
        token = device_assertion("d1", device.key._private, binding=binding, iat=now, exp=now + 60)
        answer = live.client.post(path, content=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.text
    assert answer.headers["retry-after"] == "5"
    live.client.portal.call(down.aclose)


# --- key changes and enrollment ------------------------------------------------------------------------


def key_id_of(live, name="pending_key_id"):
    return ok(live.call("GET", "/v1/admin/devices/d1"))[name]


def decide(live, key_id, *, accept, scope="release-manager"):
    body = {"key_id": key_id, "accept": accept, "reason": "board was swapped"}
    return live.call("POST", "/v1/admin/devices/d1/key", body, scope)


def test_the_old_key_stays_valid_until_an_operator_accepts_the_new_one(live):
    old, new = Device(live), Device(live)
    ok(old.enroll())
    answer = ok(new.enroll())
    assert (answer["status"], answer["access_token"]) == ("pending", None)
    ok(old.ask_token())
    refused(new.ask_token(), 401, "unauthorized")
    waiting = key_id_of(live)
    ok(decide(live, waiting, accept=True))
    ok(new.ask_token())
    refused(old.ask_token(), 401, "unauthorized")
    assert (key_id_of(live), key_id_of(live, "key_id")) == (None, waiting)


def test_a_rejected_key_is_deleted(live):
    old, new = Device(live), Device(live)
    ok(old.enroll())
    ok(new.enroll())
    waiting = key_id_of(live)
    refused(decide(live, "0" * 16, accept=True), 409, "wrong_state")
    refused(decide(live, waiting, accept=True, scope="publisher"), 403, "forbidden")
    ok(decide(live, waiting, accept=False))
    refused(decide(live, waiting, accept=True), 409, "wrong_state")
    ok(old.ask_token())


def test_a_new_key_needs_an_enrollment_token(live):
    ok(Device(live).enroll())
    refused(Device(live).enroll(token="gle_invented"), 401, "unauthorized")
    assert key_id_of(live) is None


def test_a_decommissioned_device_cannot_enroll_with_another_key(live):
    ok(Device(live).enroll())
    ok(live.call("POST", "/v1/admin/devices/d1/decommission", {"reason": "stolen"}))
    refused(Device(live).enroll(), 409, "device_exists")


def test_an_enrollment_token_may_be_limited_to_some_models(live):
    for model in ("m", "n"):
        publish(live, "v1", model.encode() * 999, model=model)
    body = {"name": "narrow", "models": ["m"]}
    narrow = ok(live.call("POST", "/v1/admin/enrollment-tokens", body))["token"]
    device = Device(live)
    device.token = ok(device.enroll(token=narrow))["access_token"]
    refresh(live)
    assert device.poll(model="m")["reason"] == "no_rollout"
    answer = device.post("/v1/model/update", {"device_id": "d1", "model": "n"})
    refused(answer, 403, "model_not_served", "model")
    device.token = ok(device.ask_token())["access_token"]
    refused(device.post("/v1/model/update", {"device_id": "d1", "model": "n"}), 403, "model_not_served")
    assert ok(live.call("GET", "/v1/admin/devices/d1"))["models"] == ["m"]


def test_without_auto_accept_a_device_waits_for_an_operator(live):
    device = Device(live)
    with service_with(live, auto_accept_devices=False):
        answer = ok(device.enroll())
        assert (answer["status"], answer["access_token"]) == ("pending", None)
        assert ok(device.ask_token())["status"] == "pending"
        ok(live.call("POST", "/v1/admin/devices/d1/accept", {"reason": "known serial number"}))
        assert ok(device.ask_token())["access_token"]


def test_a_pending_device_that_polls_with_its_own_key_gets_no_offer(live):
    publish(live, "v1", b"weights" * 999)
    roll_out(live, "r", "v1")
    device = Device(live)
    with service_with(live, auto_accept_devices=False):
        ok(device.enroll())
        binding, now = RequestBinding("POST", "/v1/model/update", b'{"device_id":"d1"}'), int(time.time())
        token = device_assertion("d1", device.key._private, binding=binding, iat=now, exp=now + 60)
        headers = {"Authorization": f"Bearer {token}"}
        answer = ok(live.client.post(binding.path, content=binding.body, headers=headers))
        assert (answer["need_update"], answer["reason"]) == (False, "suspended")


def test_an_access_token_expires_at_exp():
    issued = AccessTokens(b"a" * 32, 3600)
    token = issued.issue("d1", {}, NOW, models=["m"])
    assert issued.verify(token, NOW).models == frozenset({"m"})
    with pytest.raises(TokenExpired, match="token_expired: the token has expired; get a new one"):
        issued.verify(token, NOW + timedelta(hours=1))
