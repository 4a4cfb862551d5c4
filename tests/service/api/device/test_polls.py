"""What a poll offers, and how its response is signed."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

from sdk_contract.documents import Manifest, PatchDescriptor, TrustBundle, payload_digest
from sdk_contract.patch import apply_patch
from service.infrastructure.tokens import AccessTokens
from tests.service.api.device.weights import NEW, OLD
from tests.service.support import actors
from tests.service.support.actors import (
    enroll,
    nonce,
    ok,
    publish,
    roll_out,
    stage,
)


def test_a_minimal_client_needs_three_fields_of_the_response(live, device):
    publish(live, "v1.3", OLD)
    roll_out(live, "r", "v1.3")
    response = device.poll("v1.2")
    assert (response["need_update"], response["target_version"]) == (True, "v1.3")
    assert live.store.get(response["download_url"]).content == OLD
    assert live.client.get("/v1/model/info").json()["version"] is None
    device.finish(response["attempt_id"], "committed")
    live.run_scheduled_tasks()
    info = ok(live.client.get("/v1/model/info"))
    assert (info["model"], info["version"], info["counter"]) == ("m", "v1.3", 1)


def test_a_poll_may_omit_the_content_type_and_contain_unknown_fields(live, v1, device):
    assert device.poll(surprise={"a": 1})["reason"] == "no_rollout"


def test_an_offer_contains_everything_that_verification_needs(live, v1, device):
    roll_out(live, "r", "v1")
    body = {"device_id": "d1", "nonce": nonce(), "model": "m"}
    raw = json.dumps(body).encode()
    response = ok(device.post("/v1/model/update", raw))
    assert (response["action"], response["reason"], response["rollout"]) == ("install", "update", "r")
    directive = device.directive(response)
    assert (directive.device_id, directive.model, directive.nonce) == ("d1", "m", body["nonce"])
    assert directive.request_sha256 == hashlib.sha256(raw).hexdigest()
    assert (directive.action, directive.attempt_id) == ("install", response["attempt_id"])
    assert directive.next_poll_s == response["next_poll_s"]
    envelope = json.dumps(response["manifest"]["envelope"]).encode()
    assert payload_digest(envelope) == directive.manifest_sha256 == response["manifest"]["sha256"]
    assert payload_digest(live.store.get(response["manifest"]["url"]).content) == directive.manifest_sha256
    manifest = Manifest.from_envelope(
        envelope, TrustBundle.from_initial_envelope(live.trust).for_role("publisher")
    )
    variant = manifest.variant(directive.variant)
    assert variant
    part = variant.components[0]
    option = response["downloads"][0]["options"][-1]
    assert (option["format"], option["sha256"], option["size"]) == ("full", part.sha256, part.size)


def test_a_response_without_an_update_is_signed_too(live, v1, device):
    response = device.poll("v1", nonce=nonce())
    directive = device.directive(response)
    assert (directive.action, directive.reason, directive.manifest_sha256) == ("none", "no_rollout", None)
    assert (response["need_update"], response.get("download_url")) == (False, None)


def test_a_patch_is_the_first_option_and_produces_the_target(live, v1, device, tmp_path):
    publish(live, "v2", NEW)
    roll_out(live, "r", "v2")
    response = device.poll("v1", accepts=["glp1", "full"])
    patch, full = response["downloads"][0]["options"]
    assert (patch["format"], full["format"]) == ("glp1", "full")
    assert response["download_url"] == patch["url"]
    trust = TrustBundle.from_initial_envelope(live.trust)
    signed = PatchDescriptor.from_envelope(
        json.dumps(patch["descriptor"]).encode(), trust.for_role("patcher")
    )
    assert (signed.source.sha256, signed.target.sha256) == (actors.sha256(OLD), actors.sha256(NEW))
    (tmp_path / "old").write_bytes(OLD)
    (tmp_path / "patch").write_bytes(live.store.get(patch["url"]).content)
    assert (tmp_path / "patch").stat().st_size == patch["size"] == signed.patch.size < len(NEW) / 4
    assert signed.index_sha256
    assert signed.index_sha256 is not None
    index = bytes.fromhex(signed.index_sha256)
    apply_patch(tmp_path / "old", tmp_path / "patch", tmp_path / "new", index_sha256=index)
    assert (tmp_path / "new").read_bytes() == NEW
    simple = enroll(live, "d2").poll("v1")
    assert [option["format"] for option in simple["downloads"][0]["options"]] == ["full"]


def test_components_that_the_device_has_are_not_downloaded_again(live, device):
    files = [actors.component(OLD), actors.component(NEW, "vision")]
    ok(actors.declare(live, actors.version_body("v1", *files)))
    actors.upload_file(live, OLD)
    actors.upload_file(live, NEW)
    ok(actors.submit(live, "v1"))
    live.run_jobs()
    roll_out(live, "r", "v1")
    response = device.poll(components={"backbone": actors.sha256(OLD)})
    backbone, vision = response["downloads"]
    assert (backbone["keep"], backbone["options"], vision["keep"]) == (True, [], False)
    assert response["download_url"] == vision["options"][0]["url"]
    subset = enroll(live, "d2").poll(wanted_components=["vision"])
    assert [part["name"] for part in subset["downloads"]] == ["vision"]
    both = enroll(live, "d3").poll()
    assert both["download_url"] == both["manifest"]["url"]


def test_repeated_polls_return_the_same_attempt(live, v1, device):
    roll_out(live, "r", "v1")
    first, second = device.poll(), device.poll()
    assert first["attempt_id"] == second["attempt_id"]
    device.finish(first["attempt_id"], "downloading", bytes=10)
    assert device.poll()["attempt_id"] == first["attempt_id"]
    assert actors.rollout(live, "r")["stages"][0]["outcomes"]["offered"] == 1


def test_a_terminal_attempt_does_not_change_state_again(live, v1, device):
    roll_out(live, "r", "v1")
    first = device.poll()["attempt_id"]
    device.finish(first, "failed", code="no_space")
    second = device.poll()["attempt_id"]
    assert second != first
    assert device.finish(first, "committed") == {"accepted": 1, "duplicates": 0}
    states = {str(row["id"]): row["state"] for row in actors.rows(live, "select id, state from attempts")}
    assert states == {first: "failed", second: "offered"}


def test_a_newer_rollout_supersedes_an_open_attempt(live, v1, device):
    roll_out(live, "r1", "v1")
    first = device.poll()["attempt_id"]
    publish(live, "v2", NEW)
    roll_out(live, "r2", "v2")
    second = device.poll(components={"backbone": actors.sha256(b"other")})
    assert second["target_version"] == "v2"
    state = actors.rows(live, "select state from attempts where id = cast(:id as uuid)", id=first)
    assert state[0]["state"] == "superseded"
    assert actors.rollout(live, "r1")["stages"][0]["outcomes"]["withdrawn"] == 1


def test_attributes_of_the_operator_override_those_of_the_device(live, v1, device):
    actors.cohort(live, "testers", {"attr": "group", "eq": "testers"})
    roll_out(live, "r", "v1", stage("testers"))
    assert device.poll(attributes={"group": "none"})["reason"] == "not_in_cohort"
    body = {"attributes": {"group": "testers"}}
    ok(live.call("PUT", "/v1/admin/devices/d1/attributes", body, "release-manager"))
    actors.refresh(live)
    assert device.poll(attributes={"group": "none"})["reason"] == "update"


def test_attributes_of_the_token_override_those_of_the_device(live, v1, device):
    actors.cohort(live, "testers", {"attr": "group", "eq": "testers"})
    roll_out(live, "r", "v1", stage("testers"))
    secret = live.settings.access_token_secret.get_secret_value().encode()
    device.token = AccessTokens(secret, 3600).issue("d1", {"group": "testers"}, datetime.now(UTC))
    assert device.poll(attributes={"group": "none"})["reason"] == "update"


def test_poll_intervals_are_randomized_by_ten_percent(live, v1, device):
    pauses = {device.poll()["next_poll_s"] for _ in range(8)}
    base = live.settings.poll_interval_s
    assert len(pauses) > 1
    assert all(0.9 * base <= pause <= 1.1 * base for pause in pauses)


def test_the_version_and_attributes_of_a_poll_are_stored(live, v1, device):
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
