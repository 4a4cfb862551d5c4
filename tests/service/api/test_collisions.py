"""The same request twice at the same moment: one does it, the other is told, and nobody sees a failure."""

from concurrent.futures import ThreadPoolExecutor

from tests.service.support import actors
from tests.service.support.actors import Device, component, ok, publish, version_body

DATA = b"weights of the collisions"


def together(call, times=8):
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: call(), range(times)))


def statuses(answers):
    return {answer.status_code for answer in answers}


def test_a_device_that_enrolls_many_times_at_once_comes_in_once(live):
    device = Device(live)
    answers = together(device.enroll)
    assert statuses(answers) <= {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            actors.refused(answer, 409, "conflict")
            assert answer.json()["retryable"]
    assert ok(device.enroll())["status"] == "accepted"
    assert actors.rows(live, "select uses from enrollment_tokens")[0]["uses"] == 1


def test_an_enrollment_token_for_three_lets_three_in(live):
    made = ok(live.call("POST", "/v1/admin/enrollment-tokens", {"name": "three", "max_uses": 3}))
    devices = [Device(live, f"d{n}") for n in range(9)]
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda device: device.enroll(made["token"]), devices))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [401] * 6


def test_a_version_that_is_declared_and_submitted_many_times_at_once_is_one(live):
    body = version_body("v1", component(DATA))
    answers = together(lambda: actors.declare(live, body))
    assert statuses(answers) == {201}
    assert len({answer.json()["counter"] for answer in answers}) == 1
    actors.upload_file(live, DATA)
    assert statuses(together(lambda: actors.submit(live, "v1"))) == {200}
    assert len(actors.rows(live, "select 1 from jobs")) == 1


def test_an_upload_that_is_begun_and_completed_many_times_at_once_is_one(live):
    ok(actors.declare(live, version_body("v1", component(DATA))))
    begun = together(lambda: actors.start_upload(live, DATA))
    assert len({upload["upload_id"] for upload in begun}) == 1
    actors.send_parts(live, begun[0], DATA, [1])
    assert statuses(together(lambda: actors.complete(live, begun[0]))) == {204}


def test_a_name_is_taken_by_one_of_those_who_want_it_at_once(live):
    publish(live, "v1", DATA)
    assert statuses(together(lambda: live.call("PUT", "/v1/admin/cohorts/c", {"rule": {}}))) <= {200, 409}
    answers = together(lambda: actors.create_rollout(live, "r", "v1", actors.stage("c")))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    token = {"name": "t", "scope": "viewer"}
    answers = together(lambda: live.call("POST", "/v1/admin/tokens", token))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


def test_a_rollout_is_started_once(live):
    publish(live, "v1", DATA)
    actors.cohort(live)
    ok(actors.create_rollout(live, "r", "v1"))
    answers = together(lambda: live.call("POST", "/v1/admin/rollouts/r/start", {}))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    kinds = [event["kind"] for event in actors.rollout(live, "r")["history"]]
    assert kinds == ["create", "start"]


def test_a_halt_leaves_no_attempt_open_however_many_devices_ask_meanwhile(live):
    publish(live, "v1", DATA)
    actors.roll_out(live, "r", "v1")
    devices = [actors.enroll(live, f"d{n}") for n in range(12)]
    with ThreadPoolExecutor(13) as pool:
        polls = [pool.submit(device.poll) for device in devices]
        halt = pool.submit(live.call, "POST", "/v1/admin/rollouts/r/halt", {"reason": "seen enough"})
        answers = [poll.result() for poll in polls]
        ok(halt.result())
    assert actors.rows(live, "select 1 from attempts where closed_at is null") == []
    found = actors.rollout(live, "r")["stages"]
    offered = sum(answer["need_update"] for answer in answers)
    outcomes = found[0]["outcomes"] or {"offered": 0, "withdrawn": 0}
    assert (outcomes["offered"], outcomes["withdrawn"]) == (offered, offered)
