import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service import database
from service.operations import jobs
from service.store.jobs import JobRow
from tests.service.actors import deaf_bell
from workers.context import JobLost, Rejected, WorkerContext, run_job

KIND = "ingest_version"


@pytest.fixture
def worker(settings, engine):
    """A worker whose leases are as short as they may be."""
    made = WorkerContext.from_settings(settings.model_copy(update={"job_lease_s": 3}))
    yield made
    made.engine.dispose()


@pytest.fixture
def job(engine):
    with database.transaction(engine) as session:
        made = jobs.enqueue(session, deaf_bell(), KIND, "k", {"version_id": 7})
        session.get(JobRow, made).run_after = datetime.now(UTC) - timedelta(hours=1)
    return made


class Work:
    """A handler that does as it is told, and what is put down when it will never succeed."""

    def __init__(self, act):
        self.act = act
        self.runs = 0
        self.buried = []

    def __call__(self, job):
        self.runs += 1
        self.act(job)

    def bury(self, session, args, problem):
        self.buried.append((args, problem["code"]))
        if self.act is bury_fails:
            raise LookupError

    @property
    def handlers(self):
        return {KIND: (self, self.bury)}


def bury_fails(_job):
    raise Rejected("digest_mismatch", "other bytes", "backbone")


def done(job):
    with job.closing():
        pass


def row_of(engine, job):
    with database.read_only(engine) as session:
        return session.get(JobRow, job)


def steal(engine, job):
    """Somebody else takes the job over, as after a silence."""
    with database.transaction(engine) as session:
        later = datetime.now(UTC) + timedelta(minutes=5)
        assert jobs.claim(session, job, owner="heir", now=later, lease=timedelta(minutes=5))


def test_a_job_is_carried_from_claim_to_end(engine, worker, job):
    seen = []
    work = Work(lambda it: (seen.append((it.id, it.kind, it.args, it.fence)), done(it)))
    run_job(worker, job, work.handlers)
    assert seen == [(job, KIND, {"version_id": 7}, 1)]
    assert row_of(engine, job).state == "done"


def test_doubled_late_and_foreign_bells_end_harmlessly(engine, worker, job):
    work = Work(done)
    for bell in (job, job, uuid4()):
        run_job(worker, bell, work.handlers)
    assert work.runs == 1


def test_the_results_and_the_end_of_a_job_are_one(engine, worker, job):
    def half(it):
        with it.closing() as session:
            session.add(JobRow(id=uuid4(), kind=KIND, key="result", queue="q", args={}))
            raise LookupError("just before the end")

    run_job(worker, job, Work(half).handlers)
    assert row_of(engine, job).state == "queued"
    with database.read_only(engine) as session:
        assert jobs.store.jobs.job_by_key(session, "result") is None


def test_whatever_a_handler_raises_ends_its_job_and_never_the_worker(engine, worker, job):
    def fail(_it):
        raise MemoryError("too big")

    run_job(worker, job, Work(fail).handlers)
    row = row_of(engine, job)
    assert (row.state, row.attempts, row.error["code"]) == ("queued", 1, "internal")
    assert "MemoryError" in row.error["detail"]
    assert row.run_after > datetime.now(UTC)


def test_a_fault_of_the_input_is_buried_at_once(engine, worker, job):
    def fail(_it):
        raise Rejected("digest_mismatch", "other bytes", "backbone")

    work = Work(fail)
    run_job(worker, job, work.handlers)
    assert work.buried == [({"version_id": 7}, "digest_mismatch")]
    assert row_of(engine, job).error == {
        "code": "digest_mismatch",
        "detail": "other bytes",
        "field": "backbone",
    }


def test_the_third_failure_is_the_last(engine, worker, job):
    def fail(_it):
        raise OSError("disk")

    work = Work(fail)
    for _ in range(3):
        assert work.buried == []
        run_job(worker, job, work.handlers)
        with database.transaction(engine) as session:
            session.get(JobRow, job).run_after = datetime.now(UTC) - timedelta(hours=1)
    assert (row_of(engine, job).state, work.buried) == ("dead", [({"version_id": 7}, "internal")])


def test_what_cannot_be_put_down_keeps_its_job_alive(engine, worker, job):
    """Both or neither: else a version would wait for ever for a job that is dead."""
    with pytest.raises(LookupError):
        run_job(worker, job, Work(bury_fails).handlers)
    assert row_of(engine, job).state == "running"


@pytest.mark.parametrize("error", [Rejected("digest_mismatch", "x"), OSError("x"), None])
def test_a_worker_that_has_lost_its_job_changes_nothing(engine, worker, job, error):
    def outlived(it):
        steal(engine, job)
        if error is not None:
            raise error
        done(it)

    work = Work(outlived)
    run_job(worker, job, work.handlers)
    row = row_of(engine, job)
    assert (row.state, row.owner, row.error, work.buried) == ("running", "heir", None, [])


def test_a_heartbeat_renews_the_lease_and_tells_how_far_along_it_is(engine, worker, job):
    leases = []

    def long(it):
        it.report(1, 2)
        first = row_of(engine, job).lease_until
        wait_until(lambda: row_of(engine, job).lease_until > first)
        leases.extend([first, row_of(engine, job).lease_until])
        done(it)

    run_job(worker, job, Work(long).handlers)
    row = row_of(engine, job)
    assert leases[0] < leases[1]
    assert (row.state, row.progress) == ("done", {"done": 1, "total": 2})


def test_a_worker_that_hears_that_its_job_is_gone_stops_working_on_it(engine, worker, job):
    stopped = []

    def endless(it):
        steal(engine, job)
        it.lost.wait(60)
        try:
            it.report(1, 2)
        except JobLost:
            stopped.append(True)
            raise

    run_job(worker, job, Work(endless).handlers)
    assert (stopped, row_of(engine, job).owner) == ([True], "heir")


def test_no_thread_is_left_behind(worker, job):
    run_job(worker, job, Work(done).handlers)
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def wait_until(condition):
    gate = threading.Event()
    for _ in range(400):
        if condition():
            return
        gate.wait(0.05)
    raise AssertionError("it never came")
