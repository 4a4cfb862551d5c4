from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.errors import NotFound, WrongState
from service.infrastructure import database
from service.infrastructure.jobs import INGEST_VERSION
from service.operations.platform import jobs
from service.store.platform.jobs import JobRow
from tests.service.support.actors import notifier_without_broker

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=90)


class RecordingNotifier:
    """Records the jobs that it is asked to notify of."""

    def __init__(self):
        self.notified = []

    def notify(self, job_id, kind):
        self.notified.append((job_id, kind))


@pytest.fixture
def notifier():
    return RecordingNotifier()


@pytest.fixture
def job(engine, notifier):
    return enqueue(engine, notifier)


def enqueue(engine, notifier, key="ingest_version:1", args=None):
    with database.transaction(engine) as session:
        made = jobs.enqueue(session, notifier, INGEST_VERSION, key, args or {"version_id": 1})
        session.get_one(JobRow, made).run_after = NOW
    return made


def enqueue_and_fail(engine, notifier):
    with database.transaction(engine) as session:
        jobs.enqueue(session, notifier, INGEST_VERSION, "other", {})
        raise LookupError


def claim(engine, job, owner="a", now=NOW):
    with database.transaction(engine) as session:
        row = jobs.claim(session, job, owner=owner, now=now, lease=LEASE)
        return row.fence if row else None


def complete(engine, job, fence, now=NOW):
    with database.transaction(engine) as session:
        return jobs.complete(session, job, fence, now=now)


def fail(engine, job, fence, now=NOW, *, retryable=True):
    with database.transaction(engine) as session:
        return jobs.fail(session, job, fence, now=now, error={"code": "x"}, retryable=retryable)


def sweep(engine, notifier, now):
    with database.transaction(engine) as session:
        return jobs.sweep(session, notifier, now=now)


def row_of(engine, job):
    with database.read_only(engine) as session:
        return session.get(JobRow, job)


def test_a_worker_is_notified_after_the_commit_and_not_after_a_rollback(engine, notifier):
    with database.transaction(engine) as session:
        job = jobs.enqueue(session, notifier, INGEST_VERSION, "k", {})
        assert notifier.notified == []
    assert notifier.notified == [(job, INGEST_VERSION)]
    with pytest.raises(LookupError):
        enqueue_and_fail(engine, notifier)
    assert len(notifier.notified) == 1


def test_a_key_has_one_job_while_it_is_queued_or_running(engine, notifier, job):
    assert enqueue(engine, notifier) == job
    assert claim(engine, job) == 1
    assert enqueue(engine, notifier) == job
    assert row_of(engine, job).state == "running"


def test_a_finished_job_starts_again_when_it_is_enqueued_again(engine, notifier, job):
    complete(engine, job, claim(engine, job))
    assert enqueue(engine, notifier, args={"version_id": 2}) == job
    row = row_of(engine, job)
    assert (row.state, row.attempts, row.finished_at, row.args) == ("queued", 0, None, {"version_id": 2})


def test_a_job_survives_an_unavailable_broker(engine, notifier):
    job = enqueue(engine, notifier_without_broker())
    assert sweep(engine, notifier, NOW + timedelta(seconds=1)) == []
    assert notifier.notified == [(job, INGEST_VERSION)]


def test_a_repeated_notification_does_not_claim_the_job_again(engine, job):
    assert claim(engine, job, "a") == 1
    assert claim(engine, job, "b") is None
    assert complete(engine, job, 1)
    assert claim(engine, job, "b") is None
    assert claim(engine, uuid4()) is None


def test_a_worker_with_an_old_fence_changes_nothing(engine, job):
    late = NOW + LEASE + timedelta(seconds=1)
    stale = claim(engine, job, "a")
    current = claim(engine, job, "b", late)
    assert (stale, current) == (1, 2)
    assert not complete(engine, job, stale, late)
    assert not fail(engine, job, stale, late)
    with database.transaction(engine) as session:
        assert not jobs.renew(session, job, stale, until=late + LEASE, progress={"done": 9})
    row = row_of(engine, job)
    assert (row.state, row.owner, row.progress) == ("running", "b", {})
    assert complete(engine, job, current, late)
    assert not fail(engine, job, current, late)
    assert row_of(engine, job).state == "done"


def test_renewing_the_lease_keeps_the_job(engine, job):
    fence = claim(engine, job)
    later = NOW + LEASE - timedelta(seconds=1)
    with database.transaction(engine) as session:
        assert jobs.renew(session, job, fence, until=later + LEASE, progress={"done": 1, "total": 2})
    assert claim(engine, job, "b", NOW + LEASE + timedelta(seconds=1)) is None
    assert row_of(engine, job).progress == {"done": 1, "total": 2}


def test_a_failed_job_is_retried_with_growing_pauses_and_is_dead_after_the_last_attempt(
    engine, notifier, job
):
    now = NOW
    for pause in jobs.BACKOFF:
        assert not fail(engine, job, claim(engine, job, now=now), now)
        assert claim(engine, job, now=now + pause - timedelta(seconds=1)) is None
        assert sweep(engine, notifier, now + pause - timedelta(seconds=1)) == []
        now += pause * (1 + jobs.JITTER)
    assert fail(engine, job, claim(engine, job, now=now), now)
    row = row_of(engine, job)
    assert (row.state, row.attempts, row.error, row.finished_at) == ("dead", 3, {"code": "x"}, now)
    assert sweep(engine, notifier, now + timedelta(days=1)) == []


def test_a_failure_that_is_not_retryable_makes_the_job_dead(engine, job):
    assert fail(engine, job, claim(engine, job), retryable=False)
    assert row_of(engine, job).state == "dead"


def test_the_sweep_notifies_of_lost_and_orphaned_jobs_only(engine, notifier):
    lost, orphan, busy, done = (enqueue(engine, RecordingNotifier(), f"k{n}") for n in range(4))
    claim(engine, orphan)
    later = NOW + LEASE + timedelta(seconds=1)
    claim(engine, busy, now=later)
    complete(engine, done, claim(engine, done))
    assert sweep(engine, notifier, later) == []
    assert {job for job, _ in notifier.notified} == {lost, orphan}
    notifier.notified.clear()
    sweep(engine, notifier, later + jobs.RENOTIFY_AFTER - timedelta(seconds=1))
    assert {job for job, _ in notifier.notified} == {orphan}


def test_concurrent_sweeps_do_not_wait_for_each_other(engine, notifier, job):
    later = NOW + timedelta(seconds=1)
    notifier.notified.clear()
    with database.transaction(engine) as first, database.transaction(engine) as second:
        jobs.sweep(first, notifier, now=later)
        assert jobs.sweep(second, notifier, now=later) == []
    assert notifier.notified == [(job, INGEST_VERSION)]


def test_a_job_is_dead_after_its_worker_was_lost_three_times(engine, notifier, job):
    now = NOW
    for _ in range(jobs.max_attempts(INGEST_VERSION)):
        assert sweep(engine, notifier, now) == []
        assert claim(engine, job, now=now) is not None
        now += LEASE + timedelta(seconds=1)
    dead = sweep(engine, notifier, now)
    assert [(one.kind, one.args, one.problem["code"]) for one in dead] == [
        (INGEST_VERSION, {"version_id": 1}, "worker_lost")
    ]
    assert claim(engine, job, now=now) is None


def test_a_late_notification_does_not_start_a_fourth_attempt(engine, job):
    now = NOW
    for _ in range(jobs.max_attempts(INGEST_VERSION)):
        assert claim(engine, job, now=now) is not None
        now += LEASE + timedelta(seconds=1)
    assert claim(engine, job, now=now) is None


def test_only_a_dead_job_can_be_queued_again(engine, notifier, job):
    with (
        database.transaction(engine) as session,
        pytest.raises(
            WrongState, match="wrong_state: this job is queued; only dead jobs can be queued again"
        ),
    ):
        jobs.requeue(session, notifier, job, now=NOW)
    with (
        database.transaction(engine) as session,
        pytest.raises(NotFound, match="not_found: there is no job"),
    ):
        jobs.requeue(session, notifier, uuid4(), now=NOW)
    fail(engine, job, claim(engine, job), retryable=False)
    notifier.notified.clear()
    with database.transaction(engine) as session:
        jobs.requeue(session, notifier, job, now=NOW)
    assert notifier.notified == [(job, INGEST_VERSION)]
    assert claim(engine, job) == 2
    assert row_of(engine, job).attempts == 1


def test_jobs_are_listed_by_state(engine, notifier, job):
    other = enqueue(engine, notifier, "other")
    claim(engine, other)
    with database.read_only(engine) as session:
        assert [row.id for row in jobs.list_all(session, state="queued")] == [job]
        assert {row.id for row in jobs.list_all(session, state=None)} == {job, other}
