"""Why a poll offers no update, and which polls are invalid."""

import json
from datetime import UTC, datetime

from sdk_contract.wire import MAX_BODY
from service.infrastructure.tokens import AccessTokens
from tests.service.api.device.weights import NEW, OLD
from tests.service.support import actors
from tests.service.support.actors import (
    Device,
    act,
    enroll,
    ok,
    publish,
    refused,
    roll_out,
    stage,
)


def test_every_refusal_has_a_reason_code(live, v1, device):
    publish(live, "v2", NEW)
    assert device.poll("v1")["reason"] == "no_rollout"
    actors.cohort(live, "east", {"attr": "region", "eq": "east"})
    actors.cohort(live)
    ok(
        actors.create_rollout(
            live, "r", "v2", stage("east"), stage("everyone", advance_when={"approval": True})
        )
    )
    actors.refresh(live)
    assert device.poll("v1")["reason"] == "no_rollout"
    ok(act(live, "r", "start"))
    assert device.poll("v1")["reason"] == "not_in_stage"
    assert device.poll("v2")["reason"] == "up_to_date"
    east = {"attributes": {"region": "east"}}
    assert device.poll("v1", **east)["reason"] == "update"
    ok(act(live, "r", "pause"))
    assert device.poll("v1", **east)["reason"] == "paused"
    ok(act(live, "r", "resume"))
    ok(act(live, "r", "halt", "enough seen"))
    assert device.poll("v1", **east)["reason"] == "halted"
    actors.write(live, "update models set disabled = true")
    actors.refresh(live)
    disabled = device.poll("v1")
    assert (disabled["reason"], disabled["action"]) == ("model_disabled", "pause")
    assert device.directive(disabled).action == "pause"


def test_devices_outside_the_cohort_or_with_a_newer_version_get_their_own_reasons(live, v1, device):
    publish(live, "v2", NEW)
    actors.cohort(live, "east", {"attr": "region", "eq": "east"})
    roll_out(live, "r", "v1", stage("east"))
    assert device.poll()["reason"] == "not_in_cohort"
    assert device.poll("v2")["reason"] == "downgrade"


def test_a_device_that_matches_no_variant_gets_no_variant(live, device):
    selector = {"attr": "ram_mb", "gte": 8192}
    body = {"label": "v1", "variants": [{"components": [actors.component(OLD)], "selector": selector}]}
    ok(actors.declare(live, body))
    actors.upload_file(live, OLD)
    ok(actors.submit(live, "v1"))
    live.run_jobs()
    roll_out(live, "r", "v1")
    assert device.poll(attributes={"ram_mb": 4096})["reason"] == "no_variant"
    assert device.poll(attributes={"ram_mb": 8192})["reason"] == "update"


def test_devices_wait_a_limited_time_for_a_patch_that_is_being_built(live, v1, device):
    ok(actors.declare(live, actors.version_body("v2", actors.component(NEW))))
    actors.upload_file(live, NEW)
    ok(actors.submit(live, "v2"))
    live.run_jobs(except_for="build_patch")
    roll_out(live, "r", "v2")
    waiting = device.poll("v1", accepts=["glp1", "full"])
    assert (waiting["reason"], waiting["need_update"]) == ("patch_building", False)
    assert waiting["next_poll_s"] <= 66
    assert enroll(live, "d2").poll("v1")["reason"] == "update"
    actors.write(live, "update patches set created_at = now() - interval '1 day'")
    actors.refresh(live)
    late = device.poll("v1", accepts=["glp1", "full"])
    assert [option["format"] for option in late["downloads"][0]["options"]] == ["full"]


def test_a_poll_must_name_the_model_if_there_are_several(live, device):
    body = {"device_id": "d1"}
    refused(device.post("/v1/model/update", body), 404, "unknown_model", "model")
    publish(live, "v1", OLD)
    refused(device.post("/v1/model/update", body | {"model": "x"}), 404, "unknown_model", "model")
    publish(live, "v1", OLD, model="n")
    refused(device.post("/v1/model/update", body), 422, "model_required", "model")
    refused(live.client.get("/v1/model/info"), 422, "model_required", "model")
    assert device.poll(model="n")["model"] == "n"


def test_a_poll_of_an_unknown_device_is_refused_and_stores_nothing(live, v1):
    roll_out(live, "r", "v1")
    secret = live.settings.access_token_secret.get_secret_value().encode()
    unknown = Device(live, "ghost", token=AccessTokens(secret, 3600).issue("ghost", {}, datetime.now(UTC)))
    refused(unknown.post("/v1/model/update", {"device_id": "ghost"}), 404, "unknown_device", "device_id")
    actors.flush(live)
    assert actors.rows(live, "select 1 from attempts union all select 1 from installations") == []
    assert enroll(live).poll()["need_update"]


def test_a_suspended_device_is_offered_nothing_and_a_decommissioned_one_is_refused(live, v1, device):
    roll_out(live, "r", "v1")
    ok(live.call("POST", "/v1/admin/devices/d1/suspend", {"reason": "lost"}))
    actors.refresh(live)
    response = device.poll()
    assert (response["reason"], response["action"]) == ("suspended", "none")
    ok(live.call("POST", "/v1/admin/devices/d1/decommission", {}))
    actors.refresh(live)
    refused(device.post("/v1/model/update", {"device_id": "d1"}), 403, "device_suspended")


def test_a_process_with_an_old_snapshot_offers_nothing_that_has_been_stopped(live, v1, device):
    """An offer is checked against the tables, so a stale snapshot costs at most one poll."""
    roll_out(live, "r", "v1")
    actors.write(live, "update devices set status = 'suspended'")
    assert device.poll()["reason"] == "suspended"
    actors.write(live, "update devices set status = 'accepted'")
    ok(live.call("POST", "/v1/admin/rollouts/r/pause", {}, "release-manager"))
    response = device.poll()
    assert (response["need_update"], response["reason"], response.get("attempt_id")) == (
        False,
        "paused",
        None,
    )
    assert actors.rows(live, "select 1 from attempts") == []


INVALID_POLLS = [
    ({}, "device_id"),
    ({"device_id": "../x"}, "device_id"),
    ({"device_id": "d1", "current_version": "a b"}, "current_version"),
    ({"device_id": "d1", "nonce": "short"}, "nonce"),
    ({"device_id": "d1", "components": {"backbone": "x"}}, "components.backbone"),
    ({"device_id": "d1", "attributes": {"a": None}}, "attributes.a.str"),
    ({"device_id": "d1", "accepts": ["x"] * 9}, "accepts"),
    ([], "body"),
]


def test_an_invalid_poll_is_refused_with_the_path_of_the_field(device):
    for body, field in INVALID_POLLS:
        refused(device.post("/v1/model/update", body), 422, "invalid", field)


def test_a_body_that_is_not_json_is_refused(device):
    for raw in (b"", b"\xff", b"{", b"[" * 50_000, b'{"device_id": "d1", "attributes": {"a": NaN}}'):
        refused(device.post("/v1/model/update", raw), 422, "invalid")


def test_a_poll_above_64_kib_is_refused(device):
    padding = {"device_id": "d1", "x": ""}
    padding["x"] = "x" * (MAX_BODY - len(json.dumps(padding)))
    assert len(json.dumps(padding)) == MAX_BODY
    refused(device.post("/v1/model/update", padding), 404, "unknown_model")
    refused(device.post("/v1/model/update", padding | {"x": padding["x"] + "x"}), 413, "too_large")
