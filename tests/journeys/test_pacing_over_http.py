"""Four API processes serve one rollout over sockets; together they never exceed its pacing limits.

`make pacing` sends a hundred thousand polls, `make test` a few thousand.
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

from service.infrastructure.clock import utc_now
from service.testbed import dataset
from service.testbed.connection import HttpConnection
from service.testbed.dataset import PATCH_BYTES
from service.testbed.devices import EVENTS, POLL, access_token_request, poll_body, synthetic_device
from service.testbed.server_process import api_process
from tests.journeys.fleet_servers import TOKENS, fleet_servers
from tests.service.support.actors import event_id

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
POLLS = int(os.environ.get("GRAYLAG_PACING_POLLS", "3000"))
PROCESSES, CONNECTIONS_PER_PROCESS = 4, 8
DEVICES = [synthetic_device(number) for number in range(1500)]
MAX_OPEN_DOWNLOADS, OFFERS_PER_HOUR = 25, 6000
BURSTS_PER_HOUR = 6
"""Any five minutes take at most a sixth of the bytes of an hour."""
CHECK_INTERVAL_S = 0.05

_OPEN_DOWNLOADS = (
    "select count(*) from attempts where closed_at is null and not downloaded and action = 'install'"
)
_MAX_BYTES_IN = """
  select max(total) from (
    select sum(bytes_offered) over (order by offered_at range between (%s)::interval preceding and current row) as total
    from attempts) windows
"""


def connect(settings):
    return psycopg.connect(settings.database_url.replace("+psycopg", ""), autocommit=True)


def set_pacing(settings):
    """Set the limits of the rollout that offers updates."""
    pacing = {"max_open_downloads": MAX_OPEN_DOWNLOADS, "max_bytes_per_hour": OFFERS_PER_HOUR * PATCH_BYTES}
    with connect(settings) as connection:
        changed = connection.execute(
            "update rollouts set policy = %s where model = %s",
            [json.dumps({"pacing": pacing}), dataset.UPDATE_MODEL],
        )
        assert changed.rowcount == 1


class Load:
    """Polls and reports of all connections; counts responses and the highest number of open downloads."""

    def __init__(self):
        self.polls_left, self.most_open, self.checks = POLLS, 0, 0
        self.responses: Counter[str | int] = Counter()

    async def observe_open_downloads(self, settings):
        url = settings.database_url.replace("+psycopg", "")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                (row,) = await (await connection.execute(_OPEN_DOWNLOADS)).fetchall()
                self.most_open, self.checks = max(self.most_open, row[0]), self.checks + 1
                # The observer samples, so that it adds little load of its own.
                await asyncio.sleep(CHECK_INTERVAL_S)

    async def poll_repeatedly(self, port, rng):
        connection = await HttpConnection.open(port)
        while self.polls_left > 0:
            self.polls_left -= 1
            device, now = rng.choice(DEVICES), utc_now()
            body = poll_body(device, dataset.UPDATE_MODEL, dataset.CURRENT_VERSION)
            status, text = await connection.send(access_token_request(device, POLL, body, TOKENS, now))
            response = json.loads(text)
            self.responses[response["reason"] if status == 200 else status] += 1
            if status == 200 and response["need_update"] and rng.random() < 0.8:
                state = rng.choice(["downloaded", "downloaded", "failed", "cancelled"])
                attempt_id = response["attempt_id"]
                event = {"event_id": event_id(), "attempt_id": attempt_id, "seq": 1, "state": state}
                report = access_token_request(device, EVENTS, json.dumps([event]).encode(), TOKENS, now)
                self.responses[(await connection.send(report))[0]] += 1
        connection.close()


async def run_load(servers):
    load = Load()
    async with AsyncExitStack() as stack:
        ports = [
            (await stack.enter_async_context(api_process(servers.settings, servers.stack.directory)))[1]
            for _ in range(PROCESSES)
        ]
        observing = asyncio.create_task(load.observe_open_downloads(servers.settings))
        await asyncio.gather(
            *(
                load.poll_repeatedly(port, random.Random(f"{port} {number}"))
                for port in ports
                for number in range(CONNECTIONS_PER_PROCESS)
            )
        )
        observing.cancel()
    return load


def test_four_processes_together_never_exceed_the_pacing_limits():
    with fleet_servers(DEVICES) as servers:
        set_pacing(servers.settings)
        load = asyncio.run(run_load(servers))
        with connect(servers.settings) as connection:
            five_minutes, hour = (
                connection.execute(_MAX_BYTES_IN, [interval]).fetchone()[0]
                for interval in ("5 minutes", "1 hour")
            )
            offers = connection.execute("select count(*) from attempts").fetchone()[0]
    summary = (
        f"{dict(load.responses)}, {offers} offers, at most {load.most_open} open in {load.checks} checks"
    )
    sys.stdout.write(
        f"{POLLS} polls: {summary}; most bytes in five minutes {five_minutes}, in an hour {hour}\n"
    )
    assert load.responses["update"] > 0, summary
    assert load.responses["throttled"] > 0, summary
    expected = {"update", "throttled", "too_many_failures", "up_to_date", 202, 503}
    assert load.responses.keys() <= expected, summary
    assert load.most_open <= MAX_OPEN_DOWNLOADS, summary
    assert five_minutes <= OFFERS_PER_HOUR * PATCH_BYTES / BURSTS_PER_HOUR, summary
    assert hour <= OFFERS_PER_HOUR * PATCH_BYTES, summary
