"""Rollback of a version, from the release manager's request to the devices that leave the version."""

import json

import pytest

from sdk_contract.client import Agent
from tests.service.support.actors import (
    act,
    cohort,
    create_rollout,
    enroll,
    flush,
    ok,
    publish,
    roll_out,
    rollout,
    rows,
    set_up_once,
    stage,
    write,
)
from tests.service.support.live_fleet import Fleet, listening, random_weights, update_when_offered, updated

REASON = "wrong answers"


def released(live, label, name=None, **more):
    """A completed rollout to all devices."""
    roll_out(live, name or f"to-{label}", label, stage(advance_when={"reports": 0}), **more)
    live.run_scheduled_tasks()


@pytest.fixture
@set_up_once
def three(live):
    """Three versions: the first two are released, the third is being rolled out to all devices."""
    cohort(live)
    for number in (1, 2, 3):
        publish(live, f"v{number}", random_weights(number))
    released(live, "v1")
    released(live, "v2")
    roll_out(live, "to-v3", "v3", stage())


def directive_for(device, current, **fields):
    """Action and reason of the signed directive, and the target version."""
    response = device.poll(current, **fields)
    directive = device.directive(response)
    return directive.action, directive.reason, response.get("target_version")


def test_only_devices_on_the_version_are_rolled_back(three):
    on_v3, on_v2 = enroll(three, "d1"), enroll(three, "d2")
    assert on_v2.poll("v2")["target_version"] == "v3"
    assert ok(act(three, "to-v3", "rollback", REASON))["state"] == "rolled_back"
    assert directive_for(on_v3, "v3") == ("rollback", "rollback", "v2")
    assert directive_for(on_v2, "v2")[0] == "none"
    states = {row["state"] for row in rows(three, "select state from attempts where device_id = 'd2'")}
    assert states == {"cancelled"}


def test_a_device_returns_to_the_version_that_it_came_from(three):
    device = enroll(three)
    ok(act(three, "to-v3", "rollback", REASON))
    assert directive_for(device, "v3", previous_version="v1") == ("rollback", "rollback", "v1")
    assert directive_for(device, "v3", previous_version="v3") == ("rollback", "rollback", "v2")
    assert directive_for(device, "v3", previous_version="v99") == ("rollback", "rollback", "v2")


def test_reports_about_rollbacks_are_counted_apart(three):
    first, second, third = (enroll(three, f"d{number}") for number in (1, 2, 3))
    first.finish(first.poll("v2")["attempt_id"], "committed")
    ok(act(three, "to-v3", "rollback", REASON))
    first.finish(first.poll("v3")["attempt_id"], "committed")
    attempt = second.poll("v3")["attempt_id"]
    assert attempt == second.poll("v3")["attempt_id"]
    second.finish(attempt, "failed", code="no_space")
    assert third.poll("v3")["attempt_id"]
    write(three, "update attempts set lease_until = now() - interval '1 second'")
    three.run_scheduled_tasks()
    seen = rollout(three, "to-v3")
    returns = {name: count for name, count in seen["rollback_outcomes"].items() if count}
    assert returns == {"offered": 3, "committed": 1, "failed": 1, "timed_out": 1}
    assert seen["stages"][0]["outcomes"]["committed"] == 1
    assert seen["stages"][0]["outcomes"]["failed"] == 0


def test_the_rollback_target_may_be_a_label_or_the_factory_version(three):
    ok(act(three, "to-v3", "rollback", REASON))
    device = enroll(three)
    write(three, """update rollouts set policy = '{"rollback_to": "v1"}' where name = 'to-v3'""")
    three.run_scheduled_tasks()
    assert directive_for(device, "v3", previous_version="v2")[2] == "v1"
    write(three, """update rollouts set policy = '{"rollback_to": "factory"}' where name = 'to-v3'""")
    three.run_scheduled_tasks()
    assert directive_for(device, "v3", previous_version="v2", factory_version="v1")[2] == "v1"
    assert directive_for(device, "v3", previous_version="v2")[2] == "v2"


def test_a_newer_version_takes_precedence_over_the_rollback(three):
    ok(act(three, "to-v3", "rollback", REASON))
    publish(three, "v4", random_weights(4))
    roll_out(three, "to-v4", "v4", stage())
    assert directive_for(enroll(three), "v3") == ("install", "update", "v4")


def test_a_device_keeps_a_version_that_another_rollout_offers(live):
    cohort(live)
    cohort(live, "internal", devices=["d1"])
    for number in (1, 2):
        publish(live, f"v{number}", random_weights(number))
    roll_out(live, "inside", "v2", stage("internal", advance_when={"reports": 0}))
    live.run_scheduled_tasks()
    roll_out(live, "outside", "v2", stage())
    ok(act(live, "outside", "rollback", REASON))
    assert directive_for(enroll(live, "d1"), "v2")[:2] == ("none", "up_to_date")
    assert directive_for(enroll(live, "d2"), "v2") == ("rollback", "rollback", "v1")


def test_a_halted_or_completed_rollout_can_be_rolled_back(three):
    ok(act(three, "to-v3", "halt", REASON))
    device = enroll(three)
    assert directive_for(device, "v3")[0] == "none"
    assert ok(act(three, "to-v3", "rollback", REASON))["state"] == "rolled_back"
    assert directive_for(device, "v3")[2] == "v2"
    ok(act(three, "to-v2", "rollback", REASON))
    assert directive_for(device, "v3")[2] == "v1"


def test_a_device_without_a_rollback_target_keeps_its_version(live):
    publish(live, "v1", random_weights(1))
    roll_out(live, "r", "v1")
    ok(act(live, "r", "rollback", REASON))
    assert directive_for(enroll(live), "v1") == ("pause", "rollback", None)


def test_why_shows_the_rollback_target_and_its_reason(three):
    device = enroll(three)
    ok(act(three, "to-v3", "pause"))
    device.finish(device.poll("v1")["attempt_id"], "committed")
    ok(act(three, "to-v3", "resume"))
    device.finish(device.poll("v1")["attempt_id"], "committed")
    device.poll("v3")
    flush(three)
    ok(act(three, "to-v3", "rollback", REASON))
    why = ok(three.call("GET", "/v1/admin/devices/d1/why?model=m"))
    assert (why["action"], why["reason"], why["version"]) == ("rollback", "rollback", "v1")


def test_a_disabled_model_rolls_no_device_back(three):
    ok(act(three, "to-v3", "rollback", REASON))
    write(three, "update models set disabled = true")
    three.run_scheduled_tasks()
    assert directive_for(enroll(three), "v3")[:2] == ("pause", "model_disabled")


def test_a_breach_rolls_back_if_the_rollout_says_so(live):
    cohort(live)
    for number in (1, 2):
        publish(live, f"v{number}", random_weights(number))
    gates = [{"metric": "failure_rate", "max": 0.01}]
    ok(
        create_rollout(
            live, "r", "v2", stage(gates=gates, advance_when={"reports": 100}), on_breach="rollback"
        )
    )
    ok(act(live, "r", "start"))
    live.run_jobs()
    live.run_scheduled_tasks()
    assert rollout(live, "r")["state"] == "running"
    updated_device = enroll(live, "updated_device")
    updated_device.finish(updated_device.poll("v1")["attempt_id"], "committed")
    for number in range(4):
        device = enroll(live, f"d{number}")
        device.finish(device.poll("v1")["attempt_id"], "rolled_back", code="crash_loop")
    live.run_scheduled_tasks()
    done = rollout(live, "r")
    assert (done["state"], done["history"][-1]["actor"]) == ("rolled_back", "gates")
    assert directive_for(updated_device, "v2") == ("rollback", "rollback", "v1")


def test_the_reference_client_rolls_back_without_a_download(three, tmp_path):
    with listening(three.settings) as port:
        device = Fleet(three, port, tmp_path).device("d1")
        ok(act(three, "to-v3", "pause"))
        updated(device, "v2")
        ok(act(three, "to-v3", "resume"))
        updated(device, "v3")
        ok(act(three, "to-v3", "rollback", REASON))
        rollback = update_when_offered(device)
        assert (rollback.version, rollback.reason, rollback.bytes_downloaded) == ("v2", "rollback", 0)
        assert device.update().status == "up_to_date"
        assert rollout(three, "to-v3")["rollback_outcomes"]["committed"] == 1


def test_the_reference_client_returns_to_the_factory_version_without_a_download(three, tmp_path):
    factory = tmp_path / "factory"
    factory.mkdir()
    envelope = ok(three.call("GET", "/v1/admin/models/m/versions/v1/manifest"))
    (factory / "manifest.json").write_text(json.dumps(envelope))
    named = rows(three, "select path from components limit 1")[0]["path"]
    (factory / named).write_bytes(random_weights(1))
    with listening(three.settings) as port:
        device = Agent.enroll(
            tmp_path / "d1",
            f"http://127.0.0.1:{port}",
            three.enrollment_token,
            three.trust,
            device_id="d1",
            factory=factory,
        )
        installed = device.installed()
        assert installed is not None
        assert installed.version == "v1"
        ok(act(three, "to-v3", "pause"))
        updated(device, "v2")
        ok(act(three, "to-v3", "resume"))
        updated(device, "v3")
        write(three, """update rollouts set policy = '{"rollback_to": "factory"}' where name = 'to-v3'""")
        ok(act(three, "to-v3", "rollback", REASON))
        rollback = update_when_offered(device)
        assert (rollback.version, rollback.reason, rollback.bytes_downloaded) == ("v1", "rollback", 0)
