"""A rolled-back version, from the release manager's call to the devices that leave it."""

import json

import numpy as np
import pytest

from sdk_contract.client import Agent
from tests.service.actors import (
    act,
    cohort,
    create_rollout,
    enrol,
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
from tests.service.test_rotation import Fleet, listening, until, updated

WHY = "it answers in rhymes"


def weights(number):
    return np.random.default_rng(number).integers(0, 256, 100_000, dtype=np.uint8).tobytes()


def released(live, label, name=None, **more):
    """A rollout that has reached everyone."""
    roll_out(live, name or f"to-{label}", label, stage(hold={"reports": 0}), **more)
    live.run_ticks()


@pytest.fixture
@set_up_once
def three(live):
    """Three versions: the first two released, the third on its way to everyone."""
    cohort(live)
    for number in (1, 2, 3):
        publish(live, f"v{number}", weights(number))
    released(live, "v1")
    released(live, "v2")
    roll_out(live, "to-v3", "v3", stage())


def told(device, current, **fields):
    """Action, reason and target that the device is told by a signature."""
    answer = device.poll(current, **fields)
    directive = device.directive(answer)
    return directive.action, directive.reason, answer.get("target_version")


def test_devices_that_run_it_are_ordered_back_and_others_are_left_alone(three):
    bad, old = enrol(three, "d1"), enrol(three, "d2")
    assert old.poll("v2")["target_version"] == "v3"
    assert ok(act(three, "to-v3", "rollback", WHY))["state"] == "rolled_back"
    assert told(bad, "v3") == ("rollback", "rollback", "v2")
    assert told(old, "v2")[0] == "none"
    states = {row["state"] for row in rows(three, "select state from attempts where device_id = 'd2'")}
    assert states == {"cancelled"}


def test_a_device_goes_back_to_where_it_came_from(three):
    device = enrol(three)
    ok(act(three, "to-v3", "rollback", WHY))
    assert told(device, "v3", previous_version="v1") == ("rollback", "rollback", "v1")
    assert told(device, "v3", previous_version="v3") == ("rollback", "rollback", "v2")
    assert told(device, "v3", previous_version="v99") == ("rollback", "rollback", "v2")


def test_what_devices_report_on_their_way_back_is_counted_apart(three):
    first, second, third = (enrol(three, f"d{number}") for number in (1, 2, 3))
    first.finish(first.poll("v2")["attempt_id"], "committed")
    ok(act(three, "to-v3", "rollback", WHY))
    first.finish(first.poll("v3")["attempt_id"], "committed")
    attempt = second.poll("v3")["attempt_id"]
    assert attempt == second.poll("v3")["attempt_id"]
    second.finish(attempt, "failed", code="no_space")
    assert third.poll("v3")["attempt_id"]
    write(three, "update attempts set lease_until = now() - interval '1 second'")
    three.run_ticks()
    seen = rollout(three, "to-v3")
    returns = {name: count for name, count in seen["returns"].items() if count}
    assert returns == {"offered": 3, "committed": 1, "failed": 1, "timed_out": 1}
    assert seen["stages"][0]["outcomes"]["committed"] == 1
    assert seen["stages"][0]["outcomes"]["failed"] == 0


def test_a_label_and_what_shipped_may_be_where_devices_go(three):
    ok(act(three, "to-v3", "rollback", WHY))
    device = enrol(three)
    write(three, """update rollouts set policy = '{"back_to": "v1"}' where name = 'to-v3'""")
    three.run_ticks()
    assert told(device, "v3", previous_version="v2")[2] == "v1"
    write(three, """update rollouts set policy = '{"back_to": "factory"}' where name = 'to-v3'""")
    three.run_ticks()
    assert told(device, "v3", previous_version="v2", factory_version="v1")[2] == "v1"
    assert told(device, "v3", previous_version="v2")[2] == "v2"


def test_a_newer_version_that_mends_it_comes_before_the_way_back(three):
    ok(act(three, "to-v3", "rollback", WHY))
    publish(three, "v4", weights(4))
    roll_out(three, "to-v4", "v4", stage())
    assert told(enrol(three), "v3") == ("install", "update", "v4")


def test_a_device_stays_where_another_rollout_stands_by_the_version(live):
    cohort(live)
    cohort(live, "internal", devices=["d1"])
    for number in (1, 2):
        publish(live, f"v{number}", weights(number))
    roll_out(live, "inside", "v2", stage("internal", hold={"reports": 0}))
    live.run_ticks()
    roll_out(live, "outside", "v2", stage())
    ok(act(live, "outside", "rollback", WHY))
    assert told(enrol(live, "d1"), "v2")[:2] == ("none", "up_to_date")
    assert told(enrol(live, "d2"), "v2") == ("rollback", "rollback", "v1")


def test_after_a_halt_and_after_the_end_it_can_still_be_rolled_back(three):
    ok(act(three, "to-v3", "halt", WHY))
    device = enrol(three)
    assert told(device, "v3")[0] == "none"
    assert ok(act(three, "to-v3", "rollback", WHY))["state"] == "rolled_back"
    assert told(device, "v3")[2] == "v2"
    ok(act(three, "to-v2", "rollback", WHY))
    assert told(device, "v3")[2] == "v1"


def test_without_anything_to_go_back_to_the_device_keeps_what_it_has(live):
    publish(live, "v1", weights(1))
    roll_out(live, "r", "v1")
    ok(act(live, "r", "rollback", WHY))
    assert told(enrol(live), "v1") == ("hold", "rollback", None)


def test_why_says_where_a_device_will_be_brought_back_to_and_why(three):
    device = enrol(three)
    ok(act(three, "to-v3", "pause"))
    device.finish(device.poll("v1")["attempt_id"], "committed")
    ok(act(three, "to-v3", "resume"))
    device.finish(device.poll("v1")["attempt_id"], "committed")
    device.poll("v3")
    flush(three)
    ok(act(three, "to-v3", "rollback", WHY))
    said = ok(three.call("GET", "/v1/admin/devices/d1/why?model=m"))
    assert (said["action"], said["reason"], said["version"]) == ("rollback", "rollback", "v1")


def test_a_killed_model_brings_nobody_back(three):
    ok(act(three, "to-v3", "rollback", WHY))
    write(three, "update models set killed = true")
    three.run_ticks()
    assert told(enrol(three), "v3")[:2] == ("hold", "killed")


def test_a_breach_rolls_back_by_itself_where_it_was_told_to(live):
    cohort(live)
    for number in (1, 2):
        publish(live, f"v{number}", weights(number))
    gates = [{"metric": "failure_rate", "max": 0.01}]
    ok(create_rollout(live, "r", "v2", stage(gates=gates, hold={"reports": 100}), on_breach="rollback"))
    ok(act(live, "r", "start"))
    live.run_jobs()
    live.run_ticks()
    assert rollout(live, "r")["state"] == "running"
    happy = enrol(live, "happy")
    happy.finish(happy.poll("v1")["attempt_id"], "committed")
    for number in range(4):
        device = enrol(live, f"d{number}")
        device.finish(device.poll("v1")["attempt_id"], "rolled_back", code="crash_loop")
    live.run_ticks()
    done = rollout(live, "r")
    assert (done["state"], done["history"][-1]["actor"]) == ("rolled_back", "gates")
    assert told(happy, "v2") == ("rollback", "rollback", "v1")


def test_the_reference_client_goes_back_without_a_byte(three, tmp_path):
    with listening(three.settings) as port:
        device = Fleet(three, port, tmp_path).device("d1")
        ok(act(three, "to-v3", "pause"))
        updated(device, "v2")
        ok(act(three, "to-v3", "resume"))
        updated(device, "v3")
        ok(act(three, "to-v3", "rollback", WHY))
        back = until(lambda: (outcome := device.update()).status == "updated" and outcome)
        assert (back.version, back.reason, back.bytes_downloaded) == ("v2", "rollback", 0)
        assert device.update().status == "up_to_date"
        assert rollout(three, "to-v3")["returns"]["committed"] == 1


def test_the_reference_client_goes_back_to_what_shipped_without_a_byte(three, tmp_path):
    factory = tmp_path / "factory"
    factory.mkdir()
    envelope = ok(three.call("GET", "/v1/admin/models/m/versions/v1/manifest"))
    (factory / "manifest.json").write_text(json.dumps(envelope))
    named = rows(three, "select path from components limit 1")[0]["path"]
    (factory / named).write_bytes(weights(1))
    with listening(three.settings) as port:
        device = Agent.enroll(
            tmp_path / "d1",
            f"http://127.0.0.1:{port}",
            three.enrolment_token,
            three.trust,
            device_id="d1",
            factory=factory,
        )
        assert device.installed().version == "v1"
        ok(act(three, "to-v3", "pause"))
        updated(device, "v2")
        ok(act(three, "to-v3", "resume"))
        updated(device, "v3")
        write(three, """update rollouts set policy = '{"back_to": "factory"}' where name = 'to-v3'""")
        ok(act(three, "to-v3", "rollback", WHY))
        back = until(lambda: (outcome := device.update()).status == "updated" and outcome)
        assert (back.version, back.reason, back.bytes_downloaded) == ("v1", "rollback", 0)
