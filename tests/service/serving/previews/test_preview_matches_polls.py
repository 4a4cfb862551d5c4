"""Previews compared with the decision on every single device."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.fleet.preview import fully_opened
from service.domain.polling.decisions import DecisionTime, DeviceContext
from service.domain.polling.offers import decide
from service.infrastructure import database
from service.operations.rollouts import drafts
from service.serving.polls.explainer import PATCH_FORMATS
from service.serving.snapshots.loader import rollout_view
from tests.service.serving.previews.preview_requests import body, fleet, preview
from tests.service.support.actors import (
    cohort,
    ok,
    process,
    refresh,
    stage,
    write,
)

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
