import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service.serving.brakes import Brakes
from tests.service import actors
from tests.service.actors import cohort, enrol, publish, roll_out, rollout, stage


@pytest.fixture
def failing(live):
    """A rollout that a look at its gates would halt."""
    publish(live, "v1", b"weights of the brakes")
    cohort(live)
    roll_out(live, "r", "v1", stage(gates=[{"metric": "failure_rate", "max": 0.05}]))
    for number in range(3):
        device = enrol(live, f"d{number}")
        device.finish(device.poll()["attempt_id"], "failed")
    return live


def braked(live, rollouts, seconds=5.0):
    """Let brakes run until the rollout has been halted, or for a while."""

    async def run():
        brakes = Brakes(live.engine, lambda: datetime.now(UTC), pause_s=0.01)
        brakes.notice(rollouts)
        task = asyncio.create_task(brakes.run())
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


def test_a_noticed_rollout_is_looked_at_without_the_beat(failing):
    assert braked(failing, {rollout_id(failing)}) == "halted"


def test_nobody_is_looked_at_for_nothing(failing):
    assert braked(failing, set(), seconds=0.3) == "running"


def test_a_rollout_that_is_gone_does_not_keep_the_others_waiting(failing):
    assert braked(failing, {uuid4(), rollout_id(failing)}) == "halted"


def test_one_that_cannot_be_read_does_not_keep_the_others_waiting(failing):
    publish(failing, "v2", b"weights of the brakes, again")
    roll_out(failing, "s", "v2", stage(), priority=1)
    actors.write(
        failing,
        "update stages set gates = '[{\"metric\": 5}]' where rollout_id = "
        "(select id from rollouts where name = 's')",
    )
    both = {row["id"] for row in actors.rows(failing, "select id from rollouts")}
    assert len(both) == 2
    assert braked(failing, both) == "halted"
