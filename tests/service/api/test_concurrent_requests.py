"""Identical requests at the same time: one succeeds, the others get the same result or a retryable conflict."""

from concurrent.futures import ThreadPoolExecutor

from tests.service.support import actors
from tests.service.support.actors import Device, component, ok, publish, version_body

DATA = b"weights of the collisions"


def concurrently(call, times=8):
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: call(), range(times)))


def status_codes(responses):
    return {response.status_code for response in responses}


def test_concurrent_enrollments_of_one_device_enroll_it_once(live):
    device = Device(live)
    responses = concurrently(device.enroll)
    assert status_codes(responses) <= {201, 409}
    for response in responses:
        if response.status_code == 409:
            actors.refused(response, 409, "conflict")
            assert response.json()["retryable"]
    assert ok(device.enroll())["status"] == "accepted"
    assert actors.rows(live, "select uses from enrollment_tokens")[0]["uses"] == 1


def test_an_enrollment_token_for_three_uses_enrolls_three_of_nine_concurrent_devices(live):
    made = ok(live.call("POST", "/v1/admin/enrollment-tokens", {"name": "three", "max_uses": 3}))
    devices = [Device(live, f"d{n}") for n in range(9)]
    with ThreadPoolExecutor(9) as pool:
        responses = list(pool.map(lambda device: device.enroll(made["token"]), devices))
    assert sorted(response.status_code for response in responses) == [201] * 3 + [401] * 6


def test_concurrent_declarations_and_submissions_create_one_version(live):
    body = version_body("v1", component(DATA))
    responses = concurrently(lambda: actors.declare(live, body))
    assert status_codes(responses) == {201}
    assert len({response.json()["counter"] for response in responses}) == 1
    actors.upload_file(live, DATA)
    assert status_codes(concurrently(lambda: actors.submit(live, "v1"))) == {200}
    assert len(actors.rows(live, "select 1 from jobs")) == 1


def test_concurrent_starts_and_completions_use_one_upload(live):
    ok(actors.declare(live, version_body("v1", component(DATA))))
    begun = concurrently(lambda: actors.start_upload(live, DATA))
    assert len({upload["upload_id"] for upload in begun}) == 1
    actors.send_parts(live, begun[0], DATA, [1])
    assert status_codes(concurrently(lambda: actors.complete(live, begun[0]))) == {204}


def test_one_of_several_concurrent_requests_gets_a_name(live):
    publish(live, "v1", DATA)
    assert status_codes(concurrently(lambda: live.call("PUT", "/v1/admin/cohorts/c", {"rule": {}}))) <= {
        200,
        409,
    }
    responses = concurrently(lambda: actors.create_rollout(live, "r", "v1", actors.stage("c")))
    assert sorted(response.status_code for response in responses) == [201] + [409] * 7
    token = {"name": "t", "scope": "viewer"}
    responses = concurrently(lambda: live.call("POST", "/v1/admin/tokens", token))
    assert sorted(response.status_code for response in responses) == [201] + [409] * 7


def test_concurrent_starts_start_a_rollout_once(live):
    publish(live, "v1", DATA)
    actors.cohort(live)
    ok(actors.create_rollout(live, "r", "v1"))
    responses = concurrently(lambda: live.call("POST", "/v1/admin/rollouts/r/start", {}))
    assert sorted(response.status_code for response in responses) == [200] + [409] * 7
    kinds = [event["kind"] for event in actors.rollout(live, "r")["history"]]
    assert kinds == ["create", "start"]


def test_a_halt_during_concurrent_polls_leaves_no_attempt_open(live):
    publish(live, "v1", DATA)
    actors.roll_out(live, "r", "v1")
    devices = [actors.enroll(live, f"d{n}") for n in range(12)]
    with ThreadPoolExecutor(13) as pool:
        polls = [pool.submit(device.poll) for device in devices]
        halt = pool.submit(live.call, "POST", "/v1/admin/rollouts/r/halt", {"reason": "seen enough"})
        responses = [poll.result() for poll in polls]
        ok(halt.result())
    assert actors.rows(live, "select 1 from attempts where closed_at is null") == []
    found = actors.rollout(live, "r")["stages"]
    offered = sum(response["need_update"] for response in responses)
    outcomes = found[0]["outcomes"] or {"offered": 0, "withdrawn": 0}
    assert (outcomes["offered"], outcomes["withdrawn"]) == (offered, offered)
