"""Update windows, holdouts and barriers, as devices and operators see them."""

from datetime import UTC, datetime, timedelta

import pytest

from service.domain.targeting.buckets import bucket
from tests.service.support import actors
from tests.service.support.actors import (
    act,
    cohort,
    create_rollout,
    enroll,
    explain,
    ok,
    poll_and_explain,
    publish,
    refused,
    roll_out,
    set_up_once,
)

DATA = b"weights of windows and barriers"


@pytest.fixture
@set_up_once
def v1(live):
    """A service with one published version."""
    publish(live, "v1", DATA)


def daily_window(start, duration_min):
    """Update windows that open once a day, in UTC."""
    end = start + timedelta(minutes=duration_min)
    return {"zone": "UTC", "daily": [{"start": f"{start:%H:%M}", "end": f"{end:%H:%M}"}]}


def test_outside_a_window_the_next_poll_is_scheduled_for_its_opening(live, v1):
    soon = datetime.now(UTC) + timedelta(minutes=20)
    roll_out(live, "r", "v1", policy={"windows": daily_window(soon, 120)})
    device = enroll(live)
    response = poll_and_explain(live, device)
    assert (response["reason"], response["action"]) == ("outside_window", "none")
    assert 18 * 60 < response["next_poll_s"] <= 3600
    window = explain(live, device)["rollouts"][0]["window"]
    assert (window["open"], window["zone"]) == (False, "UTC")
    assert window["next_opening"].startswith(f"{soon:%Y-%m-%dT%H:%M}")


def test_a_window_can_use_the_time_zone_of_the_device(live, v1):
    now = datetime.now(UTC)
    shanghai = now + timedelta(hours=8) - timedelta(minutes=30)
    roll_out(live, "r", "v1", policy={"windows": daily_window(shanghai, 60) | {"zone": "device"}})
    assert poll_and_explain(live, enroll(live, "here"), attributes={"timezone": "Asia/Shanghai"})[
        "need_update"
    ]
    assert poll_and_explain(live, enroll(live, "also"), attributes={"utc_offset_min": 480})["need_update"]
    without_zone = enroll(live, "abroad")
    assert poll_and_explain(live, without_zone)["reason"] == "outside_window"
    assert explain(live, without_zone)["rollouts"][0]["window"]["source"] == "unknown, so UTC"


def test_an_invalid_window_is_refused_with_the_path_of_the_field(live, v1):
    cohort(live)
    for windows, field in [
        ({"zone": "Mars/Olympus", "daily": [{"start": "01:00", "end": "02:00"}]}, "policy.windows.zone"),
        ({"daily": [{"start": "01:00", "end": "01:00"}]}, "policy.windows.daily.0.end"),
        ({"daily": [{"start": "01:00", "end": "02:00", "days": [9]}]}, "policy.windows.daily.0.days"),
    ]:
        refused(create_rollout(live, "r", "v1", policy={"windows": windows}), 422, "invalid_policy", field)


def test_the_holdout_is_offered_nothing_even_after_the_rollout_is_completed(live, v1):
    roll_out(live, "r", "v1", policy={"holdout_percent": 50})
    salt = actors.rows(live, "select salt from rollouts")[0]["salt"]
    names = [f"h{number}" for number in range(40)]
    excluded = next(name for name in names if bucket(salt, name) >= 5000)
    included = next(name for name in names if bucket(salt, name) < 5000)
    control, treatment = enroll(live, excluded), enroll(live, included)
    assert poll_and_explain(live, control)["reason"] == "in_holdout"
    assert poll_and_explain(live, treatment)["need_update"]
    ok(act(live, "r", "promote", "enough"))
    assert actors.rollout(live, "r")["state"] == "completed"
    assert poll_and_explain(live, control)["reason"] == "in_holdout"
    trace = explain(live, control)["rollouts"][0]
    assert (trace["in_holdout"], trace["holdout_percent"]) == (True, 50)


def test_devices_install_a_barrier_before_newer_versions(live):
    publish(live, "v1", DATA + b"1")
    assert publish(live, "v2", DATA + b"2", barrier=True)["barrier"]
    publish(live, "v3", DATA + b"3")
    roll_out(live, "newest", "v3")
    device = enroll(live)
    assert poll_and_explain(live, device, current_version="v1")["reason"] == "behind_barrier"
    assert explain(live, device)["rollouts"][0]["barrier"] == "v2"
    roll_out(live, "step", "v2", priority=-1)
    assert poll_and_explain(live, device, current_version="v1")["target_version"] == "v2"
    assert poll_and_explain(live, device, current_version="v2")["target_version"] == "v3"


def test_a_published_version_cannot_be_redeclared_without_its_barrier(live):
    publish(live, "v1", DATA, barrier=True)
    body = actors.version_body("v1", actors.component(DATA, "backbone"))
    refused(actors.declare(live, body), 409, "version_exists")
    assert ok(actors.declare(live, body | {"barrier": True}))["barrier"]
