"""Servers are killed under a running API and brought back: polls go on, nothing that was accepted is lost."""

import asyncio

import psycopg
import pytest

from service.cli.bench import world
from service.cli.bench.fleet import events_body
from tests.journeys.fleet_servers import RECOVERY_S, Phone, api, fleet_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FLEET = 12


@pytest.fixture(scope="module")
def servers():
    phones = [Phone(number, 0) for number in range(FLEET)]
    with fleet_servers([phone.handset for phone in phones]) as running:
        running.handsets = [phone.handset for phone in phones]
        yield running


def phones_at(servers, port):
    made = [Phone(number, port) for number in range(FLEET)]
    for phone, handset in zip(made, servers.handsets, strict=True):
        phone.handset = handset
    return made


def kept(servers):
    with psycopg.connect(servers.settings.database_url.replace("+psycopg", "")) as connection:
        return connection.execute("select count(*) from events").fetchone()[0]


def test_without_postgres_polls_go_on_offers_wait_and_no_accepted_report_is_lost(servers):
    async def story():
        async with api(servers) as (_pid, port):
            one, two, three, *_ = phones_at(servers, port)
            assert (await one.poll(world.QUIET, signed=True))[0] == 200
            assert (await one.poll(world.BUSY))[1]["reason"] == "update"
            before, batch = events_body(5), events_body(3)
            assert (await one.report(before))[1] == {"accepted": 5, "duplicates": 0}
            servers.kill("postgres")
            for _ in range(5):
                status, answer = await two.poll(world.QUIET)
                assert (status, answer["need_update"]) == (200, False)
            # Its key was seen a moment ago, and nobody can withdraw it now.
            assert (await one.poll(world.QUIET, signed=True))[0] == 200
            status, answer = await two.poll(world.BUSY)
            assert (status, answer["reason"], answer["action"]) == (200, "degraded", "none")
            status, problem = await two.report(batch)
            assert (status, problem["code"], problem["retryable"]) == (503, "unavailable", True)
            assert problem["retry_after_s"] >= 1
            servers.revive("postgres")

            async def offered():
                return (await three.poll(world.BUSY))[1].get("reason") == "update"

            took = await within_recovery(offered)
            assert (await two.report(batch))[1] == {"accepted": 3, "duplicates": 0}
            assert (await one.report(before))[1] == {"accepted": 0, "duplicates": 5}
            return took

    asyncio.run(story())
    assert kept(servers) == 8


def test_without_valkey_polls_and_offers_go_on_and_only_what_may_be_a_replay_waits(servers):
    async def story():
        async with api(servers) as (_pid, port):
            *_, four, five, six = phones_at(servers, port)
            servers.kill("valkey")
            assert (await four.poll(world.QUIET))[0] == 200
            assert (await four.poll(world.QUIET, signed=True))[0] == 200
            assert (await five.poll(world.BUSY))[1]["reason"] == "update"
            assert (await five.report())[0] == 202
            assert (await six.report(signed=True))[0] == 503
            servers.revive("valkey")

            async def taken():
                return (await six.report(signed=True))[0] == 202

            await within_recovery(taken)

    asyncio.run(story())


def test_without_the_object_store_polls_and_offers_go_on(servers):
    async def story():
        async with api(servers) as (_pid, port):
            seven = phones_at(servers, port)[7]
            servers.kill("seaweedfs")
            assert (await seven.poll(world.QUIET))[0] == 200
            status, answer = await seven.poll(world.BUSY)
            assert (status, answer["reason"]) == (200, "update")
            assert all(way["url"] for part in answer["downloads"] for way in part.get("ways", []))

    asyncio.run(story())


async def within_recovery(attempt):
    started = asyncio.get_running_loop().time()
    while not await attempt():
        assert asyncio.get_running_loop().time() - started < RECOVERY_S, "it did not recover by itself"
        await asyncio.sleep(0.3)
    return asyncio.get_running_loop().time() - started
