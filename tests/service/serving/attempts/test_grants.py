"""Granting attempts under concurrency."""

from concurrent.futures import ThreadPoolExecutor

from tests.service.support import actors
from tests.service.support.actors import enroll, ok, publish, roll_out
from tests.waiting import wait_until

DATA = b"weights"


def test_a_device_that_polls_many_times_at_once_gets_one_attempt(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    device = enroll(live)
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: device.poll(), range(16)))
    assert len({response["attempt_id"] for response in responses}) == 1
    assert actors.rollout(live, "r")["stages"][0]["outcomes"]["offered"] == 1


def test_one_device_may_have_an_attempt_per_model(live):
    publish(live, "v1", DATA)
    publish(live, "v1", DATA, model="n")
    roll_out(live, "r", "v1")
    roll_out(live, "s", "v1", model="n")
    device = enroll(live)
    attempts = {device.poll(model=name)["attempt_id"] for name in ("m", "n", "m")}
    assert len(attempts) == 2


def test_one_batch_distinguishes_unknown_devices_and_stopped_rollouts(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    devices = [enroll(live, f"d{n}") for n in range(6)]
    actors.write(live, "update devices set status = 'suspended' where id = 'd0'")
    with ThreadPoolExecutor(6) as pool:
        responses = list(pool.map(lambda device: device.poll(), devices))
    assert [response["reason"] for response in responses] == ["suspended"] + ["update"] * 5
    assert ok(live.client.get("/health"))


def test_a_long_row_lock_fails_one_batch_and_not_the_queue(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    device = enroll(live)
    with live.engine.connect() as other:
        other.exec_driver_sql("select 1 from rollouts for update")
        assert device.poll()["reason"] == "degraded"
        other.rollback()
    assert device.poll()["need_update"]


LOCK_WAITS = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def test_an_attempt_that_ends_during_its_renewal_is_charged_again(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1", policy={"pacing": {"max_bytes_per_hour": 1000 * len(DATA)}})
    device = enroll(live)
    first = device.poll()["attempt_id"]
    charged = "select coalesce(sum(bytes), 0)::bigint as bytes from bandwidth_usage"
    with live.engine.connect() as other, ThreadPoolExecutor(1) as pool:
        other.exec_driver_sql("update attempts set state = 'failed', closed_at = now()")
        waiting = pool.submit(device.poll)
        wait_until(lambda: actors.rows(live, LOCK_WAITS), "the renewal to wait for the row")
        assert not waiting.done()
        other.commit()
        second = waiting.result()["attempt_id"]
    assert second not in {first, None}
    assert actors.rows(live, charged)[0]["bytes"] == 2 * len(DATA)
