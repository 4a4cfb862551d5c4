import base64
import json
from uuid import uuid4

import pytest
import redis
from structlog.testing import capture_logs

from service import jobs
from service.jobs import ALL_QUEUES, QUEUES, RUN_JOB, Bell


@pytest.fixture
def broker(settings):
    url = settings.redis_url.get_secret_value()
    with redis.Redis.from_url(url) as valkey:
        yield valkey


@pytest.mark.parametrize("kind", QUEUES)
def test_a_bell_carries_the_id_of_a_job_to_its_queue_and_nothing_else(settings, broker, kind):
    job = uuid4()
    Bell(jobs.broker(settings.redis_url.get_secret_value())).ring(job, kind)
    message = json.loads(find(broker, QUEUES[kind], str(job)))
    assert message["headers"]["task"] == RUN_JOB
    arguments, _, _ = json.loads(base64.b64decode(message["body"]))
    assert arguments == [str(job)]


def find(broker, queue, job):
    """The message about a job; other tests may ring at the same time."""
    for raw in broker.lrange(queue, 0, -1):
        if job in json.loads(raw)["headers"]["argsrepr"]:
            return raw
    raise AssertionError(f"no message about {job} in {queue}")


def test_a_broker_that_is_away_is_no_failure_and_says_so_in_the_log():
    with capture_logs() as logs:
        Bell(jobs.broker("redis://127.0.0.1:1/0")).ring(uuid4(), jobs.INGEST_VERSION)
    assert [(entry["event"], entry["queue"]) for entry in logs] == [("bell.unheard", "ingest")]


def test_every_kind_has_a_queue_and_every_queue_its_workers():
    assert set(QUEUES.values()) < set(ALL_QUEUES)
    assert len(ALL_QUEUES) == len(set(ALL_QUEUES))
