import os
from datetime import UTC, datetime, timedelta

import pytest

from service.domain.patching.missing_patches import MIN_PATCHED_BYTES
from service.infrastructure import database
from service.infrastructure.blobs import blob_key
from service.operations.patching import planning
from tests.databases import read_contents, write_contents
from tests.service.support.actors import (
    act,
    cohort,
    create_rollout,
    enroll,
    flush,
    ok,
    process,
    publish,
    refresh,
    refused,
    roll_out,
    rows,
    sha256,
    write,
)
from workers.tasks import scheduled

SIZE = MIN_PATCHED_BYTES


def weights(number):
    """A file just large enough to wait for a patch, with small differences from the others."""
    data = bytearray(BASE)
    data[number * 1000 : number * 1000 + 100] = bytes([number + 1]) * 100
    return bytes(data)


BASE = os.urandom(SIZE)
FORMS = ["glp1", "full"]


def plan(live, label, model="m"):
    return ok(live.call("GET", f"/v1/admin/models/{model}/versions/{label}/patches/plan", scope="viewer"))


def states(live):
    found = rows(live, "select source_sha256, target_sha256, state from patches order by id")
    return [(row["source_sha256"], row["target_sha256"], row["state"]) for row in found]


def ask_for_more(live):
    live.client.portal.call(process(live).poll_service._patch_demand.__self__.flush)
    scheduled.plan_patches(live.worker)
    refresh(live)


@pytest.fixture(scope="module")
def kept():
    """The contents of the database and the object store after the six versions are released."""
    return {}


@pytest.fixture
def released(live, kept):
    """Six versions, v6 offered to all devices; its first patches start from v3, v4 and v5 only."""
    url, store = live.settings.database_url, live.worker.blobs
    if not kept:
        for number in range(1, 7):
            publish(live, f"v{number}", weights(number))
        roll_out(live, "r", "v6")
        patches = rows(live, "select sha256, size from patches")
        kept["patches"] = {
            blob_key(made["sha256"]): store.read(blob_key(made["sha256"]), 0, made["size"])
            for made in patches
        }
        kept["database"] = read_contents(url)
    else:
        write_contents(url, kept["database"])
        for key, patch in kept["patches"].items():
            store.put(key, patch)
        refresh(live)
    return live


def test_a_poll_that_misses_a_patch_requests_it_waits_and_gets_it(released):
    device = enroll(released, "d1")
    answer = device.poll("v1", accepts=FORMS)
    assert (answer["reason"], answer["need_update"]) == ("patch_building", False)
    assert answer["next_poll_s"] < 600
    assert device.poll("v1", accepts=FORMS)["reason"] == "patch_building"
    ask_for_more(released)
    assert states(released)[-1] == (sha256(weights(1)), sha256(weights(6)), "queued")
    assert device.poll("v1", accepts=FORMS)["reason"] == "patch_building"
    released.run_jobs()
    refresh(released)
    answer = device.poll("v1", accepts=FORMS)
    assert [option["format"] for option in answer["downloads"][0]["options"]] == FORMS
    assert len(states(released)) == len(set(states(released)))


def test_the_explanation_shows_the_wait_for_a_requested_patch(released):
    device = enroll(released, "d1")
    polled = device.poll("v1", accepts=FORMS)
    flush(released)
    found = ok(released.call("GET", "/v1/admin/devices/d1/why"))
    assert found["reason"] == found["rollouts"][0]["reason"] == polled["reason"] == "patch_building"
    assert (found["action"], found["version"]) == ("none", None)


def test_a_device_without_patch_support_requests_no_patch_and_does_not_wait(released):
    assert enroll(released, "d1").poll("v1")["need_update"]
    ask_for_more(released)
    assert sha256(weights(1)) not in {
        source for source, target, _ in states(released) if target == sha256(weights(6))
    }


def test_an_unknown_source_digest_requests_no_patch(released):
    answer = enroll(released, "d1").poll("v1", accepts=FORMS, components={"backbone": "0" * 64})
    assert answer["need_update"]
    ask_for_more(released)
    assert rows(released, "select * from patch_requests") == []


def test_no_device_waits_for_a_patch_that_is_known_to_be_not_worth_it(live):
    for label, size in (("v1", SIZE), ("v2", 1000), ("v3", 1000), ("v4", 1000), ("v5", SIZE)):
        publish(live, label, os.urandom(size))
    roll_out(live, "r", "v5")
    device, other = enroll(live, "d1"), enroll(live, "d2")
    assert device.poll("v1", accepts=FORMS)["reason"] == "patch_building"
    ask_for_more(live)
    live.run_jobs()
    refresh(live)
    assert states(live)[-1][2] == "not_worth_it"
    assert device.poll("v1", accepts=FORMS)["need_update"]
    assert other.poll("v1", accepts=FORMS)["need_update"]


def test_the_plan_shows_the_savings_and_the_reason_of_each_patch(released):
    for number in range(10):
        enroll(released, f"d{number}").poll("v2")
    flush(released)
    found = plan(released, "v6")
    by_base = {entry["source_versions"][0]: entry for entry in found}
    assert found[0]["source_versions"] == ["v2"]
    assert (by_base["v2"]["devices"], by_base["v2"]["reason"], by_base["v2"]["estimated"]) == (
        10,
        "many_devices",
        True,
    )
    assert (by_base["v5"]["state"], by_base["v5"]["reason"]) == ("ready", "built")
    assert by_base["v1"]["reason"] == "no_devices"
    assert by_base["v2"]["saved_bytes"] == 10 * (SIZE - by_base["v2"]["patch_size"])
    scheduled.plan_patches(released.worker)
    released.run_jobs()
    assert {entry["source_versions"][0]: entry["reason"] for entry in plan(released, "v6")}["v2"] == "built"
    refused(released.call("GET", "/v1/admin/models/m/versions/v9/patches/plan"), 404, "not_found", "version")


def test_planning_without_changes_does_not_increment_the_epoch(released):
    scheduled.plan_patches(released.worker)
    before = rows(released, "select value from serving_epoch")
    scheduled.plan_patches(released.worker)
    assert rows(released, "select value from serving_epoch") == before


def test_a_version_gets_at_most_the_configured_number_of_patches(released):
    for number in range(1, 3):
        enroll(released, f"d{number}").poll(f"v{number}")
    flush(released)
    with released.worker_with(settings=released.settings.model_copy(update={"max_patches_per_version": 4})):
        scheduled.plan_patches(released.worker)
    assert sum(target == sha256(weights(6)) for _, target, _ in states(released)) == 4


def age(live, **interval):
    write(live, "update patches set finished_at = finished_at - make_interval(days => :days)", **interval)


def retired(live):
    return {(source, target) for source, target, state in states(live) if state == "retired"}


def test_unused_patches_are_retired_and_their_bytes_deleted_later(released):
    enroll(released, "d1").poll("v5")
    flush(released)
    age(released, days=2)
    gone = (sha256(weights(1)), sha256(weights(2)))
    scheduled.plan_patches(released.worker)
    assert gone in retired(released)
    assert not any(target == sha256(weights(6)) for _, target in retired(released))
    assert not any(source == sha256(weights(5)) for source, _ in retired(released))
    (patch,) = rows(
        released,
        "select * from patches where source_sha256 = :a and target_sha256 = :b",
        a=gone[0],
        b=gone[1],
    )
    key = blob_key(patch["sha256"])
    assert released.worker.blobs.size(key)
    write(released, "update patches set retired_at = retired_at - interval '3 days'")
    scheduled.plan_patches(released.worker)
    assert released.worker.blobs.size(key) is None
    assert rows(released, "select sha256 from patches where id = :id", id=patch["id"]) == [{"sha256": None}]


def test_a_patch_that_an_open_attempt_may_use_is_kept(live):
    for number in range(1, 4):
        publish(live, f"v{number}", weights(number))
    roll_out(live, "r", "v2")
    attempt = enroll(live, "d1").poll("v1", accepts=FORMS)["attempt_id"]
    # After its check-in is written, the version that it runs would keep the patch too.
    flush(live)
    write(live, "delete from installations")
    write(live, "update rollouts set state = 'cancelled'")
    age(live, days=2)
    scheduled.plan_patches(live.worker)
    assert (sha256(weights(1)), sha256(weights(2))) not in retired(live)
    write(live, "update attempts set closed_at = now(), state = 'failed' where id = :id", id=attempt)
    scheduled.plan_patches(live.worker)
    assert (sha256(weights(1)), sha256(weights(2))) in retired(live)


def test_a_retired_patch_is_built_again_on_request(live):
    for number in range(1, 4):
        publish(live, f"v{number}", weights(number))
    age(live, days=2)
    scheduled.plan_patches(live.worker)
    pair = (sha256(weights(1)), sha256(weights(2)))
    assert pair in retired(live)
    cohort(live)
    ok(create_rollout(live, "r", "v2"))
    ok(act(live, "r", "start"))
    enroll(live, "d1").poll("v1", accepts=FORMS)
    ask_for_more(live)
    live.run_jobs()
    assert pair not in retired(live)
    assert (*pair, "ready") in states(live)


def test_old_patch_requests_are_deleted(released):
    enroll(released, "d1").poll("v1", accepts=FORMS)
    ask_for_more(released)
    assert len(rows(released, "select * from patch_requests")) == 1
    with database.transaction(released.engine) as session:
        later = datetime.now(UTC) + timedelta(days=2)
        planning.request_planned(session, released.worker.notifier, limit=0, now=later)
    assert rows(released, "select * from patch_requests") == []
