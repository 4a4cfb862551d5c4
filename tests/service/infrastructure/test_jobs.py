import base64
import json
from uuid import uuid4

import pytest
import redis
from structlog.testing import capture_logs

from service.infrastructure import jobs
from service.infrastructure.jobs import ALL_QUEUES, QUEUES, RUN_JOB, JobNotifier


@pytest.fixture
def broker(settings):
    url = settings.redis_url.get_secret_value()
    with redis.Redis.from_url(url) as valkey:
        yield valkey


@pytest.mark.parametrize("kind", QUEUES)
def test_a_notification_carries_only_the_job_id_to_the_queue_of_its_kind(settings, broker, kind):
    job = uuid4()
    JobNotifier(jobs.celery_app(settings.redis_url.get_secret_value())).notify(job, kind)
    message = json.loads(find(broker, QUEUES[kind], str(job)))
    assert message["headers"]["task"] == RUN_JOB
    arguments, _, _ = json.loads(base64.b64decode(message["body"]))
    assert arguments == [str(job)]


def find(broker, queue, job):
    """The message about a job; other tests may send messages at the same time."""
    for raw in broker.lrange(queue, 0, -1):
        if job in json.loads(raw)["headers"]["argsrepr"]:
            return raw
    raise AssertionError(f"no message about {job} in {queue}")


def test_an_unavailable_broker_is_logged_and_raises_nothing():
    with capture_logs() as logs:
        JobNotifier(jobs.celery_app("redis://127.0.0.1:1/0")).notify(uuid4(), jobs.INGEST_VERSION)
    assert [(entry["event"], entry["queue"]) for entry in logs] == [("job_notification.failed", "ingest")]


def test_every_kind_of_job_has_a_queue():
    assert set(QUEUES.values()) < set(ALL_QUEUES)
    assert len(ALL_QUEUES) == len(set(ALL_QUEUES))
