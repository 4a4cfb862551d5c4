"""Gate evaluations right after events."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service.operations.rollouts import gates
from service.serving.events.gate_trigger import GateTrigger
from tests.service.support import actors
from tests.service.support.actors import cohort, enroll, publish, roll_out, rollout, stage
from tests.waiting import wait_until


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


def run_trigger(live, rollouts, condition, what):
    """Run a gate trigger with notifications of some rollouts until a condition is true."""

    async def run():
        trigger = GateTrigger(live.engine, lambda: datetime.now(UTC), delay_s=0.01)
        trigger.notify(rollouts)
        task = asyncio.create_task(trigger.run())
        await asyncio.to_thread(wait_until, condition, what)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def run_until_halted(live, rollouts):
    run_trigger(live, rollouts, lambda: rollout(live, "r")["state"] == "halted", "the rollout to be halted")


def another_rollout(live, *stages):
    """Start a second rollout; return its id."""
    publish(live, "v2", b"other weights")
    roll_out(live, "s", "v2", *stages, priority=1)
    return actors.rows(live, "select id from rollouts where name = 's'")[0]["id"]


def rollout_id(live):
    return actors.rows(live, "select id from rollouts where name = 'r'")[0]["id"]


def test_a_notified_rollout_is_evaluated_without_the_scheduled_task(failing):
    run_until_halted(failing, {rollout_id(failing)})


def test_a_rollout_is_not_evaluated_without_a_notification(failing, monkeypatch):
    other, evaluated, evaluate = another_rollout(failing), [], gates.evaluate

    def record(session, evaluated_id, *, now):
        evaluation = evaluate(session, evaluated_id, now=now)
        evaluated.append(evaluated_id)
        return evaluation

    monkeypatch.setattr(gates, "evaluate", record)
    run_trigger(failing, {other}, lambda: evaluated, "the evaluation")
    assert evaluated == [other]
    assert rollout(failing, "r")["state"] == "running"


def test_a_deleted_rollout_does_not_stop_the_others(failing):
    run_until_halted(failing, {uuid4(), rollout_id(failing)})


def test_a_rollout_that_cannot_be_evaluated_does_not_stop_the_others(failing):
    other = another_rollout(failing, stage())
    actors.write(
        failing,
        "update stages set gates = '[{\"metric\": 5}]' where rollout_id = "
        "(select id from rollouts where name = 's')",
    )
    run_until_halted(failing, {other, rollout_id(failing)})
