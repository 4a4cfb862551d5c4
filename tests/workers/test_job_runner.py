import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service import store
from service.infrastructure import database
from service.operations.platform import jobs
from service.store.platform.jobs import JobRow
from tests.service.support.actors import notifier_without_broker
from tests.waiting import wait_until
from workers.context import WorkerContext
from workers.job_runner import InputRejected, LeaseLost, run_job

KIND = "ingest_version"


@pytest.fixture
def worker(settings, engine):
    """A worker with the shortest lease."""
    context = WorkerContext.from_settings(settings.model_copy(update={"job_lease_s": 3}))
    yield context
    context.engine.dispose()


@pytest.fixture
def job(engine):
    with database.transaction(engine) as session:
        made = jobs.enqueue(session, notifier_without_broker(), KIND, "k", {"version_id": 7})
        session.get_one(JobRow, made).run_after = datetime.now(UTC) - timedelta(hours=1)
    return made


class FakeHandler:
    """A handler that calls `act`, and an `on_dead` callback that records its calls."""

    def __init__(self, act):
        self.act = act
        self.runs = 0
        self.dead = []

    def __call__(self, job):
        self.runs += 1
        self.act(job)

    def on_dead(self, session, args, problem):
        self.dead.append((args, problem["code"]))
        if self.act is on_dead_fails:
            raise LookupError

    @property
    def handlers(self):
        return {KIND: (self, self.on_dead)}


def on_dead_fails(_job):
    raise InputRejected("digest_mismatch", "other bytes", "backbone")


def complete(job):
    with job.completion():
        pass


def row_of(engine, job):
    with database.read_only(engine) as session:
        return session.get(JobRow, job)


def steal(engine, job):
    """Another worker claims the job, as after an expired lease."""
    with database.transaction(engine) as session:
        later = datetime.now(UTC) + timedelta(minutes=5)
        assert jobs.claim(session, job, owner="other", now=later, lease=timedelta(minutes=5))


def test_a_job_is_claimed_run_and_marked_done(engine, worker, job):
    seen = []

    def record_and_complete(it):
        seen.append((it.id, it.kind, it.args, it.fence))
        complete(it)

    handler = FakeHandler(record_and_complete)
    run_job(worker, job, handler.handlers)
    assert seen == [(job, KIND, {"version_id": 7}, 1)]
    assert row_of(engine, job).state == "done"


def test_duplicate_late_and_unknown_job_ids_do_nothing(engine, worker, job):
    handler = FakeHandler(complete)
    for job_id in (job, job, uuid4()):
        run_job(worker, job_id, handler.handlers)
    assert handler.runs == 1


def test_results_and_completion_are_one_transaction(engine, worker, job):
    def fail_in_completion(it):
        with it.completion() as session:
            session.add(JobRow(id=uuid4(), kind=KIND, key="result", queue="q", args={}))
            raise LookupError("just before the end")

    run_job(worker, job, FakeHandler(fail_in_completion).handlers)
    assert row_of(engine, job).state == "queued"
    with database.read_only(engine) as session:
        assert store.jobs.job_by_key(session, "result") is None


def test_any_error_of_a_handler_ends_the_job_and_not_the_worker(engine, worker, job):
    def fail(_it):
        raise MemoryError("too big")

    run_job(worker, job, FakeHandler(fail).handlers)
    row = row_of(engine, job)
    assert (row.state, row.attempts, row.error["code"]) == ("queued", 1, "internal")
    assert "MemoryError" in row.error["detail"]
    assert row.run_after > datetime.now(UTC)


def test_a_rejected_input_makes_the_job_dead_at_once(engine, worker, job):
    def fail(_it):
        raise InputRejected("digest_mismatch", "other bytes", "backbone")

    handler = FakeHandler(fail)
    run_job(worker, job, handler.handlers)
    assert handler.dead == [({"version_id": 7}, "digest_mismatch")]
    assert row_of(engine, job).error == {
        "code": "digest_mismatch",
        "detail": "other bytes",
        "field": "backbone",
    }


def test_the_third_failure_makes_the_job_dead(engine, worker, job):
    def fail(_it):
        raise OSError("disk")

    handler = FakeHandler(fail)
    for _ in range(3):
        assert handler.dead == []
        run_job(worker, job, handler.handlers)
        with database.transaction(engine) as session:
            session.get_one(JobRow, job).run_after = datetime.now(UTC) - timedelta(hours=1)
    assert (row_of(engine, job).state, handler.dead) == ("dead", [({"version_id": 7}, "internal")])


def test_a_failing_on_dead_callback_leaves_the_job_running(engine, worker, job):
    """One transaction: otherwise a version would wait forever for a dead job."""
    with pytest.raises(LookupError):
        run_job(worker, job, FakeHandler(on_dead_fails).handlers)
    assert row_of(engine, job).state == "running"


@pytest.mark.parametrize("error", [InputRejected("digest_mismatch", "x"), OSError("x"), None])
def test_a_worker_that_lost_its_lease_changes_nothing(engine, worker, job, error):
    def lose_the_lease(it):
        steal(engine, job)
        if error is not None:
            raise error
        complete(it)

    handler = FakeHandler(lose_the_lease)
    run_job(worker, job, handler.handlers)
    row = row_of(engine, job)
    assert (row.state, row.owner, row.error, handler.dead) == ("running", "other", None, [])


def test_a_heartbeat_renews_the_lease_and_stores_the_progress(engine, worker, job):
    leases = []

    def take_long(it):
        it.report_progress(1, 2)
        first = row_of(engine, job).lease_until
        wait_until(lambda: row_of(engine, job).lease_until > first, "a heartbeat")
        leases.extend([first, row_of(engine, job).lease_until])
        complete(it)

    run_job(worker, job, FakeHandler(take_long).handlers)
    row = row_of(engine, job)
    assert leases[0] < leases[1]
    assert (row.state, row.progress) == ("done", {"done": 1, "total": 2})


def test_reporting_progress_after_the_lease_was_lost_stops_the_handler(engine, worker, job):
    stopped = []

    def run_until_stopped(it):
        steal(engine, job)
        it.lease_lost.wait(60)
        try:
            it.report_progress(1, 2)
        except LeaseLost:
            stopped.append(True)
            raise

    run_job(worker, job, FakeHandler(run_until_stopped).handlers)
    assert (stopped, row_of(engine, job).owner) == ([True], "other")


def test_the_heartbeat_thread_ends_with_the_job(worker, job):
    run_job(worker, job, FakeHandler(complete).handlers)
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]
