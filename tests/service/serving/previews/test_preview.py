"""Previews of rollouts, compared with the decisions of polls."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import database
from service.domain.fleet.preview import fully_opened
from service.domain.polling.decisions import DecisionTime, DeviceContext
from service.domain.polling.offers import decide
from service.operations.rollouts import drafts
from service.serving.polls.explainer import PATCH_FORMATS
from service.serving.snapshots.loader import rollout_view
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
    set_up_once,
    stage,
    write,
)

OLD, NEW = b"weights of the old one" * 500, b"weights of the new one" * 500


def preview(live, body, devices=100):
    return live.call("POST", f"/v1/admin/rollouts/preview?devices={devices}", body, "viewer")


def body(label="v2", *stages, name="r", **more):
    return {"name": name, "model": "m", "version": label, "stages": list(stages or [stage()])} | more


def fleet(live, *devices):
    """Devices that have polled: (id, version, attributes), and optionally a dict of further columns."""
    for name, version, attributes, *more in devices:
        columns = {"status": "accepted", "admin": {}, "models": None} | (more[0] if more else {})
        write(
            live,
            "insert into devices (id, status, attributes, admin_attributes, models, seen_at)"
            " values (:id, :status, cast(:a as jsonb), cast(:b as jsonb), :models, now())",
            id=name,
            status=columns["status"],
            a=json.dumps(attributes),
            b=json.dumps(columns["admin"]),
            models=columns["models"],
        )
        write(
            live,
            "insert into installations (device_id, model, version, seen_at) values (:id, 'm', :version, now())",
            id=name,
            version=version,
        )


@pytest.fixture
@set_up_once
def released(live):
    """v1, v2, and a patch between them."""
    publish(live, "v1", OLD)
    publish(live, "v2", NEW)
    cohort(live)


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
    assert (first["devices"], first["paths"], first["running"]) == (3, {"patch": 3}, {"v1": 3})
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


VALUES = st.one_of(
    st.integers(-3, 12), st.sampled_from([0.5, 8.0, "eu", "us", "5.2.0", "6.0.0", "x", "", "8", True, False])
)
NAMES = ["region", "ram", "app", "flag"]
ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
DEVICES = st.lists(
    st.tuples(
        st.sampled_from([None, "v1", "v2", "v9"]),
        ATTRIBUTES,
        st.fixed_dictionaries(
            {
                "status": st.sampled_from(["accepted", "accepted", "accepted", "suspended"]),
                "admin": st.one_of(st.just({}), ATTRIBUTES),
                "models": st.sampled_from([None, None, ["m"], ["other"]]),
            }
        ),
    ),
    min_size=5,
    max_size=60,
)
LEAVES = st.one_of(
    st.builds(lambda n, v: {"attr": n, "eq": v}, st.sampled_from(NAMES), VALUES),
    st.builds(lambda n, v: {"attr": n, "ne": v}, st.sampled_from(NAMES), VALUES),
    st.builds(
        lambda n, v: {"attr": n, "in": v}, st.sampled_from(NAMES), st.lists(VALUES, min_size=1, max_size=3)
    ),
    st.builds(
        lambda n, o, v: {"attr": n, o: v},
        st.sampled_from(["ram", "app"]),
        st.sampled_from(["gte", "lte", "gt", "lt"]),
        st.sampled_from([0, 4, 8, 8.5]),
    ),
    st.builds(lambda v: {"attr": "app", "semver": v}, st.sampled_from([">=5.2", "<6"])),
    st.builds(lambda n, v: {"attr": n, "exists": v}, st.sampled_from(NAMES), st.booleans()),
    st.builds(lambda v: {"attr": "region", "prefix": v}, st.sampled_from(["e", "u"])),
    st.just({"cohort": "listed"}),
    st.just({}),
)
RULES = st.recursive(
    LEAVES,
    lambda children: st.one_of(
        st.builds(lambda c: {"all": c}, st.lists(children, min_size=1, max_size=3)),
        st.builds(lambda c: {"any": c}, st.lists(children, min_size=1, max_size=3)),
        st.builds(lambda c: {"not": c}, children),
    ),
    max_leaves=5,
)
STAGES = st.lists(st.tuples(RULES, st.sampled_from([0.5, 5, 30, 70, 100])), min_size=1, max_size=3)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(devices=DEVICES, stages=STAGES, listed=st.sets(st.integers(0, 59), max_size=20))
def test_a_preview_reaches_the_devices_that_polls_reach(released, devices, stages, listed):
    """Compared with `offers.decide` for every single device, with all its attributes."""
    write(released, "delete from devices")
    fleet(released, *((f"d{n:02}", *device) for n, device in enumerate(devices)))
    cohort(released, "listed", devices=[f"d{n:02}" for n in sorted(listed)])
    for n, (rule, _) in enumerate(stages):
        cohort(released, f"c{n}", rule)
    request = body("v2", *(stage(f"c{n}", percent) for n, (_, percent) in enumerate(stages)))
    found = ok(preview(released, request))
    expected = [decide_poll(released, f"d{n:02}", device, request) for n, device in enumerate(devices)]
    for place, shown in enumerate(found["stages"]):
        assert shown["devices"] == sum(stage_index == place for stage_index, _ in expected)
    assert found["devices"] == [f"d{n:02}" for n, (place, _) in enumerate(expected) if place == 0]
    reasons = [reason for place, reason in expected if place is None]
    assert found["fleet"]["excluded"] == {reason: reasons.count(reason) for reason in set(reasons)}


def decide_poll(live, name, device, request):
    """(Stage that offers a device the version, or None; reason of the decision)."""
    version, attributes, more = device
    if more["models"] not in (None, ["m"]):
        return None, "model_not_served"
    refresh(live)
    snapshot, now = process(live).snapshots.current, datetime.now(UTC)
    with database.read_only(live.engine) as session:
        declared = [drafts.StageDeclaration(item["cohort"], item["percent"]) for item in request["stages"]]
        declaration = drafts.RolloutDeclaration("r", "m", "v2", declared)
        row = drafts.build_row(session, declaration, actor="test", now=now)
    model = snapshot.models["m"]
    rollout = fully_opened(
        rollout_view(row, model.versions["v2"], {n: c.matches for n, c in snapshot.cohorts.items()})
    )
    context = DeviceContext(
        device_id=name,
        attributes={**attributes, **more["admin"]},
        current=version,
        components={},
        wanted_components=None,
        accepts=PATCH_FORMATS,
        blocked_status=None if more["status"] == "accepted" else more["status"],
        supports_deferred_activation=True,
    )
    decision = decide(
        replace(model, rollouts=(rollout,)), context, DecisionTime(now, now - timedelta(minutes=10))
    )
    return (decision.stage, decision.reason) if decision.offered else (None, decision.reason)


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
