"""Four API processes race over sockets for what a rollout may give: no offer goes beyond a cap or a byte budget.

`make caps` sends a hundred thousand polls; without it there are a few thousand.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from contextlib import AsyncExitStack

import psycopg
import pytest

from service.cli.bench import world
from service.cli.bench.fleet import EVENTS, POLL, handset, poll_body, with_access_token
from service.cli.bench.sockets import api_process
from service.cli.bench.wire import Wire
from service.tokens import utc_now
from tests.journeys.fleet_servers import TOKENS, fleet_servers
from tests.service.actors import event_id

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
POLLS = int(os.environ.get("GRAYLAG_CAP_POLLS", "3000"))
PROCESSES, WIRES = 4, 8
DEVICES = [handset(number) for number in range(1500)]
PATCH_BYTES = 350_000_000
OPEN, OFFERS_AN_HOUR = 25, 6000
BURST_SHARE = 6
"""Any five minutes take a sixth of an hour's bytes."""
LOOK_EVERY_S = 0.05

_OPEN = "select count(*) from attempts where closed_at is null and not downloaded and action = 'install'"
_MOST = """
  select max(total) from (
    select sum(bytes_offered) over (order by offered_at range between (%s)::interval preceding and current row) as total
    from attempts) windows
"""


def connect(settings):
    return psycopg.connect(settings.database_url.replace("+psycopg", ""), autocommit=True)


def bound(settings):
    """Give the rollout of the busy model its cap and its budget; polls hear of it by the epoch."""
    pacing = {"open_downloads": OPEN, "bytes_per_hour": OFFERS_AN_HOUR * PATCH_BYTES}
    with connect(settings) as connection:
        changed = connection.execute(
            "update rollouts set policy = %s where model = %s", [json.dumps({"pacing": pacing}), world.BUSY]
        )
        assert changed.rowcount == 1


class Race:
    """What was asked and heard."""

    def __init__(self):
        self.left, self.heard, self.most_open, self.looks = POLLS, Counter(), 0, 0

    async def watch(self, settings):
        """As often as can be: how many are on their way, as everybody sees it."""
        url = settings.database_url.replace("+psycopg", "")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                row = await (await connection.execute(_OPEN)).fetchone()
                self.most_open, self.looks = max(self.most_open, row[0]), self.looks + 1
                await asyncio.sleep(LOOK_EVERY_S)

    async def run(self, port, dice):
        wire = await Wire.open(port)
        while self.left > 0:
            self.left -= 1
            device, now = dice.choice(DEVICES), utc_now()
            body = poll_body(device, world.BUSY, world.RUNNING)
            status, text = await wire.send(with_access_token(device, POLL, body, TOKENS, now))
            answer = json.loads(text)
            self.heard[answer["reason"] if status == 200 else status] += 1
            if status == 200 and answer["need_update"] and dice.random() < 0.8:
                state = dice.choice(["downloaded", "downloaded", "failed", "cancelled"])
                event = {"event_id": event_id(), "attempt_id": answer["attempt_id"], "seq": 1, "state": state}
                report = with_access_token(device, EVENTS, json.dumps([event]).encode(), TOKENS, now)
                self.heard[(await wire.send(report))[0]] += 1
        wire.close()


async def raced(servers):
    race = Race()
    async with AsyncExitStack() as stack:
        ports = [
            (await stack.enter_async_context(api_process(servers.settings, servers.stack.directory)))[1]
            for _ in range(PROCESSES)
        ]
        watching = asyncio.create_task(race.watch(servers.settings))
        await asyncio.gather(
            *(race.run(port, random.Random(f"{port} {n}")) for port in ports for n in range(WIRES))
        )
        watching.cancel()
    return race


def test_four_processes_never_offer_beyond_a_cap_or_a_byte_budget():
    with fleet_servers(DEVICES) as servers:
        bound(servers.settings)
        race = asyncio.run(raced(servers))
        with connect(servers.settings) as connection:
            five_minutes, hour = (
                connection.execute(_MOST, [span]).fetchone()[0] for span in ("5 minutes", "1 hour")
            )
            offers = connection.execute("select count(*) from attempts").fetchone()[0]
    told = f"{dict(race.heard)}, {offers} offers, at most {race.most_open} open in {race.looks} looks"
    sys.stdout.write(f"{POLLS} polls: {told}; most bytes in five minutes {five_minutes}, in an hour {hour}\n")
    assert race.heard["update"] > 0, told
    assert race.heard["paced"] > 0, told
    assert race.heard.keys() <= {"update", "paced", "penalty", "up_to_date", 202, 503}, told
    assert race.most_open <= OPEN, told
    assert five_minutes <= OFFERS_AN_HOUR * PATCH_BYTES / BURST_SHARE, told
    assert hour <= OFFERS_AN_HOUR * PATCH_BYTES, told
