"""API processes without their sockets: `python -m tests.service.serving.racer FOLDER COUNT DEVICES...`.

Each polls and reports for all devices, as fast as it can, until FOLDER/stop appears, and writes a line of JSON for
each answer to FOLDER/N.log. They are forked before anything is opened: importing takes longer than racing.
"""

import asyncio
import json
import os
import random
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sdk_contract.wire import Event, PollRequest
from service.config import Settings
from service.main import create_app
from service.serving.answer import Question
from service.serving.intake import Report
from service.tokens import DeviceClaims
from tests.service.actors import event_id

AT_ONCE = 8
LEASE = timedelta(hours=1)


async def main(settings, stop, dice, devices):
    app = create_app(Settings(**json.loads(settings.read_text())))
    async with app.router.lifespan_context(app):
        say({"ready": True})
        await asyncio.gather(*(_race(app.state.process, stop, dice, devices) for _ in range(AT_ONCE)))


async def _race(process, stop, dice, devices):
    while not stop.exists():
        device = dice.choice(devices)
        now = datetime.now(UTC)
        body = json.dumps({"device_id": device}).encode()
        question = Question(PollRequest(device_id=device), body, DeviceClaims(device, {}), now)
        answer = json.loads(await process.desk.answer(question))
        say({"at": now.timestamp(), "answered": time.time(), "reason": answer["reason"]})
        # An answer from the snapshot waits for nothing, and a real process would go back to its sockets.
        await asyncio.sleep(0.01)
        if answer["need_update"] and dice.random() < 0.9:
            await _finish(process, device, answer["attempt_id"], dice.choice(["failed", "cancelled"]))


async def _finish(process, device, attempt, state):
    now = datetime.now(UTC)
    event = Event(event_id=event_id(), attempt_id=attempt, seq=1, state=state)
    await process.intake.submit(Report(device, [event], now, now + LEASE))


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def run(folder, number, devices):
    """One process, forked; ends it."""
    log = os.open(folder / f"{number}.log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 1
    try:
        asyncio.run(main(folder / "settings.json", folder / "stop", random.Random(number), devices))
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the parent's frames must not run here
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    children = []
    for index in range(int(sys.argv[2])):
        child = os.fork()
        if child == 0:
            run(Path(sys.argv[1]), index, sys.argv[3:])
        children.append(child)
    sys.exit(max(os.waitpid(child, 0)[1] for child in children) and 1)
