"""The configuration document: export, apply, dry run and prune."""

from typing import Any

import pytest

from tests.service.support import actors
from tests.service.support.actors import act, cohort, ok, publish, refused, rollout, set_up_once, stage

DOCUMENT: dict[str, list[dict[str, Any]]] = {
    "models": [{"name": "m", "description": "the phone's"}],
    "cohorts": [
        # Its rule uses the next cohort: the server must find the order.
        {"name": "beta", "rule": {"all": [{"cohort": "cn"}, {"attr": "ram_mb", "gte": 8192}]}},
        {"name": "cn", "rule": {"attr": "region", "eq": "cn-east"}, "description": "at home"},
        {"name": "testers", "devices": ["d1", "d2"]},
    ],
    "templates": [{"name": "careful", "stages": [stage("beta", 10), stage("beta", 100)]}],
    "webhooks": [{"name": "ops", "url": "https://hooks.example.com/x", "event_types": ["rollout.halt"]}],
    "rollouts": [{"name": "r", "model": "m", "version": "v1", "template": "careful", "priority": 3}],
}


@pytest.fixture
@set_up_once
def published(live):
    publish(live, "v1", b"weights of the configuration")


def apply(live, document, scope="release-manager", **query):
    parameters = "&".join(f"{key}={value}" for key, value in query.items())
    return live.call("PUT", f"/v1/admin/config?{parameters}", document, scope)


def export(live, query=""):
    return ok(live.call("GET", f"/v1/admin/config{query}", scope="release-manager"))


def actions(outcome):
    return {f"{c['section']}/{c['name']}": c["action"] for c in outcome["changes"]}


def test_applying_a_document_creates_its_resources_and_repeating_it_changes_nothing(published):
    applied = ok(apply(published, DOCUMENT))
    assert actions(applied) == {
        "models/m": "update",
        "cohorts/cn": "create",
        "cohorts/beta": "create",
        "cohorts/testers": "create",
        "templates/careful": "create",
        "webhooks/ops": "create",
        "rollouts/r": "create",
    }
    assert applied["secrets"]["ops"].startswith("whsec_")
    shown = rollout(published, "r")
    assert (shown["state"], shown["priority"], len(shown["stages"])) == ("draft", 3, 2)
    before = actors.rows(published, "select count(*) from audit_log")
    again = ok(apply(published, DOCUMENT))
    assert set(actions(again).values()) == {"unchanged"}
    assert (again["secrets"], again["etag"]) == ({}, applied["etag"])
    assert actors.rows(published, "select count(*) from audit_log") == before


def test_an_exported_document_can_be_applied_without_changes(published):
    ok(apply(published, DOCUMENT))
    exported = export(published, "?include_device_ids=true")
    assert exported["cohorts"][2] == {"name": "testers", "devices": ["d1", "d2"]}
    assert "secret" not in str(exported)
    again = ok(apply(published, exported, prune="true"))
    assert set(actions(again).values()) == {"unchanged"}
    assert export(published, "?include_device_ids=true") == exported
    assert "devices" not in str(export(published)["cohorts"])


def test_a_dry_run_returns_the_same_changes_without_making_them(published):
    before = export(published)
    dry_run_result = ok(apply(published, DOCUMENT, dry_run="true"))
    assert export(published) == before
    assert dry_run_result["secrets"] == {}
    assert actors.rows(published, "select * from webhook_deliveries") == []
    assert dry_run_result["changes"] == ok(apply(published, DOCUMENT))["changes"]


def test_changes_are_listed_field_by_field(published):
    ok(apply(published, DOCUMENT))
    changed = {
        "cohorts": [
            {"name": "testers", "devices": ["d1", "d3"]},
            {"name": "cn", "rule": {}, "description": "at home"},
        ],
        "rollouts": [{"name": "r", "model": "m", "version": "v1", "stages": [stage("cn", 20)]}],
    }
    outcome = ok(apply(published, changed))
    changes = {
        f"{c['section']}/{c['name']}": {d["path"]: (d["before"], d["after"]) for d in c["differences"]}
        for c in outcome["changes"]
    }
    assert changes["cohorts/testers"] == {"devices": ("2 others listed", "2 listed")}
    assert changes["cohorts/cn"] == {"rule.attr": ("region", None), "rule.eq": ("cn-east", None)}
    assert changes["rollouts/r"]["stages.0.percent"] == (10.0, 20.0)
    assert changes["rollouts/r"]["priority"] == (3, 0)
    assert [s["cohort"] for s in rollout(published, "r")["stages"]] == ["cn"]
    assert [event["kind"] for event in rollout(published, "r")["history"]] == ["create", "update"]


def test_a_stored_draft_without_default_values_is_unchanged(published):
    ok(apply(published, DOCUMENT))
    actors.write(published, "update stages set advance_when = '{}'")
    assert set(actions(ok(apply(published, DOCUMENT))).values()) == {"unchanged"}


def test_a_changed_draft_keeps_its_salt(published):
    ok(apply(published, DOCUMENT))
    salt = actors.rows(published, "select salt from rollouts")
    ok(apply(published, {"rollouts": [DOCUMENT["rollouts"][0] | {"priority": 9}]}))
    assert actors.rows(published, "select salt from rollouts") == salt


@pytest.mark.parametrize(
    ("section", "entry", "code", "at"),
    [
        (
            "cohorts",
            {"name": "bad", "rule": {"all": [{"attr": "x", "about": 1}]}},
            "invalid_rule",
            "rule.all.0",
        ),
        ("cohorts", {"name": "bad", "rule": {"cohort": "nobody"}}, "invalid_rule", "rule.cohort"),
        ("cohorts", {"name": "Bad Name"}, "invalid", "name"),
        ("cohorts", {"name": "beta"}, "invalid", "name"),
        ("templates", {"name": "bad", "stages": [stage("beta", 101)]}, "invalid_stages", "stages.0.percent"),
        ("webhooks", {"name": "bad", "url": "http://10.0.0.1/"}, "invalid_webhook", "url"),
        (
            "webhooks",
            {"name": "bad", "url": "https://a.example/", "event_types": ["x"]},
            "invalid_webhook",
            "event_types.0",
        ),
        (
            "rollouts",
            {"name": "bad", "model": "m", "version": "v9", "stages": [stage("beta")]},
            "not_found",
            "version",
        ),
        (
            "rollouts",
            {"name": "bad", "model": "m", "version": "v1", "template": "none"},
            "not_found",
            "template",
        ),
        ("rollouts", {"name": "bad", "model": "m", "version": "v1"}, "invalid_stages", "stages"),
    ],
)
def test_an_invalid_document_changes_nothing_and_the_error_has_the_path(published, section, entry, code, at):
    before = export(published)
    document = DOCUMENT | {section: [*DOCUMENT[section], entry]}
    place = f"{section}.{len(DOCUMENT[section])}.{at}"
    status = 404 if code == "not_found" else 422
    refused(apply(published, document), status, code, place)
    assert export(published) == before


def test_a_started_rollout_is_skipped(published):
    ok(apply(published, DOCUMENT))
    ok(act(published, "r", "start"))
    outcome = ok(apply(published, {"rollouts": [DOCUMENT["rollouts"][0] | {"priority": 9}]}, prune="true"))
    (kept,) = outcome["changes"]
    assert (kept["action"], kept["differences"][0]["path"]) == ("skipped", "priority")
    assert "running" in kept["reason"]
    assert rollout(published, "r")["priority"] == 3
    assert ok(apply(published, DOCUMENT))["changes"][-1]["action"] == "unchanged"


def test_prune_deletes_missing_resources_that_are_not_in_use(published):
    ok(apply(published, DOCUMENT))
    cohort(published, "old", {"cohort": "cn"})
    ok(act(published, "r", "start"))
    ok(actors.create_rollout(published, "draft", "v1", stage("testers")))
    rest = {"models": [], "cohorts": [{"name": "testers"}], "templates": [], "webhooks": [], "rollouts": []}
    outcome = ok(apply(published, rest, prune="true"))
    assert actions(outcome) == {
        "cohorts/testers": "unchanged",
        "rollouts/draft": "delete",
        "templates/careful": "delete",
        "webhooks/ops": "delete",
        "cohorts/old": "delete",
        "cohorts/beta": "skipped",
        "cohorts/cn": "skipped",
    }
    assert rollout(published, "draft")["state"] == "cancelled"
    assert [c["name"] for c in export(published)["cohorts"]] == ["beta", "cn", "testers"]
    assert export(published)["models"] == [{"name": "m", "description": "the phone's"}]


def test_prune_ignores_omitted_sections(published):
    ok(apply(published, DOCUMENT))
    assert ok(apply(published, {"webhooks": []}, prune="true"))["changes"] == [
        {"section": "webhooks", "name": "ops", "action": "delete", "differences": [], "reason": ""}
    ]
    assert len(export(published)["cohorts"]) == 3


def test_a_document_with_an_old_etag_is_refused(published):
    headers = {"Authorization": f"Bearer {published.tokens['release-manager']}"}
    etag = published.client.get("/v1/admin/config", headers=headers).headers["etag"]
    cohort(published, "meanwhile")
    late = published.client.put("/v1/admin/config", json=DOCUMENT, headers=headers | {"If-Match": etag})
    refused(late, 412, "config_changed")
    fresh = published.client.get("/v1/admin/config", headers=headers).headers["etag"]
    ok(published.client.put("/v1/admin/config", json=DOCUMENT, headers=headers | {"If-Match": fresh}))


def test_only_release_managers_may_export_and_apply(published):
    # URLs of webhooks may contain tokens.
    refused(published.call("GET", "/v1/admin/config", scope="viewer"), 403, "forbidden")
    refused(apply(published, DOCUMENT, "publisher"), 403, "forbidden")
    refused(apply(published, DOCUMENT, "viewer", dry_run="true"), 403, "forbidden")
    refused(apply(published, {"cohort": []}), 422, "invalid", "cohort")
