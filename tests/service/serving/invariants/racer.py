"""API processes without sockets: `python -m tests.service.serving.invariants.racer FOLDER COUNT DEVICES...`.

Every process polls and reports for all devices, as fast as it can, until FOLDER/stop exists. It writes a JSON line for each
response to FOLDER/N.log. The processes are forked after the imports, which take longer than the race.
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
from service.infrastructure.tokens import DeviceClaims
from service.main import create_app
from service.serving.events.ingest import EventBatch
from service.serving.polls.context import AuthenticatedPoll
from tests.service.support.actors import event_id

AT_ONCE = 8
LEASE = timedelta(hours=1)


async def main(settings, stop, rng, devices):
    app = create_app(Settings(**json.loads(settings.read_text())))
    async with app.router.lifespan_context(app):
        write_line({"ready": True})
        await asyncio.gather(*(_race(app.state.process, stop, rng, devices) for _ in range(AT_ONCE)))


async def _race(process, stop, rng, devices):
    while not stop.exists():
        device = rng.choice(devices)
        now = datetime.now(UTC)
        body = json.dumps({"device_id": device}).encode()
        poll = AuthenticatedPoll(PollRequest(device_id=device), body, DeviceClaims(device, {}), now)
        response = json.loads(await process.poll_service.respond(poll))
        write_line({"at": now.timestamp(), "received_at": time.time(), "reason": response["reason"]})
        # Let the event loop run, as a real process would return to its sockets.
        await asyncio.sleep(0.01)
        if response["need_update"] and rng.random() < 0.9:
            await _finish(process, device, response["attempt_id"], rng.choice(["failed", "cancelled"]))


async def _finish(process, device, attempt, state):
    now = datetime.now(UTC)
    event = Event(event_id=event_id(), attempt_id=attempt, seq=1, state=state)
    await process.event_writer.submit(EventBatch(device, [event], now, now + LEASE))


def write_line(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def run(folder, number, devices):
    """Run one forked process, and end it."""
    log = os.open(folder / f"{number}.log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 1
    try:
        asyncio.run(main(folder / "settings.json", folder / "stop", random.Random(number), devices))
        status = 0
    except BaseException:  # noqa: BLE001 - the parent's code must not run in the child
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
