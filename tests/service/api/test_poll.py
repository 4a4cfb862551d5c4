import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from sdk_contract.documents import Manifest, PatchDescriptor, TrustBundle, payload_digest
from sdk_contract.patch import apply_patch
from sdk_contract.wire import MAX_BODY
from service.tokens import AccessTokens
from tests.service.support import actors
from tests.service.support.actors import (
    Device,
    act,
    enroll,
    nonce,
    ok,
    publish,
    refused,
    roll_out,
    set_up_once,
    stage,
)
from tests.workers.delta.layouts.writers import safetensors

OLD = safetensors({"w": ("I8", [20_000], bytes(range(250)) * 80)})
NEW = safetensors({"w": ("I8", [20_000], bytes(range(250)) * 79 + bytes(250))})


@pytest.fixture
@set_up_once
def v1(live):
    """A version is published."""
    publish(live, "v1", OLD)


@pytest.fixture
def device(live):
    return enroll(live)


def test_the_three_fields_of_the_simplest_client_are_enough(live, device):
    publish(live, "v1.3", OLD)
    roll_out(live, "r", "v1.3")
    answer = device.poll("v1.2")
    assert (answer["need_update"], answer["target_version"]) == (True, "v1.3")
    assert live.store.get(answer["download_url"]).content == OLD
    assert live.client.get("/v1/model/info").json()["version"] is None
    device.finish(answer["attempt_id"], "committed")
    live.run_ticks()
    info = ok(live.client.get("/v1/model/info"))
    assert (info["model"], info["version"], info["counter"]) == ("m", "v1.3", 1)


def test_a_poll_needs_neither_content_type_nor_known_fields(live, v1, device):
    assert device.poll(surprise={"a": 1})["reason"] == "no_rollout"


def test_a_version_is_offered_whole_with_all_that_is_needed_to_check_it(live, v1, device):
    roll_out(live, "r", "v1")
    body = {"device_id": "d1", "nonce": nonce(), "model": "m"}
    raw = json.dumps(body).encode()
    answer = ok(device.post("/v1/model/update", raw))
    assert (answer["action"], answer["reason"], answer["rollout"]) == ("install", "update", "r")
    directive = device.directive(answer)
    assert (directive.device_id, directive.model, directive.nonce) == ("d1", "m", body["nonce"])
    assert directive.request_sha256 == hashlib.sha256(raw).hexdigest()
    assert (directive.action, directive.attempt_id) == ("install", answer["attempt_id"])
    assert directive.next_poll_s == answer["next_poll_s"]
    envelope = json.dumps(answer["manifest"]["envelope"]).encode()
    assert payload_digest(envelope) == directive.manifest_sha256 == answer["manifest"]["sha256"]
    assert payload_digest(live.store.get(answer["manifest"]["url"]).content) == directive.manifest_sha256
    manifest = Manifest.from_envelope(envelope, TrustBundle.from_initial_envelope(live.trust).for_role("publisher"))
    part = manifest.variant(directive.variant).components[0]
    way = answer["downloads"][0]["options"][-1]
    assert (way["format"], way["sha256"], way["size"]) == ("full", part.sha256, part.size)


def test_an_answer_without_an_update_is_signed_too(live, v1, device):
    answer = device.poll("v1", nonce=nonce())
    directive = device.directive(answer)
    assert (directive.action, directive.reason, directive.manifest_sha256) == ("none", "no_rollout", None)
    assert (answer["need_update"], answer.get("download_url")) == (False, None)


def test_a_patch_comes_first_and_gives_the_target_bytes(live, v1, device, tmp_path):
    publish(live, "v2", NEW)
    roll_out(live, "r", "v2")
    answer = device.poll("v1", accepts=["glp1", "full"])
    patch, full = answer["downloads"][0]["options"]
    assert (patch["format"], full["format"]) == ("glp1", "full")
    assert answer["download_url"] == patch["url"]
    trust = TrustBundle.from_initial_envelope(live.trust)
    signed = PatchDescriptor.from_envelope(json.dumps(patch["descriptor"]).encode(), trust.for_role("patcher"))
    assert (signed.source.sha256, signed.target.sha256) == (actors.sha256(OLD), actors.sha256(NEW))
    (tmp_path / "old").write_bytes(OLD)
    (tmp_path / "patch").write_bytes(live.store.get(patch["url"]).content)
    assert (tmp_path / "patch").stat().st_size == patch["size"] == signed.patch.size < len(NEW) / 4
    index = bytes.fromhex(signed.index_sha256)
    apply_patch(tmp_path / "old", tmp_path / "patch", tmp_path / "new", index_sha256=index)
    assert (tmp_path / "new").read_bytes() == NEW
    simple = enroll(live, "d2").poll("v1")
    assert [way["format"] for way in simple["downloads"][0]["options"]] == ["full"]


def test_what_the_device_has_is_not_sent_again(live, device):
    files = [actors.component(OLD), actors.component(NEW, "vision")]
    ok(actors.declare(live, actors.version_body("v1", *files)))
    actors.upload_file(live, OLD)
    actors.upload_file(live, NEW)
    ok(actors.submit(live, "v1"))
    live.run_jobs()
    roll_out(live, "r", "v1")
    answer = device.poll(components={"backbone": actors.sha256(OLD)})
    backbone, vision = answer["downloads"]
    assert (backbone["keep"], backbone["options"], vision["keep"]) == (True, [], False)
    assert answer["download_url"] == vision["options"][0]["url"]
    subset = enroll(live, "d2").poll(wanted_components=["vision"])
    assert [part["name"] for part in subset["downloads"]] == ["vision"]
    both = enroll(live, "d3").poll()
    assert both["download_url"] == both["manifest"]["url"]


def test_polling_again_gives_the_same_attempt_and_counts_it_once(live, v1, device):
    roll_out(live, "r", "v1")
    first, second = device.poll(), device.poll()
    assert first["attempt_id"] == second["attempt_id"]
    device.finish(first["attempt_id"], "downloading", bytes=10)
    assert device.poll()["attempt_id"] == first["attempt_id"]
    assert actors.rollout(live, "r")["stages"][0]["outcomes"]["offered"] == 1


def test_a_terminal_attempt_stays_terminal(live, v1, device):
    roll_out(live, "r", "v1")
    first = device.poll()["attempt_id"]
    device.finish(first, "failed", code="no_space")
    second = device.poll()["attempt_id"]
    assert second != first
    assert device.finish(first, "committed") == {"accepted": 1, "duplicates": 0}
    states = {str(row["id"]): row["state"] for row in actors.rows(live, "select id, state from attempts")}
    assert states == {first: "failed", second: "offered"}


def test_after_three_failures_a_device_is_left_alone(live, v1, device):
    roll_out(live, "r", "v1")
    for state in ("failed", "rolled_back", "rejected"):
        device.finish(device.poll()["attempt_id"], state)
    answer = device.poll()
    assert (answer["need_update"], answer["reason"]) == (False, "too_many_failures")
    assert device.directive(answer).action == "none"
    assert enroll(live, "d2").poll()["need_update"]


def test_a_newer_rollout_replaces_an_open_attempt(live, v1, device):
    roll_out(live, "r1", "v1")
    first = device.poll()["attempt_id"]
    publish(live, "v2", NEW)
    roll_out(live, "r2", "v2")
    second = device.poll(components={"backbone": actors.sha256(b"other")})
    assert second["target_version"] == "v2"
    state = actors.rows(live, "select state from attempts where id = cast(:id as uuid)", id=first)
    assert state[0]["state"] == "superseded"
    assert actors.rollout(live, "r1")["stages"][0]["outcomes"]["withdrawn"] == 1


def test_every_no_has_its_name(live, v1, device):
    publish(live, "v2", NEW)
    assert device.poll("v1")["reason"] == "no_rollout"
    actors.cohort(live, "east", {"attr": "region", "eq": "east"})
    actors.cohort(live)
    ok(actors.create_rollout(live, "r", "v2", stage("east"), stage("everyone", advance_when={"approval": True})))
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
    killed = device.poll("v1")
    assert (killed["reason"], killed["action"]) == ("model_disabled", "pause")
    assert device.directive(killed).action == "pause"


def test_a_device_outside_the_cohort_or_ahead_of_the_rollout_is_told_so(live, v1, device):
    publish(live, "v2", NEW)
    actors.cohort(live, "east", {"attr": "region", "eq": "east"})
    roll_out(live, "r", "v1", stage("east"))
    assert device.poll()["reason"] == "not_in_cohort"
    assert device.poll("v2")["reason"] == "downgrade"


def test_a_device_that_no_build_is_for_is_told_so(live, device):
    selector = {"attr": "ram_mb", "gte": 8192}
    body = {"label": "v1", "variants": [{"components": [actors.component(OLD)], "selector": selector}]}
    ok(actors.declare(live, body))
    actors.upload_file(live, OLD)
    ok(actors.submit(live, "v1"))
    live.run_jobs()
    roll_out(live, "r", "v1")
    assert device.poll(attributes={"ram_mb": 4096})["reason"] == "no_variant"
    assert device.poll(attributes={"ram_mb": 8192})["reason"] == "update"


def test_while_a_patch_is_being_built_devices_that_can_use_it_wait_for_a_bounded_time(live, v1, device):
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
    assert [way["format"] for way in late["downloads"][0]["options"]] == ["full"]


def test_an_operators_word_outranks_the_devices_own(live, v1, device):
    actors.cohort(live, "testers", {"attr": "group", "eq": "testers"})
    roll_out(live, "r", "v1", stage("testers"))
    assert device.poll(attributes={"group": "none"})["reason"] == "not_in_cohort"
    body = {"attributes": {"group": "testers"}}
    ok(live.call("PUT", "/v1/admin/devices/d1/attributes", body, "release-manager"))
    actors.refresh(live)
    assert device.poll(attributes={"group": "none"})["reason"] == "update"


def test_attributes_of_the_token_outrank_the_devices_own(live, v1, device):
    actors.cohort(live, "testers", {"attr": "group", "eq": "testers"})
    roll_out(live, "r", "v1", stage("testers"))
    secret = live.settings.access_token_secret.get_secret_value().encode()
    device.token = AccessTokens(secret, 3600).issue("d1", {"group": "testers"}, datetime.now(UTC))
    assert device.poll(attributes={"group": "none"})["reason"] == "update"


def test_models_are_named_where_there_are_several(live, device):
    body = {"device_id": "d1"}
    refused(device.post("/v1/model/update", body), 404, "unknown_model", "model")
    publish(live, "v1", OLD)
    refused(device.post("/v1/model/update", body | {"model": "x"}), 404, "unknown_model", "model")
    publish(live, "v1", OLD, model="n")
    refused(device.post("/v1/model/update", body), 422, "model_required", "model")
    refused(live.client.get("/v1/model/info"), 422, "model_required", "model")
    assert device.poll(model="n")["model"] == "n"


def test_a_token_whose_device_is_not_here_gets_nothing_and_leaves_nothing(live, v1):
    roll_out(live, "r", "v1")
    secret = live.settings.access_token_secret.get_secret_value().encode()
    ghost = Device(live, "ghost", token=AccessTokens(secret, 3600).issue("ghost", {}, datetime.now(UTC)))
    refused(ghost.post("/v1/model/update", {"device_id": "ghost"}), 404, "unknown_device", "device_id")
    actors.flush(live)
    assert actors.rows(live, "select 1 from attempts union all select 1 from installations") == []
    assert enroll(live).poll()["need_update"]


def test_a_suspended_device_keeps_what_it_runs_and_gets_nothing_new(live, v1, device):
    roll_out(live, "r", "v1")
    ok(live.call("POST", "/v1/admin/devices/d1/suspend", {"reason": "lost"}))
    actors.refresh(live)
    answer = device.poll()
    assert (answer["reason"], answer["action"]) == ("suspended", "none")
    ok(live.call("POST", "/v1/admin/devices/d1/decommission", {}))
    actors.refresh(live)
    refused(device.post("/v1/model/update", {"device_id": "d1"}), 403, "device_suspended")


def test_what_has_stopped_gives_nothing_even_to_a_process_that_has_not_heard_of_it(live, v1, device):
    """The grant looks at the tables, so that a stale snapshot can at most cost a poll."""
    roll_out(live, "r", "v1")
    actors.write(live, "update devices set status = 'suspended'")
    assert device.poll()["reason"] == "suspended"
    actors.write(live, "update devices set status = 'accepted'")
    ok(live.call("POST", "/v1/admin/rollouts/r/pause", {}, "release-manager"))
    answer = device.poll()
    assert (answer["need_update"], answer["reason"], answer.get("attempt_id")) == (False, "paused", None)
    assert actors.rows(live, "select 1 from attempts") == []


SENSELESS_POLLS = [
    ({}, "device_id"),
    ({"device_id": "../x"}, "device_id"),
    ({"device_id": "d1", "current_version": "a b"}, "current_version"),
    ({"device_id": "d1", "nonce": "short"}, "nonce"),
    ({"device_id": "d1", "components": {"backbone": "x"}}, "components.backbone"),
    ({"device_id": "d1", "attributes": {"a": None}}, "attributes.a.str"),
    ({"device_id": "d1", "accepts": ["x"] * 9}, "accepts"),
    ([], "body"),
]


def test_a_request_that_makes_no_sense_is_refused_by_its_place(device):
    for body, field in SENSELESS_POLLS:
        refused(device.post("/v1/model/update", body), 422, "invalid", field)


def test_what_is_no_json_is_refused(device):
    for raw in (b"", b"\xff", b"{", b"[" * 50_000, b'{"device_id": "d1", "attributes": {"a": NaN}}'):
        refused(device.post("/v1/model/update", raw), 422, "invalid")


def test_a_body_beyond_64_kib_is_not_read(device):
    padding = {"device_id": "d1", "x": ""}
    padding["x"] = "x" * (MAX_BODY - len(json.dumps(padding)))
    assert len(json.dumps(padding)) == MAX_BODY
    refused(device.post("/v1/model/update", padding), 404, "unknown_model")
    refused(device.post("/v1/model/update", padding | {"x": padding["x"] + "x"}), 413, "too_large")


def test_polls_are_spread_around_the_interval(live, v1, device):
    pauses = {device.poll()["next_poll_s"] for _ in range(8)}
    base = live.settings.poll_interval_s
    assert len(pauses) > 1
    assert all(0.9 * base <= pause <= 1.1 * base for pause in pauses)


def test_what_a_device_runs_is_written_down(live, v1, device):
    device.poll("v0", attributes={"soc": "x", "odd": "a\u0000b\\u0000"})
    actors.flush(live)
    shown = ok(live.call("GET", "/v1/admin/devices/d1"))
    assert [(i["model"], i["version"]) for i in shown["installations"]] == [("m", "v0")]
    assert shown["attributes"] == {"soc": "x", "odd": "ab\\u0000"}
    assert datetime.now(UTC) - datetime.fromisoformat(shown["seen_at"]) < timedelta(minutes=5)
    roll_out(live, "r", "v1")
    device.finish(device.poll("v0")["attempt_id"], "committed")
    actors.flush(live)
    shown = ok(live.call("GET", "/v1/admin/devices/d1"))
    assert shown["installations"][0]["version"] == "v1"
