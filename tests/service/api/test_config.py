import pytest

from tests.service.support import actors
from tests.service.support.actors import act, cohort, ok, publish, refused, rollout, set_up_once, stage

DOCUMENT = {
    "models": [{"name": "m", "description": "the phone's"}],
    "cohorts": [
        # Named before what its rule names: the server finds the order.
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
def ready(live):
    publish(live, "v1", b"weights of the configuration")


def put(live, document, scope="release-manager", **query):
    words = "&".join(f"{key}={value}" for key, value in query.items())
    return live.call("PUT", f"/v1/admin/config?{words}", document, scope)


def get(live, query=""):
    return ok(live.call("GET", f"/v1/admin/config{query}", scope="release-manager"))


def actions(outcome):
    return {f"{c['section']}/{c['name']}": c["action"] for c in outcome["changes"]}


def test_a_document_makes_everything_it_names_and_again_changes_nothing(ready):
    made = ok(put(ready, DOCUMENT))
    assert actions(made) == {
        "models/m": "update",
        "cohorts/cn": "create",
        "cohorts/beta": "create",
        "cohorts/testers": "create",
        "templates/careful": "create",
        "webhooks/ops": "create",
        "rollouts/r": "create",
    }
    assert made["secrets"]["ops"].startswith("whsec_")
    shown = rollout(ready, "r")
    assert (shown["state"], shown["priority"], len(shown["stages"])) == ("draft", 3, 2)
    before = actors.rows(ready, "select count(*) from audit_log")
    again = ok(put(ready, DOCUMENT))
    assert set(actions(again).values()) == {"unchanged"}
    assert (again["secrets"], again["etag"]) == ({}, made["etag"])
    assert actors.rows(ready, "select count(*) from audit_log") == before


def test_what_is_exported_is_what_can_be_handed_in(ready):
    ok(put(ready, DOCUMENT))
    exported = get(ready, "?lists=true")
    assert exported["cohorts"][2] == {"name": "testers", "devices": ["d1", "d2"]}
    assert "secret" not in str(exported)
    again = ok(put(ready, exported, prune="true"))
    assert set(actions(again).values()) == {"unchanged"}
    assert get(ready, "?lists=true") == exported
    assert "devices" not in str(get(ready)["cohorts"])


def test_a_trial_says_the_same_and_changes_nothing(ready):
    before = get(ready)
    trial = ok(put(ready, DOCUMENT, dry_run="true"))
    assert get(ready) == before
    assert trial["secrets"] == {}
    assert actors.rows(ready, "select * from webhook_deliveries") == []
    assert trial["changes"] == ok(put(ready, DOCUMENT))["changes"]


def test_a_change_is_shown_place_by_place(ready):
    ok(put(ready, DOCUMENT))
    changed = {
        "cohorts": [
            {"name": "testers", "devices": ["d1", "d3"]},
            {"name": "cn", "rule": {}, "description": "at home"},
        ],
        "rollouts": [{"name": "r", "model": "m", "version": "v1", "stages": [stage("cn", 20)]}],
    }
    outcome = ok(put(ready, changed))
    found = {
        f"{c['section']}/{c['name']}": {d["path"]: (d["before"], d["after"]) for d in c["differences"]}
        for c in outcome["changes"]
    }
    assert found["cohorts/testers"] == {"devices": ("2 others listed", "2 listed")}
    assert found["cohorts/cn"] == {"rule.attr": ("region", None), "rule.eq": ("cn-east", None)}
    assert found["rollouts/r"]["stages.0.percent"] == (10.0, 20.0)
    assert found["rollouts/r"]["priority"] == (3, 0)
    assert [s["cohort"] for s in rollout(ready, "r")["stages"]] == ["cn"]
    assert [event["kind"] for event in rollout(ready, "r")["history"]] == ["create", "update"]


def test_a_draft_of_an_older_release_that_means_the_same_is_unchanged(ready):
    ok(put(ready, DOCUMENT))
    actors.write(ready, "update stages set advance_when = '{}'")
    assert set(actions(ok(put(ready, DOCUMENT))).values()) == {"unchanged"}


def test_a_draft_that_is_changed_keeps_the_devices_of_its_first_stage(ready):
    ok(put(ready, DOCUMENT))
    salt = actors.rows(ready, "select salt from rollouts")
    ok(put(ready, {"rollouts": [DOCUMENT["rollouts"][0] | {"priority": 9}]}))
    assert actors.rows(ready, "select salt from rollouts") == salt


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
def test_a_bad_document_changes_nothing_and_names_the_place(ready, section, entry, code, at):
    before = get(ready)
    document = DOCUMENT | {section: [*DOCUMENT[section], entry]}
    place = f"{section}.{len(DOCUMENT[section])}.{at}"
    status = 404 if code == "not_found" else 422
    refused(put(ready, document), status, code, place)
    assert get(ready) == before


def test_a_rollout_that_has_started_is_only_looked_at(ready):
    ok(put(ready, DOCUMENT))
    ok(act(ready, "r", "start"))
    outcome = ok(put(ready, {"rollouts": [DOCUMENT["rollouts"][0] | {"priority": 9}]}, prune="true"))
    (kept,) = outcome["changes"]
    assert (kept["action"], kept["differences"][0]["path"]) == ("skipped", "priority")
    assert "running" in kept["reason"]
    assert rollout(ready, "r")["priority"] == 3
    assert ok(put(ready, DOCUMENT))["changes"][-1]["action"] == "unchanged"


def test_pruning_removes_what_is_not_named_as_far_as_nothing_needs_it(ready):
    ok(put(ready, DOCUMENT))
    cohort(ready, "old", {"cohort": "cn"})
    ok(act(ready, "r", "start"))
    ok(actors.create_rollout(ready, "draft", "v1", stage("testers")))
    rest = {"models": [], "cohorts": [{"name": "testers"}], "templates": [], "webhooks": [], "rollouts": []}
    outcome = ok(put(ready, rest, prune="true"))
    assert actions(outcome) == {
        "cohorts/testers": "unchanged",
        "rollouts/draft": "delete",
        "templates/careful": "delete",
        "webhooks/ops": "delete",
        "cohorts/old": "delete",
        "cohorts/beta": "skipped",
        "cohorts/cn": "skipped",
    }
    assert rollout(ready, "draft")["state"] == "cancelled"
    assert [c["name"] for c in get(ready)["cohorts"]] == ["beta", "cn", "testers"]
    assert get(ready)["models"] == [{"name": "m", "description": "the phone's"}]


def test_a_section_that_is_left_out_is_left_alone_even_when_pruning(ready):
    ok(put(ready, DOCUMENT))
    assert ok(put(ready, {"webhooks": []}, prune="true"))["changes"] == [
        {"section": "webhooks", "name": "ops", "action": "delete", "differences": [], "reason": ""}
    ]
    assert len(get(ready)["cohorts"]) == 3


def test_two_people_do_not_overwrite_each_other(ready):
    headers = {"Authorization": f"Bearer {ready.tokens['release-manager']}"}
    seen = ready.client.get("/v1/admin/config", headers=headers).headers["etag"]
    cohort(ready, "meanwhile")
    late = ready.client.put("/v1/admin/config", json=DOCUMENT, headers=headers | {"If-Match": seen})
    refused(late, 412, "config_changed")
    fresh = ready.client.get("/v1/admin/config", headers=headers).headers["etag"]
    ok(ready.client.put("/v1/admin/config", json=DOCUMENT, headers=headers | {"If-Match": fresh}))


def test_who_may_only_look_may_not_hand_a_document_in(ready):
    # There may be tokens in the addresses of webhooks.
    refused(ready.call("GET", "/v1/admin/config", scope="viewer"), 403, "forbidden")
    refused(put(ready, DOCUMENT, "publisher"), 403, "forbidden")
    refused(put(ready, DOCUMENT, "viewer", dry_run="true"), 403, "forbidden")
    refused(put(ready, {"cohort": []}), 422, "invalid", "cohort")
