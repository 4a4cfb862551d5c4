import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import database
from service.domain.decisions import Facts, When
from service.domain.offers import decide
from service.domain.preview import opened
from service.operations import rollouts
from service.serving.inquiry import PATCH_FORMATS
from service.serving.snapshot import rollout_of
from tests.service.actors import (
    act,
    cohort,
    create_rollout,
    enrol,
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


def ask(live, body, devices=100):
    return live.call("POST", f"/v1/admin/rollouts/preview?devices={devices}", body, "viewer")


def body(label="v2", *stages, name="r", **more):
    return {"name": name, "model": "m", "version": label, "stages": list(stages or [stage()])} | more


def fleet(live, *devices):
    """Devices that have asked: (id, version, attributes), more columns as a dict."""
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


def test_a_preview_says_who_gets_it_how_and_how_much(released):
    fleet(released, *((f"d{n}", "v1", {"region": "eu"}) for n in range(3)))
    fleet(released, ("e", None, {"region": "us"}), ("f", "v2", {"region": "eu"}), ("g", "v9", {}))
    cohort(released, "eu", {"attr": "region", "eq": "eu"})
    found = ok(ask(released, body("v2", stage("eu"), stage("everyone", 100))))
    assert found["fleet"] == {
        "devices": 6,
        "reached": 5,
        "silent": 0,
        "bare": 1,
        "left": {"up_to_date": 1},
        "uncounted": 0,
        "strangers": 0,
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


def test_every_no_has_the_polls_own_name(released):
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
    found = ok(ask(released, body("v2", stage("eu"))))
    assert found["fleet"]["left"] == {
        "not_in_cohort": 2,
        "suspended": 1,
        "model_not_served": 1,
        "up_to_date": 1,
    }
    assert found["devices"] == ["a"]


def test_devices_that_never_asked_are_strangers_and_no_part_of_any_stage(released):
    enrol(released, "d1")
    found = ok(ask(released, body()))
    assert (found["fleet"]["devices"], found["fleet"]["strangers"]) == (0, 1)
    enrolled = enrol(released, "d2")
    enrolled.poll("v1")
    flush(released)
    assert ok(ask(released, body()))["devices"] == ["d2"]


def test_a_rollout_that_comes_first_takes_its_devices(released):
    cohort(released, "eu", {"attr": "region", "eq": "eu"})
    fleet(released, ("a", "v1", {"region": "eu"}), ("b", "v1", {"region": "us"}))
    publish(released, "v3", b"third" * 500)
    roll_out(released, "urgent", "v3", stage("eu"))
    found = ok(ask(released, body()))
    assert found["fleet"]["left"] == {"other_rollout": 1}
    assert found["devices"] == ["b"]
    assert ok(ask(released, body(priority=6)))["fleet"]["left"] == {}


def test_a_preview_changes_nothing_of_what_polls_are_answered_from(released):
    device = enrol(released, "d1")
    roll_out(released, "one", "v1")
    assert device.poll()["target_version"] == "v1"
    flush(released)
    assert ok(ask(released, body("v2", priority=9)))["fleet"]["reached"] == 1
    refresh(released)
    assert device.poll()["target_version"] == "v1"


def test_a_draft_is_previewed_by_its_name_and_has_the_salt_that_its_preview_had(released):
    fleet(released, *((f"d{n}", "v1", {}) for n in range(60)))
    before = ok(ask(released, body("v2", stage(percent=30))))
    made = ok(create_rollout(released, "r", "v2", stage(percent=30)))
    after = ok(ask(released, {"rollout": "r"}))
    assert after == before
    assert ok(ask(released, {"rollout": made["id"]}))["devices"] == before["devices"]
    assert 0 < len(before["devices"]) < 60


def test_a_preview_writes_nothing_down(released):
    ok(ask(released, body()))
    refused(released.call("GET", "/v1/admin/rollouts/r"), 404, "not_found", "rollout")


def test_what_create_refuses_a_preview_refuses(released):
    refused(ask(released, body("v2", stage(percent=101))), 422, "invalid_stages", "stages.0.percent")
    refused(ask(released, body("v2", stage("absent"))), 404, "not_found", "stages.0.cohort")
    refused(ask(released, body("v9")), 404, "not_found", "version")
    refused(ask(released, body() | {"colour": "red"}), 422, "invalid", "colour")
    refused(ask(released, {"rollout": "absent"}), 404, "not_found", "rollout")
    refused(ask(released, {"rollout": "r", "name": "r"}), 422, "invalid", "name")
    refused(ask(released, body(), devices=10_001), 422, "invalid", "devices")


def test_a_stage_that_cannot_end_by_itself_is_pointed_at(released):
    fleet(released, ("a", "v1", {"region": "eu"}))
    found = ok(ask(released, body("v2", stage(hold={"reports": 20}))))
    assert found["warnings"] == [
        "stage 1 takes fewer devices (1) than it waits for reports (20): it will not end by itself"
    ]


def test_the_control_group_is_held_back_in_the_preview_too(released):
    fleet(released, *((f"d{n}", "v1", {}) for n in range(100)))
    found = ok(ask(released, body(policy={"holdback_percent": 30})))
    assert found["fleet"]["reached"] + found["fleet"]["left"]["held_back"] == 100
    assert found["fleet"]["left"]["held_back"] > 10


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
def test_the_devices_of_a_preview_are_those_that_polls_decide_for(released, devices, stages, listed):
    """Against `offers.decide`, device by device, with the whole of its attributes."""
    write(released, "delete from devices")
    fleet(released, *((f"d{n:02}", *device) for n, device in enumerate(devices)))
    cohort(released, "listed", devices=[f"d{n:02}" for n in sorted(listed)])
    for n, (rule, _) in enumerate(stages):
        cohort(released, f"c{n}", rule)
    asked = body("v2", *(stage(f"c{n}", percent) for n, (_, percent) in enumerate(stages)))
    found = ok(ask(released, asked))
    expected = [decided(released, f"d{n:02}", device, asked) for n, device in enumerate(devices)]
    for place, shown in enumerate(found["stages"]):
        assert shown["devices"] == sum(stage_taken == place for stage_taken, _ in expected)
    assert found["devices"] == [f"d{n:02}" for n, (place, _) in enumerate(expected) if place == 0]
    reasons = [reason for place, reason in expected if place is None]
    assert found["fleet"]["left"] == {reason: reasons.count(reason) for reason in set(reasons)}


def decided(live, name, device, asked):
    """The stage that takes a device, or None and why."""
    version, attributes, more = device
    if more["models"] not in (None, ["m"]):
        return None, "model_not_served"
    refresh(live)
    snapshot, now = process(live).snapshots.current, datetime.now(UTC)
    with database.read_only(live.engine) as session:
        declared = [rollouts.StageDeclaration(item["cohort"], item["percent"]) for item in asked["stages"]]
        declaration = rollouts.RolloutDeclaration("r", "m", "v2", declared)
        row = rollouts.drafted(session, declaration, actor="test", now=now)
    line = snapshot.lines["m"]
    rollout = opened(
        rollout_of(row, line.versions["v2"], {n: c.matches for n, c in snapshot.cohorts.items()})
    )
    facts = Facts(
        device_id=name,
        attributes={**attributes, **more["admin"]},
        current=version,
        components={},
        modules=None,
        accepts=PATCH_FORMATS,
        blocked=None if more["status"] == "accepted" else more["status"],
        holds=True,
    )
    decision = decide(
        replace(line, rollouts=(rollout,), views={}), facts, When(now, now - timedelta(minutes=10))
    )
    return (decision.stage, decision.reason) if decision.offered else (None, decision.reason)


def test_the_devices_of_stage_one_are_those_that_it_offers_the_version_to(released):
    devices = [enrol(released, f"d{n}") for n in range(40)]
    for device in devices:
        device.poll("v1")
    flush(released)
    found = ok(ask(released, body("v2", stage(percent=25), stage(percent=100))))
    ok(create_rollout(released, "r", "v2", stage(percent=25), stage(percent=100)))
    ok(act(released, "r", "start"))
    offered = sorted(device.id for device in devices if device.poll("v1")["need_update"])
    assert found["devices"] == offered
    assert 0 < len(offered) < 40
