from datetime import UTC, datetime, timedelta

import pytest

from service.infrastructure import database
from service.operations.rollouts import templates
from service.operations.rollouts.templates import TemplateDeclaration
from tests.service.support.actors import (
    cohort,
    create_rollout,
    ok,
    publish,
    refused,
    rollout,
    set_up_once,
    stage,
)

CAREFUL = {
    "stages": [
        {"cohort": "internal", "percent": 100, "advance_when": {"minutes": 60, "reports": 20}},
        {"cohort": "everyone", "percent": 10, "gates": [{"metric": "failure_rate", "max": 0.02}]},
        {"cohort": "everyone", "percent": 100},
    ],
    "priority": 5,
    "policy": {"pacing": {"max_open_downloads": 100}, "holdout_percent": 1},
    "description": "an hour inside, then a tenth",
}


def put(live, name="careful", body=None, scope="release-manager"):
    return live.call("PUT", f"/v1/admin/templates/{name}", CAREFUL if body is None else body, scope)


@pytest.fixture
@set_up_once
def ready(live):
    cohort(live)
    cohort(live, "internal", {"attr": "user_group", "eq": "internal"})
    publish(live, "v1", b"weights of the templates")
    ok(put(live))


def copied(live, name="r", **more):
    body = {"name": name, "model": "m", "version": "v1", "template": "careful"} | more
    return live.call("POST", "/v1/admin/rollouts", body, "release-manager")


def test_a_rollout_takes_omitted_fields_from_its_template(ready):
    made = ok(copied(ready))
    assert [(s["cohort"], s["percent"]) for s in made["stages"]] == [
        ("internal", 100),
        ("everyone", 10),
        ("everyone", 100),
    ]
    assert (
        made["stages"][0]["advance_when"].items() >= {"minutes": 60, "reports": 20, "approval": False}.items()
    )
    assert made["stages"][1]["gates"] == [{"metric": "failure_rate", "max": 0.02}]
    assert (made["priority"], made["policy"]) == (5, CAREFUL["policy"])


def test_the_fields_of_a_rollout_override_its_template(ready):
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = ok(copied(ready, priority=0, policy={"starts_at": later}, stages=[stage("everyone", 50)]))
    assert made["priority"] == 0
    assert [s["percent"] for s in made["stages"]] == [50]
    assert {"starts_at", "pacing", "holdout_percent"} <= made["policy"].keys()


def test_an_unsaved_template_of_the_same_document_takes_precedence(ready):
    unsaved = {"careful": TemplateDeclaration("careful", [], {}, {"priority": 7, "policy": {"approvals": 2}})}
    declared = {"name": "r", "policy": {"activation": "deferred"}}
    with database.read_only(ready.engine) as session:
        completed = templates.complete(session, "careful", declared, unsaved=unsaved)
    assert completed == {
        "name": "r",
        "priority": 7,
        "policy": {"approvals": 2, "activation": "deferred"},
    }


def test_changing_a_template_does_not_change_existing_rollouts(ready):
    ok(copied(ready))
    ok(put(ready, body={"stages": [stage("everyone", 1)]}))
    assert len(rollout(ready, "r")["stages"]) == 3
    ok(ready.call("DELETE", "/v1/admin/templates/careful", scope="release-manager"))
    assert len(rollout(ready, "r")["stages"]) == 3
    refused(copied(ready, "r2"), 404, "not_found", "template")


def test_a_template_is_validated_like_a_rollout(ready):
    shrinking = {"stages": [stage("everyone", 10), stage("everyone", 5)]}
    refused(put(ready, body=shrinking), 422, "invalid_stages", "stages.1.percent")
    refused(put(ready, body={"stages": []}), 422, "invalid_stages", "stages")
    refused(put(ready, body={"stages": [stage("nobody")]}), 404, "not_found", "stages.0.cohort")
    absurd = {"stages": [stage()], "policy": {"holdout_percent": 101}}
    refused(put(ready, body=absurd), 422, "invalid_policy", "policy.holdout_percent")
    wrong = {"stages": [stage("everyone", 5, gates=[{"metric": "failure_rate", "max": 7}])]}
    assert refused(put(ready, body=wrong), 422, "invalid_gate")["field"].startswith("stages.0.gates.0")
    refused(put(ready, body={"stages": [stage()], "model": "m"}), 422, "invalid", "model")


def test_a_rollout_with_neither_stages_nor_template_is_refused(ready):
    body = {"name": "r", "model": "m", "version": "v1"}
    refused(
        ready.call("POST", "/v1/admin/rollouts", body, "release-manager"), 422, "invalid_stages", "stages"
    )


def test_a_cohort_that_a_template_uses_cannot_be_deleted(ready):
    refused(ready.call("DELETE", "/v1/admin/cohorts/internal", scope="release-manager"), 409, "still_in_use")
    ok(put(ready, body={"stages": [stage("everyone")]}))
    ok(ready.call("DELETE", "/v1/admin/cohorts/internal", scope="release-manager"))


def test_templates_are_listed_by_name_and_changed_by_release_managers_only(ready):
    ok(put(ready, "bold", {"stages": [stage()]}))
    assert [t["name"] for t in ok(ready.call("GET", "/v1/admin/templates", scope="viewer"))] == [
        "bold",
        "careful",
    ]
    refused(put(ready, scope="publisher"), 403, "forbidden")
    shown = ok(ready.call("GET", "/v1/admin/templates/careful", scope="viewer"))
    assert shown["description"] == CAREFUL["description"]
    assert shown["body"]["stages"] == [
        {"cohort": "internal", "percent": 100.0, "advance_when": {"minutes": 60.0, "reports": 20}},
        {"cohort": "everyone", "percent": 10.0, "gates": [{"metric": "failure_rate", "max": 0.02}]},
        {"cohort": "everyone", "percent": 100.0},
    ]


def test_a_rollout_without_a_template_is_unaffected(ready):
    assert ok(create_rollout(ready, "plain", "v1"))["policy"] == {}
