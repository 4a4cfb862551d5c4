"""Devices that have failed a version too often are not offered it again until their conditions change."""

import pytest

from tests.service.support import actors
from tests.service.support.actors import (
    enroll,
    explain,
    fail_attempts,
    ok,
    poll_and_explain,
    publish,
    refused,
    roll_out,
    set_up_once,
)

DATA = b"weights of failure limit"


@pytest.fixture
@set_up_once
def v1(live):
    """A service with one published version."""
    publish(live, "v1", DATA)


def test_a_device_that_failed_too_often_is_not_offered_the_version_again(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    fail_attempts(device, 3)
    assert poll_and_explain(live, device)["reason"] == "too_many_failures"
    assert explain(live, device)["rollouts"][0]["failure_limit"] == {
        "failures": 3,
        "max_failures": 3,
        "may_retry": False,
    }


def test_a_new_app_version_permits_a_retry(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    fail_attempts(device, 3, attributes={"app_version": "5.1", "battery": 80})
    assert (
        poll_and_explain(live, device, attributes={"app_version": "5.1", "battery": 20})["reason"]
        == "too_many_failures"
    )
    response = poll_and_explain(live, device, attributes={"app_version": "5.2"}, nonce=actors.nonce())
    assert response["need_update"]
    assert device.directive(response).ext == {"retry": True}


def test_offers_below_the_failure_limit_are_not_marked_as_retries(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    assert device.directive(device.poll(nonce=actors.nonce())).ext == {}
    fail_attempts(device, 1)
    assert device.directive(device.poll(nonce=actors.nonce())).ext == {}


def test_the_failure_limit_applies_to_one_version(live, v1):
    publish(live, "v2", DATA + b"2")
    roll_out(live, "r", "v1")
    device = enroll(live)
    fail_attempts(device, 3)
    assert poll_and_explain(live, device)["reason"] == "too_many_failures"
    roll_out(live, "s", "v2")
    assert poll_and_explain(live, device)["target_version"] == "v2"


def test_an_operator_can_clear_the_failures_of_a_device(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    path = "/v1/admin/devices/d1/clear-failures"
    refused(live.call("POST", path, {"reason": "r"}), 409, "conflict", "model")
    fail_attempts(device, 3)
    refused(live.call("POST", path, {"model": "m"}), 422, "reason_required", "reason")
    body = {"model": "m", "reason": "the shop has swapped its storage"}
    assert ok(live.call("POST", path, body, "release-manager"))["models"] == ["m"]
    response = poll_and_explain(live, device, nonce=actors.nonce())
    assert response["need_update"]
    assert device.directive(response).ext == {"retry": True}
    fail_attempts(device, 3)
    assert poll_and_explain(live, device)["reason"] == "too_many_failures"
    ok(live.call("POST", path, body))
    assert poll_and_explain(live, device)["need_update"]
