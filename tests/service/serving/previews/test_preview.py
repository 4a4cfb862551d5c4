"""Previews of rollouts."""

from tests.service.serving.previews.preview_requests import NEW, body, fleet, preview
from tests.service.support.actors import (
    act,
    cohort,
    create_rollout,
    enroll,
    flush,
    ok,
    publish,
    refresh,
    refused,
    roll_out,
    stage,
)


def test_a_preview_shows_devices_downloads_and_bytes(released):
    fleet(released, *((f"d{n}", "v1", {"region": "eu"}) for n in range(3)))
    fleet(released, ("e", None, {"region": "us"}), ("f", "v2", {"region": "eu"}), ("g", "v9", {}))
    cohort(released, "eu", {"attr": "region", "eq": "eu"})
    found = ok(preview(released, body("v2", stage("eu"), stage("everyone", 100))))
    assert found["fleet"] == {
        "devices": 6,
        "reached": 5,
        "silent": 0,
        "without_attributes": 1,
        "excluded": {"up_to_date": 1},
        "uncounted": 0,
        "never_polled": 0,
    }
    first, second = found["stages"]
    assert (first["devices"], first["paths"], first["current_versions"]) == (3, {"patch": 3}, {"v1": 3})
    assert (second["devices"], second["cumulative_devices"]) == (2, 5)
    assert second["paths"] == {"full": 2}
    assert second["bytes"] == 2 * len(NEW)
    assert found["devices"] == ["d0", "d1", "d2"]
    assert found["download"]["max_bytes"] == len(NEW)
    assert 0 < found["download"]["p50_bytes"] < len(NEW)
    assert found["download"]["peak_memory_bytes"] > 0
    assert [version["version"] for version in found["versions"]] == [None, "v1", "v2", "v9"]


def test_excluded_devices_have_the_reasons_of_polls(released):
    cohort(released, "eu", {"attr": "region", "eq": "eu"})
    fleet(
        released,
        ("a", "v1", {"region": "eu"}),
        ("b", "v1", {"region": "us"}),
        ("c", "v1", {"region": "eu"}, {"status": "suspended"}),
        ("d", "v1", {"region": "eu"}, {"models": ["other"]}),
        ("e", "v1", {"region": "eu"}, {"admin": {"region": "us"}}),
        ("f", "v2", {"region": "eu"}),
    )
    found = ok(preview(released, body("v2", stage("eu"))))
    assert found["fleet"]["excluded"] == {
        "not_in_cohort": 2,
        "suspended": 1,
        "model_not_served": 1,
        "up_to_date": 1,
    }
    assert found["devices"] == ["a"]


def test_devices_that_never_polled_are_counted_apart(released):
    enroll(released, "d1")
    found = ok(preview(released, body()))
    assert (found["fleet"]["devices"], found["fleet"]["never_polled"]) == (0, 1)
    enrolled = enroll(released, "d2")
    enrolled.poll("v1")
    flush(released)
    assert ok(preview(released, body()))["devices"] == ["d2"]


def test_a_rollout_with_higher_priority_takes_its_devices_first(released):
    cohort(released, "eu", {"attr": "region", "eq": "eu"})
    fleet(released, ("a", "v1", {"region": "eu"}), ("b", "v1", {"region": "us"}))
    publish(released, "v3", b"third" * 500)
    roll_out(released, "urgent", "v3", stage("eu"))
    found = ok(preview(released, body()))
    assert found["fleet"]["excluded"] == {"other_rollout": 1}
    assert found["devices"] == ["b"]
    assert ok(preview(released, body(priority=6)))["fleet"]["excluded"] == {}


def test_a_preview_does_not_change_the_snapshot(released):
    device = enroll(released, "d1")
    roll_out(released, "one", "v1")
    assert device.poll()["target_version"] == "v1"
    flush(released)
    assert ok(preview(released, body("v2", priority=9)))["fleet"]["reached"] == 1
    refresh(released)
    assert device.poll()["target_version"] == "v1"


def test_a_draft_is_previewed_by_name_and_keeps_the_salt_of_its_preview(released):
    fleet(released, *((f"d{n}", "v1", {}) for n in range(60)))
    before = ok(preview(released, body("v2", stage(percent=30))))
    created = ok(create_rollout(released, "r", "v2", stage(percent=30)))
    after = ok(preview(released, {"rollout": "r"}))
    assert after == before
    assert ok(preview(released, {"rollout": created["id"]}))["devices"] == before["devices"]
    assert 0 < len(before["devices"]) < 60


def test_a_preview_writes_nothing_to_the_database(released):
    ok(preview(released, body()))
    refused(released.call("GET", "/v1/admin/rollouts/r"), 404, "not_found", "rollout")


def test_a_preview_refuses_what_create_refuses(released):
    refused(preview(released, body("v2", stage(percent=101))), 422, "invalid_stages", "stages.0.percent")
    refused(preview(released, body("v2", stage("absent"))), 404, "not_found", "stages.0.cohort")
    refused(preview(released, body("v9")), 404, "not_found", "version")
    refused(preview(released, body() | {"color": "red"}), 422, "invalid", "color")
    refused(preview(released, {"rollout": "absent"}), 404, "not_found", "rollout")
    refused(preview(released, {"rollout": "r", "name": "r"}), 422, "invalid", "name")
    refused(preview(released, body(), devices=10_001), 422, "invalid", "devices")


def test_a_stage_that_cannot_advance_by_itself_causes_a_warning(released):
    fleet(released, ("a", "v1", {"region": "eu"}))
    found = ok(preview(released, body("v2", stage(advance_when={"reports": 20}))))
    assert found["warnings"] == [
        (
            "stage 1 reaches 1 devices but requires 20 reports, so it will not advance by itself; "
            "lower `reports` or widen the stage"
        )
    ]


def test_a_preview_excludes_the_holdout(released):
    fleet(released, *((f"d{n}", "v1", {}) for n in range(100)))
    found = ok(preview(released, body(policy={"holdout_percent": 30})))
    assert found["fleet"]["reached"] + found["fleet"]["excluded"]["in_holdout"] == 100
    assert found["fleet"]["excluded"]["in_holdout"] > 10


def test_the_listed_devices_of_stage_one_get_the_offer(released):
    devices = [enroll(released, f"d{n}") for n in range(40)]
    for device in devices:
        device.poll("v1")
    flush(released)
    found = ok(preview(released, body("v2", stage(percent=25), stage(percent=100))))
    ok(create_rollout(released, "r", "v2", stage(percent=25), stage(percent=100)))
    ok(act(released, "r", "start"))
    offered = sorted(device.id for device in devices if device.poll("v1")["need_update"])
    assert found["devices"] == offered
    assert 0 < len(offered) < 40
