from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service import database
from service.errors import NotFound, WrongState
from service.jobs import INGEST_VERSION
from service.operations import jobs
from service.store.jobs import JobRow
from tests.service.actors import deaf_bell

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=90)


class Bell:
    """Remembers who was rung for."""

    def __init__(self):
        self.rung = []

    def ring(self, job_id, kind):
        self.rung.append((job_id, kind))


@pytest.fixture
def bell():
    return Bell()


@pytest.fixture
def job(engine, bell):
    return enqueue(engine, bell)


def enqueue(engine, bell, key="ingest_version:1", args=None):
    with database.transaction(engine) as session:
        made = jobs.enqueue(session, bell, INGEST_VERSION, key, args or {"version_id": 1})
        session.get(JobRow, made).run_after = NOW
    return made


def enqueue_in_vain(engine, bell):
    with database.transaction(engine) as session:
        jobs.enqueue(session, bell, INGEST_VERSION, "other", {})
        raise LookupError


def claim(engine, job, owner="a", now=NOW):
    with database.transaction(engine) as session:
        row = jobs.claim(session, job, owner=owner, now=now, lease=LEASE)
        return row.fence if row else None


def finish(engine, job, fence, now=NOW):
    with database.transaction(engine) as session:
        return jobs.finish(session, job, fence, now=now)


def fail(engine, job, fence, now=NOW, *, retryable=True):
    with database.transaction(engine) as session:
        return jobs.fail(session, job, fence, now=now, error={"code": "x"}, retryable=retryable)


def sweep(engine, bell, now):
    with database.transaction(engine) as session:
        return jobs.sweep(session, bell, now=now)


def row_of(engine, job):
    with database.read_only(engine) as session:
        return session.get(JobRow, job)


def test_the_bell_rings_after_the_commit_and_only_then(engine, bell):
    with database.transaction(engine) as session:
        job = jobs.enqueue(session, bell, INGEST_VERSION, "k", {})
        assert bell.rung == []
    assert bell.rung == [(job, INGEST_VERSION)]
    with pytest.raises(LookupError):
        enqueue_in_vain(engine, bell)
    assert len(bell.rung) == 1


def test_the_same_work_is_asked_for_once(engine, bell, job):
    assert enqueue(engine, bell) == job
    assert claim(engine, job) == 1
    assert enqueue(engine, bell) == job
    assert row_of(engine, job).state == "running"


def test_work_that_is_done_can_be_asked_for_afresh(engine, bell, job):
    finish(engine, job, claim(engine, job))
    assert enqueue(engine, bell, args={"version_id": 2}) == job
    row = row_of(engine, job)
    assert (row.state, row.attempts, row.finished_at, row.args) == ("queued", 0, None, {"version_id": 2})


def test_a_broker_that_is_away_does_not_lose_the_job(engine, bell):
    job = enqueue(engine, deaf_bell())
    assert sweep(engine, bell, NOW + timedelta(seconds=1)) == []
    assert bell.rung == [(job, INGEST_VERSION)]


def test_a_doubled_bell_finds_the_job_taken(engine, job):
    assert claim(engine, job, "a") == 1
    assert claim(engine, job, "b") is None
    assert finish(engine, job, 1)
    assert claim(engine, job, "b") is None
    assert claim(engine, uuid4()) is None


def test_a_worker_that_was_thought_dead_changes_nothing(engine, job):
    late = NOW + LEASE + timedelta(seconds=1)
    zombie = claim(engine, job, "a")
    heir = claim(engine, job, "b", late)
    assert (zombie, heir) == (1, 2)
    assert not finish(engine, job, zombie, late)
    assert not fail(engine, job, zombie, late)
    with database.transaction(engine) as session:
        assert not jobs.renew(session, job, zombie, until=late + LEASE, progress={"done": 9})
    row = row_of(engine, job)
    assert (row.state, row.owner, row.progress) == ("running", "b", {})
    assert finish(engine, job, heir, late)
    assert not fail(engine, job, heir, late)
    assert row_of(engine, job).state == "done"


def test_a_heartbeat_keeps_the_job(engine, job):
    fence = claim(engine, job)
    later = NOW + LEASE - timedelta(seconds=1)
    with database.transaction(engine) as session:
        assert jobs.renew(session, job, fence, until=later + LEASE, progress={"done": 1, "total": 2})
    assert claim(engine, job, "b", NOW + LEASE + timedelta(seconds=1)) is None
    assert row_of(engine, job).progress == {"done": 1, "total": 2}


def test_a_failure_is_tried_again_after_longer_and_longer_pauses_and_then_given_up(engine, bell, job):
    now = NOW
    for pause in jobs.BACKOFF:
        assert not fail(engine, job, claim(engine, job, now=now), now)
        assert claim(engine, job, now=now + pause - timedelta(seconds=1)) is None
        assert sweep(engine, bell, now + pause - timedelta(seconds=1)) == []
        now += pause * (1 + jobs.JITTER)
    assert fail(engine, job, claim(engine, job, now=now), now)
    row = row_of(engine, job)
    assert (row.state, row.attempts, row.error, row.finished_at) == ("dead", 3, {"code": "x"}, now)
    assert sweep(engine, bell, now + timedelta(days=1)) == []


def test_a_fault_of_the_input_is_not_tried_again(engine, job):
    assert fail(engine, job, claim(engine, job), retryable=False)
    assert row_of(engine, job).state == "dead"


def test_the_sweep_rings_for_lost_bells_and_orphans_and_leaves_the_rest_alone(engine, bell):
    lost, orphan, busy, done = (enqueue(engine, Bell(), f"k{n}") for n in range(4))
    claim(engine, orphan)
    later = NOW + LEASE + timedelta(seconds=1)
    claim(engine, busy, now=later)
    finish(engine, done, claim(engine, done))
    assert sweep(engine, bell, later) == []
    assert {job for job, _ in bell.rung} == {lost, orphan}
    bell.rung.clear()
    sweep(engine, bell, later + jobs.RING_AGAIN_AFTER - timedelta(seconds=1))
    assert {job for job, _ in bell.rung} == {orphan}


def test_two_sweeps_at_once_do_not_wait_for_each_other(engine, bell, job):
    later = NOW + timedelta(seconds=1)
    bell.rung.clear()
    with database.transaction(engine) as first, database.transaction(engine) as second:
        jobs.sweep(first, bell, now=later)
        assert jobs.sweep(second, bell, now=later) == []
    assert bell.rung == [(job, INGEST_VERSION)]


def test_three_deaths_without_a_word_are_enough(engine, bell, job):
    now = NOW
    for _ in range(jobs.max_attempts(INGEST_VERSION)):
        assert sweep(engine, bell, now) == []
        assert claim(engine, job, now=now) is not None
        now += LEASE + timedelta(seconds=1)
    dead = sweep(engine, bell, now)
    assert [(one.kind, one.args, one.problem["code"]) for one in dead] == [
        (INGEST_VERSION, {"version_id": 1}, "worker_lost")
    ]
    assert claim(engine, job, now=now) is None


def test_a_bell_that_comes_late_does_not_give_a_deadly_job_a_fourth_worker(engine, job):
    now = NOW
    for _ in range(jobs.max_attempts(INGEST_VERSION)):
        assert claim(engine, job, now=now) is not None
        now += LEASE + timedelta(seconds=1)
    assert claim(engine, job, now=now) is None


def test_only_a_dead_job_is_given_another_round(engine, bell, job):
    with database.transaction(engine) as session, pytest.raises(WrongState):
        jobs.requeue(session, bell, job, now=NOW)
    with database.transaction(engine) as session, pytest.raises(NotFound):
        jobs.requeue(session, bell, uuid4(), now=NOW)
    fail(engine, job, claim(engine, job), retryable=False)
    bell.rung.clear()
    with database.transaction(engine) as session:
        jobs.requeue(session, bell, job, now=NOW)
    assert bell.rung == [(job, INGEST_VERSION)]
    assert claim(engine, job) == 2
    assert row_of(engine, job).attempts == 1


def test_jobs_are_listed_by_state(engine, bell, job):
    other = enqueue(engine, bell, "other")
    claim(engine, other)
    with database.read_only(engine) as session:
        assert [row.id for row in jobs.list_all(session, state="queued")] == [job]
        assert {row.id for row in jobs.list_all(session, state=None)} == {job, other}
