"""A disabled model is offered to no device."""

import pytest

from tests.service.support import actors
from tests.service.support.actors import (
    enroll,
    ok,
    poll_and_explain,
    publish,
    refresh,
    refused,
    roll_out,
    set_up_once,
)

DATA = b"weights of disabled models"


@pytest.fixture
@set_up_once
def v1(live):
    """A service with one published version."""
    publish(live, "v1", DATA)


def set_model_state(live, verb, reason="it says rude things", scope="release-manager"):
    return live.call("POST", f"/v1/admin/models/m/{verb}", {"reason": reason}, scope)


def test_polls_for_a_disabled_model_are_answered_with_pause(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    assert ok(set_model_state(live, "disable"))["disabled"]
    refresh(live)
    response = poll_and_explain(live, device, nonce=actors.nonce())
    assert (response["reason"], response["action"]) == ("model_disabled", "pause")
    assert device.directive(response).action == "pause"
    assert not ok(set_model_state(live, "enable"))["disabled"]
    refresh(live)
    assert poll_and_explain(live, device)["need_update"]
    verbs = [row["verb"] for row in actors.rows(live, "select verb from audit_log order by id")]
    assert verbs[-2:] == ["model.disable", "model.enable"]


def test_a_process_with_an_old_snapshot_offers_no_disabled_model(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    ok(set_model_state(live, "disable"))
    response = device.poll()
    assert (response["reason"], response["action"]) == ("model_disabled", "pause")


def test_disabling_a_model_needs_a_reason_and_a_release_manager(live, v1):
    refused(set_model_state(live, "disable", reason=" "), 422, "reason_required", "reason")
    refused(set_model_state(live, "disable", scope="publisher"), 403, "forbidden")
    refused(live.call("POST", "/v1/admin/models/x/disable", {"reason": "r"}), 404, "unknown_model")
