"""How devices enroll, and how operators accept, suspend and decommission them."""

import base64
from datetime import UTC, datetime, timedelta

from tests.service.support import actors
from tests.service.support.actors import Device, enroll, ok, refused


def test_a_device_enrolls_with_its_own_key_and_may_repeat_the_request(live):
    device = Device(live)
    first = ok(device.enroll(attributes={"soc": "x1", "ram_mb": 8192}))
    assert (first["status"], first["expires_in"]) == ("accepted", live.settings.access_token_ttl_s)
    assert ok(device.enroll())["status"] == "accepted"
    shown = ok(live.call("GET", "/v1/admin/devices/d1"))
    assert shown["attributes"] == {"soc": "x1", "ram_mb": 8192}
    assert actors.rows(live, "select uses from enrollment_tokens")[0]["uses"] == 1


def test_a_different_key_for_an_enrolled_id_is_pending_until_an_operator_accepts_it(live):
    enroll(live)
    response = ok(Device(live).enroll())
    assert (response["status"], response["access_token"]) == ("pending", None)


def test_enrollment_without_proof_of_the_private_key_is_refused(live):
    body = Device(live).enroll_body()
    for forged in (
        body | {"proof": Device(live).enroll_body()["proof"]},
        body | {"device_id": "d2"},
        body | {"proof": "no base64"},
        body | {"proof": "\N{LATIN SMALL LETTER O WITH DIAERESIS}" * 88},
    ):
        refused(live.client.post("/v1/device/enroll", json=forged), 422, "invalid", "proof")
    assert ok(live.call("GET", "/v1/admin/devices")) == []


def test_enrollment_with_a_low_order_public_key_is_refused(live):
    """With the identity point as public key and (R, S) = (identity, 0), OpenSSL accepts a signature of any message."""
    identity = b"\x01" + bytes(31)
    forged = {
        "public_key": base64.b64encode(identity).decode(),
        "proof": base64.b64encode(identity + bytes(32)).decode(),
    }
    refused(
        live.client.post("/v1/device/enroll", json=Device(live).enroll_body() | forged),
        422,
        "invalid",
        "proof",
    )
    assert ok(live.call("GET", "/v1/admin/devices")) == []


def test_an_enrollment_token_is_refused_when_used_up_expired_unknown_or_revoked(live):
    created = ok(live.call("POST", "/v1/admin/enrollment-tokens", {"name": "one", "max_uses": 1}))
    ok(Device(live, "a").enroll(created["token"]))
    refused(Device(live, "b").enroll(created["token"]), 401, "unauthorized", "enrollment_token")
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    created = ok(live.call("POST", "/v1/admin/enrollment-tokens", {"name": "old", "expires_at": past}))
    refused(Device(live, "b").enroll(created["token"]), 401, "unauthorized", "enrollment_token")
    refused(Device(live, "b").enroll("gle_guess"), 401, "unauthorized", "enrollment_token")
    actors.write(live, "update enrollment_tokens set revoked = true")
    refused(Device(live, "b").enroll(), 401, "unauthorized", "enrollment_token")
    refused(live.call("POST", "/v1/admin/enrollment-tokens", {"name": "one"}), 409, "name_taken", "name")


def test_attributes_that_cannot_be_stored_are_refused(live):
    refused(Device(live).enroll(attributes={"soc": "a\u0000b"}), 422, "invalid")


def test_a_pending_or_suspended_device_gets_no_access_token(live):
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
