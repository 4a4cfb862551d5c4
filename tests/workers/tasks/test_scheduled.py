from datetime import UTC, datetime, timedelta

import pytest

from service.infrastructure import database
from service.infrastructure.blobs import BlobStoreError, S3BlobStore
from tests.service.support import actors
from tests.service.support.actors import enroll, ok, publish, roll_out
from workers.tasks import scheduled

DATA = b"some weights"


def waiting_version(live):
    """A version whose ingest job is queued."""
    ok(actors.declare(live, actors.version_body("v1", actors.component(DATA))))
    actors.upload_file(live, DATA)
    ok(actors.submit(live, "v1"))


class RecordingNotifier:
    def __init__(self):
        self.notified = []

    def notify(self, job_id, kind):
        self.notified.append(kind)


def test_the_sweep_notifies_again_for_a_lost_message_once_per_pause(live):
    waiting_version(live)
    notifier = RecordingNotifier()
    with live.worker_with(notifier=notifier):
        scheduled.sweep(live.worker)
        scheduled.sweep(live.worker)
    assert notifier.notified == ["ingest_version"]


def test_a_version_whose_workers_all_died_is_rejected_with_a_reason(live):
    waiting_version(live)
    actors.write(
        live, "update jobs set state = 'running', attempts = 3, lease_until = now() - interval '1 minute'"
    )
    live.run_scheduled_tasks()
    found = actors.version(live, "v1")
    assert (found["state"], found["problem"]["code"]) == ("rejected", "worker_lost")
    ok(actors.submit(live, "v1"))
    live.run_jobs()
    assert actors.version(live, "v1")["state"] == "ready"


def test_a_job_whose_worker_died_twice_is_tried_again(live):
    waiting_version(live)
    actors.write(
        live, "update jobs set state = 'running', attempts = 2, lease_until = now() - interval '1 minute'"
    )
    notifier = RecordingNotifier()
    with live.worker_with(notifier=notifier):
        scheduled.sweep(live.worker)
    assert notifier.notified == ["ingest_version"]
    assert actors.version(live, "v1")["state"] == "ingesting"


def test_an_unreachable_object_store_does_not_delay_jobs_and_leases(live):
    publish(live, "v0", DATA)
    roll_out(live, "r", "v0")
    enroll(live).poll()
    data = DATA + b"2"
    ok(actors.declare(live, actors.version_body("v1", actors.component(data))))
    actors.start_upload(live, data)
    actors.write(live, "update uploads set created_at = now() - interval '9 days'")
    actors.write(live, "update attempts set lease_until = now() - interval '1 second'")
    unreachable = S3BlobStore(live.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    with (
        live.worker_with(blobs=unreachable),
        pytest.raises(
            BlobStoreError, match="store_unavailable: the object store failed: EndpointConnectionError"
        ),
    ):
        scheduled.sweep(live.worker)
    assert actors.rollout(live, "r")["stages"][0]["outcomes"]["timed_out"] == 1
    assert len(actors.rows(live, "select 1 from uploads")) == 1
    scheduled.sweep(live.worker)
    assert actors.rows(live, "select 1 from uploads") == []


def test_an_abandoned_upload_is_aborted_and_can_be_started_again(live):
    ok(actors.declare(live, actors.version_body("v1", actors.component(DATA))))
    first = actors.start_upload(live, DATA)
    actors.write(live, "update uploads set created_at = now() - interval '9 days'")
    scheduled.sweep(live.worker)
    assert actors.start_upload(live, DATA)["upload_id"] != first["upload_id"]
    assert publish(live, "v1", DATA)["state"] == "ready"


def test_the_sweep_creates_the_event_partitions_of_the_coming_days(live):
    query = "select inhrelid::regclass::text as part from pg_inherits where inhparent = 'events'::regclass"
    actors.write(live, f"drop table events_{datetime.now(UTC) + timedelta(days=3):%Y%m%d}")
    scheduled.sweep(live.worker)
    parts = {row["part"] for row in actors.rows(live, query)}
    for days in range(1, scheduled.PARTITIONS_AHEAD):
        assert f"events_{datetime.now(UTC) + timedelta(days=days):%Y%m%d}" in parts


def test_events_without_a_partition_are_stored_and_do_not_stop_the_sweep(live):
    day = datetime.now(UTC) + timedelta(days=3)
    actors.write(live, f"drop table events_{day:%Y%m%d}")
    device = enroll(live)
    device.report(device.event(None, "metrics") | {"event_id": actors.event_id(day.timestamp())})
    scheduled.sweep(live.worker)
    assert len(actors.rows(live, "select 1 from events_default")) == 1


def test_only_one_sweep_and_one_evaluation_run_at_a_time(live):
    """The second run finds the lock taken and returns."""
    publish(live, "v1", DATA)
    actors.cohort(live)
    roll_out(live, "r", "v1", actors.stage(advance_when={"reports": 0}))
    with database.transaction(live.engine) as session:
        assert database.try_advisory_lock(session, scheduled._ROLLOUTS_LOCK)
        assert database.try_advisory_lock(session, scheduled._SWEEP_LOCK)
        scheduled.evaluate_rollouts(live.worker)
        scheduled.sweep(live.worker)
    assert actors.rollout(live, "r")["state"] == "running"
    scheduled.evaluate_rollouts(live.worker)
    assert actors.rollout(live, "r")["state"] == "completed"
