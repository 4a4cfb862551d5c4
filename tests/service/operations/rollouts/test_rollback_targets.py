"""Mistakes in rollouts: every refusal has a code, a field and a remedy."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.service.support.actors import (
    act,
    cohort,
    create_rollout,
    ok,
    publish,
    refused,
    roll_out,
    set_up_once,
    stage,
    write,
)

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat()

MISTAKES: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("v2", {"policy": {"rollback_to": "v9"}}, "invalid_policy", "policy.rollback_to", "no version 'v9'"),
    ("v2", {"policy": {"rollback_to": "v3"}}, "invalid_policy", "policy.rollback_to", "not older"),
    ("v2", {"policy": {"rollback_to": "v2"}}, "invalid_policy", "policy.rollback_to", "not older"),
    ("v3", {"policy": {"rollback_to": "v1"}}, "invalid_policy", "policy.rollback_to", "floor"),
    ("v1", {"on_breach": "rollback"}, "invalid_policy", "on_breach", "on_breach: halt"),
    ("v4", {"on_breach": "rollback"}, "invalid_policy", "on_breach", "floor"),
    (
        "v1",
        {"policy": {"rollback_to": "factory"}},
        "invalid_policy",
        "policy.rollback_to",
        "no earlier version",
    ),
    ("v2", {"policy": {"starts_at": YESTERDAY}}, "invalid_policy", "policy.starts_at", "has passed"),
    ("v2", {"policy": {"starts_at": "2030-01-01T00:00:00"}}, "invalid", "policy.starts_at", "timezone"),
    ("v2", {"policy": {"holdout_percent": 101}}, "invalid_policy", "policy.holdout_percent", "0 to 50"),
    ("v2", {"policy": {"approvals": -1}}, "invalid", "policy.approvals", "greater"),
    ("v2", {"policy": {"activation": "never"}}, "invalid", "policy.activation", "deferred"),
    ("v2", {"policy": {"aproval": 1}}, "invalid", "policy.aproval", "spelling"),
    ("v2", {"on_breach": "explode"}, "invalid", "on_breach", "rollback"),
    ("v2", {"stages": [stage(percent=101)]}, "invalid_stages", "stages.0.percent", "up to 100"),
    (
        "v2",
        {"stages": [stage(percent=9), stage(percent=5)]},
        "invalid_stages",
        "stages.1.percent",
        "widen",
    ),
]


@pytest.fixture
@set_up_once
def three(live):
    """Four versions; v3 forbids v1, and v4 forbids all others."""
    cohort(live)
    publish(live, "v1", b"first")
    publish(live, "v2", b"second")
    publish(live, "v3", b"third", floor="v2")
    publish(live, "v4", b"fourth")
    write(live, "update versions set floor = counter where label = 'v4'")


def test_an_impossible_rollback_is_refused_with_its_field_and_a_remedy(three):
    for label, declared, code, field, hint in MISTAKES:
        problem = refused(create_rollout(three, "r", label, **declared), 422, code, field)
        assert hint in problem["detail"], problem
    assert ok(three.call("GET", "/v1/admin/rollouts")) == []


def test_a_revoked_version_is_not_a_rollback_target(three):
    write(three, "update versions set state = 'revoked' where label = 'v2'")
    refused(
        create_rollout(three, "r", "v3", policy={"rollback_to": "v2"}),
        422,
        "invalid_policy",
        "policy.rollback_to",
    )
    refused(create_rollout(three, "r", "v3", on_breach="rollback"), 422, "invalid_policy", "on_breach")


def test_irreversible_verbs_need_a_reason(three):
    for priority, verb in enumerate(("halt", "rollback", "promote")):
        roll_out(three, verb, "v2", stage(percent=1), stage(), priority=priority)
        for reason in ("", "  "):
            problem = refused(act(three, verb, verb, reason), 422, "reason_required", "reason")
            assert "--reason" in problem["detail"]
        assert ok(act(three, verb, verb, "lab result"))["reason"] == "lab result"


def test_promoting_a_stage_that_only_waits_for_approval_needs_no_reason(three):
    roll_out(three, "r", "v2", stage(percent=1, advance_when={"reports": 0, "approval": True}), stage())
    assert ok(act(three, "r", "promote"))["stage"] == 1


def test_revoking_a_version_needs_a_reason(three):
    answer = three.call("POST", "/v1/admin/models/m/versions/v1/revoke", {}, "release-manager")
    refused(answer, 422, "reason_required", "reason")


def test_verbs_that_a_rollout_does_not_use_are_refused(three):
    roll_out(three, "r", "v2", stage())
    refused(act(three, "r", "approve"), 409, "wrong_state")
    refused(act(three, "r", "activate"), 409, "wrong_state")
