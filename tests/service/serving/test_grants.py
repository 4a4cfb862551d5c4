import time
from concurrent.futures import ThreadPoolExecutor

from tests.service import actors
from tests.service.actors import enrol, ok, publish, roll_out

DATA = b"weights of the grants"


def test_a_device_that_asks_many_times_at_once_gets_one_attempt(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    device = enrol(live)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: device.poll(), range(16)))
    assert len({answer["attempt_id"] for answer in answers}) == 1
    assert actors.rollout(live, "r")["stages"][0]["outcomes"]["offered"] == 1


def test_one_device_may_have_an_attempt_per_model(live):
    publish(live, "v1", DATA)
    publish(live, "v1", DATA, model="n")
    roll_out(live, "r", "v1")
    roll_out(live, "s", "v1", model="n")
    device = enrol(live)
    attempts = {device.poll(model=name)["attempt_id"] for name in ("m", "n", "m")}
    assert len(attempts) == 2


def test_known_and_unknown_stopped_and_running_are_told_apart_in_one_batch(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    devices = [enrol(live, f"d{n}") for n in range(6)]
    actors.write(live, "update devices set status = 'suspended' where id = 'd0'")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda device: device.poll(), devices))
    assert [answer["reason"] for answer in answers] == ["suspended"] + ["update"] * 5
    assert ok(live.client.get("/health"))


def test_a_row_that_somebody_holds_for_long_costs_an_offer_and_not_the_whole_queue(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    device = enrol(live)
    with live.engine.connect() as holder:
        holder.exec_driver_sql("select 1 from rollouts for update")
        assert device.poll()["reason"] == "degraded"
        holder.rollback()
    assert device.poll()["need_update"]


def test_an_attempt_that_ends_while_it_is_renewed_is_paid_for_again(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1", policy={"pacing": {"bytes_per_hour": 1000 * len(DATA)}})
    device = enrol(live)
    first = device.poll()["attempt_id"]
    booked = "select coalesce(sum(bytes), 0)::bigint as bytes from pace"
    with live.engine.connect() as holder, ThreadPoolExecutor(1) as pool:
        holder.exec_driver_sql("update attempts set state = 'failed', closed_at = now()")
        waiting = pool.submit(device.poll)
        time.sleep(0.5)
        assert not waiting.done()
        holder.commit()
        second = waiting.result()["attempt_id"]
    assert second not in {first, None}
    assert actors.rows(live, booked)[0]["bytes"] == 2 * len(DATA)
