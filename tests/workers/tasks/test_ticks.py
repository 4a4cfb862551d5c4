from datetime import UTC, datetime, timedelta

import pytest

from service import database
from service.blobs import S3BlobStore, StoreError
from tests.service import actors
from tests.service.actors import enrol, ok, publish, roll_out
from workers.tasks import ticks

DATA = b"weights of the ticks"


def waiting_version(live):
    """A version whose ingest job is queued."""
    ok(actors.declare(live, actors.version_body("v1", actors.component(DATA))))
    actors.bring(live, DATA)
    ok(actors.submit(live, "v1"))


class Bell:
    def __init__(self):
        self.rung = []

    def ring(self, job_id, kind):
        self.rung.append(kind)


def test_a_lost_bell_is_rung_again(live):
    waiting_version(live)
    bell = Bell()
    with live.worker_with(bell=bell):
        ticks.sweep(live.worker)
        ticks.sweep(live.worker)
    assert bell.rung == ["ingest_version"]


def test_a_version_whose_workers_all_died_is_rejected_and_says_so(live):
    waiting_version(live)
    actors.write(
        live, "update jobs set state = 'running', attempts = 3, lease_until = now() - interval '1 minute'"
    )
    live.run_ticks()
    found = actors.version(live, "v1")
    assert (found["state"], found["problem"]["code"]) == ("rejected", "worker_lost")
    ok(actors.submit(live, "v1"))
    live.run_jobs()
    assert actors.version(live, "v1")["state"] == "ready"


def test_a_worker_that_died_twice_is_replaced(live):
    waiting_version(live)
    actors.write(
        live, "update jobs set state = 'running', attempts = 2, lease_until = now() - interval '1 minute'"
    )
    bell = Bell()
    with live.worker_with(bell=bell):
        ticks.sweep(live.worker)
    assert bell.rung == ["ingest_version"]
    assert actors.version(live, "v1")["state"] == "ingesting"


def test_an_object_store_that_is_away_does_not_keep_jobs_and_leases_waiting(live):
    publish(live, "v0", DATA)
    roll_out(live, "r", "v0")
    enrol(live).poll()
    data = DATA + b"2"
    ok(actors.declare(live, actors.version_body("v1", actors.component(data))))
    actors.start_upload(live, data)
    actors.write(live, "update uploads set created_at = now() - interval '9 days'")
    actors.write(live, "update attempts set lease_until = now() - interval '1 second'")
    away = S3BlobStore(live.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    with live.worker_with(blobs=away), pytest.raises(StoreError):
        ticks.sweep(live.worker)
    assert actors.rollout(live, "r")["stages"][0]["outcomes"]["timed_out"] == 1
    assert len(actors.rows(live, "select 1 from uploads")) == 1
    ticks.sweep(live.worker)
    assert actors.rows(live, "select 1 from uploads") == []


def test_an_upload_that_nobody_came_back_for_is_let_go_and_can_begin_anew(live):
    ok(actors.declare(live, actors.version_body("v1", actors.component(DATA))))
    first = actors.start_upload(live, DATA)
    actors.write(live, "update uploads set created_at = now() - interval '9 days'")
    ticks.sweep(live.worker)
    assert actors.start_upload(live, DATA)["upload_id"] != first["upload_id"]
    assert publish(live, "v1", DATA)["state"] == "ready"


def test_the_days_to_come_have_their_partitions(live):
    query = "select inhrelid::regclass::text as part from pg_inherits where inhparent = 'events'::regclass"
    actors.write(live, f"drop table events_{datetime.now(UTC) + timedelta(days=3):%Y%m%d}")
    ticks.sweep(live.worker)
    parts = {row["part"] for row in actors.rows(live, query)}
    for days in range(1, ticks.PARTITIONS_AHEAD):
        assert f"events_{datetime.now(UTC) + timedelta(days=days):%Y%m%d}" in parts


def test_events_of_a_day_without_a_partition_are_kept_and_do_not_stop_the_sweep(live):
    day = datetime.now(UTC) + timedelta(days=3)
    actors.write(live, f"drop table events_{day:%Y%m%d}")
    device = enrol(live)
    device.report(device.event(None, "metrics") | {"event_id": actors.event_id(day.timestamp())})
    ticks.sweep(live.worker)
    assert len(actors.rows(live, "select 1 from events_default")) == 1


def test_two_sweeps_or_evaluations_at_once_are_one(live):
    """The second one finds the lock taken and leaves the work to the first."""
    publish(live, "v1", DATA)
    actors.cohort(live)
    roll_out(live, "r", "v1", actors.stage(hold={"reports": 0}))
    with database.transaction(live.engine) as session:
        assert database.alone(session, ticks._ROLLOUTS_LOCK)
        assert database.alone(session, ticks._SWEEP_LOCK)
        ticks.evaluate_rollouts(live.worker)
        ticks.sweep(live.worker)
    assert actors.rollout(live, "r")["state"] == "running"
    ticks.evaluate_rollouts(live.worker)
    assert actors.rollout(live, "r")["state"] == "completed"
