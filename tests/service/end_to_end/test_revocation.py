"""Revocation of a version, from the release manager's request to the devices that leave the version."""

import pytest

from tests.service.support.actors import (
    enroll,
    ok,
    publish,
    refresh,
    refused,
    roll_out,
    rollout,
    rows,
    set_up_once,
    version,
)
from tests.service.support.live_fleet import Fleet, listening, random_weights, updated
from tests.waiting import wait_until

REASON = {"reason": "wrong answers"}


def revoke(live, label, body=REASON, scope="release-manager"):
    response = live.call("POST", f"/v1/admin/models/m/versions/{label}/revoke", body, scope)
    refresh(live)
    return response


@pytest.fixture
@set_up_once
def two(live):
    """Two versions; the second is being rolled out to all devices."""
    for number in (1, 2):
        publish(live, f"v{number}", random_weights(number))
    roll_out(live, "to-v2", "v2")


def test_revoking_a_version_ends_its_rollout_and_withdraws_its_offers(two):
    device = enroll(two)
    assert device.poll("v1")["target_version"] == "v2"
    ok(revoke(two, "v2"))
    assert version(two, "v2")["state"] == "revoked"
    assert rollout(two, "to-v2")["state"] == "halted"
    assert [row["state"] for row in rows(two, "select state from attempts")] == ["cancelled"]
    assert device.poll("v1")["need_update"] is False


def test_a_device_on_a_revoked_version_gets_a_signed_rollback(two):
    device = enroll(two)
    ok(revoke(two, "v2"))
    response = device.poll("v2")
    directive = device.directive(response)
    assert (directive.action, directive.reason) == ("rollback", "revoked")
    assert (response["need_update"], response["target_version"]) == (True, "v1")
    assert directive.manifest_sha256 == version(two, "v1")["manifest_sha256"]


def test_revoking_twice_changes_nothing_and_needs_a_reason(two):
    refused(revoke(two, "v2", {"reason": ""}), 422, "reason_required", "reason")
    ok(revoke(two, "v2"))
    ok(revoke(two, "v2"))
    verbs = rows(two, "select verb from audit_log where verb = 'version.revoke'")
    assert len(verbs) == 1


def test_only_a_release_manager_may_revoke(two):
    refused(revoke(two, "v2", scope="publisher"), 403, "forbidden")


def test_a_version_that_was_never_ready_cannot_be_revoked(live):
    live.call("PUT", "/v1/admin/models/m", {}, "publisher")
    refused(revoke(live, "v9"), 404, "not_found")


def test_a_revoked_version_cannot_be_rolled_out_again(two):
    ok(revoke(two, "v2"))
    body = {"name": "again", "model": "m", "version": "v2", "stages": [{"cohort": "everyone", "percent": 1}]}
    refused(two.call("POST", "/v1/admin/rollouts", body, "release-manager"), 409, "version_not_ready")


def test_the_reference_client_leaves_a_revoked_version_and_reports_it(two, tmp_path):
    with listening(two.settings) as port:
        device = Fleet(two, port, tmp_path).device("d1")
        updated(device, "v2")
        ok(revoke(two, "v2"))
        wait_until(lambda: device.update().version == "v1", "the device to return to v1")
        assert device.installed().version == "v1"
        assert device.update().status == "none"
