"""Gate evaluations right after events."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service.serving.events.gate_trigger import GateTrigger
from tests.service.support import actors
from tests.service.support.actors import cohort, enroll, publish, roll_out, rollout, stage


@pytest.fixture
def failing(live):
    """A rollout that a gate evaluation would halt."""
    publish(live, "v1", b"weights")
    cohort(live)
    roll_out(live, "r", "v1", stage(gates=[{"metric": "failure_rate", "max": 0.05}]))
    for number in range(3):
        device = enroll(live, f"d{number}")
        device.finish(device.poll()["attempt_id"], "failed")
    return live


def run_trigger(live, rollouts, seconds=5.0):
    """Run a gate trigger until the rollout is halted, or for some seconds; return the state."""

    async def run():
        trigger = GateTrigger(live.engine, lambda: datetime.now(UTC), delay_s=0.01)
        trigger.notify(rollouts)
        task = asyncio.create_task(trigger.run())
        for _ in range(int(seconds / 0.05)):
            await asyncio.sleep(0.05)
            if rollout(live, "r")["state"] == "halted":
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    return rollout(live, "r")["state"]


def rollout_id(live):
    return actors.rows(live, "select id from rollouts")[0]["id"]


def test_a_notified_rollout_is_evaluated_without_the_scheduled_task(failing):
    assert run_trigger(failing, {rollout_id(failing)}) == "halted"


def test_no_rollout_is_evaluated_without_a_notification(failing):
    assert run_trigger(failing, set(), seconds=0.3) == "running"


def test_a_deleted_rollout_does_not_stop_the_others(failing):
    assert run_trigger(failing, {uuid4(), rollout_id(failing)}) == "halted"


def test_a_rollout_that_cannot_be_evaluated_does_not_stop_the_others(failing):
    publish(failing, "v2", b"other weights")
    roll_out(failing, "s", "v2", stage(), priority=1)
    actors.write(
        failing,
        "update stages set gates = '[{\"metric\": 5}]' where rollout_id = "
        "(select id from rollouts where name = 's')",
    )
    both = {row["id"] for row in actors.rows(failing, "select id from rollouts")}
    assert len(both) == 2
    assert run_trigger(failing, both) == "halted"
